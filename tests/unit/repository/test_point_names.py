"""POINT as people write it: ids, prefixes, latest, times, and what is said when none fits."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fsbackup_tui.domain.errors import PointNotFound
from fsbackup_tui.domain.point import PartSummary, PointSummary
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.repository.points import parse_moment, resolve_point

BERLIN = ZoneInfo("Europe/Berlin")


def point(
    identifier: str,
    sequence: int,
    *,
    trust: Trust = Trust.SEALED,
    suspect: tuple[str, ...] = (),
    whole: bool = True,
    sources: tuple[tuple[str, str], ...] = (("db", "postgres"),),
) -> PointSummary:
    created = datetime.strptime(identifier[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return PointSummary(
        id=identifier,
        sequence=sequence,
        plan=identifier.split("-")[1],
        created=created,
        whole=whole,
        running=False,
        trust=trust,
        suspect=suspect,
        bytes=1,
        parts=tuple(PartSummary(source, kind, trust, 1) for source, kind in sources),
    )


POINTS = [
    point("20261120T010000Z-daily-aaaa", 1),
    point("20261121T010000Z-daily-bbbb", 2),
    point("20261121T040000Z-schema-cccc", 3, sources=(("schema", "postgres-schema"),)),
    point("20261122T010000Z-daily-dddd", 4, suspect=("videos 5340 to 40",)),
    point("20261122T020000Z-daily-eeee", 5, trust=Trust.DAMAGED),
    point("20261122T030007Z-daily-ffff", 6, trust=Trust.INCOMPLETE, whole=False),
]


def resolved(text: str, **arguments: object) -> str:
    return resolve_point(POINTS, text, zone=BERLIN, **arguments).id[-4:]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("20261122T020000Z-daily-eeee", "eeee"),
        ("20261120", "aaaa"),
        ("20261122T0100", "dddd"),
        ("latest", "bbbb"),
        ("latest:daily", "bbbb"),
        ("2026-11-21T02:00", "bbbb"),
        ("2026-11-21 02:00", "bbbb"),
        ("2026-11-21T01:59", "aaaa"),
        ("2026-11-21T01:00Z", "bbbb"),
        ("2026-11-21T02:00+01:00", "bbbb"),
        ("2026-11-20", "aaaa"),
        ("2026-11-25", "bbbb"),
    ],
)
def test_it_finds_the_point_that_is_meant(text: str, tag: str) -> None:
    assert resolved(text) == tag


def test_latest_is_the_newest_in_capture_order() -> None:
    back = [*POINTS[:2], point("20261001T000000Z-daily-gggg", 9)]
    assert resolve_point(back, "latest", zone=BERLIN).id.endswith("gggg")


def test_any_trust_means_the_newest_whole_one() -> None:
    assert resolved("latest", any_trust=True) == "eeee"
    assert resolved("2026-11-22T02:00", any_trust=True) == "dddd"


def test_a_minute_on_the_screen_finds_the_point_begun_in_it() -> None:
    shown = [*POINTS, point("20261123T010007Z-daily-hhhh", 7)]
    assert resolve_point(shown, "2026-11-23T02:00", zone=BERLIN).id.endswith("hhhh")
    assert resolve_point(shown, "2026-11-23T02:00:06", zone=BERLIN).id.endswith("bbbb")


def test_the_part_asked_for_must_be_there() -> None:
    with pytest.raises(PointNotFound, match="NO SUCH PART"):
        resolved("20261120T010000Z-daily-aaaa", part="uploads")
    with pytest.raises(PointNotFound, match="with the part uploads"):
        resolved("latest", part="uploads")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20261121", "AMBIGUOUS POINT"),
        ("2026112", "A prefix has 8 characters"),
        ("20261120T010000Z-daily-aaab", "20261120T010000Z-daily-aaaa"),
        ("latest:monthly", "NO LATEST POINT"),
        ("2026-11-19T00:00", "NO POINT AT OR BEFORE"),
        ("2026-13-01T00:00", "NOT A TIME"),
        ("", "NO SUCH POINT"),
    ],
)
def test_what_does_not_fit_is_said(text: str, said: str) -> None:
    with pytest.raises(PointNotFound) as caught:
        resolved(text)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_why_there_is_no_latest_is_counted() -> None:
    with pytest.raises(PointNotFound) as caught:
        resolve_point(POINTS[3:], "latest", zone=BERLIN)
    assert caught.value.why == "Of 3: 1 damaged, 1 incomplete, 1 suspect."


def test_an_hour_that_comes_twice_is_refused_with_both_meanings() -> None:
    with pytest.raises(PointNotFound, match="was twice") as caught:
        parse_moment("2026-10-25T02:30", BERLIN)
    assert "2026-10-25T02:30+0200 (CEST) or 2026-10-25T02:30+0100 (CET)" in caught.value.why
    first = parse_moment("2026-10-25T02:30+0200", BERLIN, end=False)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_an_hour_that_never_was_is_refused() -> None:
    with pytest.raises(PointNotFound, match="never was"):
        parse_moment("2026-03-29T02:30", BERLIN)


def test_a_plan_of_schemas_has_a_latest_point_when_it_is_named() -> None:
    assert resolved("latest:schema") == "cccc"
    only = [POINTS[2]]
    with pytest.raises(PointNotFound, match="NO LATEST POINT") as caught:
        resolve_point(only, "latest", zone=BERLIN)
    assert "1 without data" in caught.value.why


def test_a_part_of_definitions_alone_has_a_latest_point_when_it_is_named() -> None:
    assert resolved("latest", part="schema") == "cccc"
