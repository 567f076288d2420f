"""The audit log of a site's state: who did what, from where, and how it went.

``STATE/audit.jsonl`` has one line for every changing action, also for those that were refused or
failed; each hangs on the one before by its hash (domain/audit.py). Writing one never keeps anybody
from what he is about to do: where it can't be written the action goes on, and it is said that it
is not audited. The last line's number and hash are kept in the repository, too
(``REPO/audit/HOST-….json``), so that a log whose end is cut off, or that was exchanged, is seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.domain.audit import (
    AUDIT_FORMAT,
    BEGUN,
    ChainCheck,
    Deed,
    Head,
    Misfit,
    Result,
    audit_line,
    head_document,
    head_of,
    parse_head,
    torn_deed,
)
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.repository.elsewhere import find_elsewhere, home_of
from fsbackup_tui.repository.files import (
    make_directory,
    open_kept,
    replace_file,
    state_file_mode,
    sync_directory,
)
from fsbackup_tui.repository.whereabouts import REPOSITORY_NAME

AUDIT = "audit.jsonl"
HEADS = "audit"
_KNOWN = "known"
_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02
_TAIL_BYTES = 1 << 16
_unaudited: list[str] = []


@dataclass(frozen=True, slots=True)
class Verified:
    """How a log was found: how many lines fit, and the first that does not."""

    lines: int
    misfit: Misfit | None
    torn: bool = False
    offset: int = 0
    head: Head = field(default_factory=Head)


def append_audit(
    state: Path,
    action: str,
    *,
    operator: str,
    origin: Mapping[str, str],
    result: Result,
    now: datetime,
    subject: str = "",
    arguments: Mapping[str, object] | None = None,
    detail: str = "",
    incident: str = "",
    job: str = "",
    redactor: Redactor | None = None,
    keeps_head: bool = True,
) -> str:
    """Add a line to a state's audit log; return why that was not possible, empty where it was.

    Never raises for what the disk says. ``detail`` are a problem's words. ``keeps_head=False``
    leaves the repository as it is.
    """
    redact = (redactor or Redactor()).redact
    deed = Deed(
        action,
        operator,
        result,
        now,
        origin,
        subject=redact(subject),
        arguments=_redacted(arguments or {}, redactor or Redactor()),
        problem=redact(detail),
        incident=incident,
        job=job,
    )
    try:
        with _locked(state / AUDIT) as descriptor:
            repository = _repository_of(state)
            _append(descriptor, deed, state, repository, keeps_head=keeps_head)
    except OSError as error:
        why = f"{action}: {state / AUDIT}: {error.strerror or error}"
        _unaudited.append(why)
        return why
    return ""


def take_unaudited() -> tuple[str, ...]:
    """Return what this process could not write into a log since it was last asked."""
    found = tuple(dict.fromkeys(_unaudited))
    _unaudited.clear()
    return found


def begin_anew(
    state: Path, *, operator: str, origin: Mapping[str, str], reason: str, now: datetime
) -> Path | None:
    """Lay the log aside as it is, and begin another, whose first line tells of it.

    Returns where the former one lies, None where there was none. OSError where that can't be.
    """
    found = verify_log(state)
    path = state / AUDIT
    aside: Path | None = None
    arguments: dict[str, object] = {"reason": reason, "lines": found.lines}
    if found.misfit is not None:
        arguments["misfit"] = f"line {found.misfit.line}: {found.misfit.what}"
    with _locked(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size:
            digest = _digest(descriptor, size)
            aside = path.with_name(f"audit-{now:%Y%m%dT%H%M%SZ}-{digest[:8]}.jsonl")
            aside.hardlink_to(path)
            arguments |= {"former": aside.name, "former_sha256": digest}
        deed = Deed(BEGUN, operator, "ok", now, origin, arguments=arguments)
        line, head = audit_line(deed, Head())
        replace_file(path, line, mode=state_file_mode(path))
        repository = _repository_of(state)
        if repository is not None:
            with suppress(OSError):
                _keep_head(repository, state, head)
    return aside


def logs_of(state: Path) -> list[Path]:
    """Return the states that hold a log of this site: its own, and where an incident had to go."""
    home = home_of(state) or state
    found = [home, state, *find_elsewhere(home, os.environ)]
    return [each for each in dict.fromkeys(found) if (each / AUDIT).exists()]


def read_log(state: Path) -> Iterator[bytes]:
    """Yield the lines of a log without their line feeds; nothing where there is none. OSError."""
    with suppress(FileNotFoundError), (state / AUDIT).open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


def verify_log(state: Path, *, after: Verified | None = None) -> Verified:
    """Return whether every line of a log fits, and its end is what the repository knows.

    ``after`` is what was verified before, whose bytes are known to be the same: only what
    follows is looked at. OSError where the log can't be read.
    """
    # First the head: the log may grow meanwhile, and never shrinks.
    known = known_head(state)
    start = after if after is not None and after.misfit is None else Verified(0, None)
    chain = ChainCheck(start.head, start.lines, known=known)
    offset, torn = start.offset, False
    with suppress(FileNotFoundError), (state / AUDIT).open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                torn = True
                break
            misfit = chain.take(line[:-1])
            if misfit is not None:
                return Verified(misfit.line - 1, misfit, offset=offset, head=chain.head)
            offset += len(line)
    return Verified(chain.line, chain.end(), torn, offset, chain.head)


def known_head(state: Path) -> Head | None:
    """Return the head of a state's log that the repository keeps; None where it has none."""
    repository = _repository_of(state)
    if repository is None:
        return None
    try:
        return parse_head(json.loads((repository / HEADS / _head_name(state)).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Give the log's open file, locked; OSError where it can't be had."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        descriptor = open_kept(path, mode=state_file_mode(path))
        try:
            _lock(descriptor, deadline)
            # Somebody may have laid the log aside meanwhile.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    yield descriptor
                    return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(None, "another process holds it") from None
            time.sleep(_POLL_SECONDS)
        else:
            return


def _append(
    descriptor: int,
    deed: Deed,
    state: Path,
    repository: Path | None,
    *,
    keeps_head: bool,
) -> None:
    size = os.fstat(descriptor).st_size
    last, rest = _tail(descriptor, size)
    data = b""
    if rest:
        whole = head_of(rest)
        if whole is not None and whole.sequence == last.sequence + 1:
            data, last = b"\n", whole
        else:
            line, last = audit_line(torn_deed(rest, deed.at, deed.origin), last)
            data = b"\n" + line
    known = known_head(state)
    if known is not None and known != last and known.sequence >= last.sequence:
        # A log that is gone, cut or exchanged goes on where it ended: that it is so stays seen.
        last = known
    line, head = audit_line(deed, last)
    _write(descriptor, data + line, size)
    if size == 0:
        sync_directory(state)
    if keeps_head and repository is not None:
        with suppress(OSError):
            _keep_head(repository, state, head)


def _write(descriptor: int, data: bytes, size: int) -> None:
    """Write at the end, durably and whole; what did not fit is taken back."""
    os.lseek(descriptor, 0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _tail(descriptor: int, size: int) -> tuple[Head, bytes]:
    """Return the last whole line's head, and what follows it without an end."""
    length = min(_TAIL_BYTES, size)
    while True:
        data = os.pread(descriptor, length, size - length)
        *lines, rest = data.split(b"\n")
        # The first piece may be the end of a line only.
        for line in reversed(lines if length == size else lines[1:]):
            head = head_of(line)
            if head is not None:
                return head, rest
        if length >= size:
            return Head(), rest
        length = min(length * 8, size)


def _keep_head(repository: Path, state: Path, head: Head) -> None:
    directory = make_directory(repository / HEADS)
    document = {
        "format": AUDIT_FORMAT,
        "host": socket.gethostname(),
        "log": str(state / AUDIT),
        **head_document(head),
    }
    content = (json.dumps(document, indent=1) + "\n").encode()
    replace_file(directory / _head_name(state), content)


def _head_name(state: Path) -> str:
    """Return the name under which the repository knows a log: its host's, and its place's."""
    host = "".join(each if each.isalnum() or each in "-_" else "_" for each in socket.gethostname())
    place = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:12]
    return f"{host}-{place}.json"


def _repository_of(state: Path) -> Path | None:
    """Return the repository that a state belongs to, as the state remembers it; None: not here."""
    home = home_of(state) or state
    try:
        memories = sorted((home.parent / _KNOWN).iterdir())
    except OSError:
        return None
    for memory in memories:
        with suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads(memory.read_bytes())
            root = Path(document["path"])
            identity = json.loads((root / REPOSITORY_NAME).read_bytes())
            if document["id"] == home.name == identity["id"]:
                return root
    return None


def _digest(descriptor: int, size: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while offset < size and (data := os.pread(descriptor, 1 << 20, offset)):
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()


def _redacted(value: Mapping[str, object], redactor: Redactor) -> dict[str, object]:
    return {str(name): _clean(each, redactor) for name, each in value.items()}


def _clean(value: object, redactor: Redactor) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return _redacted(value, redactor)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(each, redactor) for each in value]
    return redactor.redact(str(value))
