"""Textual reads its manners when it is imported: the same for every test of the screens."""

from __future__ import annotations

import os

os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
os.environ.pop("NO_COLOR", None)
