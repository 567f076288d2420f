"""The hard rules that make a tree of files suspect: emptied, fell, captured from elsewhere.

As with tables (``anomaly``): compared is a new part with the last good one of the same source,
and a fall must be one of ``LEAST_ROWS`` files or ``LEAST_BYTES`` bytes at least. A tree that is
not there at all fails its part, which is louder still.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsbackup_tui.domain.anomaly import (
    DEFAULT_FALL,
    LEAST_BYTES,
    LEAST_ROWS,
    fell,
    size_words,
)
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.domain.text import plain_text


def tree_reasons(
    new: PartManifest, good: PartManifest | None, *, fall: float = DEFAULT_FALL
) -> tuple[str, ...]:
    """Return why a files part is suspect against the last good one; empty when it is not.

    The words are like ``uploads 41890 to 40 files``; ``fall`` is the share (0 to 1) by which
    files or bytes may fall.
    """
    if good is None or new.files is None or good.files is None:
        return ()
    return tuple(_reasons(plain_text(new.source), new.files, good.files, fall))


def _reasons(name: str, now: FilesFacts, before: FilesFacts, fall: float) -> Iterator[str]:
    if now.root != before.root:
        yield (
            f"{name} captured from another directory: {plain_text(now.root)}, "
            f"was {plain_text(before.root)}"
        )
    entries = before.files + before.links
    if entries and now.files + now.links == 0:
        yield f"{name} {entries} to 0 files"
    elif fell(before.files, now.files, fall, LEAST_ROWS):
        yield f"{name} {before.files} to {now.files} files"
    elif fell(before.bytes, now.bytes, fall, LEAST_BYTES):
        yield f"{name} {size_words(before.bytes)} to {size_words(now.bytes)}"
