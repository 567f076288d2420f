"""Incidents on disk: one directory each, with its journal, its leader, and nothing held open.

``STATE/incidents/<id>/journal.jsonl`` has a line for every entry, fsynced before anybody goes on.
``leader.json`` has the epoch of the present leadership, by which every job is judged
(jobs/leader.py). Nothing of it depends on a living process: an SSH session that died holds nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal, StaleLeader, UsageError
from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.incident import DamageSpan, Entry, Incident, Seen, parse_entry, replay
from fsbackup_tui.domain.incident_now import now_text
from fsbackup_tui.repository.audit import append_audit
from fsbackup_tui.repository.elsewhere import find_elsewhere, home_of
from fsbackup_tui.repository.files import (
    make_state_directory,
    open_kept,
    owner_name,
    replace_file,
    state_file_mode,
    sync_directory,
    writing,
)
from fsbackup_tui.repository.lock import Holder, Lock
from fsbackup_tui.repository.origin import acting_origin
from fsbackup_tui.repository.whereabouts import state_closed

INCIDENTS = "incidents"
JOURNAL = "journal.jsonl"
LEADER = "leader.json"
NOW = "NOW.txt"
_LOCK = "lock"
_LOCK_SECONDS = 5.0
_MOST_A_DAY = 99
# What people decide; that a step began and ended is told by its job.
_AUDITED = frozenset(
    {
        *("opened", "reopened", "closed", "led", "take-over-asked", "take-over-refused"),
        *("skipped", "not-done", "undone", "go", "runbook", "damage-time", "set", "note"),
        *("frozen", "thawed"),
    }
)


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: a person, on which host, and what time it is to them."""

    operator: str
    host: str
    now: Callable[[], datetime]

    def holder(self) -> Holder:
        """Return who holds the journal's lock while a line is written."""
        return Holder(self.operator, self.host, os.getpid(), "incident", self.now())


class IncidentJournal:
    """The journal of one incident: read by everybody, written by its leader; notes by all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._offset = 0
        self._rest = b""
        self._entries: list[Entry] = []

    @property
    def id(self) -> str:
        """The incident's id, the name of its directory."""
        return self.directory.name

    def entries(self) -> list[Entry]:
        """Return all entries; what was read before is not read again. A torn line is none."""
        with suppress(FileNotFoundError), (self.directory / JOURNAL).open("rb") as file:
            file.seek(self._offset)
            data = file.read()
            self._offset += len(data)
            *whole, self._rest = (self._rest + data).split(b"\n")
            for line in whole:
                with suppress(ValueError, KeyError, TypeError):
                    self._entries.append(parse_entry(json.loads(line)))
        return self._entries

    def read(self) -> Incident | None:
        """Return the incident as it stands now; None where its first line was never written."""
        return replay(self.id, self.entries())

    def append(
        self,
        kind: str,
        body: Mapping[str, object],
        author: Author,
        *,
        epoch: int | None,
        job: str = "",
    ) -> Entry:
        """Add an entry and return it once it is durable.

        ``epoch`` is that of the leadership it is written under; None for a watcher's note.
        ``job`` is the one that writes, if one does: a new leader may have taken it along.

        Raises:
            StaleLeader: somebody else leads by now; nothing was written.
            LockHeld, DiskFull, RepositoryUnwritable: it can't be written.
        """
        with self._writing(author):
            leads = leader_epoch(self.directory)
            if epoch is not None and epoch != leads and job not in _adopted(self.directory):
                raise stale_leader(self.directory, epoch)
            return self._append(kind, body, author, leads)

    def take_over(
        self, author: Author, why: str, *, expected: int, adopts: tuple[str, ...] = ()
    ) -> Entry:
        """Make the author the leader; requests of the former one are refused from now on.

        ``expected`` is the epoch that was seen: of two who take over at once, one does.
        ``adopts`` are jobs under way that go on under the new leader.

        Raises:
            StaleLeader: somebody else was quicker.
        """
        with self._writing(author):
            epoch = leader_epoch(self.directory)
            if epoch != expected:
                raise stale_leader(self.directory, expected)
            # A leader.json that can't be read must not bring an old epoch back.
            new = max(epoch, *(entry.epoch for entry in self.entries()), 0) + 1
            write_leader(self.directory, author, new, adopts=adopts)
            return self._append("led", {"why": why, "adopts": list(adopts)}, author, new)

    @contextmanager
    def _writing(self, author: Author) -> Iterator[None]:
        lock = Lock(self.directory / _LOCK, what=f"incident {self.id}")
        with (
            writing(self.directory / JOURNAL),
            lock.acquire(_LOCK_SECONDS, author.holder()),
        ):
            yield

    def _append(self, kind: str, body: Mapping[str, object], author: Author, epoch: int) -> Entry:
        entries = self.entries()
        number = entries[-1].seq + 1 if entries else 1
        entry = Entry(number, author.now(), author.operator, author.host, epoch, kind, dict(body))
        line = json.dumps(entry.document(), ensure_ascii=False, default=str) + "\n"
        # A line that was torn by a crash gets its end first, so that it spoils no other.
        data = (b"\n" if self._rest else b"") + line.encode(errors="backslashreplace")
        path = self.directory / JOURNAL
        descriptor = open_kept(path, mode=state_file_mode(path))
        try:
            os.lseek(descriptor, 0, os.SEEK_END)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._write_now(author.now())
        self._audit(entry)
        return entry

    def _audit(self, entry: Entry) -> None:
        """Have the site's log tell of it; jobs tell of themselves, and looks change nothing."""
        if entry.kind not in _AUDITED:
            return
        arguments = {name: value for name, value in entry.body.items() if name != "step"}
        append_audit(
            self.directory.parent.parent,
            f"incident {entry.kind}",
            operator=entry.operator,
            origin={**acting_origin(), "host": entry.host},
            result="ok",
            now=entry.at,
            subject=str(entry.body.get("step", "")),
            arguments=arguments,
            incident=self.id,
        )

    def _write_now(self, at: datetime) -> None:
        """Rewrite how to go on by hand. A disk that takes no more must not stop the recovery."""
        incident = self.read()
        if incident is not None:
            with suppress(OSError):
                text = now_text(incident, at)
                _replace(self.directory / NOW, text.encode(errors="backslashreplace"))


