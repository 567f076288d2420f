"""Where one entry of an archive ended: looked up in the copy, kind by kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import sql

from fsbackup_tui.domain.events import Report, TableDone
from fsbackup_tui.domain.point import PostgresFacts, TableFacts
from fsbackup_tui.engines.postgres.catalogue import Catalogue, ObjectKey, entry_key, one_line
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.managed import managed_reason
from fsbackup_tui.engines.postgres.public_grants import LABEL, PublicSchema, read_public
from fsbackup_tui.engines.postgres.restore import RestoreRun
from fsbackup_tui.engines.postgres.schema import canonical_schema
from fsbackup_tui.engines.postgres.toc import TocEntry

_SETVAL = re.compile(
    r"pg_catalog\.setval\('(?P<name>(?:[^']|'')*)', (?P<value>-?\d+), (?P<called>true|false)\)"
)
_LARGE_OBJECT = re.compile(r"lo_create\('(\d+)'\)|^(\d+)$", re.MULTILINE)
_NAMED_OBJECT = re.compile(r"LARGE OBJECT (\d+)\b")
_GRANTEE = re.compile(r"^GRANT .* TO (.+?)(?: WITH GRANT OPTION)?;$", re.MULTILINE)
# Their text is kept as it was given, so that two databases can be compared by it; expressions
# are written anew by each server.
_TEXT_IS_STABLE = frozenset({"ACL", "DEFAULT ACL", "COMMENT", "SECURITY LABEL"})

_SESSION = "a setting of the dump's own session"
_FROM_MANIFEST = "a property of the database itself; replayed from the manifest"
_ITS_OWN: LiteralString = "FROM ONLY {}"
_STATISTICS = "planner statistics; ANALYZE makes new ones"
_EXTENSION_COMMENT = "the comment on an extension, which belongs to the extension's owner"
_TO_ITS_OWNER = "grants to the restoring role, which owns it here"
_FOREIGN_GRANTS = "grants on what the dump does not define (an extension's, the system's)"
_ON_PUBLIC = "grants on the schema public, where all may do as much already"
_EXISTED = "it is in every new database"
BENIGN_KINDS: Mapping[str, str] = {
    "ENCODING": _SESSION,
    "STDSTRINGS": _SESSION,
    "SEARCHPATH": _SESSION,
    "DATABASE": _FROM_MANIFEST,
    "DATABASE PROPERTIES": _FROM_MANIFEST,
    "STATISTICS DATA": _STATISTICS,
}
"""Kinds that need not be found in the copy, each with the reason; reviewed one by one."""


@dataclass(slots=True)
class Findings:
    """The entries by how they ended; ``absent`` are those lost ones of which nothing is there."""

    restored: int = 0
    absent: list[TocEntry] = field(default_factory=list)
    benign: list[tuple[TocEntry, str]] = field(default_factory=list)
    lost: list[tuple[TocEntry, str]] = field(default_factory=list)


class Judge:
    """Decides entry by entry; ``found`` keeps the results.

    ``foreign_grants`` are the dump ids of the archive's ``foreign_grants``.
    """

    def __init__(
        self,
        connection: Connection,
        facts: PostgresFacts,
        run_result: RestoreRun,
        catalogue: Catalogue,
        errors: Mapping[int, list[str]],
        archive_rows: Mapping[int, int],
        report: Report | None,
        foreign_grants: Collection[int] = (),
    ) -> None:
        self.found = Findings()
        self._foreign_grants = foreign_grants
        self._connection = connection
        self._facts = facts
        self._run = run_result
        self._catalogue = catalogue
        self._errors = errors
        self._archive_rows = archive_rows
        self._report = report
        self._tables = {(one_line(t.schema), one_line(t.name)): t for t in facts.tables}
        self._used: Counter[ObjectKey] = Counter()
        self._large_objects: dict[int, tuple[bool, bool]] = {}
        self._names: dict[tuple[str, str], tuple[str, str]] = {}
        self._extensions: dict[str, str] = {}
        self._role = ""
        self._public = PublicSchema()
        self._conditions: dict[tuple[str, str], str] = {}
        self._in_roots: dict[tuple[str, str], int | str] = {}
        self._uncounted = 0
        self._absent = False

    async def prepare(self) -> None:
        """Read what is asked for many entries: names as they are, large objects."""
        cursor = await self._connection.execute(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'm', 'S', 'f')"
        )
        for schema, name in await cursor.fetchall():
            self._names[one_line(schema), one_line(name)] = (schema, name)
        cursor = await self._connection.execute(
            "SELECT oid::pg_catalog.int8, lomacl IS NOT NULL,"
            " pg_catalog.obj_description(oid, 'pg_largeobject') IS NOT NULL"
            " FROM pg_catalog.pg_largeobject_metadata"
        )
        self._large_objects = {row[0]: (row[2], row[1]) for row in await cursor.fetchall()}
        cursor = await self._connection.execute("SELECT pg_catalog.quote_ident(current_user)")
        self._role = str((await cursor.fetchall())[0][0])
        cursor = await self._connection.execute(
            "SELECT extname::text, extversion FROM pg_catalog.pg_extension"
        )
        self._extensions = {row[0]: row[1] for row in await cursor.fetchall()}
        self._public = await read_public(self._connection)
        cursor = await self._connection.execute(_CONDITIONS)
        self._conditions = {(row[0], row[1]): row[2] for row in await cursor.fetchall()}

    def notes(self) -> list[str]:
        """Return the differences that lose nothing, and what could not be compared."""
        notes = [
            f"extension {item.name}: {self._extensions[item.name]} here, {item.version} at capture"
            for item in self._facts.extensions
            if self._extensions.get(item.name, item.version) != item.version
        ]
        if self._uncounted:
            notes.append(f"rows of {self._uncounted} tables had nothing to be compared with")
        return notes

    async def judge(self, entry: TocEntry) -> None:
        """Put one entry where it belongs."""
        reason = BENIGN_KINDS.get(entry.kind)
        if reason is None and entry.schema is None and entry.name.startswith("DATABASE "):
            reason = _FROM_MANIFEST
        if reason is not None:
            self.found.benign.append((entry, reason))
            return
        self._absent = False
        look = _LOOKUPS.get(entry.kind)
        why = await look(self, entry) if look is not None else self._in_catalogue(entry)
        if why is None:
            self.found.restored += 1
            return
        benign = self._benign_reason(entry)
        if benign is not None:
            self.found.benign.append((entry, benign))
            return
        if self._absent:
            self.found.absent.append(entry)
        said = self._errors.get(entry.dump_id)
        self.found.lost.append((entry, f"{why}; the tool said: {_short(said[0])}" if said else why))

    def _benign_reason(self, entry: TocEntry) -> str | None:
        if entry.kind == "COMMENT" and entry.name.startswith("EXTENSION "):
            return _EXTENSION_COMMENT
        if entry.kind in {"SCHEMA", "COMMENT"} and entry.name in {"public", "SCHEMA public"}:
            return _EXISTED
        if self._absent and self._grants_to_the_owner(entry):
            return _TO_ITS_OWNER
        if self._absent and (managed := managed_reason(entry, self._facts)) is not None:
            return managed
        if self._absent and _is_on_public(entry) and self._public.has_already(entry.definition):
            return _ON_PUBLIC
        if self._belongs_to_another(entry):
            return _FOREIGN_GRANTS
        said = " ".join(self._errors.get(entry.dump_id, ()))
        if self._run.no_owner and entry.kind in {"ACL", "DEFAULT ACL"}:
            missing = re.search(r'role "(.*?)" does not exist', said)
            if missing is not None:
                return f"grants that name the role {missing[1]}, which does not exist here"
        return None

    def _grants_to_the_owner(self, entry: TocEntry) -> bool:
        """Whether a grant names nobody but the restoring role, whose its object is here.

        Such a grant changes nothing, and so is not told by a dump.
        """
        owned = self._run.no_owner or entry.dump_id in self._foreign_grants
        grantees = set(_GRANTEE.findall(entry.definition))
        return entry.kind == "ACL" and owned and grantees == {self._role}

    def _belongs_to_another(self, entry: TocEntry) -> bool:
        """Whether it grants, without an error, on what is there anyway and another's here.

        An extension's objects belong to whoever made the extension, the system's to the first
        superuser; the grants are told, and dumped again, in relation to the owner.
        """
        if entry.dump_id not in self._foreign_grants or self._errors.get(entry.dump_id):
            return False
        here = self._catalogue.objects.get(entry_key(entry), ())
        return bool(here) and all(candidate.owner != entry.owner for candidate in here)

    def _in_catalogue(self, entry: TocEntry) -> str | None:
        if entry.schema is None and entry.name.startswith("LARGE OBJECT"):
            return self._of_large_objects(entry)
        key = entry_key(entry)
        candidates = self._catalogue.objects.get(key, ())
        if self._used[key] >= len(candidates):
            if not candidates:
                self._absent = True
            if _is_on_public(entry) and not self._public.is_ours:
                return (
                    f"it is not in the copy: there public is {self._public.owner}'s, and only it "
                    "may grant (let admin: url be a superuser's)"
                )
            return "it is not in the copy"
        self._used[key] += 1
        # `pg_dump --no-owner` writes none into plain SQL: whoever restores it owns all.
        told = entry.owner and not self._run.no_owner
        if told and all(candidate.owner != entry.owner for candidate in candidates):
            return f"its owner is {candidates[0].owner or '-'}, not {entry.owner or '-'}"
        if entry.kind in _TEXT_IS_STABLE and entry.definition and not self._run.no_owner:
            wanted = _statements(entry.definition)
            if all(_statements(candidate.definition) != wanted for candidate in candidates):
                return "it is there, but differs from the archive's"
        said = self._errors.get(entry.dump_id)
        if said and not all("already exists" in text for text in said):
            return "it is there, but not all of its statements succeeded"
        return None

    async def rows(self, entry: TocEntry) -> str | None:
        """TABLE DATA: the table's own rows, counted."""
        key = (one_line(entry.schema), one_line(entry.name))
        name = self._names.get(key)
        if name is None:
            return "its table is not in the copy"
        captured: TableFacts | None = self._tables.get(key)
        expected = self._archive_rows.get(entry.dump_id, self._run.rows.get(entry.dump_id))
        if expected is None and captured is not None and captured.counted:
            expected = captured.rows
        count = await self._count(name)
        if isinstance(count, str):
            return count
        self._absent = count == 0
        if self._report is not None:
            self._report(TableDone(".".join(name), count))
        if self._errors.get(entry.dump_id):
            return f"its rows did not arrive ({count} are there)"
        if expected is None:
            self._uncounted += 1
            return None
        if count != expected and not await self._lie_in_its_root(captured):
            return f"it has {count} rows, the archive {expected}"
        return None

    async def _lie_in_its_root(self, captured: TableFacts | None) -> bool:
        """Whether the rows that a partition lacks, or has too many, are its siblings'.

        Which hash partition an enum's value belongs to is another in every database: pg_dump has
        such rows loaded through the topmost table, and all of them together are compared.
        """
        root = None if captured is None else captured.partition_root
        if root is None or root not in self._names.values():
            return False
        leaves = [table for table in self._facts.tables if table.partition_root == root]
        stored = [
            table
            for table in leaves
            if table.kind in ("table", "unlogged") and not table.data_excluded
        ]
        if not all(table.counted for table in stored):
            self._uncounted += 1
            return True
        if root not in self._in_roots:
            self._in_roots[root] = await self._count(root, "FROM {}")
        return self._in_roots[root] == sum(table.rows or 0 for table in stored)

    async def _count(self, name: tuple[str, str], where: LiteralString = _ITS_OWN) -> int | str:
        source = sql.SQL(where).format(sql.Identifier(*name))
        if name in self._conditions:
            # The other rows are the extension's, which makes them itself.
            condition = sql.SQL(self._conditions[name])
            source = sql.SQL("FROM {} {}").format(sql.Identifier(*name), condition)
        try:
            cursor = await self._connection.execute(
                sql.SQL("SELECT pg_catalog.count(*) {}").format(source)
            )
            row = await cursor.fetchone()
        except psycopg.Error as error:
            return f"its rows can't be counted: {str(error).strip().splitlines()[0]}"
        return int(row[0]) if row is not None else "its rows can't be counted"

    async def materialised_view(self, entry: TocEntry) -> str | None:
        """MATERIALIZED VIEW DATA: filled, with the captured number of rows."""
        key = (one_line(entry.schema), one_line(entry.name))
        name = self._names.get(key)
        if name is None:
            return "its view is not in the copy"
        cursor = await self._connection.execute(
            "SELECT c.relispopulated FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace"
            " AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
            name,
        )
        row = await cursor.fetchone()
        if row is None or not row[0]:
            self._absent = row is not None
            return "it is not filled"
        captured = self._tables.get(key)
        if captured is not None and captured.counted:
            count = await self._count(name)
            if count != captured.rows:
                return f"it has {count} rows, at capture {captured.rows}"
        return None

    async def sequence_value(self, entry: TocEntry) -> str | None:
        """SEQUENCE SET: the very value that the archive sets."""
        name = self._names.get((one_line(entry.schema), one_line(entry.name)))
        if name is None:
            return "its sequence is not in the copy"
        match = _SETVAL.search(entry.definition)
        if match is None:
            return "its value is not known from the archive" if entry.definition else None
        cursor = await self._connection.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(*name))
        )
        expected = (int(match["value"]), match["called"] == "true")
        row = await cursor.fetchone()
        if row is None or (int(row[0]), bool(row[1])) != expected:
            return f"it stands at {row[0] if row else '-'}, in the archive at {expected[0]}"
        return None

    async def large_objects(self, entry: TocEntry) -> str | None:
        """BLOB, BLOB METADATA: every object is there. BLOBS: their bytes came without an error."""
        if entry.kind == "BLOBS":
            if self._errors.get(entry.dump_id):
                return "its large objects did not arrive"
            return None if self._large_objects else "there are no large objects in the copy"
        wanted = {int(match[1] or match[2]) for match in _LARGE_OBJECT.finditer(entry.definition)}
        missing = wanted - set(self._large_objects)
        return f"{len(missing)} large objects are missing" if missing or not wanted else None

    def _of_large_objects(self, entry: TocEntry) -> str | None:
        """Look up a COMMENT or ACL of large objects, which no schema-only dump shows."""
        texts = (entry.name, entry.definition)
        wanted = {int(number) for text in texts for number in _NAMED_OBJECT.findall(text)}
        for number in wanted:
            commented, granted = self._large_objects.get(number, (False, False))
            if not (commented if entry.kind == "COMMENT" else granted):
                return f"large object {number} lacks it"
        return None


_CONDITIONS = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, filter.condition
FROM pg_catalog.pg_extension AS e
CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition))
     AS filter(relation, condition)
JOIN pg_catalog.pg_class AS c ON c.oid = filter.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE filter.condition <> ''
"""

_LOOKUPS: Mapping[str, Callable[[Judge, TocEntry], Awaitable[str | None]]] = {
    "TABLE DATA": Judge.rows,
    "MATERIALIZED VIEW DATA": Judge.materialised_view,
    "SEQUENCE SET": Judge.sequence_value,
    "BLOB": Judge.large_objects,
    "BLOBS": Judge.large_objects,
    "BLOB METADATA": Judge.large_objects,
}


def _is_on_public(entry: TocEntry) -> bool:
    return entry.kind == "ACL" and entry.schema is None and entry.name == LABEL


def _statements(definition: str) -> list[bytes]:
    lines = [line + b"\n" for line in definition.encode("utf-8", "surrogateescape").splitlines()]
    return sorted(canonical_schema(lines))


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"
