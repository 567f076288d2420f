"""What became of every entry of an archive, found out by looking into the restored copy.

The copy's catalogue is read by the tool that wrote the archive: a schema-only pg_dump of the copy
lists every kind of object that pg_dump of this server knows, whichever version, so an entry that
the copy can't show is lost whatever pg_restore's log says ("finished item" is printed for failed
ones too). Rows, sequence values, large objects and materialised views are looked up one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fsbackup_tui.domain.errors import RestoreIncomplete
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.catalogue import (
    Catalogue,
    archive_schema_digest,
    foreign_grants,
    read_catalogue,
)
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.judge import Judge
from fsbackup_tui.engines.postgres.managed import managed_reason
from fsbackup_tui.engines.postgres.restore import RestoreRun
from fsbackup_tui.engines.postgres.retry import Retrier, Retries
from fsbackup_tui.engines.postgres.schema import writing_options
from fsbackup_tui.engines.postgres.toc import TocEntry
from fsbackup_tui.engines.postgres.tool_output import split_entry


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where every entry ended; ``unexplained`` are errors of the tool that belong to no entry.

    ``schema_sha256`` is the copy's schema digest, to be compared with the captured one; it is
    the captured one where the copy differs in nothing but what is known to be benign. ``notes``
    are differences that lose nothing. With ``torn`` it is not whole, and may be so only because
    several jobs wrote their errors over each other: restored by one job it is surely told.
    """

    restored: int
    benign: tuple[tuple[TocEntry, str], ...]
    deferred: tuple[TocEntry, ...]
    lost: tuple[tuple[TocEntry, str], ...]
    unexplained: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_sha256: str | None = None
    torn: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is lost and every error is explained."""
        return not self.lost and not self.unexplained

    def together(self, other: Accounting) -> Accounting:
        """Return the sum of two archives' accountings, restored into one database."""
        return Accounting(
            self.restored + other.restored,
            self.benign + other.benign,
            self.deferred + other.deferred,
            self.lost + other.lost,
            self.unexplained + other.unexplained,
            self.notes + other.notes,
            self.schema_sha256,
            self.torn or other.torn,
        )

    def counts(self) -> dict[str, int]:
        """Return the ``entries`` object of restore's JSON document (design §9)."""
        return {
            "restored": self.restored,
            "benign": len(self.benign),
            "deferred": len(self.deferred),
            "lost": len(self.lost) + len(self.unexplained),
        }

    def problems(self) -> list[str]:
        """Return one line per lost entry or unexplained error."""
        return [f"{entry.label}: {why}" for entry, why in self.lost] + list(self.unexplained)

    def require_whole(self, database: str) -> None:
        """Raise RestoreIncomplete naming the first few things lost, if anything is."""
        problems = self.problems()
        if not problems:
            return
        more = f"\nand {len(problems) - 5} more" if len(problems) > 5 else ""
        raise RestoreIncomplete(
            f"RESTORE INCOMPLETE: {len(problems)} of the archive's entries are lost in {database}.",
            why="\n".join(problems[:5]) + more,
            fix="Don't use the copy. Mend what is named (roles, extensions, search_path in "
            "functions) or restore another point.",
        )


