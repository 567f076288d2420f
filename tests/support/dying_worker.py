"""The worker, dying or holding its breath at a moment that the test names.

``JOBDIR/moment.json`` names it: before or after the nth thing whose label has the pattern. Labels
are SQL statements as they go to the server, ``stage NAME``, ``told EVENT``, and ``journal KIND`` of
the incident. All that was met before is in ``JOBDIR/moments``, and the moment in ``JOBDIR/met``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from fsbackup_tui.domain.events import Event, event_document
from fsbackup_tui.domain.incident import Entry
from fsbackup_tui.jobs import worker
from fsbackup_tui.jobs.session import JobSession
from fsbackup_tui.repository.incidents import Author, IncidentJournal

MODULE = "tests.support.dying_worker"
MOMENT, MOMENTS, MET, GO_ON = "moment.json", "moments", "met", "go-on"
When = Literal["before", "after"]
_LONGEST = 300


@dataclass(frozen=True)
class Moment:
    """Before or after the ``nth`` label that has ``pattern``; ``holds``: it waits, else it dies.

    With ``past`` labels count only behind the first that has that: the COMMIT of what it began.
    """

    when: When
    pattern: str
    nth: int = 1
    holds: bool = False
    past: str = ""

    def write(self, directory: Path) -> None:
        """Let the worker of the job in that directory know of it."""
        (directory / MOMENT).write_text(json.dumps(asdict(self)))


def read_moment(directory: Path) -> Moment:
    """Return the moment of the job in a directory."""
    return Moment(**json.loads((directory / MOMENT).read_text()))


class _Watch:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._moment = read_moment(directory)
        self._found = 0
        self._is_past = not self._moment.past
        self._guard = threading.Lock()

    def meet(self, when: When, label: str) -> None:
        line = f"{when} {' '.join(label.split())[:_LONGEST]}"
        moment = self._moment
        with self._guard:
            with (self._directory / MOMENTS).open("a") as file:
                file.write(f"{line}\n")
            if not self._is_past:
                self._is_past = re.search(moment.past, line) is not None
                return
            if when != moment.when or re.search(moment.pattern, line) is None:
                return
            self._found += 1
            if self._found != moment.nth:
                return
        (self._directory / MET).write_text(line)
        if not moment.holds:
            os.kill(os.getpid(), signal.SIGKILL)
        pause = threading.Event()
        while not (self._directory / GO_ON).exists():
            pause.wait(0.005)


def _text(query: object) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(None)
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)


def _watch_statements(watch: _Watch) -> None:
    execute = psycopg.AsyncCursor.execute
    command = psycopg.AsyncConnection._exec_command

    async def execute_watched(self: Any, query: Any, *given: Any, **named: Any) -> Any:
        text = _text(query)
        watch.meet("before", text)
        done = await execute(self, query, *given, **named)
        watch.meet("after", text)
        return done

    def command_watched(
        self: Any, query: Any, *given: Any, **named: Any
    ) -> Generator[Any, Any, Any]:
        text = _text(query)
        watch.meet("before", text)
        done = yield from command(self, query, *given, **named)
        watch.meet("after", text)
        return done

    psycopg.AsyncCursor.execute = execute_watched  # type: ignore[method-assign]
    psycopg.AsyncConnection._exec_command = command_watched  # type: ignore[assignment]


def _watch_words(watch: _Watch) -> None:
    stage, report, append = JobSession.stage, JobSession.report, IncidentJournal.append

    def stage_watched(self: JobSession, name: str) -> None:
        watch.meet("before", f"stage {name}")
        stage(self, name)
        watch.meet("after", f"stage {name}")

    def report_watched(self: JobSession, event: Event) -> None:
        told = event_document(event)
        report(self, event)
        watch.meet("after", f"told {told.pop('event')} {told}")

    def append_watched(
        self: IncidentJournal,
        kind: str,
        body: Mapping[str, object],
        author: Author,
        *,
        epoch: int | None,
        job: str = "",
    ) -> Entry:
        watch.meet("before", f"journal {kind}")
        entry = append(self, kind, body, author, epoch=epoch, job=job)
        watch.meet("after", f"journal {kind}")
        return entry

    JobSession.stage = stage_watched  # type: ignore[method-assign]
    JobSession.report = report_watched  # type: ignore[method-assign]
    IncidentJournal.append = append_watched  # type: ignore[method-assign]


def main(argv: list[str]) -> int:
    """Run the job in the directory named, until its moment comes."""
    watch = _Watch(Path(argv[1]))
    _watch_statements(watch)
    _watch_words(watch)
    return worker.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
