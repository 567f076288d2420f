"""Which kinds of damage a look at a live database is said to be blind to."""

from __future__ import annotations

from fsbackup_tui.domain.live_health import Sight, Unchecked, not_seen


def kinds(sight: Sight) -> str:
    return "\n".join(unseen.what for unseen in not_seen(sight))


def test_even_the_best_look_is_blind_to_something() -> None:
    best = not_seen(Sight(data_checksums=True))
    assert len(best) == 3
    assert all(unseen.what and unseen.why for unseen in best)


def test_what_is_missing_is_said_with_its_remedy() -> None:
    sight = Sight(
        data_checksums=False,
        amcheck_lacks="The extension amcheck is not installed here.",
        amcheck_remedy="CREATE EXTENSION amcheck;",
        refused=(Unchecked("amcheck", "app.users", "its index users_slow: no such function"),),
        uncompared=tuple(f"t{number}" for number in range(7)),
        unlisted=3,
        foreign_tables=2,
        no_last_point="There is no good point.",
        standby=True,
        collation_known=False,
    )
    text = kinds(sight)
    for words in (
        "a changed value, still well formed",
        "an index in the wrong order",
        "what amcheck would tell of app.users",
        "in the order of another C library or ICU",
        "a zeroed page of: t0, t1, t2, t3, t4 and 2 more",
        "vanished without a trace",
        "3 system or managed tables",
        "2 foreign tables",
        "damage on the primary",
    ):
        assert words in text
    remedies = {unseen.fix for unseen in not_seen(sight)}
    assert "CREATE EXTENSION amcheck;" in remedies


def test_a_value_that_an_index_has_too_is_no_blind_spot_of_amcheck() -> None:
    assert "a changed value that no b-tree has a copy of" in kinds(Sight(data_checksums=False))
    assert "a changed value" not in kinds(Sight(data_checksums=True))
