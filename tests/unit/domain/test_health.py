"""The answer line, word for word, true at 80 columns, and never green without proof."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.domain.health import Answer, Hints, InventoryState, answer_line
from fsbackup_tui.domain.point import AcceptedBlock, PartSummary, PointSummary
from fsbackup_tui.domain.text import cell_width
from fsbackup_tui.domain.trust import Trust

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 2, 1, tzinfo=UTC)  # Sunday, 03:01 in Berlin
TONIGHT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


def point(hours: float = 0, trust: Trust = Trust.SEALED, **changes: Any) -> PointSummary:
    base = PointSummary(
        id="20261122T010000Z-daily-k3f9",
        sequence=1000 - int(hours),
        plan="daily",
        created=TONIGHT - timedelta(hours=hours),
        whole=True,
        running=False,
        trust=trust,
        suspect=(),
        bytes=1,
        parts=(PartSummary("db", "postgres", trust, 1),),
    )
    return dataclasses.replace(base, **changes)


def answer(*points: PointSummary, **changes: Any) -> Answer:
    state = InventoryState(
        site="face-swap",
        environment="production",
        zone=BERLIN,
        now=NOW,
        newest=points,
        hints=Hints(back_up="b takes one", prove="3 proves it", create="fsbackup init"),
    )
    return answer_line(dataclasses.replace(state, **changes))


SUSPECT = ("videos 5340 to 40",)
CASES: list[tuple[str, str, Answer]] = [
    (
        "PROD face-swap  Sat 02:00 CET not proven. Last PROVEN: Fri 02:00 CET, 2 d ago",
        "warn",
        answer(
            point(0, Trust.PROVEN, in_incident="20261122-01"),
            point(24),
            point(48, Trust.PROVEN),
        ),
    ),
    (
        "PROD face-swap  NO USABLE POINT. 1 taken in an incident",
        "bad",
        answer(point(0, Trust.PROVEN, in_incident="20261122-01")),
    ),
    (
        "PROD face-swap  WATCHING OTHERS' BACKUPS. Newest: 02:00 CET restored, 61 m ago",
        "warn",
        answer(repository="never-created", watching=True, watched=point(0, Trust.RESTORED)),
    ),
    (
        "PROD face-swap  WATCHING OTHERS' BACKUPS. Newest: 02:00 CET NOT GOOD: cut off",
        "bad",
        answer(watching=True, watched=point(0, Trust.UNVERIFIED, problems=("cut off",))),
    ),
    (
        "PROD face-swap  NO BACKUP SEEN. There is none in the adopt: directories",
        "bad",
        answer(watching=True),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET sealed. 3 proves it",
        "warn",
        answer(point(), watching=True, watched=point(0, Trust.RESTORED)),
    ),
    (
        "PROD face-swap  RESTORE TO 02:00 CET (61 m ago) PROVEN  ~11 m (last drill)",
        "good",
        answer(point(0, Trust.PROVEN), restore_rights=True, duration="~11 m (last drill)"),
    ),
    (
        "PROD face-swap  02:00 CET not proven. Last PROVEN: Sat 02:00 CET, 25 h ago",
        "warn",
        answer(point(0), point(24, Trust.PROVEN), restore_rights=True),
    ),
    (
        "PROD face-swap  02:00 SUSPECT: videos 5340 to 40. Before: 01:00 CET PROVEN",
        "bad",
        answer(point(0, suspect=SUSPECT), point(1, Trust.PROVEN)),
    ),
    (
        "PROD face-swap  02:00 SUSPECT: videos 5340 to 40. Before: Sat 02:00 CET sealed",
        "bad",
        answer(point(0, suspect=SUSPECT), point(1, Trust.DAMAGED), point(24)),
    ),
    (
        "PROD face-swap  02:00 CET SUSPECT: videos 5340 to 40. No good one before",
        "bad",
        answer(point(0, suspect=SUSPECT)),
    ),
    (
        "PROD face-swap  02:00 DAMAGED: db/database.dump: altered. Before: 01:00 CET sealed",
        "bad",
        answer(point(0, Trust.DAMAGED, problems=("db/database.dump: altered",)), point(1)),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET sealed. 3 proves it",
        "warn",
        answer(point(0), point(24)),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET readable. 3 proves it, ~9 m",
        "warn",
        answer(point(0, Trust.READABLE), proving="~9 m"),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET readable. More can't be tried",
        "warn",
        answer(point(0, Trust.READABLE, accepted=(AcceptedBlock("db: no geo", "so be it"),))),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: Sat 02:00 CET restored. 3 proves it",
        "warn",
        answer(
            point(0, Trust.UNVERIFIED),
            point(24, Trust.RESTORED),
            point(48, Trust.PROVEN, suspect=SUSPECT),
        ),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: Sat 02:00 CET sealed. 3 proves it",
        "warn",
        answer(point(0, Trust.UNVERIFIED), point(24)),
    ),
    (
        "PROD face-swap  NO PROVEN POINT. Best: 02:00 CET unverified. 3 proves it",
        "warn",
        answer(point(0, Trust.UNVERIFIED)),
    ),
    (
        "PROD face-swap  NO USABLE POINT. 1 incomplete",
        "bad",
        answer(point(0, Trust.INCOMPLETE, whole=False)),
    ),
    (
        "PROD face-swap  02:00 CET PROVEN. Restore rights missing: fsbackup doctor",
        "warn",
        answer(point(0, Trust.PROVEN), restore_rights=False),
    ),
    (
        "PROD face-swap  02:00 CET PROVEN. Restore rights not known: fsbackup doctor",
        "warn",
        answer(point(0, Trust.PROVEN)),
    ),
    ("PROD face-swap  NO POINTS YET. b takes one", "bad", answer()),
    (
        "PROD face-swap  NO POINTS YET. The first backup is running",
        "warn",
        answer(point(0, Trust.INCOMPLETE, whole=False, running=True)),
    ),
    ("PROD face-swap  NO REPOSITORY. fsbackup init", "bad", answer(repository="never-created")),
    (
        "PROD face-swap  REPOSITORY NOT MOUNTED. It had 02:00 CET sealed",
        "bad",
        answer(point(0), repository="not-mounted"),
    ),
    ("PROD face-swap  REPOSITORY NOT MOUNTED", "bad", answer(repository="not-mounted")),
    ("PROD face-swap  REPOSITORY NOT READABLE", "bad", answer(repository="not-readable")),
    ("PROD face-swap  REPOSITORY NOT USABLE", "bad", answer(repository="unusable")),
    ("PROD face-swap  checking…", "checking", answer(checking=True)),
    (
        "PROD face-swap  checking… (at Sat 23:10 CET it was: RESTORE TO Sat 23:00 PROVEN)",
        "checking",
        answer(
            point(3, Trust.PROVEN),
            checking=True,
            checked_at=datetime(2026, 11, 21, 22, 10, tzinfo=UTC),
            restore_rights=True,
        ),
    ),
    (
        "PROD face-swap  checking… (at 02:10 CET it was: NO PROVEN POINT. Best: 02:00 sealed)",
        "checking",
        answer(point(0), checking=True, checked_at=TONIGHT + timedelta(minutes=10)),
    ),
]


@pytest.mark.parametrize(("line", "tone", "given_answer"), CASES, ids=[case[0] for case in CASES])
def test_the_words_of_each_state(line: str, tone: str, given_answer: Answer) -> None:
    assert given_answer.line(200) == line
    assert given_answer.tone == tone
    assert cell_width(given_answer.line(80)) <= 80


def test_what_does_not_fit_goes_from_the_right() -> None:
    found = answer(point(0, Trust.PROVEN), restore_rights=True, duration="~11 m (last drill)")
    assert found.line(60) == "PROD face-swap  RESTORE TO 02:00 CET (61 m ago) PROVEN"
    assert found.line(50) == "PROD face-swap  RESTORE TO 02:00 CET (61 m ago)"
    assert found.line(40) == "PROD face-swap  RESTORE TO 02:00 CET"
    assert found.line(33) == "PROD face-…  RESTORE TO 02:00 CET"
    assert found.body(40) == "RESTORE TO 02:00 CET (61 m ago) PROVEN"


def test_a_long_reason_is_cut_and_the_state_stays() -> None:
    found = answer(point(0, suspect=("a_very_long_table_name_" * 5,)), point(1))
    line = found.line(80)
    assert line.startswith("PROD face-swap  02:00 SUSPECT: a_very_long_table_name_")
    assert line.endswith("…")
    assert cell_width(line) <= 80


def test_a_failed_run_is_no_news_about_the_data() -> None:
    failed = point(0, Trust.INCOMPLETE, whole=False)
    found = answer(failed, point(1, Trust.PROVEN), restore_rights=True)
    assert found.line() == "PROD face-swap  RESTORE TO 01:00 CET (2 h ago) PROVEN"


def test_a_schema_point_does_not_answer() -> None:
    schema = point(0, Trust.PROVEN, parts=(PartSummary("s", "postgres-schema", Trust.PROVEN, 1),))
    assert answer(schema, restore_rights=True).state == "no-points"
    assert answer(schema, point(1), restore_rights=True).state == "no-proven-point"


def test_other_environments_are_named() -> None:
    assert answer(environment="staging").head == "STAGING face-swap"
    assert answer(environment="qa\x1b[2J").head == "QA [2J face-swap"


@given(
    points=st.lists(
        st.builds(
            point,
            st.floats(0, 3000),
            st.sampled_from(Trust),
            suspect=st.sampled_from([(), SUSPECT, ("表 5340 to 40",)]),
            in_incident=st.sampled_from(["", "20261122-01"]),
            whole=st.booleans(),
            running=st.booleans(),
        ),
        max_size=4,
    ),
    width=st.integers(24, 120),
    checking=st.booleans(),
    repository=st.sampled_from(["there", "not-mounted", "never-created", "unusable"]),
    rights=st.sampled_from([None, True, False]),
)
def test_it_always_fits_and_green_is_earned(
    points: list[PointSummary], width: int, checking: bool, repository: Any, rights: bool | None
) -> None:
    found = answer(
        *points,
        checking=checking,
        checked_at=TONIGHT,
        repository=repository,
        restore_rights=rights,
    )
    line = found.line(width)
    assert cell_width(line) <= width
    assert "\n" not in line
    if found.tone == "good":
        assert not checking
        assert repository == "there"
        assert rights is True
        assert any(
            candidate.trust is Trust.PROVEN and candidate.whole and not candidate.doubtful
            for candidate in points
        )
