"""Which sequences are moved beyond those of the other database, and how far."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.numbers import Numbers, numbers_to_set

MOST = 2**63 - 1


def up(last: int | None, *, most: int = MOST, cycles: bool = False) -> Numbers:
    return Numbers(last, 1, 1, most, cycles)


def down(last: int | None) -> Numbers:
    return Numbers(last, -2, -50, -1, False)


@pytest.mark.parametrize(
    ("own", "other", "wanted"),
    [
        (up(10), up(25), 125),
        (up(None), up(1), 101),
        (up(25), up(25), None),
        (up(26), up(25), None),
        (up(10), up(None), None),
        (up(10, most=60), up(25), 25),
        (up(10, most=1025), up(25), 35),
        (up(10, most=20), up(25), None),
        (up(10, cycles=True), up(25), None),
        (down(-3), down(-9), -9),
        (down(-9), down(-3), None),
        (up(10), down(-9), None),
    ],
)
def test_a_sequence_that_is_behind_goes_on_beyond_the_other(
    own: Numbers, other: Numbers, wanted: int | None
) -> None:
    found = numbers_to_set({"public.ids": own}, {"public.ids": other}, margin=100)
    assert found == ({} if wanted is None else {"public.ids": wanted})


def test_a_sequence_that_is_not_there_is_left_alone() -> None:
    assert numbers_to_set({}, {"public.ids": up(25)}, margin=100) == {}
