"""The live block: what stands in it, unknown figures, foreign text, narrow terminals."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from fsbackup_tui.cli.progress import LiveView, QuietView, bar_text, make_view, progress_lines
from fsbackup_tui.domain.events import (
    Event,
    JobStarted,
    JournalLine,
    Log,
    Progress,
    StageStarted,
    Warned,
)
from fsbackup_tui.jobs.feed import JobFeed

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
JOB = "20261122T020000Z-backup-k3f9"


def fed(*events: Event) -> JobFeed:
    feed = JobFeed()
    feed.feed_all(
        JournalLine(seq, START + timedelta(seconds=seq * 10), event)
        for seq, event in enumerate(events, 1)
    )
    return feed


def block(*events: Event, width: int = 79) -> list[str]:
    return progress_lines(fed(*events), JOB, now=START + timedelta(minutes=5), width=width)


def test_a_dump() -> None:
    lines = block(
        JobStarted("backup", "shop", 1, 1.0, "0.1.0", ("check", "backup")),
        StageStarted("backup"),
        Progress(0, 2_000_000_000, "bytes"),
        Progress(500_000_000, 2_000_000_000, "bytes", "data", active=("public.a", "public.b")),
    )
    assert lines[0].startswith(f"{JOB}  backup 2/2  ")
    assert lines[1:] == [
        "[######..................] 25 %  500 MB of 2.0 GB  50 MB/s  ETA 30 s",
        "data",
        "  public.a",
        "  public.b",
    ]


def test_what_is_unknown_is_left_out() -> None:
    assert block(StageStarted("seal"), Progress(1000, None, "bytes"))[1:] == ["1.0 kB"]
    assert block(StageStarted("seal"), Progress(3, 58, "entries"))[1] == (
        "[#.......................] 5 %  3 entries of 58 entries"
    )


def test_foreign_text_stays_on_its_line_and_within_the_width() -> None:
    lines = block(
        StageStarted("backup"),
        Progress(1, 2, "rows", "evil\x1b[2J\nname", active=tuple(f"t{n}" * 60 for n in range(9))),
        width=40,
    )
    assert all(len(line) <= 40 for line in lines)
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert lines[-1] == "  and 5 more"


@pytest.mark.parametrize(
    ("fraction", "bar"), [(0.0, "[....]"), (0.5, "[##..]"), (0.99, "[###.]"), (1.0, "[####]")]
)
def test_the_bar_is_full_only_at_the_end(fraction: float, bar: str) -> None:
    assert bar_text(fraction, 4) == bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (Terminal(), "xterm", LiveView),
        (Terminal(), "dumb", QuietView),
        (io.StringIO(), "xterm", QuietView),
    ],
)
def test_only_a_real_terminal_gets_the_live_block(
    stream: io.StringIO, term: str, kind: type
) -> None:
    view = make_view(stream, JOB, now=lambda: START, environ={"TERM": term})
    assert type(view) is kind


def test_off_a_terminal_only_warnings_are_printed() -> None:
    stream = io.StringIO()
    view = QuietView(stream)
    events: tuple[Event, ...] = (StageStarted("a"), Log("b"), Warned("c\nd\x07"), Progress(1, 2))
    view.show([JournalLine(n, START, event) for n, event in enumerate(events, 1)], fed(*events))
    assert stream.getvalue() == "warning: c d\n"
