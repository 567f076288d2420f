"""How databases are called that a recovery makes or keeps (design §6). Pure."""

from __future__ import annotations

LONGEST_NAME_BYTES = 63


def kept_name(database: str, kind: str, tag: str) -> str:
    """Return ``NAME__before_TAG``; the database's own name is shortened to fit, the rest never."""
    suffix = f"__{kind}_{tag}"
    room = LONGEST_NAME_BYTES - len(suffix.encode())
    return database.encode()[:room].decode("utf-8", "ignore") + suffix
