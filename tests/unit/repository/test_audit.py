"""The audit log: every line hangs on the one before; what was done to it is seen."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.domain.audit import BEGUN, TORN, Deed, audit_line, head_of
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.repository.audit import (
    AUDIT,
    HEADS,
    append_audit,
    begin_anew,
    known_head,
    read_log,
    take_unaudited,
    verify_log,
)
from fsbackup_tui.repository.files import make_directory
from fsbackup_tui.repository.layout import Repository, create_repository, open_repository

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ORIGIN = {"host": "db1", "tty": "pts/3", "address": "192.0.2.7"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository that the state below remembers."""
    return create_repository(tmp_path / "repository", "shop", NOW)


@pytest.fixture
def state(tmp_path: Path, repository: Repository) -> Path:
    """The state directory of that repository."""
    root = make_directory(tmp_path / "state")
    open_repository(repository.root, state=root)
    return make_directory(root / repository.id)


def act(state: Path, action: str = "clear", number: int = 0, **more: object) -> str:
    return append_audit(
        state,
        action,
        operator="ana",
        origin=ORIGIN,
        result="ok",
        now=NOW + timedelta(seconds=number),
        subject=f"point {number}",
        **more,  # type: ignore[arg-type]
    )


def fill(state: Path, count: int) -> None:
    for number in range(count):
        assert act(state, number=number) == ""


def documents(state: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in read_log(state)]


def test_a_line_says_who_what_from_where_and_hangs_on_the_one_before(state: Path) -> None:
    fill(state, 2)
    why = append_audit(
        state,
        "restore",
        operator="ben",
        origin=ORIGIN,
        result="refused",
        now=NOW,
        subject="shop",
        arguments={"beside": "copy", "jobs": 2, "part": None},
        detail="REFUSED: no.",
        incident="20261122-01",
        job="j",
    )
    assert why == ""
    first, second, third = documents(state)
    assert third | {"sha256": ""} == {
        "sequence": 3,
        "at": "2026-11-22T03:00:00.000Z",
        "action": "restore",
        "operator": "ben",
        "origin": ORIGIN,
        "subject": "shop",
        "arguments": {"beside": "copy", "jobs": 2},
        "result": "refused",
        "problem": "REFUSED: no.",
        "incident": "20261122-01",
        "job": "j",
        "previous": second["sha256"],
        "sha256": "",
    }
    assert (first["previous"], second["previous"]) == ("", first["sha256"])
    assert (state / AUDIT).stat().st_mode & 0o777 == 0o600
    found = verify_log(state)
    assert (found.lines, found.misfit, found.torn) == (3, None, False)


def test_no_secret_gets_in(state: Path) -> None:
    redactor = Redactor([Secret("tops3cret")])
    url = "postgresql://app:hunter2@db1/shop"
    problem = act(
        state,
        arguments={"url": url, "more": ["a tops3cret b", {"deep": "tops3cret"}]},
        detail=f"could not reach {url}",
        redactor=redactor,
    )
    assert problem == ""
    text = (state / AUDIT).read_text()
    assert "hunter2" not in text
    assert "tops3cret" not in text
    assert "postgresql://app:***@db1/shop" in text


def flip(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b"point 3", b"point 4")


def reseal(lines: list[bytes]) -> None:
    """Alter a line and give it the hash that fits it: the next one tells."""
    before = head_of(lines[2])
    assert before is not None
    forged, _ = audit_line(Deed("clear", "eve", "ok", NOW, ORIGIN), before)
    lines[3] = forged.rstrip(b"\n")


def take_out(lines: list[bytes]) -> None:
    del lines[3]


def take_two(lines: list[bytes]) -> None:
    del lines[3:5]


def swap(lines: list[bytes]) -> None:
    lines[3], lines[4] = lines[4], lines[3]


def double(lines: list[bytes]) -> None:
    lines.insert(3, lines[2])


def blank(lines: list[bytes]) -> None:
    lines.insert(3, b"")


def spaced(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b'","', b'", "', 1)


def behead(lines: list[bytes]) -> None:
    del lines[:3]


def cut(lines: list[bytes]) -> None:
    del lines[7:]


def wipe(lines: list[bytes]) -> None:
    lines.clear()


def forge_end(lines: list[bytes]) -> None:
    """Put the last line's like in its place, properly hung on the one before."""
    before = head_of(lines[-2])
    assert before is not None
    lines[-1] = audit_line(Deed("backup", "eve", "ok", NOW, ORIGIN), before)[0].rstrip(b"\n")


HARMS: list[tuple[Callable[[list[bytes]], None], int, str]] = [
    (flip, 4, "altered"),
    (reseal, 5, "does not follow"),
    (take_out, 4, "line 4 is missing"),
    (take_two, 4, "lines 4 to 5 are missing"),
    (swap, 4, "missing"),
    (double, 4, "doubled"),
    (blank, 4, "no line of the log"),
    (spaced, 4, "altered"),
    (behead, 1, "lines 1 to 3 are missing"),
    (cut, 8, "cut off: the repository knows line 9"),
    (wipe, 1, "cut off"),
    (forge_end, 9, "another line 9"),
]


@pytest.mark.parametrize(("harm", "line", "words"), HARMS, ids=[h.__name__ for h, _, _ in HARMS])
def test_what_was_done_to_it_is_told_with_its_first_line(
    state: Path, harm: Callable[[list[bytes]], None], line: int, words: str
) -> None:
    fill(state, 9)
    lines = (state / AUDIT).read_bytes().splitlines()
    harm(lines)
    (state / AUDIT).write_bytes(b"".join(each + b"\n" for each in lines))
    misfit = verify_log(state).misfit
    assert misfit is not None
    assert (misfit.line, words in misfit.what) == (line, True), misfit
    # It stays told when the log goes on.
    assert act(state) == ""
    later = verify_log(state).misfit
    assert later is not None
    assert later.line == (10 if harm is forge_end else misfit.line)


