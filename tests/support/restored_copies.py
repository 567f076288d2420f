"""A site in trouble: its database damaged after a backup, and that restored beside it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from psycopg import sql

from fsbackup_tui.domain.events import Event
from fsbackup_tui.engines.postgres.kept import kept_name
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import check_copy, swap, written_since
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.recovery_requests import (
    CheckCopyRequest,
    SwapRequest,
    WrittenSinceRequest,
)
from tests.support.contexts import context_of
from tests.support.servers import execute, query
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of

TAG = "k3f9"
_PASSWORD = "of-the-application"
_numbers = itertools.count(1)


@dataclass
class Trouble:
    """The site, its live database, and the copy beside; ``role`` is the application's."""

    server: ScratchServer
    site: Site
    live: str
    copy: str
    role: str
    point: str = ""
    incident: Path | None = None
    told: list[Event] = field(default_factory=list)

    def context(self) -> JobContext:
        """Return the context of a new job."""
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        context = context_of(self.site, self.told.append)
        return replace(context, incident=self.incident)

    def oid(self, name: str) -> int:
        """Return a database's OID now."""
        return oid_of(self.server, name)

    def kept(self, kind: str) -> str:
        """Return the name of the database that a swap, or its undoing, keeps."""
        return kept_name(self.live, "after" if kind == "after" else "before", TAG)

    def request(self, **changed: Any) -> SwapRequest:
        """Return the request for the swap as things stand now."""
        live_oid = changed.pop("live_oid", None)
        copy = changed.pop("copy", self.copy)
        return SwapRequest(
            part="db",
            live_oid=self.oid(self.live) if live_oid is None else live_oid,
            copy=copy,
            copy_oid=changed.pop("copy_oid", None) or self.oid(copy),
            **{"kept_as": self.kept("before"), **changed},
        )

    async def swap(self, request: SwapRequest | None = None) -> dict[str, Any]:
        """Swap as a job does it."""
        return await swap.run(request or self.request(), self.context())

    def back(self, done: Mapping[str, Any], **changed: Any) -> SwapRequest:
        """Return the request that undoes a swap, from what it told."""
        request = SwapRequest(
            part="db",
            live_oid=done["database_oid"],
            copy=done["kept_as"],
            copy_oid=done["kept_oid"],
            kept_as=self.kept("after"),
            back=True,
        )
        return replace(request, **changed)

    async def check(self, **changed: Any) -> dict[str, Any]:
        """Check the copy against its point, as a job does it."""
        oid = changed.pop("copy_oid", None) or self.oid(self.copy)
        request = CheckCopyRequest(part="db", point=self.point, copy=self.copy, copy_oid=oid)
        return await check_copy.run(replace(request, **changed), self.context())

    async def written(self, done: Mapping[str, Any]) -> dict[str, Any]:
        """Count what was written since a swap."""
        request = WrittenSinceRequest(
            part="db", live_oid=done["database_oid"], counters=done["counters"]
        )
        return await written_since.run(request, self.context())

    def url(self, database: str | None = None, user: str | None = None) -> str:
        """Return the URL of one of its databases, as the superuser or as somebody else."""
        if user is None:
            return self.server.url(database or self.live)
        return _as_role(self.server, database or self.live, user)

    def users(self, database: str | None = None) -> int:
        """Return how many users a database has."""
        return int(str(query(self.url(database), "SELECT count(*) FROM users")[0][0]))

    def content(self, database: str | None = None) -> list[tuple[object, ...]]:
        """Return what any row's difference in either table changes."""
        url = self.url(database)
        return [
            *query(url, "SELECT count(*), md5(string_agg(u::text, ';' ORDER BY id)) FROM users u"),
            *query(url, "SELECT count(*), md5(string_agg(o::text, ';' ORDER BY id)) FROM orders o"),
        ]

    def last_number(self) -> int:
        """Return the last number that live gave to an order."""
        return int(str(query(self.url(), "SELECT last_value FROM orders_id_seq")[0][0]))


def _as_role(server: ScratchServer, database: str, role: str) -> str:
    return server.url(database, user=role, password=_PASSWORD if server.tcp else None)


def tables_of(role: str) -> tuple[str, ...]:
    """Return the statements that make the shop's tables, for the application's role."""
    return (
        "CREATE TABLE users (id int PRIMARY KEY, mail text NOT NULL)",
        "INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 100) i",
        "CREATE TABLE orders (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,"
        " user_id int REFERENCES users ON DELETE CASCADE, total numeric)",
        "INSERT INTO orders (user_id, total) SELECT 1 + i % 100, i FROM generate_series(1, 300) i",
        "CREATE VIEW busy AS SELECT user_id, count(*) FROM orders GROUP BY 1",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON users, orders TO {role}",
        f"GRANT SELECT ON busy TO {role}",
    )


@contextmanager
def trouble_on(
    server: ScratchServer,
    url: str,
    directory: Path,
    *,
    source: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    restored: bool = True,
) -> Iterator[Trouble]:
    """Make the site on an empty database: backed up, damaged, and restored beside it."""
    live = url.partition("?")[0].rpartition("/")[2]
    role = f"app_{next(_numbers)}_{live[-12:]}"
    copy = kept_name(live, "restore", TAG)
    execute(
        url,
        f"CREATE ROLE {role} LOGIN PASSWORD '{_PASSWORD}'",
        *tables_of(role),
        f'REVOKE CONNECT ON DATABASE "{live}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{live}" TO {role}',
        f"COMMENT ON DATABASE \"{live}\" IS 'the shop'",
    )
    # The application's own URL is the source's; an administrator's is beside it.
    execute(url, f"GRANT pg_read_all_data TO {role}")
    site = make_site(
        directory / "site",
        _as_role(server, live, role),
        source={"admin": {"url": server.url()}, **(source or {})},
        settings={"clients": [str(server.bin_directory)], **(settings or {})},
    )
    trouble = Trouble(server, site, live, copy, role)
    try:
        done = site.run("backup", "daily", "--json")
        assert done.exit_code == 0, done.stdout + done.stderr
        trouble.point = str(done.document["point"])
        execute(url, "DELETE FROM users WHERE id > 3")
        if restored:
            beside = site.run("restore", "latest", "--beside", copy, "--json")
            assert beside.exit_code == 0, beside.stdout + beside.stderr
        yield trouble
    finally:
        if server.pid is not None:
            _remove(trouble)


def _remove(trouble: Trouble) -> None:
    names = query(
        trouble.server.url(),
        "SELECT datname::text FROM pg_database WHERE datname ~ "
        + sql.Literal(f"^{trouble.live}(__|$)").as_string(None),
    )
    for (name,) in names:
        execute(
            trouble.server.url(),
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(str(name))),
        )
    execute(trouble.server.url(), f"DROP ROLE IF EXISTS {trouble.role}")