def open_incident(
    state: Path,
    author: Author,
    *,
    site: str,
    source: str,
    seen: Seen,
    last_right: datetime | None,
    zone: tzinfo,
    is_drill: bool = False,
) -> IncidentJournal:
    """Declare an incident and return its journal; its author leads it, in epoch 1.

    Raises:
        SafetyRefusal: one of this source is open already.
    """
    found = find_open(state, source=source, is_drill=is_drill)
    if found is not None:
        raise SafetyRefusal(
            f"INCIDENT OPEN ALREADY: {found.id}, led by {_leader_name(found.directory)}.",
            why="Two incidents of one source would undo each other's work.",
            fix=f"fsbackup recover --resume {found.id}",
        )
    root = state / INCIDENTS
    with writing(root):
        make_state_directory(root)
        directory = _new_directory(root, author.now().astimezone(zone), _roots(state))
        write_leader(directory, author, 1)
        journal = IncidentJournal(directory)
        body = {
            "format": 1,
            "site": site,
            "source": source,
            "seen": seen,
            "last_right": None if last_right is None else format_time(last_right),
            "is_drill": is_drill,
        }
        journal.append("opened", body, author, epoch=1)
        sync_directory(root)
    return journal


def _new_directory(root: Path, local: datetime, roots: Sequence[Path]) -> Path:
    """Make the next incident's directory of a day; numbers are never used again that day."""
    for number in range(1, _MOST_A_DAY + 1):
        directory = root / f"{local:%Y%m%d}-{number:02d}"
        if any((other / directory.name).exists() for other in roots):
            continue
        with suppress(FileExistsError):
            return make_state_directory(directory, exist_ok=False)
    raise UsageError(
        f"TOO MANY INCIDENTS: {_MOST_A_DAY} were opened on {local:%Y-%m-%d}.",
        fix="Go on with one of them: fsbackup incidents",
    )


def list_incidents(state: Path) -> list[IncidentJournal]:
    """Return the journals of all incidents that were declared here, the newest first.

    Those that this user may not read are left out: they must keep nobody from recovering.

    Raises:
        RepositoryUnreadable: the directory of all of them can't be read.
    """
    journals = [IncidentJournal(path) for path in _directories(state) if _readable(path)]
    journals.sort(key=lambda journal: journal.id, reverse=True)
    return [journal for journal in journals if journal.read() is not None]


