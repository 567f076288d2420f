"""How far a plain restore is: the place in its text, and the statement that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.domain.events import Event, Progress, TableDone
from fsbackup_tui.engines.compression import PositionFile, copy_content
from fsbackup_tui.engines.postgres.plain import PlainScan, scan_stream
from fsbackup_tui.engines.postgres.plain_progress import PlainProgress
from fsbackup_tui.engines.postgres.progress import BUILD_SHARES

COPY_A = 'COPY app."odd, name" (id) FROM stdin;'
COPY_B = "COPY app.b (id) FROM stdin;"
INDEX_A = 'CREATE INDEX i ON app."odd, name" USING btree (id);'
KEY_B = "ALTER TABLE ONLY app.b\n    ADD CONSTRAINT b_pkey PRIMARY KEY (id);"


def section(kind: str, name: str, body: str) -> str:
    data = "Data for " if kind == "TABLE DATA" else ""
    return f"--\n-- {data}Name: {name}; Type: {kind}; Schema: app; Owner: me\n--\n\n{body}\n\n\n"


TEXT = (
    section("TABLE", "odd, name", 'CREATE TABLE app."odd, name" (id integer);')
    + section("TABLE", "b", "CREATE TABLE app.b (id integer);")
    + section("TABLE DATA", "odd, name", COPY_A + "\n" + "1\n" * 1000 + "\\.\n")
    + section("TABLE DATA", "b", COPY_B + "\n" + "2\n" * 500 + "\\.\n")
    + section("INDEX", "i", INDEX_A)
    + section("CONSTRAINT", "b b_pkey", KEY_B)
    + "--\n-- PostgreSQL database dump complete\n--\n"
)


class Text:
    def __init__(self, text: str) -> None:
        self._left = text.encode()

    def read(self, size: int, /) -> bytes:
        block, self._left = self._left[:size], self._left[size:]
        return block


class Watched:
    def __init__(self) -> None:
        self.scan: PlainScan = scan_stream(Text(TEXT))
        self.events: list[Event] = []
        self.now = 0.0
        self.progress = PlainProgress(self.scan, self.events.append, now=lambda: self.now)

    def at(self, position: int, statement: str | None) -> Progress:
        self.now += 1.0
        self.progress.at(position, statement)
        return [event for event in self.events if isinstance(event, Progress)][-1]

    def done(self) -> list[tuple[str, int | None]]:
        return [(e.table, e.rows) for e in self.events if isinstance(e, TableDone)]


def place_of(text: str) -> int:
    return TEXT.index(text)


def test_a_table_moves_while_its_rows_are_fed() -> None:
    watched = Watched()
    begin = place_of(COPY_A)
    first = watched.at(begin + 500, COPY_A)
    assert first.active == ("app.odd, name",)
    second = watched.at(begin + 1500, COPY_A)
    assert second.done - first.done == 1000
    assert second.rate == pytest.approx(1000)
    assert second.total is not None
    assert second.eta_seconds == pytest.approx((second.total - second.done) / 1000)
    assert watched.done() == []


def test_without_a_server_to_ask_the_text_tells_the_table() -> None:
    watched = Watched()
    assert watched.at(place_of(COPY_A) + 10, None).active == ("app.odd, name",)
    later = watched.at(place_of(COPY_B) + 900, None)
    assert later.active == ("app.b",)
    assert watched.done() == [("app.odd, name", 1000)]


def test_what_lies_in_the_pipe_is_not_done() -> None:
    watched = Watched()
    fed_all = watched.at(len(TEXT), COPY_B)
    assert fed_all.active == ("app.b",)
    assert fed_all.total is not None
    assert fed_all.done < fed_all.total
    builds = sum(BUILD_SHARES[kind] for kind in ("INDEX", "CONSTRAINT"))
    assert fed_all.total - fed_all.done > 500 * builds
    building = watched.at(len(TEXT), INDEX_A)
    assert building.active == ("INDEX app.i",)
    assert building.done == pytest.approx(fed_all.done)
    # The server shows a statement as it was sent, with what stood before it in the text.
    keyed = watched.at(len(TEXT), f"--\n-- Name: b b_pkey\n--\n\n{KEY_B}")
    assert keyed.active == ("CONSTRAINT app.b b_pkey",)
    assert keyed.done > building.done
    assert watched.done() == [("app.odd, name", 1000), ("app.b", 500)]


def test_it_never_goes_back_and_ends_whole() -> None:
    watched = Watched()
    looks = [
        (place_of(COPY_B) + 50, COPY_A),
        (len(TEXT), "SET search_path = ''"),
        (10, COPY_B),
        (len(TEXT), COPY_A),
        (len(TEXT), None),
        (len(TEXT), INDEX_A),
        (0, None),
    ]
    seen = [watched.at(position, statement).done for position, statement in looks]
    assert seen == sorted(seen)
    watched.progress.finish()
    last = [event for event in watched.events if isinstance(event, Progress)][-1]
    assert last.done == last.total


def test_an_empty_dump_has_nothing_to_show() -> None:
    events: list[Event] = []
    progress = PlainProgress(PlainScan(), events.append)
    progress.at(0, "SELECT 1")
    progress.finish()
    assert [event for event in events if isinstance(event, TableDone)] == []


def test_the_feeder_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(b"x" * 1_000_000)
    fed = PositionFile(tmp_path / "position")
    assert fed.read() == 0
    told: list[int] = []

    def write(block: bytes) -> None:
        told.append(fed.read())

    copy_content(path, write, [], fed.write)
    assert fed.read() == 1_000_000
    assert told == sorted(told)
    assert len(set(told)) > 2
