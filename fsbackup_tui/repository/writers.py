"""Who writes to a repository: one id per host, so that a host whose place was taken stops.

``writers/ID.json`` says who an id is, ``writers/ID.retired.json`` that it must not write any
more; both are made once and never changed, here as on every replica. A host that wrote before
there were ids is retired by its name (``unnamed-…``): the id that it makes later counts as retired.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.errors import RepositoryError, WriterRetired
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.repository.files import (
    create_whole,
    make_directory,
    state_file_mode,
    writing,
)
from fsbackup_tui.repository.layout import Repository

DIRECTORY = "writers"
STATE_NAME = "writer.json"
RETIRED_SUFFIX = ".retired.json"
WRITER_FORMAT = 1
_UNNAMED = "unnamed-"
_ID = re.compile(r"[0-9a-f]{16}")
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Writer:
    """A host's identity as a writer; ``rebuilt``: it came about by ``fsbackup bootstrap``."""

    id: str
    host: str
    since: datetime
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class Retirement:
    """That a writer must not write any more; ``id`` is empty for a host known by name alone."""

    id: str
    host: str
    by: str
    at: datetime | None
    why: str

    def concerns(self, writer: Writer) -> bool:
        """Whether it is that writer's."""
        if self.id:
            return self.id == writer.id
        return self.host == writer.host and not writer.rebuilt


def this_writer(
    repository: Repository, state: Path, host: str, now: datetime, *, rebuilt: bool = False
) -> Writer:
    """Return this host's id, made and told to the repository where there is none yet.

    ``state`` is the state directory of the site. RepositoryUnwritable, DiskFull; RepositoryError
    where the id is there and can't be read: a new one would escape a retirement.
    """
    path = state / STATE_NAME
    writer = read_own(state)
    if writer is None:
        new = Writer(secrets.token_hex(8), host, now, rebuilt)
        with writing(path):
            make_directory(path.parent)
            with suppress(FileExistsError):
                create_whole(path, _writer_content(new))
                path.chmod(state_file_mode(path))
        writer = read_own(state) or new
    _register(repository, writer)
    return writer