def test_a_lost_log_is_seen_and_goes_on_under_its_number(state: Path) -> None:
    fill(state, 3)
    (state / AUDIT).unlink()
    lost = verify_log(state).misfit
    assert lost is not None
    assert "the repository knows line 3" in lost.what
    assert act(state) == ""
    assert [line["sequence"] for line in documents(state)] == [4]
    assert "lines 1 to 3 are missing" in getattr(verify_log(state).misfit, "what", "")


def test_another_log_in_its_place_is_seen(state: Path, tmp_path: Path) -> None:
    fill(state, 3)
    other = make_directory(tmp_path / "other")
    for number in range(5):
        assert (
            append_audit(
                other, "x", operator="eve", origin={}, result="ok", now=NOW, subject=str(number)
            )
            == ""
        )
    shutil.copy(other / AUDIT, state / AUDIT)
    assert "another line 3" in getattr(verify_log(state).misfit, "what", "")


def test_a_torn_last_line_is_told_and_the_log_goes_on(state: Path) -> None:
    fill(state, 3)
    whole = (state / AUDIT).read_bytes()
    (state / AUDIT).write_bytes(whole[:-40])
    # Its head was kept before: in a crash it is written after the line.
    for head in (state.parent.parent / "repository" / HEADS).iterdir():
        head.unlink()
    found = verify_log(state)
    assert (found.lines, found.misfit, found.torn) == (2, None, True)
    assert act(state, number=7) == ""
    note, last = documents_that_are(state)[-2:]
    assert (note["action"], note["sequence"]) == (TORN, 3)
    assert (last["subject"], last["sequence"]) == ("point 7", 4)
    assert verify_log(state).misfit is None
    text = (state / AUDIT).read_bytes().replace(b"point 2", b"point 5")
    (state / AUDIT).write_bytes(text)
    assert verify_log(state).misfit is not None, "what is left of the torn line is sealed, too"


def documents_that_are(state: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for line in read_log(state):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def test_a_line_that_lacks_its_line_feed_alone_is_whole(state: Path) -> None:
    fill(state, 3)
    (state / AUDIT).write_bytes((state / AUDIT).read_bytes()[:-1])
    assert act(state, number=3) == ""
    assert [line["sequence"] for line in documents(state)] == [1, 2, 3, 4]
    assert verify_log(state).misfit is None


def test_lines_longer_than_what_is_read_at_once_are_followed(state: Path) -> None:
    many = {f"name {number}": "x" * 400 for number in range(50)}
    for _ in range(6):
        deep = {f"level {number}": dict(many) for number in range(8)}
        assert act(state, arguments=deep) == ""
    assert max(map(len, read_log(state))) > 1 << 16
    assert verify_log(state).lines == 6
    assert verify_log(state).misfit is None


def append_many(state: Path, who: int, count: int) -> None:
    for number in range(count):
        act(state, f"writer {who}", number)


def test_several_processes_write_one_chain(state: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(state, who, 40)) for who in range(5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert verify_log(state).misfit is None
    told = [(str(line["action"]), str(line["subject"])) for line in documents(state)]
    assert len(told) == 200
    for who in range(5):
        mine = [subject for action, subject in told if action == f"writer {who}"]
        assert mine == [f"point {number}" for number in range(40)]
    head = known_head(state)
    assert head is not None
    assert head.sequence == 200


def test_a_full_disk_leaves_the_log_as_it_was_and_says_so(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(state, 2)
    before = (state / AUDIT).read_bytes()
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        written = write(descriptor, bytes(data[: len(data) // 2]))
        monkeypatch.setattr(os, "write", full)
        return written

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    why = act(state, "backup")
    monkeypatch.setattr(os, "write", write)
    assert "No space left on device" in why
    assert take_unaudited() == (why,)
    assert take_unaudited() == ()
    assert (state / AUDIT).read_bytes() == before
    assert act(state) == ""
    assert verify_log(state).misfit is None


def test_a_state_that_is_not_there_stops_nobody(tmp_path: Path) -> None:
    assert "No such file" in act(tmp_path / "nowhere")
    assert take_unaudited() != ()
    assert not (tmp_path / "nowhere").exists()


def test_a_repository_that_takes_no_head_changes_nothing(
    state: Path, repository: Repository
) -> None:
    (repository.root / HEADS).write_text("in the way")
    fill(state, 2)
    assert verify_log(state).misfit is None
    assert known_head(state) is None


def test_it_begins_anew_on_purpose_and_the_former_one_stays(state: Path) -> None:
    fill(state, 4)
    lines = (state / AUDIT).read_bytes().splitlines(keepends=True)
    (state / AUDIT).write_bytes(b"".join(lines[:1] + lines[2:]))
    spoilt = (state / AUDIT).read_bytes()
    aside = begin_anew(state, operator="ana", origin=ORIGIN, reason="an editor did it", now=NOW)
    assert aside is not None
    assert aside.read_bytes() == spoilt
    (first,) = documents(state)
    assert (first["action"], first["sequence"]) == (BEGUN, 1)
    arguments = first["arguments"]
    assert isinstance(arguments, dict)
    assert arguments["reason"] == "an editor did it"
    assert arguments["misfit"] == "line 2: line 2 is missing before it"
    assert arguments["former"] == aside.name
    assert verify_log(state).misfit is None
    fill(state, 2)
    assert verify_log(state).lines == 3
