"""What lies in a job's directory, and how its files are written (design §3, JOBDIR)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import parse_request, request_document
from fsbackup_tui.repository.files import FILE_MODE, make_state_directory, state_file_mode

REQUEST_FORMAT = 1
REQUEST = "request.json"
JOURNAL = "journal.jsonl"
STATE = "state.json"
CONTROL = "control"
CANCEL = "cancel"
OUTPUT = "output.log"
LOCK = "lock"
WORK = "work"
RESERVE = "reserve"
_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What ``request.json`` holds: everything a worker is told; secrets are inherited instead.

    ``incident`` and ``epoch`` name the incident that the job acts for and the leadership it was
    asked under; the confirmed target's identity lies in the operation's own request. ``origin``
    is from where it was asked for, ``read_only`` whether nothing is to be changed.
    """

    job: str
    request: Request
    site: str
    config: Path
    config_digest: str
    operator: str
    host: str
    requested: datetime
    incident: str | None = None
    epoch: int | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False

    def document(self) -> dict[str, object]:
        """Return the plain values for the file."""
        target = getattr(self.request, "target", None)
        return {
            "format": REQUEST_FORMAT,
            "job": self.job,
            **request_document(self.request),
            "site": self.site,
            "config": str(self.config),
            "config_digest": self.config_digest,
            "operator": self.operator,
            "host": self.host,
            "requested": format_time(self.requested),
            "incident": self.incident,
            "epoch": self.epoch,
            "origin": dict(self.origin),
            "read_only": self.read_only,
            "target": dataclasses.asdict(target) if dataclasses.is_dataclass(target) else None,  # type: ignore[arg-type]
        }


def read_request(directory: Path) -> JobRequest:
    """Return the request of a job; UsageError where the file is missing or not understood."""
    path = directory / REQUEST
    try:
        document = json.loads(path.read_bytes())
        epoch = document.get("epoch")
        return JobRequest(
            job=str(document["job"]),
            request=parse_request(document),
            site=str(document["site"]),
            config=Path(document["config"]),
            config_digest=str(document["config_digest"]),
            operator=str(document["operator"]),
            host=str(document["host"]),
            requested=parse_time(document["requested"]),
            incident=document.get("incident"),
            epoch=None if epoch is None else int(epoch),
            origin=dict(document.get("origin") or {}),
            read_only=bool(document.get("read_only")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            "REQUEST NOT UNDERSTOOD: the job's request.json can't be used.", why=f"{path}: {error}"
        ) from error


def make_private_directory(path: Path) -> None:
    """Make a directory for its owner alone, and its parents; an existing one is left as it is."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            make_state_directory(directory)


def open_private(path: Path, flags: int) -> int:
    """Open a file, made 0600 (or its group's) if it is new; the descriptor is not inherited."""
    mode = state_file_mode(path)
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, mode)
    if mode != FILE_MODE:
        # The umask would take from the group what was given to it on purpose.
        with suppress(OSError):
            os.fchmod(descriptor, mode)
    return descriptor


def replace_json(path: Path, document: Mapping[str, object], *, sync: bool) -> None:
    """Replace a file by the document in one step; OSError where it can't be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = open_private(temporary, os.O_WRONLY | os.O_TRUNC)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(document, file, ensure_ascii=False, default=str)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, object] | None:
    """Return the object in a JSON file, or None where there is none to be read."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def output_tail(directory: Path, lines: int = 5) -> str:
    """Return the last lines that the worker printed (it journals; this is for accidents)."""
    try:
        with (directory / OUTPUT).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    kept = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(kept[-lines:])
