"""What is accepted of what could not be tried: named, apart, and nothing more."""

from __future__ import annotations

from dataclasses import replace

from fsbackup_tui.domain.accepting import Acceptance, reason_to_accept, with_acceptances
from fsbackup_tui.domain.point import AcceptedBlock
from fsbackup_tui.domain.trust import Trust
from tests.tui.made import make_point

CRON = Acceptance("db", "Extension PG_CRON", "its jobs are checked elsewhere")
MISSING = "extension pg_cron is missing on the scratch server"
OTHER = "extension pg_net is missing on the scratch server"


def test_a_part_of_the_words_is_enough_whatever_the_case_and_only_of_its_source() -> None:
    assert reason_to_accept([CRON], "db", MISSING) == CRON.reason
    assert reason_to_accept([CRON], "db", OTHER) is None
    assert reason_to_accept([CRON], "other", MISSING) is None
    assert reason_to_accept([], "db", MISSING) is None


def test_what_is_accepted_stands_apart_and_trust_is_as_it_was() -> None:
    point = replace(make_point(0, trust=Trust.READABLE), blocked=(f"db: {MISSING}", f"db: {OTHER}"))
    found = with_acceptances(point, [CRON])
    assert found.blocked == (f"db: {OTHER}",)
    assert found.accepted == (AcceptedBlock(f"db: {MISSING}", CRON.reason),)
    assert found.trust is Trust.READABLE
    assert not found.calmly_blocked
    calm = with_acceptances(replace(point, blocked=(f"db: {MISSING}",)), [CRON])
    assert calm.calmly_blocked
    assert not with_acceptances(point, []).accepted
