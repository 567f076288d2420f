"""When the recovery kit was made, and of what: remembered in the state directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.files import make_directory, replace_file, state_file_mode, writing

KIT_STATE = "kit.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class KitFact:
    """The last recovery kit: what it was made of, so that one can tell when it is out of date.

    ``config_digest`` is the SHA-256 of the configuration, ``keys`` the ids of the repository's
    keys at that time, ``place`` where it was written; ``is_encrypted`` and ``installs`` tell
    whether it is one encrypted file, and whether fsbackup is in it.
    """

    at: datetime
    config_digest: str
    version: str
    place: str
    keys: tuple[str, ...] = ()
    replicas: tuple[str, ...] = ()
    is_encrypted: bool = False
    installs: bool = True


def last_kit(state: Path) -> KitFact | None:
    """Return the kit that was made last, by a site's state directory; None for none."""
    try:
        document = json.loads((state / KIT_STATE).read_bytes())
        if document["format"] != _FORMAT:
            return None
        return KitFact(
            at=parse_time(document["at"]),
            config_digest=str(document["config_digest"]),
            version=str(document["version"]),
            place=str(document["place"]),
            keys=tuple(map(str, document["keys"])),
            replicas=tuple(map(str, document["replicas"])),
            is_encrypted=document["is_encrypted"] is True,
            installs=document["installs"] is True,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_kit(state: Path, kit: KitFact) -> None:
    """Remember that a kit was made; DiskFull, RepositoryUnwritable where it can't be."""
    document = {"format": _FORMAT, **asdict(kit), "at": format_time(kit.at)}
    path = state / KIT_STATE
    with writing(path):
        make_directory(state)
        content = json.dumps(document, indent=1) + "\n"
        replace_file(path, content.encode(), mode=state_file_mode(path))
