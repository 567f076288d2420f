"""``check`` finds a broken audit log, also in what it has verified before, and at once."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.audit import Deed, Head, audit_line
from fsbackup_tui.operations.audit_state import verified
from fsbackup_tui.repository.audit import AUDIT, append_audit, begin_anew
from tests.support.checking import healthy

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def act(state: Path, number: int = 0) -> None:
    why = append_audit(
        state, "clear", operator="ana", origin={}, result="ok", now=NOW, subject=str(number)
    )
    assert why == ""


def write_log(state: Path, count: int) -> None:
    head, lines = Head(), []
    for number in range(count):
        deed = Deed("clear", "ana", "ok", NOW, {"host": "db1", "tty": "pts/3"}, subject=str(number))
        line, head = audit_line(deed, head)
        lines.append(line)
    (state / AUDIT).write_bytes(b"".join(lines))


def test_what_was_verified_before_is_known_by_its_bytes(tmp_path: Path) -> None:
    for number in range(20):
        act(tmp_path, number)
    assert verified(tmp_path).lines == 20
    act(tmp_path, 20)
    assert verified(tmp_path).lines == 21
    whole = (tmp_path / AUDIT).read_bytes()
    for harmed in (whole.replace(b'"5"', b'"6"'), whole[len(whole) // 2 :], whole[:100]):
        (tmp_path / AUDIT).write_bytes(harmed)
        found = verified(tmp_path)
        assert found.misfit is not None or found.torn
    (tmp_path / AUDIT).write_bytes(whole)
    assert verified(tmp_path).misfit is None


def test_a_hundred_thousand_lines_cost_a_check_next_to_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, 100_000)
    assert verified(tmp_path).lines == 100_000
    act(tmp_path)
    began = time.process_time()
    assert verified(tmp_path).lines == 100_001
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("harm", ["alter", "cut"])
def test_the_alarm_rings_and_falls_silent_when_it_is_mended(tmp_path: Path, harm: str) -> None:
    site = healthy(tmp_path)
    state = site.state
    for number in range(3):
        act(state, number)
    assert site.check().findings == ()
    log = state / AUDIT
    lines = log.read_bytes().splitlines(keepends=True)
    if harm == "alter":
        lines[1] = lines[1].replace(b'"1"', b'"7"')
    log.write_bytes(b"".join(lines if harm == "alter" else lines[:2]))
    (finding,) = site.check().findings
    assert (finding.id, finding.severity) == ("audit-broken", "critical")
    begin_anew(state, operator="ana", origin={}, reason="practised", now=NOW)
    assert site.check().findings == ()


@pytest.mark.parametrize("field", ["lines", "head"])
def test_what_was_remembered_wrongly_is_no_alarm(tmp_path: Path, field: str) -> None:
    for number in range(20):
        act(tmp_path, number)
    assert verified(tmp_path).lines == 20
    seen = tmp_path / "audit.seen.json"
    right = json.loads(seen.read_bytes())
    wrong = {**right, field: 7 if field == "lines" else {**right["head"], "sequence": 7}}
    seen.write_text(json.dumps(wrong))
    act(tmp_path, 20)
    found = verified(tmp_path)
    assert found.misfit is None
    assert found.lines == 21
    assert json.loads(seen.read_bytes())["lines"] == 21
