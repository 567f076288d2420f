"""Points as they are after trial restores: proven, stale, failed, blocked, suspect, running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fsbackup_tui.domain.health import InventoryState, answer_line
from fsbackup_tui.domain.point import LevelCheck, PointSummary
from fsbackup_tui.domain.proof import Blocker, Proof, ProofCheck, Receipt, TableProof, Verdict
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.tui.data import (
    Checked,
    JobRow,
    JobView,
    PartProof,
    PointProof,
    StageView,
    TableView,
    Wanted,
)
from tests.tui.fakes import OVERVIEW, FakeSite, make_job
from tests.tui.made import NOW, ZONE, make_point

RUNGS = ("sealed", "readable", "restored", "proven")
SECONDS = {"sealed": 1.4, "readable": 3.2, "restored": 48.0, "proven": 21.0}
FELL = "public.generated_videos had 5340 rows, has 40"
MISSING_EXTENSION = "extension pg_cron missing on the scratch server"
WANTED = {
    "daily": Wanted(Trust.PROVEN, timedelta(days=7)),
    "weekly-schema": Wanted(Trust.SEALED),
}
PROVING = replace(OVERVIEW, wanted=WANTED, trial="on a server of its own here")


def checks(at: datetime, **changes: bool | None) -> dict[str, LevelCheck]:
    """Return rungs as they were tried at a moment; ``changes`` say how, those named alone."""
    return {
        rung: LevelCheck(changes[rung], at + timedelta(minutes=place), "verify-v1ab", SECONDS[rung])
        for place, rung in enumerate(RUNGS)
        if rung in changes
    }


def shown(index: int, trust: Trust, age: timedelta, **changes: bool | None) -> PointSummary:
    """Return the point ``index`` days before the newest, its rungs tried ``age`` ago."""
    return replace(make_point(index, trust=trust), levels=checks(NOW - age, **changes))


def points_shown() -> list[PointSummary]:
    """Return points in every state that Verify has a word for, the newest first."""
    ok: Mapping[str, bool | None] = dict.fromkeys(RUNGS, True)
    hour, day = timedelta(hours=1), timedelta(days=1)
    return [
        shown(0, Trust.PROVEN, hour, **ok),
        shown(1, Trust.READABLE, 20 * hour, sealed=True, readable=True, restored=None),
        replace(
            shown(2, Trust.PROVEN, 2 * day, **ok),
            suspect=(FELL,),
            rows_change=-0.75,
            rows=1_300_000,
        ),
        replace(
            shown(3, Trust.RESTORED, 3 * day, **{**ok, "proven": False}),
            problems=("db/public.users: 499 rows restored, 500 captured",),
        ),
        shown(8, Trust.PROVEN, 9 * day, **ok),
        replace(
            shown(9, Trust.DAMAGED, hour, sealed=False),
            problems=("db/database.dump: SHA-256 differs",),
        ),
        replace(make_point(10, trust=Trust.SEALED), levels={}, trust=Trust.UNVERIFIED),
        make_point(11, trust=Trust.INCOMPLETE),
        shown(12, Trust.SEALED, 12 * day, sealed=True),
        replace(make_point(6, plan="weekly-schema", trust=Trust.SEALED), database_bytes=None),
    ]


def blocked_point() -> PointSummary:
    """Return the point whose trial restore was blocked."""
    return replace(points_shown()[1], blocked=(f"db: {MISSING_EXTENSION}",))


def table(
    name: str, captured: int | None, restored: int | None, verdict: Verdict, **more: str
) -> TableProof:
    """Return one table's comparison; fingerprints as the verdict has them."""
    print_of = {"captured_fingerprint": "123", "restored_fingerprint": "123"}
    if verdict == "different":
        print_of["restored_fingerprint"] = "456"
    if captured is None or restored is None:
        print_of = {}
    return TableProof("public", name, captured, restored, verdict, **{**print_of, **more})


def some_tables() -> tuple[TableProof, ...]:
    """Return a comparison with every verdict; a name is hostile on purpose."""
    return (
        table("events", 1_204_001, 1_204_001, "equal"),
        table("face_sources", 88, 88, "equal", note="compared by its number of rows alone"),
        table("[bold]x[/]\x1b[31m", 12, 12, "different"),
        table("mails", None, 500, "expected", note="a restore refreshes it"),
        table("users", 500, 499, "different"),
        table("sessions", 10, None, "missing"),
        table("old_log", 10, 12, "unknown", note="not counted at capture"),
        table("secrets", 3, None, "blocked", note="permission denied for table secrets"),
    )


