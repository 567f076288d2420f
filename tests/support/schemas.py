"""A database whose schema ``public`` everything else holds on to, for the tests of schema swaps."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsbackup_tui.engines.postgres.connection import Connection, connect
from fsbackup_tui.engines.postgres.kept import kept_name
from fsbackup_tui.engines.postgres.schema_pairs import SchemaPair
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import SchemaCopyRequest, SchemaSwapRequest
from fsbackup_tui.operations.schema_copy import run as run_copy
from fsbackup_tui.operations.schema_swap import run as run_swap
from tests.support.contexts import context_of
from tests.support.servers import binaries, execute, query
from tests.support.sessions import APPLICATION, address_of
from tests.support.sites import Site, make_site

OWNER = "schema_owner"
READER = "schema_reader"
TAG = "k3f9"

SHOP = """
CREATE SCHEMA crm;
CREATE SCHEMA reports;
GRANT USAGE ON SCHEMA crm, reports TO schema_reader;
CREATE TABLE crm.shops (id int PRIMARY KEY, name text);
INSERT INTO crm.shops SELECT i, 'shop ' || i FROM generate_series(1, 5) AS i;

CREATE TYPE public.status AS ENUM ('new', 'paid');
CREATE FUNCTION public.is_staff() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
CREATE FUNCTION public.filled(value text) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS $$ SELECT value <> '' $$;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql SET search_path TO public
    AS $$ BEGIN NEW.touched := (SELECT count(*) FROM users); RETURN NEW; END $$;
