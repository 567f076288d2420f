"""How databases are called that a recovery makes or keeps (design §6). Pure."""

from __future__ import annotations

import re

LONGEST_NAME_BYTES = 63
_KEPT = re.compile(r".+__(?:before|after|restore)_\w+")


def kept_name(database: str, kind: str, tag: str) -> str:
    """Return ``NAME__before_TAG``; the database's own name is shortened to fit, the rest never."""
    return shortened(database, f"__{kind}_{tag}")


def is_kept_name(text: str) -> bool:
    """Whether a database that a recovery made or kept is called like that."""
    return _KEPT.fullmatch(text) is not None


def shortened(name: str, suffix: str) -> str:
    """Return name and suffix; the name is cut to fit PostgreSQL's limit, the suffix never."""
    room = LONGEST_NAME_BYTES - len(suffix.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + suffix
