"""Whether what was backed up is good: damaged, suspect, failed or stale proofs, and drills."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fsbackup_tui.domain.expected import has_run, last_due
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.domain.text import age_text, duration_text, plain_text, when_text
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.operations.probes.plans import drill_schedules, plan_since, wanted_of
from fsbackup_tui.operations.wording import blocked_words
from fsbackup_tui.repository.drills import newest_drills
from fsbackup_tui.repository.records import Record

_DRILLS_LOOKED_AT = 20
_DRILL_GRACE = timedelta(hours=6)


def damaged(ground: Ground) -> Iterator[Finding]:
    """Yield every point that is damaged, among the newest."""
    for point in ground.points():
        if point.trust is Trust.DAMAGED:
            why = point.problems[0] if point.problems else ""
            yield Finding(
                f"damaged:{point.id}",
                "critical",
                None,
                f"DAMAGED: {point.id}.",
                plain_text(why) or "It does not hold what was stored in it.",
                f"fsbackup show {point.id}",
                subject=point.id,
            )


def newest_points(ground: Ground) -> Iterator[Finding]:
    """Yield what is wrong with the newest point of each plan; its database and files, above all."""
    plans = dict.fromkeys([*ground.loaded.config.plans, *(p.plan for p in ground.points())])
    for plan in plans:
        newest = next((point for point in ground.points(plan) if not point.running), None)
        if newest is None:
            continue
        ground.number("fsbackup_trust_level", int(newest.trust), plan=plan)
        if newest.trust is not Trust.DAMAGED:
            yield from _doubts(ground, newest)


def _doubts(ground: Ground, point: PointSummary) -> Iterator[Finding]:
    plan = point.plan
    look = f"fsbackup show {point.id}"
    if point.suspect:
        yield Finding(
            f"suspect:{plan}",
            "critical",
            point.created,
            plain_text(f"SUSPECT: {point.id}: {point.suspect[0]}."),
            "What is missing in it may be missing in live: look there first.",
            f'{look}\nRight after all? fsbackup clear {point.id} --reason "…"',
            subject=point.id,
        )
    failed = [check for check in point.levels.values() if check.ok is False]
    if failed:
        why = point.problems[0] if point.problems else ""
        yield Finding(
            f"proof-failed:{plan}",
            "critical",
            min(check.at for check in failed),
            f"PROOF FAILED: {point.id}.",
            plain_text(why),
            f"{look}\nThen take a new one: fsbackup backup {plan}",
            subject=point.id,
        )
    elif point.blocked:
        yield Finding(
            f"not-tried:{plan}",
            "warning",
            point.created,
            plain_text(f"NOT TRIED: {point.id} {blocked_words(point.levels)}."),
            plain_text(point.blocked[0]),
            f"{look}   or accept it: accept_blocked: in the configuration",
            subject=point.id,
        )
    elif point.whole and not point.doubtful:
        yield from _less_than_wanted(ground, point)


def _less_than_wanted(ground: Ground, point: PointSummary) -> Iterator[Finding]:
    wanted = wanted_of(ground, point.plan)
    busy = any(job.state == "running" and job.operation != "backup" for job in ground.jobs)
    if point.trust >= wanted or point.calmly_blocked or busy:
        return
    yield Finding(
        f"trust:{point.plan}",
        "warning",
        point.created,
        f"NOT SHOWN GOOD: {point.id} is {point.trust.word}, its plan wants {wanted.word}.",
        "Nobody knows yet whether it can be restored.",
        f"fsbackup verify {point.id} --level {wanted.word}",
        subject=point.id,
    )


def never_proven(ground: Ground) -> Iterator[Finding]:
    """Yield that nothing here was ever restored, where there is something to restore."""
    data = [point for point in ground.points() if point.holds_data and not point.running]
    if not data or any(point.calmly_blocked for point in data):
        return
    if ground.newest(_is_proven) is None:
        yield Finding(
            "never-proven",
            "warning",
            None,
            "NO PROVEN POINT: no backup was ever restored and compared.",
            "A backup that was never restored is a hope.",
            "fsbackup verify latest --level proven",
        )


def _is_proven(point: PointSummary) -> bool:
    proven = point.data_trust is Trust.PROVEN
    return proven and point.holds_data and point.whole and not point.doubtful


def proof_ages(ground: Ground) -> Iterator[Finding]:
    """Yield each plan whose newest proof is older than its ``verify_every``."""
    for name, plan in ground.loaded.config.plans.items():
        level = Trust.from_word(plan.verify)
        proofs = [
            check.at
            for point in ground.points(name)
            for word, check in point.levels.items()
            if check.ok and Trust.from_word(word) >= level
        ]
        newest = max(proofs, default=None)
        if newest is not None:
            age = ground.age(newest).total_seconds()
            ground.number("fsbackup_proof_age_seconds", age, plan=name, level=level.word)
        if plan.verify_every is None or not ground.points(name):
            continue
        calm = any(point.calmly_blocked for point in ground.points(name)[:1])
        if newest is not None and ground.age(newest) > plan.verify_every and not calm:
            yield _stale(ground, name, level, newest, plan.verify_every)


def _stale(ground: Ground, name: str, level: Trust, newest: datetime, every: timedelta) -> Finding:
    ago = age_text(ground.age(newest).total_seconds())
    return Finding(
        f"proof-age:{name}",
        "critical" if ground.age(newest) > 2 * every else "warning",
        newest + every,
        f"PROOF STALE: nothing of {name} was shown {level.word} for {ago}.",
        f"verify_every is {age_text(every.total_seconds())}; disks and programs go bad meanwhile.",
        "fsbackup verify --due",
        subject=name,
    )


def drills(ground: Ground) -> Iterator[Finding]:
    """Yield what the last drill says: failed, slower than promised, or there was none."""
    if ground.repository is None:
        return
    held = newest_drills(ground.repository, limit=_DRILLS_LOOKED_AT)
    rto = ground.loaded.config.objectives.rto
    if rto is not None:
        ground.number("fsbackup_objective_rto_seconds", rto.total_seconds())
    yield from _overdue_drills(ground, held[0].at if held else None)
    if held:
        yield from _last_drill(ground, held, rto)
    elif rto is not None and ground.points():
        yield Finding(
            "drill-never",
            "warning",
            None,
            "NO DRILL YET: nobody knows how long getting back takes.",
            f"objectives: rto: promises {duration_text(rto.total_seconds())}.",
            "fsbackup drill",
        )


def _overdue_drills(ground: Ground, last: datetime | None) -> Iterator[Finding]:
    """Yield each drill of the configuration whose newest time brought no drill."""
    for name, schedule in drill_schedules(ground).items():
        since = plan_since(ground, f"drill {name}", schedule)
        run = last_due(schedule, ground.now, ground.zone, _DRILL_GRACE)
        if run <= since or has_run(last, run):
            continue
        when = when_text(run, ground.now, ground.zone)
        had = "There never was one." if last is None else (
            f"The last one was held {when_text(last, ground.now, ground.zone)}."
        )  # fmt: skip
        yield Finding(
            f"drill-age:{name}",
            "warning",
            run,
            f"DRILL OVERDUE: {name} was due {when} ({schedule}).",
            f"{had} What nobody practises does not work on the day it must.",
            "fsbackup drill   and: fsbackup schedule show",
            subject=name,
        )


def _last_drill(ground: Ground, held: list[Record], rto: timedelta | None) -> Iterator[Finding]:
    last = held[0]
    ground.number("fsbackup_drill_age_seconds", ground.age(last.at).total_seconds())
    seconds = last.document.get("seconds")
    when = when_text(last.at, ground.now, ground.zone)
    point = plain_text(str(last.document.get("point", last.path.parent.name)))
    if last.document.get("outcome") == "failed":
        problems = last.document.get("problems")
        why = str(problems[0].get("what", "")) if isinstance(problems, list) and problems else ""
        yield Finding(
            "drill-failed",
            "critical",
            last.at,
            f"DRILL FAILED: {point}, {when}.",
            plain_text(why) or "Getting back would have failed as well.",
            "fsbackup drill   once it is mended",
            subject=point,
        )
        return
    if not isinstance(seconds, int | float):
        return
    ground.number("fsbackup_drill_seconds", float(seconds))
    if rto is not None and seconds > rto.total_seconds():
        took = duration_text(float(seconds))
        yield Finding(
            "drill-rto",
            "warning",
            last.at,
            f"TOO SLOW: the last drill took {took}; {duration_text(rto.total_seconds())} "
            "was promised.",
            "A recovery takes at least as long as its drill.",
            "Keep a spare (keep_spare: true), give jobs: more, or promise less in objectives: rto",
            subject=point,
        )
