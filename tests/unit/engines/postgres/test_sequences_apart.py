"""How far a copy's sequence is moved on, so that no key is given out twice."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.sequences_apart import ROOM, Position, moved_on

MOST = 2**63 - 1


def rising(last: int | None, most: int = MOST) -> Position:
    return Position(1, 1, most, last)


def falling(last: int | None) -> Position:
    return Position(-1, -MOST, -1, last)


@pytest.mark.parametrize(
    ("copy", "live", "wanted"),
    [
        (rising(100), rising(150), 150 + ROOM),
        (rising(None), rising(7), 7 + ROOM),
        (falling(-5), falling(-9), -9 - ROOM),
        (Position(10, 1, MOST, 11), Position(10, 1, MOST, 31), 31 + 10 * ROOM),
        # Nothing was drawn since; the copy is ahead; live has none, or nobody may see it.
        (rising(100), rising(100), None),
        (rising(150), rising(100), None),
        (falling(-9), falling(-5), None),
        (rising(100), None, None),
        (rising(100), rising(None), None),
        # There is no room left, or they count by other steps.
        (rising(100, most=200), rising(150, most=200), None),
        (rising(100), Position(10, 1, MOST, 150), None),
    ],
)
def test_it_moves_past_what_live_gave_out_where_there_is_room(
    copy: Position, live: Position | None, wanted: int | None
) -> None:
    assert moved_on(copy, live) == wanted