def unreadable_incidents(state: Path) -> tuple[str, ...]:
    """Return the incidents that this user may not read, each with whose it is."""
    found = [path for path in _directories(state) if _readable(path) is False]
    return tuple(f"{path.name} ({owner_name(path / JOURNAL)}'s)" for path in sorted(found))


def _directories(state: Path) -> list[Path]:
    found: list[Path] = []
    for root in _roots(state):
        try:
            found += root.iterdir() if root.is_dir() else ()
        except PermissionError as error:
            raise state_closed(root.parent) from error
    return found


def _readable(directory: Path) -> bool | None:
    """Whether an incident's journal can be read; None where there is none."""
    try:
        (directory / JOURNAL).open("rb").close()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError:
        return False
    return True


def is_open_in(state: Path) -> bool:
    """Whether an incident, or a drill, is open in this very directory."""
    root = state / INCIDENTS
    journals = [IncidentJournal(path) for path in root.iterdir()] if root.is_dir() else []
    incidents = [journal.read() for journal in journals]
    return any(incident is not None and incident.closed is None for incident in incidents)


def _roots(state: Path) -> list[Path]:
    """Return where a site's incidents lie: in its state, and where that could not be written."""
    home = home_of(state) or state
    found = [state, home, *find_elsewhere(home, os.environ)]
    return [directory / INCIDENTS for directory in dict.fromkeys(found)]


def open_damage(state: Path) -> DamageSpan | None:
    """Return when live was not right, by the incident that is open; None: none, or not known."""
    journal = find_open(state)
    incident = journal.read() if journal is not None else None
    return incident.damage if incident is not None else None


def find_open(
    state: Path, *, source: str | None = None, is_drill: bool = False
) -> IncidentJournal | None:
    """Return the newest incident that is open, of one source or of any; None without one."""
    for journal in list_incidents(state):
        incident = journal.read()
        if (
            incident is not None
            and incident.closed is None
            and incident.is_drill is is_drill
            and source in (None, incident.source)
        ):
            return journal
    return None


def find_incident(state: Path, text: str) -> IncidentJournal:
    """Return the incident that an id, or its end without the year, means; UsageError else."""
    journals = list_incidents(state)
    named = [journal for journal in journals if journal.id == text]
    named = named or [
        journal for journal in journals if len(text) > 2 and journal.id.endswith(text)
    ]
    if not named:
        known = ", ".join(journal.id for journal in journals[:5]) or "none"
        hidden = ", ".join(unreadable_incidents(state))
        why = f"There is {known}." + (f" Not yours to read: {hidden}." if hidden else "")
        raise UsageError(f"NO SUCH INCIDENT: {text}.", why=why, fix="fsbackup incidents")
    return named[0]


def leader_epoch(directory: Path) -> int:
    """Return the epoch of an incident's present leadership; 0 where it can't be read."""
    try:
        return int(json.loads((directory / LEADER).read_bytes())["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _adopted(directory: Path) -> tuple[str, ...]:
    """Return the jobs that the present leader took along; none where it can't be read."""
    try:
        return tuple(map(str, json.loads((directory / LEADER).read_bytes())["adopts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def write_leader(
    directory: Path, author: Author, epoch: int, *, adopts: tuple[str, ...] = ()
) -> None:
    """Let every job know who leads from now on; durable when it returns."""
    document = {
        "format": 1,
        "operator": author.operator,
        "host": author.host,
        "epoch": epoch,
        "since": format_time(author.now()),
        "adopts": list(adopts),
    }
    _replace(directory / LEADER, (json.dumps(document, indent=1) + "\n").encode())
    sync_directory(directory)


def _replace(path: Path, content: bytes) -> None:
    replace_file(path, content, mode=state_file_mode(path))


def stale_leader(directory: Path, epoch: int) -> StaleLeader:
    """Return why what is asked under this epoch is not done."""
    return StaleLeader(
        f"NOT DONE: incident {directory.name} has another leader now.",
        why=f"{_leader_name(directory)} leads it in epoch {leader_epoch(directory)}; this was "
        f"asked in epoch {epoch}.",
        fix=f"Watch, or take over: fsbackup recover --resume {directory.name}",
    )


def _leader_name(directory: Path) -> str:
    try:
        document = json.loads((directory / LEADER).read_bytes())
        return f"{document['operator']} on {document['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "somebody"
