"""One copy of schemas while it is made: where from, under which names, and what it has to be."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fsbackup_tui.domain.database_url import DatabaseAddress
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import Warned, format_time
from fsbackup_tui.domain.point import PostgresFacts, ServerIdentity, TableFacts
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.connection import (
    Connection,
    connect,
)
from fsbackup_tui.engines.postgres.fingerprint import COUNTING_SETTINGS, fingerprint_table
from fsbackup_tui.engines.postgres.inspect import (
    TableCount,
    inspect_database,
    table_facts,
)
from fsbackup_tui.engines.postgres.inspect_tables import TableInspection, list_tables
from fsbackup_tui.engines.postgres.managed import is_supabase, with_managed
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.schema_marks import (
    Mark,
    MarkKind,
    Memory,
    beside_name,
    check_different,
    find_marked,
    schema_oids,
)
from fsbackup_tui.engines.postgres.schema_side import (
    SchemaOwn,
    application_schemas,
    read_own,
    rename_back,
)
from fsbackup_tui.engines.postgres.schema_swap import in_the_way
from fsbackup_tui.engines.postgres.schema_ties import Ties, find_ties
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.foreign_trial import foreign_file
from fsbackup_tui.operations.recovery_requests import SchemaCopyRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.reader import PointReader

_MOST_JOBS = 8


@dataclass
class Copying:
    """One copy while it is made."""

    request: SchemaCopyRequest
    context: JobContext
    live: DatabaseAddress
    copy: DatabaseAddress
    identity: ServerIdentity
    client: ClientTools
    names: Mapping[str, str] = field(default_factory=dict)
    live_oids: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, SchemaOwn] = field(default_factory=dict)
    side_ties: Ties = field(default_factory=Ties)
    captured: tuple[TableFacts, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        """How many sessions dump and restore."""
        return self.request.jobs or min(max(2, os.cpu_count() or 1), _MOST_JOBS)

    @property
    def beside(self) -> tuple[str, ...]:
        """The schemas that are made."""
        return tuple(self.names.values())

    async def open_live(self) -> Connection:
        """Open a session in the live database."""
        name = self.context.application_name
        return await connect(self.live, application_name=name)

    async def open_copy(self) -> Connection:
        """Open a session in the side database; refused if it is another one now."""
        return await connect(
            self.copy,
            application_name=self.context.application_name,
            database_oid=self.request.copy_oid,
        )

    def note(self, text: str) -> None:
        """Keep a remark for the result, and tell it now."""
        self.notes.append(text)
        self.context.report(Warned(text))

    def marks(self, kind: MarkKind) -> dict[str, Mark]:
        """Return what each schema beside says of itself, with what it will need."""
        at = format_time(self.context.now())
        marks: dict[str, Mark] = {}
        for schema, beside in self.names.items():
            ties = tuple(tie for tie in self.side_ties.ties if tie.schema == schema)
            memory = Memory(self.own[schema].comment, ties)
            marks[beside] = Mark(kind, schema, at, self.context.job, memory)
        return marks


async def look(copying: Copying, copy: Connection, live: Connection) -> None:
    """Find out what is copied, and refuse what could not be swapped later."""
    request = copying.request
    supabase = await is_supabase(live)
    left = {item.mark.schema: item.name for item in await find_marked(copy)}
    schemas = request.schemas
    if not schemas:
        guessed = await application_schemas(copy, supabase=supabase)
        suffix = beside_name("", request.tag)
        schemas = tuple(
            dict.fromkeys(left.get(name, name.removesuffix(suffix)) for name in guessed if name)
        )
    names = {schema: beside_name(schema, request.tag) for schema in schemas}
    check_different(list(names.values()))
    await rename_back(copy, names)
    oids = await schema_oids(copy, list(names))
    missing = [schema for schema in names if schema not in oids]
    if missing or not names:
        raise UsageError(
            f"NO SUCH SCHEMA: {', '.join(missing) or '-'} is not in {request.copy}.",
            why="Nothing was done.",
            fix="Restore a point that has it, or name other schemas.",
        )
    copying.names = names
    copying.live_oids = await schema_oids(live, list(names))
    copying.own = {schema: await read_own(copy, schema) for schema in names}
    copying.side_ties = await find_ties(copy, list(oids.values()))
    ties = await find_ties(live, list(copying.live_oids.values()))
    if ties.blockers:
        raise in_the_way(ties)
    copying.captured = await _captured(copying, copy)


async def _captured(copying: Copying, copy: Connection) -> tuple[TableFacts, ...]:
    """Return the tables as they have to be, under their own names: the point's, or the copy's."""
    here = [
        table
        for table in await list_tables(copy, Exclusions(), exact_sizes=True)
        if table.schema in copying.names
    ]
    of_extensions = {(table.schema, table.name) for table in here if table.extension}
    facts = _manifest(copying)
    if facts is not None:
        return tuple(
            table
            for table in facts.tables
            if table.schema in copying.names and (table.schema, table.name) not in of_extensions
        )
    await copy.execute(COUNTING_SETTINGS)
    return tuple([await _measured(copy, table) for table in here if not table.extension])


def _manifest(copying: Copying) -> PostgresFacts | None:
    """Return what was captured; None where no point is named, or a backup file is."""
    request, context = copying.request, copying.context
    if not request.point or foreign_file(request.point, context) is not None:
        return None
    reader = PointReader(open_site_repository(context.loaded, os.environ), request.point)
    return reader.part(request.part).postgres


async def _measured(copy: Connection, table: TableInspection) -> TableFacts:
    if not table.dumps_rows:
        return table_facts(table, None)
    started = time.monotonic()
    rows, fingerprint, note = await fingerprint_table(copy, table, method="content")
    count = TableCount(table, rows, fingerprint, note, time.monotonic() - started)
    return table_facts(table, count)


async def expected_facts(copying: Copying, live: Connection) -> PostgresFacts:
    """Return what the schemas beside have to be, as facts of the live database."""
    exclusions = await with_managed(live, Exclusions())
    inspection = await inspect_database(live, copying.live, exclusions=exclusions)
    facts = inspection.to_facts(
        client_version=copying.client.version,
        scope="full",
        format="custom" if copying.jobs == 1 else "directory",
        toc_entries=0,
        schema_sha256=None,
        snapshot_at=copying.context.now(),
        snapshot_lsn=None,
        counts={},
        count_method="content",
    )
    return replace(
        facts,
        tables=tuple(_under_other_name(table, copying.names) for table in copying.captured),
        sequences=(),
        extensions=(),
    )


def _under_other_name(table: TableFacts, names: Mapping[str, str]) -> TableFacts:
    root = table.partition_root
    return replace(
        table,
        schema=names[table.schema],
        partition_root=None if root is None else (names.get(root[0], root[0]), root[1]),
    )
