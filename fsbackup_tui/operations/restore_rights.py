"""Whether a restore has been shown to be allowed on the servers, as ``doctor`` last tried it.

Kept in the state directory, deletable; what was found under another configuration, or long ago,
counts as not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.files import replace_file, state_file_mode

_NAME = "restore-rights.json"
_FORMAT = 1
_GOOD_FOR = timedelta(days=31)
_ABOUT_RIGHTS = frozenset(
    {
        "extension-rights",
        "extensions",
        "owners",
        "restore-create",
        "restore-drop",
        "restore-rename",
        "restore-rights",
        "roles",
        "swap-rights",
    }
)


def rights_found(sources: Iterable[str], findings: Mapping[str, str]) -> bool | None:
    """Return what doctor's findings, severities by their ids, say of the rights to restore.

    True: every source was tried and nothing is missing; None: a source was not tried.
    """
    tried = True
    for source in sources:
        about = {
            severity
            for name, severity in findings.items()
            if name.partition(".")[0] == source and name.partition(".")[2] in _ABOUT_RIGHTS
        }
        if about - {"ok"}:
            return False
        tried = tried and bool(about)
    return True if tried else None


def note_restore_rights(state: Path, digest: str, rights: bool | None, now: datetime) -> None:
    """Keep what was found for the configuration of that digest; where it fails nothing is lost."""
    document = {"format": _FORMAT, "at": format_time(now), "config": digest, "rights": rights}
    with suppress(OSError):
        path = state / _NAME
        replace_file(path, json.dumps(document).encode(), mode=state_file_mode(path))


def known_restore_rights(state: Path, digest: str, now: datetime) -> bool | None:
    """Return what was found last under the configuration of that digest; None: not known."""
    try:
        document = json.loads((state / _NAME).read_bytes())
        fits = document["format"] == _FORMAT and document["config"] == digest
        age = now - parse_time(str(document["at"]))
        rights = document["rights"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not fits or not timedelta(minutes=-5) <= age <= _GOOD_FOR:
        return None
    return rights if isinstance(rights, bool) else None