CREATE SEQUENCE public.numbers START 1000;
CREATE TABLE public.users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email extensions.citext UNIQUE, name text
);
CREATE TABLE public.orders (
    id serial PRIMARY KEY, user_id int NOT NULL REFERENCES public.users ON DELETE CASCADE,
    shop_id int NOT NULL REFERENCES crm.shops ON DELETE CASCADE,
    state public.status NOT NULL DEFAULT 'new'
);
CREATE TABLE public.parts (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE public.parts_2026 PARTITION OF public.parts
    FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON public.users (lower(name));
COMMENT ON TABLE public.users IS 'who buys';
CREATE VIEW public.paid AS SELECT * FROM public.orders WHERE state = 'paid';
ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_orders ON public.orders TO schema_reader USING (public.is_staff());
GRANT SELECT ON public.users, public.orders TO schema_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO schema_reader;
INSERT INTO public.users (email, name)
    SELECT 'U' || i || '@example.org', 'user ' || i FROM generate_series(1, 200) AS i;
INSERT INTO public.orders (user_id, shop_id, state)
    SELECT 1 + i % 200, 1 + i % 5, 'paid' FROM generate_series(1, 600) AS i;
INSERT INTO public.parts SELECT i, '2026-05-05' FROM generate_series(1, 20) AS i;

CREATE TABLE crm.notes (
    id int PRIMARY KEY DEFAULT nextval('public.numbers'), touched int,
    user_id int CONSTRAINT notes_user REFERENCES public.users ON DELETE SET NULL,
    body text CONSTRAINT notes_filled CHECK (public.filled(body))
);
COMMENT ON CONSTRAINT notes_user ON crm.notes IS 'whose it is';
ALTER TABLE crm.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY staff ON crm.notes TO schema_reader USING (public.is_staff())
    WITH CHECK (user_id IN (SELECT id FROM public.users));
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON crm.notes
    FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TRIGGER sleeping BEFORE INSERT ON crm.notes
    FOR EACH ROW EXECUTE FUNCTION public.touch();
ALTER TABLE crm.notes DISABLE TRIGGER sleeping;
INSERT INTO crm.notes (user_id, body) SELECT i, 'note ' || i FROM generate_series(1, 50) AS i;
GRANT SELECT ON crm.notes TO schema_reader;

CREATE VIEW reports.totals WITH (security_barrier = true) AS
    SELECT u.id, u.name, count(*) AS orders FROM public.users AS u
    JOIN public.orders AS o ON o.user_id = u.id GROUP BY u.id, u.name;
GRANT SELECT ON reports.totals TO schema_reader;
CREATE VIEW reports.best AS SELECT * FROM reports.totals WHERE orders > 3;
CREATE FUNCTION reports.users_by_text() RETURNS bigint LANGUAGE plpgsql
    AS $$ BEGIN RETURN (SELECT count(*) FROM public.users); END $$;
CREATE PUBLICATION feed FOR TABLE public.users, crm.shops;
"""
STANDARD_BODY = """
CREATE FUNCTION reports.users_by_body() RETURNS bigint LANGUAGE sql
    BEGIN ATOMIC SELECT count(*) FROM public.users; END
"""


@dataclass
class Shop:
    """A site whose role owns its database and is no superuser, backed up and restored beside."""

    server: ScratchServer
    site: Site
    name: str
    copy: str
    owner: str = OWNER

    @property
    def major(self) -> int:
        return self.server.version_num // 10_000

    @property
    def url(self) -> str:
        """The database as its owner."""
        return self.server.url(self.name, user=self.owner)

    @property
    def admin_url(self) -> str:
        """The database as whoever may rename its schemas."""
        role = self.owner if self.major >= 15 else None
        return self.server.url(self.name, user=role)

    def ask(self, question: str, *, role: str = "", database: str = "") -> Any:
        """Return the one value that answers."""
        return query(self.server.url(database or self.name, user=role or self.owner), question)[0][
            0
        ]

    def definitions(self) -> str:
        """Return the whole database's definitions as pg_dump writes them, but for what is kept."""
        return definitions_of(self.url, self.major)

    def content(self) -> dict[str, object]:
        """Return rows and sequence positions by name, but for what is kept."""
        return content_of(self.url)

    async def run_copy(self, **fields: Any) -> dict[str, Any]:
        """Bring the schemas of the side database beside the live ones."""
        oid = int(self.ask(f"SELECT oid::int8 FROM pg_database WHERE datname = '{self.copy}'"))
        request = SchemaCopyRequest("db", copy=self.copy, copy_oid=oid, tag=TAG, **fields)
        return await run_copy(request, fresh_context(self.site))

    async def run_swap(self, copied: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Swap what was copied in."""
        return await run_swap(swap_request(copied, **fields), fresh_context(self.site))

    async def run_back(self, swapped: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Let what was live before come back."""
        return await run_swap(back_request(swapped, **fields), fresh_context(self.site))


def swap_request(copied: dict[str, Any], **fields: Any) -> SchemaSwapRequest:
    schemas = copied["schemas"]
    return SchemaSwapRequest(
        "db",
        schemas=tuple(item["schema"] for item in schemas),
        live_oids=tuple(item["live_oid"] for item in schemas),
        copy_oids=tuple(item["oid"] for item in schemas),
        tag=TAG,
        **fields,
    )


def back_request(swapped: dict[str, Any], **fields: Any) -> SchemaSwapRequest:
    schemas = swapped["schemas"]
    return SchemaSwapRequest(
        "db",
        schemas=tuple(item["schema"] for item in schemas),
        live_oids=tuple(item["oid"] for item in schemas),
        copy_oids=tuple(item["kept_oid"] for item in schemas),
        tag=TAG,
        back=True,
        **fields,
    )


def fresh_context(site: Site) -> JobContext:
    shutil.rmtree(site.directory / "work", ignore_errors=True)
    return context_of(site, lambda _event: None)


def definitions_of(url: str, major: int) -> str:
    completed = subprocess.run(
        [
            str(binaries(major) / "pg_dump"),
            "--schema-only",
            "--exclude-schema=*__before_*",
            "--exclude-schema=*__after_*",
            "--exclude-schema=*__r_*",
            f"--dbname={url}",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    text = re.sub(r"^\\(un)?restrict .*$", "", completed.stdout, flags=re.MULTILINE)
    if major < 15:
        # Said of a schema that was not made with the database, taken for granted of one that was.
        text = text.replace("GRANT ALL ON SCHEMA public TO PUBLIC;\n", "")
    # An object made anew has another place among those of its kind that depend on as much.
    return "\n".join(sorted(text.splitlines()))


def content_of(url: str) -> dict[str, object]:
    rows = query(
        url,
        "SELECT n.nspname::text, c.relname::text, c.relkind::text FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'S')"
        " AND n.nspname !~ '^pg_|__(before|after|r)_' AND n.nspname <> 'information_schema'"
        " AND has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')",
    )
    found: dict[str, object] = {}
    for schema, name, kind in rows:
        table = f'"{schema}"."{name}"'
        question = f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} AS t"
        if kind == "S":
            question = f"SELECT last_value, is_called FROM {table}"
        found[table] = query(url, question)[0]
    return found


def make_shop(
    server: ScratchServer,
    name: str,
    directory: Path,
    *,
    extension_in: str = "extensions",
    source: Mapping[str, object] = {},
    restored: bool = True,
) -> Shop:
    """Make the shop, back it up, and restore it beside under the name ``NAME__restore``."""
    major = server.version_num // 10_000
    execute(
        server.url(),
        f"DO $$ BEGIN CREATE ROLE {OWNER} LOGIN CREATEDB; CREATE ROLE {READER} LOGIN;"
        " EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f'ALTER DATABASE "{name}" OWNER TO {OWNER}',
    )
    if major < 15:  # there public is the superuser's, in every new database, too
        source = {"admin": {"url": server.url()}}
    url = server.url(name, user=OWNER)
    if extension_in != "public":
        execute(url, f"CREATE SCHEMA {extension_in}")
    execute(server.url(name), f"GRANT USAGE ON SCHEMA public TO {READER}")
    execute(url, f"CREATE EXTENSION citext SCHEMA {extension_in}")
    execute(url, SHOP.replace("extensions.citext", f"{extension_in}.citext"), STANDARD_BODY)
    settings = {"clients": [str(binaries(major))]}
    site = make_site(directory / "site", url, settings=settings, source=source)
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    shop = Shop(server, site, name, f"{name}__restore")
    if restored:
        beside = site.run("restore", "latest", "--beside", shop.copy, "--json")
        assert beside.exit_code == 0, beside.stdout + beside.stderr
    return shop


def pairs_of(copied: dict[str, Any]) -> tuple[SchemaPair, ...]:
    """Return what a copy brought, as the engine swaps it."""
    return tuple(
        SchemaPair(
            item["schema"],
            item["live_oid"],
            item["beside"],
            item["oid"],
            kept_name(item["schema"], "before", TAG),
        )
        for item in copied["schemas"]
    )


async def open_session(url: str) -> Connection:
    """Open a session of the program's own kind."""
    return await connect(address_of(url), application_name=APPLICATION)
