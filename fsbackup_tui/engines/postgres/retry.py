"""Whose error was whose, after several jobs wrote theirs between each other's lines.

pg_restore's processes share one standard error and write a message in several pieces, so the
entry that an error names may be another's, and an error may be torn beyond reading. What is not
in the copy is therefore tried again alone, where nobody else speaks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.restore import RestoreRun, try_entry
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.tool_output import split_entry

MOST_RETRIES = 25
"""How many entries are tried again; a copy that lacks more is beyond such help."""

# What follows an error's first line, all in one line.
_BEHIND = re.compile(r" (?:DETAIL|HINT|QUERY|CONTEXT|LINE \d+|Command was): ")
_LOADS_ALONE = "tried again alone, its rows can be loaded: restore again"
_TRIGGERS = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND NOT t.tgisinternal
"""


@dataclass(slots=True)
class Retries:
    """How the retries ended, by dump id.

    ``said`` has the error of those that failed again; ``mended`` are those that came through;
    ``advice`` is what else there is to say of one.
    """

    said: dict[int, str] = field(default_factory=dict)
    mended: list[TocEntry] = field(default_factory=list)
    advice: dict[int, str] = field(default_factory=dict)

    def reconcile(self, errors: Mapping[int, Sequence[str]]) -> tuple[dict[int, list[str]], int]:
        """Return the errors (by entry) with those of the retries in their place.

        What a retry said again, or was said of one that came through, is explained, whomever it
        was put down to. Second comes the number of retries' errors that had not been heard.
        """
        mended = {entry.dump_id for entry in self.mended}
        heard = [text for texts in errors.values() for text in texts]
        left = {
            number: [text for text in texts if not self._explains(text)]
            for number, texts in errors.items()
            if number not in mended
        }
        for number, text in self.said.items():
            left[number] = [text]
        unheard = sum(not any(_same(text, other) for other in heard) for text in self.said.values())
        return left, unheard

    def _explains(self, error: str) -> bool:
        return any(_same(text, error) for text in self.said.values())

    def advise(self, lost: Sequence[tuple[TocEntry, str]]) -> list[tuple[TocEntry, str]]:
        """Return the lost entries with what else there is to say of each."""
        return [
            (entry, f"{why}; {self.advice[entry.dump_id]}" if entry.dump_id in self.advice else why)
            for entry, why in lost
        ]

    def notes(self) -> list[str]:
        """Return what is to be told of entries that are whole now."""
        return [f"{entry.label} failed beside others, and came alone" for entry in self.mended]


class Retrier:
    """Tries entries of an archive again, one after another, into the same copy."""

    def __init__(
        self,
        connection: Connection,
        client: ClientTools,
        environment: Mapping[str, str],
        archive: Path,
        *,
        work: Path,
        report: Report | None,
        redactor: Redactor | None,
    ) -> None:
        self._connection = connection
        self._client = client
        self._environment = environment
        self._archive = archive
        self._work = work
        self._report = report
        self._redactor = redactor

    async def retry(
        self, absent: Sequence[TocEntry], entries: Collection[TocEntry], run: RestoreRun
    ) -> Retries:
        """Try what is absent in the copy, in the archive's order, and return how that ended.

        Rows are only tried and taken back: coming last, they would be missing in what was made
        of them meanwhile (materialised views), and not even that where triggers would fire.
        """
        result = Retries()
        tables = {(e.schema, e.name): e for e in entries if e.kind == "TABLE"}
        for entry in absent[:MOST_RETRIES]:
            undo: TocEntry | None = None
            if entry.kind == "TABLE DATA":
                undo = tables.get((entry.schema, entry.name))
                if undo is None or await self._has_triggers(entry):
                    continue
            if self._report is not None:
                self._report(Log(f"Trying {entry.label} again alone, to learn what is wrong."))
            error = await try_entry(
                self._client,
                self._environment,
                self._archive,
                entry,
                undo=undo,
                work=self._work,
                no_owner=run.no_owner,
                report=self._report,
                redactor=self._redactor,
            )
            if error is not None:
                result.said[entry.dump_id] = split_entry(error)[0]
            elif undo is not None:
                result.advice[entry.dump_id] = _LOADS_ALONE
            else:
                result.mended.append(entry)
        return result

    async def _has_triggers(self, entry: TocEntry) -> bool:
        cursor = await self._connection.execute(_TRIGGERS, (entry.schema, entry.name))
        row = await cursor.fetchone()
        return row is None or row[0] > 0


def _same(error: str, told: str) -> bool:
    """Whether what was told is this error, with whatever another job wrote before or behind it."""
    primary = _BEHIND.split(error, maxsplit=1)[0]
    return primary in told
