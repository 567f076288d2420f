"""What the repository's disk was like at earlier looks, kept in the state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from fsbackup_tui.domain.disk_share import DiskLook
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.files import replace_file, state_file_mode
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.trash import list_trash

_NAME = "space.json"
_FORMAT = 2
_BETWEEN = timedelta(hours=6)
_KEPT_FOR = timedelta(days=30)


def look_now(catalogue: Catalogue, repository: Repository, free: int, now: datetime) -> DiskLook:
    """Return the look of this moment."""
    trash = sum(each.bytes for each in list_trash(repository))
    return DiskLook(now, free, catalogue.stored_bytes() + trash)


def read_looks(state: Path, root: Path, now: datetime) -> list[DiskLook]:
    """Return the earlier looks at this repository's disk, the oldest first; none if unreadable."""
    try:
        document = json.loads((state / _NAME).read_bytes())
        if document["format"] != _FORMAT or document["root"] != str(root):
            return []
        looks = [
            DiskLook(parse_time(str(at)), int(free), int(stored))
            for at, free, stored in document["looks"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [look for look in looks if look.at < now < look.at + _KEPT_FOR]


def keep_looks(state: Path, root: Path, looks: Sequence[DiskLook]) -> None:
    """Write them down, unless the newest is hardly younger than the one before."""
    if len(looks) > 1 and looks[-1].at - looks[-2].at < _BETWEEN:
        return
    document = {
        "format": _FORMAT,
        "root": str(root),
        "looks": [(format_time(look.at), look.free, look.stored) for look in looks],
    }
    path = state / _NAME
    with suppress(OSError):
        replace_file(path, json.dumps(document).encode(), mode=state_file_mode(path))
