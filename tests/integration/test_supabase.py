"""A Supabase project's database: what a backup of it holds, and that it is proven elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.point import PartManifest, PostgresFacts
from fsbackup_tui.domain.proof import Proof, parse_proof
from fsbackup_tui.engines.postgres.comparison import compare_database
from fsbackup_tui.engines.postgres.toc import read_archive_header
from fsbackup_tui.operations.filling import Dump, Filling, fill_and_account
from fsbackup_tui.operations.scratch_place import prepare_roles, scratch_place
from fsbackup_tui.operations.trial_database import trial_database
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records
from tests.support.contexts import context_of
from tests.support.servers import binaries, execute, majors, query
from tests.support.sites import Site, make_site
from tests.support.supabase_double import SupabaseDouble, start_supabase_double

# Supabase had 13 and 14, has 15 and 17.
_MAJORS = [major for major in majors() if major >= 15]
_LEFT_OUT_TABLES = (
    "auth.schema_migrations",
    "realtime.messages (partitions)",
    "realtime.schema_migrations",
    "storage.migrations",
    "supabase_functions.hooks",
    "supabase_functions.hooks_id_seq",
    "supabase_functions.migrations",
)
_LEFT_OUT_SCHEMAS = ("_analytics", "graphql", "graphql_public", "pgbouncer", "vault")


@pytest.fixture(scope="module", params=_MAJORS, ids=lambda major: f"pg{major}")
def double(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SupabaseDouble]:
    """A project of each major; shared, so put back what you change."""
    started = start_supabase_double(tmp_path_factory.mktemp("supabase"), request.param)
    yield started
    started.server.remove()


def site_of(double: SupabaseDouble, directory: Path, url: str | None = None) -> Site:
    major = double.server.version_num // 10_000
    settings = {"clients": [str(binaries(major))]}
    return make_site(directory / "site", url or double.url, settings=settings)


def backed_up(double: SupabaseDouble, directory: Path, url: str | None = None) -> Site:
    site = site_of(double, directory, url)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    return site


def reader_of(site: Site) -> PointReader:
    (point,) = site.points()
    return PointReader(open_repository(site.repository), point["id"])


def part_of(reader: PointReader) -> tuple[PartManifest, PostgresFacts]:
    (part,) = reader.parts()
    assert part.postgres is not None
    return part, part.postgres


def proof_of(site: Site) -> tuple[Any, Proof]:
    verified = site.run("verify", "latest", "--level", "proven", "--json", timeout=240)
    document = verified.document
    (point,) = site.points()
    records = read_records(open_repository(site.repository), point["id"])
    documents: list[Any] = [record.document for record in records]
    proofs = [
        part["proof"]
        for record in documents
        for part in record.get("parts", {}).values()
        if part.get("proof")
    ]
    assert proofs, verified.stdout + verified.stderr
    return document, parse_proof(proofs[-1])


def test_its_rows_are_backed_up_and_what_is_not_is_named(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    site = backed_up(double, tmp_path)
    part, facts = part_of(reader := reader_of(site))
    assert facts.platform == "supabase"
    assert facts.managed_schemas == _LEFT_OUT_SCHEMAS
    assert facts.managed_tables == _LEFT_OUT_TABLES
    assert part.warnings == ()
    counted = {table.qualified: table.rows for table in facts.tables if table.fingerprint}
    assert counted["auth.users"] == counted["auth.identities"] == counted["public.profiles"] == 120
    assert counted["storage.objects"] == 60
    assert counted["storage.buckets"] == 2
    assert counted["supabase_migrations.schema_migrations"] == 1
    assert facts.migration_head == "20260101_init"
    (subscription,) = (t for t in facts.tables if t.qualified == "realtime.subscription")
    assert subscription.data_excluded
    assert subscription.note == "its rows are the host's own, and left out"

    entries = read_archive_header(reader.path_inside(part.source, "database.dump")).entries
    labels = {entry.label for entry in entries}
    assert {
        "TABLE DATA auth.users",
        "TABLE DATA storage.objects",
        "SEQUENCE SET auth.refresh_tokens_id_seq",
        "TRIGGER auth.users on_auth_user_created",
        "POLICY storage.objects Own faces",
        "POLICY realtime.messages Own room",
        "TRIGGER public.generated_videos notify_render",
        "ACL public.TABLE profiles",
        "EVENT TRIGGER pgrst_ddl_watch",
        "PUBLICATION supabase_realtime",
    } <= labels
    assert not [label for label in labels if label.startswith("TABLE DATA realtime.")]
    assert not [label for label in labels if "vault.secrets" in label]

    roles = reader.path_inside(part.source, "globals.sql").read_text()
    assert "CREATE ROLE supabase_auth_admin;" in roles
    assert "PASSWORD" not in roles
    assert "SCRAM" not in roles


def test_it_is_proven_on_a_server_that_is_not_supabases(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    site = backed_up(double, tmp_path)
    document, proof = proof_of(site)
    assert document["problems"] == []
    assert document["blocked"] == []
    assert document["trust"] == "proven"
    assert (proof.restored, proof.proven) == ("ok", "ok")
    assert proof.place.startswith("own server")
    assert proof.receipt is not None
    assert proof.receipt.lost == ()
    benign = dict(proof.receipt.benign)
    for label in ("EXTENSION supabase_vault", "EXTENSION pg_graphql", "EXTENSION uuid-ossp"):
        assert "this server can't have it" in benign[label]
    assert "ACL graphql.FUNCTION resolve(query text)" in benign
    (schema,) = (check for check in proof.checks if check.kind == "schema")
    assert schema.verdict == "equal"
    tables = {table.qualified: table.verdict for table in proof.tables}
    assert tables["auth.users"] == tables["storage.objects"] == "equal"
    assert tables["public.profiles"] == "equal"


def asked(url: str, question: str) -> list[tuple[object, ...]]:
    """Ask with an empty search_path, so that all names are whole."""
    options = "options=-csearch_path%3D"
    return query(f"{url}{'&' if '?' in url else '?'}{options}", question)


async def test_the_copy_has_what_the_site_made_and_a_changed_user_is_found(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    site = backed_up(double, tmp_path)
    part, facts = part_of(reader := reader_of(site))
    context = context_of(site, lambda _event: None)
    async with scratch_place(context, part) as place:
        roles = reader.path_inside(part.source, "globals.sql")
        assert await prepare_roles(place, context, facts, roles) == []
        async with trial_database(context, place, facts, is_alive=lambda _job: False) as made:
            filling = Filling(
                context=context,
                address=place.address.with_database(made.name),
                client=place.client,
                database_oid=made.created.oid,
                # What several jobs say at once may be torn, and nothing tries again here.
                jobs=1,
            )
            dump = Dump(reader.path_inside(part.source, "database.dump"), facts)
            accounting = await fill_and_account(filling, dump)
            assert accounting.problems() == []
            assert accounting.schema_sha256 == facts.schema_sha256
            copy = filling.address.url().reveal()
            for question in (_TRIGGERS, _POLICIES, _GRANTS, _EVENT_TRIGGERS, _OWNERS):
                assert asked(copy, question) == asked(double.platform_url, question) != []

            async def verdicts() -> dict[str, str]:
                tables, _checks = await compare_database(
                    filling.connect,
                    facts,
                    sessions=2,
                    schema_sha256=accounting.schema_sha256,
                    report=lambda _event: None,
                )
                return {table.qualified: table.verdict for table in tables if table.failed}

            assert await verdicts() == {}
            execute(
                copy,
                "UPDATE auth.users SET encrypted_password = encrypted_password || ' '"
                " WHERE email = 'face7@example.org'",
            )
            assert await verdicts() == {"auth.users": "different"}


_TRIGGERS = """
SELECT t.tgrelid::regclass::text, t.tgname::text, pg_get_triggerdef(t.oid)
FROM pg_trigger AS t WHERE NOT t.tgisinternal ORDER BY 1, 2
"""
_POLICIES = """
SELECT schemaname::text, tablename::text, policyname::text, roles::text, qual
FROM pg_policies ORDER BY 1, 2, 3
"""
_GRANTS = """
SELECT c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
FROM pg_class AS c, aclexplode(c.relacl) AS a
WHERE c.oid::regclass::text IN ('auth.users', 'storage.objects', 'profiles', 'public.profiles')
ORDER BY 1, 2, 3
"""
_EVENT_TRIGGERS = "SELECT evtname::text, evtowner::regrole::text FROM pg_event_trigger ORDER BY 1"
_OWNERS = """
SELECT nspname::text, nspowner::regrole::text FROM pg_namespace
WHERE nspname IN ('auth', 'storage', 'extensions', 'realtime', 'supabase_functions') ORDER BY 1
"""


def test_what_needs_a_missing_extension_blocks_and_is_no_loss(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    execute(
        double.url,
        "CREATE TABLE public.tokens (id uuid PRIMARY KEY DEFAULT extensions.uuid_generate_v4())",
    )
    try:
        document, proof = proof_of(backed_up(double, tmp_path))
    finally:
        execute(double.url, "DROP TABLE public.tokens")
    assert document["trust"] == "readable"
    assert proof.restored == "blocked"
    assert [blocker.what for blocker in proof.blockers] == [
        "extension uuid-ossp is missing on the scratch server"
    ]


def test_a_role_that_may_not_read_the_sites_users_gets_no_backup(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    double.as_platform(
        "CREATE ROLE prisma LOGIN BYPASSRLS",
        "GRANT USAGE ON SCHEMA public TO prisma",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO prisma",
    )
    try:
        site = site_of(double, tmp_path, double.url_of("prisma"))
        refused = site.run("backup", "daily", "--json")
        assert refused.exit_code != 0
        assert refused.error["what"].startswith("RIGHTS MISSING")
        assert "auth.users" in refused.error["why"]
        assert "auth.schema_migrations" not in refused.error["why"]
        assert "project's own role postgres" in refused.error["fix"]
    finally:
        double.as_platform("DROP OWNED BY prisma", "DROP ROLE prisma")


def test_a_table_that_is_locked_unexpectedly_is_left_out_and_told(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    double.as_platform("REVOKE ALL ON auth.mfa_factors FROM postgres")
    try:
        site = backed_up(double, tmp_path)
        found = {item["id"]: item for item in site.run("doctor", "--json").document["findings"]}
    finally:
        double.as_platform("GRANT ALL ON auth.mfa_factors TO postgres")
    part, facts = part_of(reader_of(site))
    assert "auth.mfa_factors" in facts.managed_tables
    assert "auth.mfa_factors" not in {table.qualified for table in facts.tables}
    (warning,) = part.warnings
    assert warning.startswith("NOT BACKED UP: the role 'postgres' may not read auth.mfa_factors")
    assert found["db.platform"]["severity"] == "warning"


def test_doctor_asks_for_nothing_that_supabase_does_not_give(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    site = site_of(double, tmp_path)
    looked = site.run("doctor", "--json")
    found = {item["id"]: item for item in looked.document["findings"]}
    named = {name: item for name, item in found.items() if name.startswith("db.")}
    assert {name for name, item in named.items() if item["severity"] != "ok"} == set()
    assert "auth.schema_migrations" in named["db.platform"]["what"]
    assert "never renamed" in named["db.restore-rights"]["what"]
    script = site.run("doctor", "--sql").stdout
    assert "CREATE ROLE" not in script
    assert "postgres may read all of the site's rows" in script


def test_an_ordinary_database_with_such_names_is_not_taken_for_one(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    execute(double.platform_url, "CREATE DATABASE shop OWNER postgres")
    url = double.server.url("shop", user="postgres")
    try:
        execute(url, "CREATE SCHEMA auth", "CREATE TABLE auth.schema_migrations (version int)")
        _part, facts = part_of(reader_of(backed_up(double, tmp_path, url)))
    finally:
        execute(double.platform_url, "DROP DATABASE shop")
    assert facts.platform == ""
    assert facts.managed_tables == ()
    assert "auth.schema_migrations" in {table.qualified for table in facts.tables}


def test_a_copy_beside_the_project_has_all_that_its_administrator_can_make(
    double: SupabaseDouble, tmp_path: Path
) -> None:
    site = backed_up(double, tmp_path)
    copy = double.server.url("recovered", user="postgres")
    try:
        restored = site.run("restore", "latest", "--beside", "recovered", "--json")
        assert restored.exit_code == 0, restored.stdout + restored.stderr
        assert restored.document["entries"]["lost"] == 0
        assert query(copy, "SELECT count(*) FROM auth.users") == [(120,)]
        assert query(copy, "SELECT count(*) FROM pg_policies") == [(4,)]
    finally:
        execute(double.platform_url, "DROP DATABASE IF EXISTS recovered WITH (FORCE)")
