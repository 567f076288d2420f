"""The questions before anything is started or stopped; the first answer always does nothing."""

from __future__ import annotations

from fsbackup_tui.domain.errors import PassphraseNeeded
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, VerifyLevel, VerifyRequest
from fsbackup_tui.operations.wording import duration_text, size_text
from fsbackup_tui.tui.data import JobRow, Overview
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.lines import line
from fsbackup_tui.tui.passphrase import ask_passphrase
from fsbackup_tui.tui.widgets.choice import Answer

_LEVELS: tuple[VerifyLevel, ...] = ("sealed", "readable", "restored", "proven")


def ask_backup(screen: FrameScreen) -> None:
    """Ask which plan to back up now, then start it."""
    overview = screen.site_app.overview
    if not screen.site_app.allowed(screen, "backup"):
        return
    if not overview.plans:
        screen.say("Back up: still reading the configuration", "warn")
        return
    answers = [
        Answer("No, nothing"),
        *(
            Answer(f"Back up {plan}", str(index) if index <= 9 else "", f"fsbackup backup {plan}")
            for index, plan in enumerate(overview.plans, start=1)
        ),
    ]
    question = [line(" ", ("Back up now?", "heading"), _where(screen))]
    screen.ask(
        question,
        answers,
        lambda index: start(screen, BackupRequest(plan=overview.plans[index - 1])),
    )


def ask_verify(screen: FrameScreen, point: PointSummary | None) -> None:
    """Ask how far to verify a point, then start it."""
    if point is None:
        screen.say("Verify: there is no point under the cursor", "warn")
        return
    # Another script's backup needs no repository.
    if not screen.site_app.allowed(screen, "verify-file" if point.foreign else "verify"):
        return
    if point.running:
        screen.say("Verify: this point is still being written", "warn")
        return
    if not point.bytes:
        screen.say("Verify: nothing was stored in this point", "warn")
        return
    remarks = _remarks(point, screen.site_app.overview)
    answers = [
        Answer("No, nothing"),
        *(
            Answer(f"Verify {level}", str(index), remarks[level])
            for index, level in enumerate(_LEVELS, start=1)
        ),
    ]
    question = [line(" ", ("Verify ", "heading"), (point.id, "heading"), ("?", "heading"))]
    screen.ask(
        question,
        answers,
        lambda index: start(screen, VerifyRequest(point=point.id, level=_LEVELS[index - 1])),
    )


def _remarks(point: PointSummary, overview: Overview) -> dict[VerifyLevel, str]:
    """Return what each level does and costs, and how long it took the last time."""
    stored = size_text(point.bytes)
    what = "it" if point.database_bytes is None else size_text(point.database_bytes)
    where = overview.trial or "on a scratch server"
    remarks: dict[VerifyLevel, str] = {
        "sealed": f"the SHA-256 of every file: reads {stored}",
        "readable": f"and reads {stored} to the end, as a restore does",
        "restored": f"and restores {what} {where}",
        "proven": "and compares every table with what was captured",
    }
    for level in _LEVELS:
        check = point.levels.get(level)
        if check is not None and check.ok and check.seconds:
            remarks[level] += f" ({duration_text(check.seconds)})"
    return remarks


def ask_cancel(screen: FrameScreen, job: JobRow | None) -> None:
    """Ask whether a running job shall stop, then tell it to."""
    if job is None or job.state != "running":
        state = "there is no job here" if job is None else f"{job.label} is not running"
        screen.say(f"Cancel: {state}", "warn")
        return
    remark = {
        "backup": "What it wrote so far is thrown away; earlier points stay as they are.",
        "restore": "The unfinished copy stays marked as unfinished.",
    }.get(job.operation, "Nothing that was finished is lost.")
    question = [
        line(" ", (f"Cancel {job.label}?", "heading"), f"  {job.subject}"),
        line(" ", (remark, "muted")),
    ]

    def cancel(_index: int) -> None:
        data = screen.site_app.data
        if data is None:
            return
        screen.say(f"Cancelling {job.label}…")
        screen.in_thread("cancel", lambda: data.cancel(job.id), lambda _none: screen.tick())

    screen.ask(question, [Answer("No, let it run"), Answer("Yes, cancel it", "y")], cancel)


def start(screen: FrameScreen, request: Request) -> None:
    """Start a job in its own process and say that it runs; a passphrase is asked for first."""
    data = screen.site_app.data
    if data is None:
        screen.say(f"{request.operation} begins as soon as the site is read…")
        screen.site_app.site_watch.when_open(lambda: start(screen, request))
        return
    screen.say(f"Starting {request.operation}…")

    def begin() -> JobRow | PassphraseNeeded:
        try:
            return data.start(request)
        except PassphraseNeeded as needed:
            return needed

    def started(job: JobRow | PassphraseNeeded) -> None:
        if isinstance(job, PassphraseNeeded):
            ask_passphrase(screen, job, lambda: start(screen, request))
            return
        screen.site_app.told_when_ended.add(job.label)
        screen.site_app.begun = job.id
        screen.say(f"{job.label} runs. 2 shows it; it goes on when you leave.", "good")
        screen.site_app.refresh_overview()
        screen.tick()

    screen.in_thread("start", begin, started)


def _where(screen: FrameScreen) -> str:
    overview = screen.site_app.overview
    return f"  {overview.site} into {overview.repository}" if overview.repository else ""