async def account(
    connection: Connection,
    entries: Sequence[TocEntry],
    run_result: RestoreRun,
    facts: PostgresFacts,
    *,
    client: ClientTools,
    environment: Mapping[str, str],
    work: Path,
    archive: Path | None = None,
    archive_rows: Mapping[int, int] | None = None,
    report: Report | None = None,
    redactor: Redactor | None = None,
    schemas: Sequence[str] = (),
) -> Accounting:
    """Look for every entry in the copy that ``connection`` and ``environment`` reach.

    Rows are expected as the archive itself holds them where that is known (``archive_rows`` by
    dump id), else as counted at capture. ``work`` takes a small temporary file. With ``archive``
    what is absent after several jobs met errors is tried again alone, and looked for anew.
    ``schemas`` are all that it went into; none named: the whole database.
    """
    errors = _errors_by_entry(run_result.errors)
    written = {**environment, **writing_options(facts.settings, facts.identity.role)}
    granted = frozenset(entry.dump_id for entry in foreign_grants(entries))

    async def look() -> tuple[Judge, Catalogue]:
        catalogue = await read_catalogue(client, written, work, redactor, schemas=schemas)
        judge = Judge(
            connection, facts, run_result, catalogue, errors, archive_rows or {}, report, granted
        )
        await judge.prepare()
        deferred = {entry.dump_id for entry in run_result.deferred}
        for entry in entries:
            if entry.dump_id not in deferred:
                await judge.judge(entry)
        return judge, catalogue

    judge, catalogue = await look()
    retries, unheard = Retries(), 0
    # Alone and in one transaction a newer client would fail at what an older server doesn't know.
    alone = run_result.garbled and not run_result.older_server
    if archive is not None and alone and judge.found.absent:
        retrier = Retrier(
            connection, client, environment, archive, work=work, report=report, redactor=redactor
        )
        retries = await retrier.retry(judge.found.absent, entries, run_result)
        errors, unheard = retries.reconcile(errors)
        judge, catalogue = await look()
    schema_sha256 = catalogue.schema_sha256
    if archive is not None and (absent := _not_as_captured(judge, facts, granted)):
        found = catalogue.own_sha256 if granted & absent else schema_sha256

        async def digest(without: Collection[int]) -> str:
            return await archive_schema_digest(
                client, archive, entries, work, without=without, redactor=redactor
            )

        if await digest(absent) == found:
            # The archive stands for the captured schema, which its own digest has to be.
            schema_sha256 = await digest(())
    known = {entry.dump_id for entry in entries}
    nameless = [text for number, texts in errors.items() if number not in known for text in texts]
    accounting = Accounting(
        judge.found.restored,
        tuple(judge.found.benign),
        run_result.deferred,
        tuple(retries.advise(judge.found.lost)),
        (*nameless, *_unheard(run_result, unheard)),
        (*judge.notes(), *retries.notes()),
        schema_sha256,
    )
    surely_lost = any(entry.dump_id in retries.said for entry, _why in judge.found.lost)
    doubtful = bool(accounting.unexplained) or not surely_lost
    torn = archive is not None and run_result.garbled and doubtful and not accounting.whole
    return replace(accounting, torn=torn)


def _not_as_captured(judge: Judge, facts: PostgresFacts, granted: frozenset[int]) -> frozenset[int]:
    """Return the entries (dump ids) that the copy's definitions rightly differ in."""
    benign = judge.found.benign
    own = {entry.dump_id for entry, _why in benign if managed_reason(entry, facts) is not None}
    differ = any(entry.dump_id in granted for entry, _why in benign)
    return frozenset(own | granted) if differ else frozenset(own)


def _unheard(run_result: RestoreRun, heard_since: int) -> list[str]:
    """Return what there is to say of errors that the tool counted and nobody can name."""
    if run_result.errors_not_kept:
        return [f"{run_result.errors_not_kept} more errors were not kept"]
    # pg_restore counts every error of its parallel part, and every entry that had any: with all
    # of them heard it has twice as many at most (parallel.c, parseWorkerResponse; tried).
    heard = len(run_result.errors) + heard_since
    if run_result.jobs == 1 or run_result.errors_counted <= 2 * heard:
        return []
    return ["pg_restore met errors that can't be read, as its jobs wrote them over each other"]


def _errors_by_entry(errors: Sequence[str]) -> Mapping[int, list[str]]:
    """Return the tool's errors by dump id; 0 for those that name no entry."""
    by_entry: defaultdict[int, list[str]] = defaultdict(list)
    for error in errors:
        text, number = split_entry(error)
        by_entry[number].append(text)
    return by_entry
