"""What servers and libpq say is told apart."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.errors import (
    AuthenticationFailed,
    DatabaseMissing,
    PostgresError,
    RightsMissing,
    ServerUnreachable,
    TableLocked,
)
from fsbackup_tui.engines.postgres.server_errors import explain

AT = 'connection failed: connection to server at "db1" (10.0.0.7), port 5432 failed: '

CASES = [
    (
        None,
        f"{AT}Connection refused\n\tIs the server running?",
        ServerUnreachable,
        "SERVER NOT REACHED: db1:5432 refused the connection.",
    ),
    (
        None,
        "failed to resolve host 'db1': [Errno -2] Name or service not known",
        ServerUnreachable,
        "SERVER NOT REACHED: db1:5432 is no host that this machine knows.",
    ),
    (
        None,
        "connection timeout expired",
        ServerUnreachable,
        "SERVER NOT REACHED: db1:5432 did not answer in time.",
    ),
    (
        None,
        f'{AT}FATAL:  password authentication failed for user "app"',
        AuthenticationFailed,
        "LOGIN REFUSED: db1:5432 refused the role 'app'.",
    ),
    (
        None,
        f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "app", database "shop",'
        " SSL off",
        AuthenticationFailed,
        "LOGIN REFUSED: db1:5432 refused the role 'app'.",
    ),
    (
        None,
        f'{AT}FATAL:  database "shop" does not exist',
        DatabaseMissing,
        "DATABASE MISSING: db1:5432 has no database 'shop'.",
    ),
    (
        None,
        f"{AT}FATAL:  sorry, too many clients already",
        ServerUnreachable,
        "NO FREE CONNECTION: db1:5432 has all its connections in use.",
    ),
    (
        None,
        f"{AT}server does not support SSL, but SSL was required",
        ServerUnreachable,
        "NO SECURE CONNECTION: TLS with db1:5432 failed.",
    ),
    (
        None,
        f"{AT}FATAL:  the database system is starting up",
        ServerUnreachable,
        "SERVER STARTING: db1:5432 does not accept connections yet.",
    ),
    (
        None,
        f'{AT}FATAL:  permission denied for database "shop"',
        RightsMissing,
        "RIGHTS MISSING: the role 'app' on db1:5432 may not do this.",
    ),
    (
        None,
        f"{AT}FATAL:  es ist etwas schiefgegangen",
        ServerUnreachable,
        "SERVER NOT REACHED: db1:5432 ended the connection.",
    ),
    (
        "57P01",
        "terminating connection due to administrator command",
        ServerUnreachable,
        "SERVER SHUTTING DOWN: db1:5432 ended the session.",
    ),
    (
        "55P03",
        "canceling statement due to lock timeout",
        TableLocked,
        "TABLE LOCKED: somebody on db1:5432 holds a lock for too long.",
    ),
    (
        "42501",
        "permission denied for table users",
        RightsMissing,
        "RIGHTS MISSING: the role 'app' on db1:5432 may not do this.",
    ),
    (
        "42P01",
        'relation "x" does not exist',
        PostgresError,
        "SERVER REFUSED: db1:5432 answered with an error (42P01).",
    ),
]


@pytest.mark.parametrize(("sqlstate", "text", "kind", "what"), CASES)
def test_refusals(sqlstate: str | None, text: str, kind: type[PostgresError], what: str) -> None:
    error = explain(
        sqlstate,
        text,
        detail="",
        hint="",
        display="app@db1:5432/shop",
        place="db1:5432",
        database="shop",
        user="app",
    )
    assert type(error) is kind
    assert error.what == what
    assert error.why
    assert "connection to server" not in error.why
    assert "\t" not in error.why
    assert error.fix


def test_a_server_s_hint_is_what_to_do_next() -> None:
    error = explain(
        "53200",
        "out of shared memory",
        detail="",
        display="x",
        place="db1:5432",
        hint="You might need to increase max_locks_per_transaction.",
        database="x",
        user=None,
    )
    assert error.fix == "You might need to increase max_locks_per_transaction."
