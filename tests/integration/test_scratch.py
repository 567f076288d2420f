"""Throw-away servers: they start under another account, serve, stop, and leave nothing."""

from __future__ import annotations

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute, query


def test_server_serves_its_clients(
    matrix_server: ScratchServer, make_database: MakeDatabase
) -> None:
    url = make_database(matrix_server, 'we"ird; db')
    execute(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2)")
    assert query(url, "SELECT current_database(), sum(a) FROM t GROUP BY 1") == [('we"ird; db', 3)]
    version = int(str(query(url, "SHOW server_version_num")[0][0]))
    assert version == matrix_server.version_num


def test_tls(tls_server: ScratchServer) -> None:
    rows = query(
        tls_server.url() + "?sslmode=require",
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    )
    assert rows == [(True,)]