def read_own(state: Path) -> Writer | None:
    """Return this host's id as its state directory knows it; None where it never wrote."""
    path = state / STATE_NAME
    try:
        return parse_writer(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RepositoryError(
            f"WRITER UNKNOWN: {path} can't be read.",
            why=f"It says who this host is to the repository: {error}.",
            fix="Let this user read it. If it is damaged: move it away, and the next backup\n"
            "makes a new id. Not where this host was replaced by another.",
        ) from error


def _register(repository: Repository, writer: Writer) -> None:
    directory = repository.root / DIRECTORY
    path = directory / f"{writer.id}.json"
    if path.exists():
        return
    with writing(path):
        make_directory(directory)
        with suppress(FileExistsError):
            create_whole(path, _writer_content(writer))


def _writer_content(writer: Writer) -> bytes:
    document: dict[str, object] = {
        "format": WRITER_FORMAT,
        "id": writer.id,
        "host": writer.host,
        "since": format_time(writer.since),
        "rebuilt": writer.rebuilt,
    }
    return _json(document)


def retirement_content(retirement: Retirement) -> tuple[str, bytes]:
    """Return the name and the bytes of the file that retires a writer."""
    document: dict[str, object] = {
        "format": WRITER_FORMAT,
        "id": retirement.id,
        "host": retirement.host,
        "by": retirement.by,
        "at": None if retirement.at is None else format_time(retirement.at),
        "why": retirement.why,
    }
    name = retirement.id or _UNNAMED + hashlib.sha256(retirement.host.encode()).hexdigest()[:16]
    return name + RETIRED_SUFFIX, _json(document)


def _json(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def retire(repository: Repository, retirement: Retirement) -> Path:
    """Retire a writer in the repository; one that is retired stays as it is.

    RepositoryUnwritable, DiskFull where it can't be written.
    """
    name, content = retirement_content(retirement)
    path = repository.root / DIRECTORY / name
    with writing(path):
        make_directory(path.parent)
        with suppress(FileExistsError):
            create_whole(path, content)
    return path


def writers(repository: Repository) -> list[Writer]:
    """Return the repository's writers, the oldest first; what can't be read is left out."""
    found = []
    for name, content in writer_files(repository).items():
        if not name.endswith(RETIRED_SUFFIX):
            with suppress(ValueError):
                found.append(parse_writer(content))
    return sorted(found, key=lambda writer: (writer.since, writer.id))


def retirements(repository: Repository) -> list[Retirement]:
    """Return who is retired in the repository."""
    return retirements_in(writer_files(repository))


def retirements_in(files: Mapping[str, bytes]) -> list[Retirement]:
    """Return who is retired by the files of a ``writers/`` directory, given by their names.

    A file of a retirement that can't be read retires the id that it is named after.
    """
    found = []
    for name, content in sorted(files.items()):
        if not name.endswith(RETIRED_SUFFIX):
            continue
        try:
            found.append(_parse_retirement(content))
        except ValueError:
            identifier = name.removesuffix(RETIRED_SUFFIX)
            if _ID.fullmatch(identifier):
                found.append(Retirement(identifier, "", "", None, "its file is damaged"))
    return found


def writer_files(repository: Repository) -> dict[str, bytes]:
    """Return the content of the repository's ``writers/`` by name; empty where there is none.

    RepositoryError where it can't be read: who may write is not known then.
    """
    directory = repository.root / DIRECTORY
    try:
        return {
            path.name: path.read_bytes()
            for path in sorted(directory.iterdir())
            if is_writer_name(path.name) and path.stat().st_size <= _LARGEST
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RepositoryError(
            f"WRITERS NOT READ: {directory}: {error.strerror or error}.",
            why="They say whether this host may still write here.",
            fix="Let this user read it.",
        ) from error


def is_writer_name(name: str) -> bool:
    """Whether a file of ``writers/`` is one that fsbackup wrote, by its name."""
    stem = name.removesuffix(".json").removesuffix(".retired").removeprefix(_UNNAMED)
    return name.endswith(".json") and _ID.fullmatch(stem) is not None


def refuse_retired(writer: Writer, retired: Iterable[Retirement], where: str) -> None:
    """Raise WriterRetired where the writer is among those that must not write to ``where``."""
    for each in retired:
        if not each.concerns(writer):
            continue
        when = f" at {format_time(each.at)}" if each.at is not None else ""
        by = f" by {each.by}" if each.by else ""
        raise WriterRetired(
            f"WRITER RETIRED: this host ({writer.host}) must not write to {where} any more.",
            why=f"It was retired{by}{when}: {each.why}.",
            fix="If another machine runs the site now: switch off this one's timers and cron\n"
            "lines. If this one shall write again: give it a state directory of its own\n"
            "(state: in the config) and tell whoever leads the site.",
        )


def parse_writer(content: bytes) -> Writer:
    """Return the writer that a file tells of; ValueError where it tells of none."""
    document = _document(content)
    if not _ID.fullmatch(str(document.get("id"))):
        raise ValueError("it has no id")
    return Writer(
        str(document["id"]),
        str(document.get("host", "")),
        parse_time(str(document.get("since"))),
        document.get("rebuilt") is True,
    )


def _parse_retirement(content: bytes) -> Retirement:
    document = _document(content)
    identifier = str(document.get("id", ""))
    if identifier and not _ID.fullmatch(identifier):
        raise ValueError("it has no id")
    return Retirement(
        identifier,
        str(document.get("host", "")),
        str(document.get("by", "")),
        parse_time(str(document.get("at"))),
        str(document.get("why", "")),
    )


def _document(content: bytes) -> Mapping[str, object]:
    document = json.loads(content)
    if not isinstance(document, dict) or document.get("format") != WRITER_FORMAT:
        raise ValueError("it is not what fsbackup wrote")
    return document
