"""The answer line and ``check`` speak of one site: never green the one and critical the other."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.health import Answer
from fsbackup_tui.domain.judged import ABOUT_BACKUPS, is_about_backups, judged
from fsbackup_tui.operations.status import gather_status
from tests.support.checking import Watched

GREEN = Answer(
    "restore-to",
    "good",
    "PROD shop",
    ("RESTORE TO 02:00 UTC", " (3 d ago)", " PROVEN", "  ~11 m (last drill)"),
)

points = st.lists(
    st.tuples(
        st.integers(1, 400),
        st.sampled_from(["", "sealed", "readable", "restored", "proven"]),
        st.booleans(),
    ),
    max_size=5,
)


@given(
    points,
    st.sampled_from([True, False, None]),
    st.sampled_from(["", "objectives: {rpo: 24h}\n"]),
    st.sampled_from(["", ", verify_every: 7d"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_state_is_green_and_critical_nor_red_and_ok(
    made: list[tuple[int, str, bool]], rights: bool | None, more: str, plan: str, gone: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        site = Watched(Path(directory), more=more, plan=plan)
        site.know_rights(rights)
        for hours, level, suspect in made:
            site.point(timedelta(hours=hours), level=level, suspect=["fell"] if suspect else [])
        if gone:
            site.repository.root.rename(Path(directory) / "elsewhere")
        check = site.check()
        answer = judged(gather_status(site.loaded, site.environ, site.now).answer, check.findings)
        about = [finding.id for finding in check.findings if is_about_backups(finding)]
        assert not (answer.tone == "good" and about), (answer.line(200), about)
        assert answer.tone not in ("bad", "warn") or check.state != "OK", answer.line(200)
        if check.state == "OK":
            assert answer.tone == "good"


def test_what_is_wrong_is_said_and_that_it_is_proven_stays_said() -> None:
    finding = Finding("backup-age:daily", "critical", None, "BACKUP OVERDUE: daily.", "y", "f")
    answer = judged(GREEN, [finding])
    assert (answer.tone, answer.state) == ("warn", "alarm")
    assert answer.line(100) == (
        "PROD shop  RESTORE TO 02:00 UTC (3 d ago) PROVEN. BACKUP OVERDUE  ~11 m (last drill)"
    )


def test_what_is_no_matter_of_backups_leaves_it_green() -> None:
    for finding in (
        Finding("backup-age:daily", "warning", None, "W", "y", "f"),
        Finding("database:db", "critical", None, "W", "y", "f"),
        Finding("unknown:key", "unknown", None, "W", "y", "f"),
    ):
        assert judged(GREEN, [finding]) == GREEN
    assert "backup-age" in ABOUT_BACKUPS
