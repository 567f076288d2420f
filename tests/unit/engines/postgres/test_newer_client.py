"""What an older server says of a newer client's setting is told apart from every other error."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.newer_client import is_unknown_setting
from fsbackup_tui.engines.postgres.tool_output import ToolLog
from tests.unit.engines.postgres.test_plain_scan import HEADER, TRAILER, scan, section

_SAID = 'unrecognized configuration parameter "transaction_timeout"'
_ENTRY = "pg_restore: from TOC entry 214; 1259 16413 TABLE t5 postgres"
_SETS = "Command was: SET transaction_timeout = 0;"


def told(*lines: str) -> list[str]:
    log = ToolLog("pg_restore")
    for line in lines:
        log.add(line)
    return log.errors


@pytest.mark.parametrize(
    ("lines", "is_it"),
    [
        ((f"ERROR:  {_SAID}", _SETS), True),
        (("FEHLER:  unbekannter Parameter »transaction_timeout«", _SETS), True),
        ((f"ERROR:  {_SAID}", "Command was: SET transaction_timeout = 0; DROP TABLE t;"), False),
        ((f"ERROR:  {_SAID}", "Command was: ALTER ROLE r SET transaction_timeout = 0;"), False),
        ((f"ERROR:  {_SAID}", "Command was: SET transaction_timeout = 5;"), False),
        ((f"ERROR:  {_SAID}",), False),
        (("ERROR:  current transaction is aborted", _SETS), False),
        (("ERROR:  unrecognized configuration parameter \"other\"", _SETS), False),
        ((f"ERROR:  {_SAID}", "pg_restore:", _SETS), False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("of_an_entry", [False, True])
def test_this_statement_alone_is_known(
    lines: tuple[str, ...], is_it: bool, of_an_entry: bool
) -> None:
    first, *further = lines
    context = [_ENTRY] if of_an_entry else []
    head = f"pg_restore: error: could not execute query: {first}"
    ((error),) = told(*context, head, *further)
    assert is_unknown_setting(error) is is_it


def test_the_line_is_left_out_for_an_older_server_where_it_is_no_text() -> None:
    setting = "SET transaction_timeout = 0;\n"
    comment = section("COMMENT", "-", "c", f"COMMENT ON TABLE t IS '\n{setting}';")
    rows = section("TABLE DATA", "public", "t", f"COPY t (a) FROM stdin;\n{setting}\\.\n")
    text = HEADER + setting + comment + rows + TRAILER

    found = scan(text)
    start = len(HEADER)
    assert found.ranges_of([], settings=True) == [range(start, start + len(setting))]
    assert found.ranges_of([]) == []