def some_checks() -> tuple[ProofCheck, ...]:
    """Return checks of several kinds, the failed one not first."""
    return (
        ProofCheck("schema", "digest", "equal"),
        ProofCheck("sequence", "public.users_id_seq", "equal"),
        ProofCheck("view", "public.broken", "different", "column mail does not exist"),
        ProofCheck("query", "every video has a user", "equal", "no rows"),
        ProofCheck("command", "npm", "blocked", "npm is not installed here"),
    )


RECEIPT = Receipt(
    restored=58,
    benign=(("EXTENSION - plpgsql", "every database has it"),),
    deferred=("EXTENSION - pg_cron",),
    lost=("TRIGGER public users audit app",),
)
PHASES = {"start": 0.9, "restore": 41.0, "compare": 18.5, "checks": 2.5}


def make_proof(
    point: PointSummary,
    *,
    tables: Sequence[TableProof] = (),
    at: datetime = NOW - timedelta(days=3),
    source: str = "db",
) -> PartProof:
    """Return a part's proof; failed where one of its tables or its receipt is."""
    proof = Proof(
        place="own server 17.6",
        restored="ok",
        proven="failed",
        receipt=RECEIPT,
        tables=tuple(tables) or some_tables(),
        checks=some_checks(),
        notes=("roles were created without passwords",),
        phases=PHASES,
    )
    record = f"/var/backups/face-swap/records/{point.id}/proof.json"
    return PartProof(source, "proven", at, "20261119T020000Z-verify-v1ab", record, proof)


def blocked_proof(point: PointSummary) -> PartProof:
    """Return the proof of a restore that a missing extension blocked."""
    fix = "apt install postgresql-17-cron, or name another server: scratch: {url: …}"
    proof = Proof(
        "own server 17.6",
        "blocked",
        receipt=Receipt(57),
        blockers=(Blocker(MISSING_EXTENSION, fix),),
    )
    return PartProof(
        "db", "restored", NOW, "20261121T030000Z-verify-v1ab", "/r/blocked.json", proof
    )


def history(point: PointSummary) -> tuple[Checked, ...]:
    """Return the point's rungs as the checks that were made, the newest first."""
    return tuple(
        Checked(word, check.ok, check.at, check.job, check.seconds, point.problems[:1])
        if check.ok is False
        else Checked(word, check.ok, check.at, check.job, check.seconds)
        for word, check in reversed(list(point.levels.items()))
    )


def proven_site() -> FakeSite:
    """Return a site with these points and their proofs; nothing runs."""
    stored = points_shown()
    stored[1] = blocked_point()
    failed, blocked = stored[3], stored[1]
    state = InventoryState("face-swap", "production", ZONE, NOW, newest=stored)
    answered = replace(PROVING, answer=answer_line(state))
    site = FakeSite(state=answered, stored=stored, rows=[])
    site.proofs[failed.id] = PointProof(failed, (make_proof(failed),), history(failed))
    site.proofs[blocked.id] = PointProof(blocked, (blocked_proof(blocked),), history(blocked))
    return site


def verifying(site: FakeSite, point: PointSummary) -> JobRow:
    """Let a verification of the point run, half-way through the comparison."""
    job = make_job(
        "p7q8",
        operation="verify",
        subject=point.id,
        stage="proven",
        done=744e6,
        total=1200e6,
    )
    site.rows.insert(0, job)
    site.views[job.id] = JobView(
        row=job,
        stages=(
            StageView("sealed", "ok", 1.4),
            StageView("readable", "ok", 3.2),
            StageView("restored", "ok", 48.0),
            StageView("proven", "running", 12.0),
        ),
        detail="comparing public.events",
        active=("public.events",),
        rate=62e6,
        eta_seconds=7.4,
        tables=(
            TableView("public.users", 500, 65_536, 0.4),
            TableView("public.events", None, 9_000_000, 31.0),
        ),
    )
    return job


def level_asked(site: FakeSite) -> str:
    """Return the level of the verification that was started last."""
    request = site.started[-1]
    assert isinstance(request, VerifyRequest)
    return request.level
