"""Copies of directory trees that cost nothing where hard links can be made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link_tree(source: Path, target: Path) -> Path:
    """Make the same tree elsewhere; files may only be replaced in it, never written into."""
    shutil.copytree(source, target, copy_function=_link_or_copy, symlinks=True)
    return target


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
