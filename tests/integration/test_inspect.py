"""What is read of a database, against what was put there and what pg_dump makes of it."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.point import DatabaseSetting, PostgresFacts, SequenceFacts
from fsbackup_tui.engines.postgres.inspect import DatabaseInspection, inspect_database
from fsbackup_tui.engines.postgres.patterns import Exclusions
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, binaries, execute
from tests.support.sessions import address_of, session


async def inspect(url: str, exclusions: Exclusions | None = None) -> DatabaseInspection:
    async with session(url) as connection:
        return await inspect_database(
            connection, address_of(url), exclusions=exclusions or Exclusions()
        )


def facts_of(found: DatabaseInspection) -> PostgresFacts:
    return found.to_facts(
        client_version="18.6",
        scope="full",
        format="custom",
        toc_entries=1,
        schema_sha256=None,
        snapshot_at=datetime(2026, 11, 22, tzinfo=UTC),
        snapshot_lsn=None,
        counts={},
        count_method="absent",
        count_note="not tried",
    )


async def test_properties_settings_grants_and_roles(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    name = address_of(url).database
    execute(
        url,
        "DROP ROLE IF EXISTS inspect_owner, inspect_reader, inspect_policy, inspect_default,"
        " inspect_nobody",
        *(
            f"CREATE ROLE inspect_{role}"
            for role in ("owner", "reader", "policy", "default", "nobody")
        ),
        f"COMMENT ON DATABASE {name} IS 'the shop''s'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 40",
        f"ALTER DATABASE {name} SET search_path = app, public",
        f"ALTER ROLE inspect_reader IN DATABASE {name} SET work_mem = '9MB'",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE t OWNER TO inspect_owner",
        "GRANT SELECT ON t TO inspect_reader",
        "CREATE POLICY p ON t TO inspect_policy USING (true)",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO inspect_default",
    )
    found = facts_of(await inspect(url))
    execute(
        url,
        "DROP POLICY p ON t",
        "DROP OWNED BY inspect_owner, inspect_reader, inspect_policy, inspect_default",
        "DROP ROLE inspect_owner, inspect_reader, inspect_policy, inspect_default, inspect_nobody",
    )
    assert found.encoding == "UTF8"
    assert found.locale_provider in ("libc", "icu", "builtin")
    assert found.collate.startswith("C")
    assert (found.comment, found.connection_limit) == ("the shop's", 40)
    assert found.tablespace == "pg_default"
    assert found.settings == (
        DatabaseSetting(None, "search_path", "app, public"),
        DatabaseSetting("inspect_reader", "work_mem", "9MB"),
    )
    assert [role for role in found.roles if role.startswith("inspect_")] == [
        "inspect_default",
        "inspect_owner",
        "inspect_policy",
        "inspect_reader",
    ]
    assert found.owner in found.roles
    assert any(grant.startswith("=T/") for grant in found.grants)
    assert {extension.name for extension in found.extensions} == {"plpgsql"}


async def test_tables_sequences_large_objects_and_prisma(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        'CREATE SCHEMA "Odd Schema"',
        'CREATE TABLE "Odd Schema"."we""ird" ("id" int GENERATED ALWAYS AS IDENTITY,'
        ' "other ID" int, PRIMARY KEY ("other ID", id))',
        "CREATE TABLE parts (at date) PARTITION BY RANGE (at)",
        "CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO (MAXVALUE)",
        "INSERT INTO parts SELECT '2026-02-02' FROM generate_series(1, 100)",
        "CREATE UNLOGGED TABLE passing (id int)",
        "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM parts",
        "CREATE VIEW not_a_table AS SELECT 1",
        "CREATE TEMPORARY TABLE gone (id int)",
        "CREATE SEQUENCE never",
        "CREATE SEQUENCE set_not_called",
        "SELECT setval('set_not_called', 77, false)",
        "CREATE SEQUENCE called INCREMENT BY 5",
        "SELECT nextval('called'), nextval('called')",
        "SELECT lo_from_bytea(0, '\\x0102')",
        "CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, finished_at timestamptz,"
        " migration_name varchar(255) NOT NULL, rolled_back_at timestamptz)",
        "INSERT INTO _prisma_migrations VALUES ('1', '2026-01-01', '1_init', NULL),"
        " ('2', '2026-03-01', '3_bad', '2026-03-02'), ('3', '2026-02-01', '2_users', NULL),"
        " ('4', NULL, '4_running', NULL)",
        "ANALYZE",
    )
    found = facts_of(await inspect(url))
    tables = {table.qualified: table for table in found.tables}
    assert {name: table.kind for name, table in tables.items()} == {
        'Odd Schema.we"ird': "table",
        "public._prisma_migrations": "table",
        "public.parts": "partitioned",
        "public.parts_2026": "table",
        "public.passing": "unlogged",
        "public.seen": "materialised view",
    }
    assert tables['Odd Schema.we"ird'].primary_key == ("other ID", "id")
    assert tables["public.parts_2026"].rows == 100
    assert tables["public.parts"].rows is None
    assert tables["public.parts"].note == "its rows are in its partitions"
    assert not any(table.counted for table in found.tables)
    sequences = {sequence.name: sequence for sequence in found.sequences}
    assert sequences["never"] == SequenceFacts("public", "never", 1, False, 1)
    assert sequences["set_not_called"] == SequenceFacts("public", "set_not_called", 77, False, 1)
    assert sequences["called"] == SequenceFacts("public", "called", 6, True, 5)
    assert sequences['we"ird_id_seq'].owned_by == 'Odd Schema.we"ird.id'
    assert found.large_objects == 1
    assert (found.large_object_bytes or 0) > 0
    assert found.migration_head == "2_users"


async def test_a_role_without_many_rights_still_learns_who_it_talks_to(
    server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(server)
    execute(
        url,
        "CREATE ROLE inspect_plain LOGIN",
        "CREATE SCHEMA hidden",
        "CREATE TABLE hidden.t (id int)",
        "CREATE SEQUENCE hidden.s",
        "CREATE TABLE _prisma_migrations (id int)",
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
    )
    try:
        found = await inspect(server.url(address_of(url).database, user="inspect_plain"))
    finally:
        execute(url, "DROP ROLE inspect_plain")
    assert found.identity.system_identifier is None
    assert found.identity.role == "inspect_plain"
    assert [(table.qualified, table.readable) for table in found.tables] == [
        ("hidden.t", False),
        ("public._prisma_migrations", False),
    ]
    assert [sequence.last_value for sequence in found.sequences] == [None]
    assert found.migration_head is None


PATTERNS = (
    ("--exclude-schema", "audit"),
    ("--exclude-schema", "audit|odd*"),
    ("--exclude-schema", '"Odd One"'),
    ("--exclude-schema", "Odd*"),
    ("--exclude-schema", "*"),
    ("--exclude-table", "users"),
    ("--exclude-table", "log_*"),
    ("--exclude-table", "log_?"),
    ("--exclude-table", "Audit.LOG_1"),
    ("--exclude-table", '"Odd One"."we""ird; table"'),
    ("--exclude-table", "*.log_1"),
    ("--exclude-table", "audit.*"),
    ("--exclude-table", "pay$"),
    ("--exclude-table", "parts"),
    ("--exclude-table", "numbered"),
    ("--exclude-table", "*_id_seq"),
    ("--exclude-table", "alone"),
    ("--exclude-table", "no_such_table"),
)


@pytest.fixture(scope="module")
def many_names(server: ScratchServer) -> str:
    execute(server.url(), "CREATE DATABASE many_names TEMPLATE template0")
    url = server.url("many_names")
    execute(
        url,
        "CREATE SCHEMA audit",
        'CREATE SCHEMA "Odd One"',
        "CREATE SCHEMA odds",
        *(
            f"CREATE TABLE {name} (id serial)"
            for name in (
                "users",
                "log_1",
                "log_22",
                "audit.log_1",
                "audit.users",
                "odds.users",
                '"Odd One".users',
                '"Odd One"."we""ird; table"',
                '"Odd One"."Users"',
                "pay$",
                "paya",
            )
        ),
        "CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY)",
        "CREATE SEQUENCE alone",
        "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (9)",
        "CREATE TABLE audit.child () INHERITS (users)",
    )
    return url


@pytest.mark.parametrize(("option", "pattern"), PATTERNS)
async def test_exclusions_match_what_pg_dump_matches(
    many_names: str, option: str, pattern: str
) -> None:
    if option == "--exclude-schema":
        exclusions = Exclusions(schemas=(pattern,))
    else:
        exclusions = Exclusions(tables=(pattern,))
    found = await inspect(many_names, exclusions)
    tables, sequences = dumped_names(many_names, option, pattern)
    assert {table.qualified for table in found.tables} == tables
    assert {f"{item.schema}.{item.name}" for item in found.sequences} == sequences


def dumped_names(url: str, option: str, pattern: str) -> tuple[set[str], set[str]]:
    done = subprocess.run(
        [str(binaries(18) / "pg_dump"), "--schema-only", f"{option}={pattern}", url],
        env={"LC_ALL": "C"},
        capture_output=True,
        check=True,
        text=True,
    )
    entries = re.findall(
        r"^-- Name: (.*); Type: (TABLE|SEQUENCE); Schema: (.*); Owner", done.stdout, re.MULTILINE
    )
    tables = {f"{schema}.{name}" for name, kind, schema in entries if kind == "TABLE"}
    return tables, {f"{schema}.{name}" for name, kind, schema in entries if kind == "SEQUENCE"}


async def test_excluded_rows_keep_their_table(many_names: str) -> None:
    found = facts_of(await inspect(many_names, Exclusions(table_data=("log_*", "parts_1"))))
    excluded = {table.qualified for table in found.tables if table.data_excluded}
    assert excluded == {"public.log_1", "public.log_22", "public.parts_1"}
    assert found.excluded_table_data == ("log_*", "parts_1")


async def test_managed_schemas_are_named_where_they_exist(many_names: str) -> None:
    found = facts_of(await inspect(many_names, Exclusions(managed_schemas=("audit", "auth"))))
    assert found.managed_schemas == ("audit",)
    assert found.excluded_schemas == ()
    assert not any(table.schema == "audit" for table in found.tables)


async def test_the_kitchen_sink_is_read(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    path = Path(__file__).parent.parent / "support" / "kitchen_sink.sql"
    execute(url, path.read_text(encoding="utf-8"))
    found = facts_of(await inspect(url))
    execute(url, "DROP SUBSCRIPTION from_elsewhere")
    assert found.subscriptions == ("from_elsewhere",)
    assert {"kitchen_owner", "kitchen reader", "küche"} <= set(found.roles)
    assert {extension.name for extension in found.extensions} >= {"hstore", "citext", "pg_trgm"}
    assert any(table.kind == "foreign" for table in found.tables)


async def test_a_size_that_nothing_has_measured_is_unknown(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server)
    execute(url, "CREATE MATERIALIZED VIEW seen AS SELECT generate_series(1, 5000) AS n")
    assert facts_of(await inspect(url)).tables[0].bytes is None
    execute(url, "ANALYZE seen")
    assert (facts_of(await inspect(url)).tables[0].bytes or 0) > 100_000
