"""Errors and warnings out of a tool's log, with the entry they belong to."""

from __future__ import annotations

import pytest

from fsbackup_tui.domain.errors import (
    ClientUnsuitable,
    DiskFull,
    FsbackupError,
    PostgresError,
    RightsMissing,
    ServerUnreachable,
    TableLocked,
)
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure, split_entry
from fsbackup_tui.engines.process import Completed, ToolFailed

PARALLEL = """\
pg_restore: launching item 2430 INDEX t_id
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 2430; 1259 22418 INDEX public t_id postgres
pg_restore: error: could not execute query: ERROR:  could not create unique index "t_id"
DETAIL:  Key (id)=(1) is duplicated.
Command was: CREATE UNIQUE INDEX t_id ON public.t USING btree (id);


pg_restore: finished item 2430 INDEX t_id
pg_restore: warning: errors ignored on restore: 1
""".splitlines()


def test_errors_carry_their_entry_and_details() -> None:
    log = ToolLog("pg_restore")
    for line in PARALLEL:
        log.add(line)
    (error,) = log.errors
    assert "from TOC entry 2430;" in error
    assert "Key (id)=(1) is duplicated." in error
    assert log.warnings[0].startswith("errors ignored on restore: 1")


@pytest.mark.parametrize("name", ["t_id", "f(integer, text)", "we)ird", "a((b)c"])
def test_an_error_is_told_apart_from_its_entry(name: str) -> None:
    log = ToolLog("pg_restore")
    log.add(f"pg_restore: from TOC entry 222; 1255 16390 FUNCTION {name} postgres")
    log.add("pg_restore: error: could not execute query: ERROR:  no (such) thing")
    text, number = split_entry(log.errors[0])
    assert number == 222
    assert text.startswith("could not execute query: ERROR:  no (such) thing")
    if name in {"t_id", "f(integer, text)"}:
        assert text.endswith("no (such) thing")
    assert split_entry("something else") == ("something else", 0)


def test_a_flood_of_errors_is_bounded_and_counted() -> None:
    log = ToolLog("pg_restore")
    for number in range(5000):
        log.add(f"pg_restore: error: number {number}")
    assert len(log.errors) + log.dropped == 5000
    assert len(log.errors) <= 200
    log.add("pg_restore: warning: errors ignored on restore: 5000")
    assert log.errors_ignored == 5000


def test_no_secret_gets_through() -> None:
    seen: list[str] = []
    log = ToolLog("pg_dump", Redactor([Secret("hunter2!")]), seen.append)
    log.add("pg_dump: error: password hunter2! is wrong")
    assert "hunter2!" not in seen[0] + log.errors[0]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("pg_dump: error: ERROR:  canceling statement due to lock timeout", TableLocked),
        ("pg_dump: error: Dumping the contents of table \"t\" failed: ERROR:  query would be"
         " affected by row-level security policy for table \"t\"", RightsMissing),
        ("pg_dump: error: query failed: ERROR:  permission denied for table t", RightsMissing),
        ("pg_dump: error: aborting because of server version mismatch", ClientUnsuitable),
        ("pg_dump: error: server closed the connection unexpectedly", ServerUnreachable),
        ("pg_dump: error: could not write to file: No space left on device", DiskFull),
        ("pg_dump: error: something new", PostgresError),
    ],
)  # fmt: skip
def test_failures_are_told_apart(line: str, kind: type[FsbackupError]) -> None:
    log = ToolLog("pg_dump")
    log.add(line)
    completed = Completed(("pg_dump",), 1, b"", line, 0.1)
    error = explain_failure(ToolFailed("x", completed=completed), log, what="DUMP FAILED")
    assert type(error) is kind
    assert error.why
    assert error.fix


@pytest.mark.parametrize("died_first", [True, False])
def test_the_reason_is_what_a_parallel_worker_died_of(died_first: bool) -> None:
    lines = [
        "pg_dump: error: a worker process died unexpectedly",
        'pg_dump: error: could not write to file "d/3.dat": No space left on device',
    ]
    log = ToolLog("pg_dump")
    for line in lines if died_first else reversed(lines):
        log.add(line)
    assert log.reason() == 'could not write to file "d/3.dat": No space left on device'


def test_that_a_worker_died_is_said_where_nothing_else_is() -> None:
    log = ToolLog("pg_dump")
    log.add("pg_dump: error: a worker process died unexpectedly")
    assert log.reason() == "a worker process died unexpectedly"
