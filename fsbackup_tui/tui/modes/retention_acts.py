"""What mode 5 asks before it does anything: removing, pinning, taking back, freeing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.retention import Candidate, short_of_good, span_text
from fsbackup_tui.operations.retain_requests import (
    EmptyTrashRequest,
    RetainRequest,
    TakeBackRequest,
)
from fsbackup_tui.operations.wording import age_text, size_text, when_text
from fsbackup_tui.repository.trash import Trashed, past_grace
from fsbackup_tui.tui.asking import start
from fsbackup_tui.tui.frame import FrameScreen
from fsbackup_tui.tui.lines import Line, line
from fsbackup_tui.tui.retention_data import RetentionView, count_of
from fsbackup_tui.tui.widgets.choice import Answer
from fsbackup_tui.tui.widgets.entry import EntryPanel

_LONGEST_REASON = 200


def ask_apply(screen: FrameScreen, entry: EntryPanel, view: RetentionView) -> None:
    """Ask whether what leaves shall go to the trash; above the share the site's name is typed."""
    leaving = view.decision.leaving
    if view.locked is not None:
        screen.say_problem(view.locked)
        return
    if not leaving:
        screen.say("Remove: no point leaves; every one is kept by a rule", "warn")
        return
    refusals = view.decision.refusals
    firm = next((each for each in refusals if not each.confirmable), None)
    if firm is not None:
        what = f"NOTHING GOES NOW: {firm.what}"
        screen.say_problem(Problem("refused", what, firm.why, firm.fix))
        return
    request = RetainRequest(points=leaving, confirmed=bool(refusals))
    question = apply_question(view)
    if not refusals:
        answers = [
            Answer("No, nothing"),
            Answer("Yes, to the trash", "y", "fsbackup retain --apply"),
        ]
        screen.ask(question, answers, lambda _index: start(screen, request))
        return
    site = screen.site_app.overview.site
    question += [line(" ", (f"{each.what} {each.why}", "warn")) for each in refusals]
    question.append(line(f" If that is right, type the site's name, {site}, then Enter. Esc: no."))

    def check(text: str) -> str:
        return "" if text == site else f"That is not {site}. Nothing was done."

    entry.ask(question, lambda _text: start(screen, request), check=check, careful=True)
    screen.paint_foot()


def apply_question(view: RetentionView) -> list[Line]:
    """Return what would go, in numbers, by plan, and how long it can be taken back."""
    leaving = view.decision.leaving
    count = f"{len(leaving)} point{'s' if len(leaving) != 1 else ''}"
    size = size_text(view.decision.leaving_bytes)
    lines = [line(" ", (f"Move {count} to the trash?", "heading"), f"  {size}")]
    lines += [line(f"   {words}") for words in _by_plan(view)]
    if view.settings.grace:
        grace = span_text(view.settings.grace)
        words = f"   They can be taken back for {grace} (t); then their space is freed."
        lines.append(line((words, "muted")))
    else:
        words = "   retention: grace: 0 frees them at once: they can't be taken back."
        lines.append(line((words, "warn")))
    return lines


def _by_plan(view: RetentionView) -> Iterator[str]:
    for plan in view.plans:
        count = count_of(view, view.decision, plan)
        if not count.leaving:
            continue
        before = min(each.created for each in view.candidates if each.plan == plan)
        ages = f"the oldest is {age_text((view.now - before).total_seconds())} old"
        if count.oldest is not None and count.oldest != before:
            left = age_text((view.now - count.oldest).total_seconds())
            ages = f"oldest goes from {age_text((view.now - before).total_seconds())} to {left}"
        yield f"{plan}: {count.leaving} of {count.kept + count.leaving}; {ages}"


def ask_pin(
    screen: FrameScreen,
    entry: EntryPanel,
    view: RetentionView,
    point: Candidate,
    then: Callable[[], None],
) -> None:
    """Ask why a point shall be pinned; of one that is, whether it shall be no more."""
    data = screen.site_app.data
    if view.locked is not None or data is None:
        if view.locked is not None:
            screen.say_problem(view.locked)
        return
    when = when_text(point.created, view.now, view.zone)

    def done(words: str) -> Callable[[None], None]:
        def tell(_none: None) -> None:
            screen.say(words, "good")
            screen.site_app.refresh_overview()
            then()

        return tell

    def unpin(_index: int) -> None:
        words = f"{when} is pinned no more"
        screen.in_thread("pin", lambda: data.pin(point.id, None), done(words))

    if point.pinned is not None:
        question = [
            line(" ", (f"Unpin {when}?", "heading"), f"  {point.plan}, pinned: {point.pinned}"),
            line(("   The rules decide again: it may leave.", "muted")),
        ]
        screen.ask(
            question,
            [Answer("No, it stays pinned"), Answer("Yes, unpin it", "y", "fsbackup unpin")],
            unpin,
        )
        return

    def pin(text: str) -> None:
        reason = text.strip()
        screen.in_thread(
            "pin", lambda: data.pin(point.id, reason), done(f"{when} is pinned: {reason}")
        )

    entry.ask(
        [
            line(" ", (f"Pin {when}, {point.plan}?", "heading"), "  Why? Esc: no."),
            line(("   It stays, whatever the rules say, until it is unpinned.", "muted")),
        ],
        pin,
        check=_no_reason,
    )
    screen.paint_foot()


def _no_reason(text: str) -> str:
    if not text.strip():
        return "A pin says why: it is read by whoever wonders in a year."
    return "" if len(text) <= _LONGEST_REASON else f"At most {_LONGEST_REASON} characters."


def ask_take_back(screen: FrameScreen, view: RetentionView, trashed: Trashed) -> None:
    """Ask whether a point shall come back out of the trash."""
    if view.locked is not None:
        screen.say_problem(view.locked)
        return
    when = "-" if trashed.created is None else when_text(trashed.created, view.now, view.zone)
    question = [
        line(
            " ", (f"Take {when} back?", "heading"), f"  {trashed.plan}  {size_text(trashed.bytes)}"
        ),
        line(("   It is pinned then, so that it does not leave again at once.", "muted")),
    ]
    answers = [
        Answer("No, nothing"),
        Answer("Yes, take it back", "y", "fsbackup retain --take-back"),
    ]
    request = TakeBackRequest(point=trashed.id)
    screen.ask(question, answers, lambda _index: start(screen, request))


def ask_free(screen: FrameScreen, view: RetentionView) -> None:
    """Ask whether the space of what is past its grace shall be freed."""
    if view.locked is not None:
        screen.say_problem(view.locked)
        return
    now, grace_span = screen.site_app.now(), view.settings.grace
    needed = short_of_good(
        {each.plan for each in view.trash if each.plan}, view.candidates, view.guard
    )
    over: Sequence[Trashed] = past_grace(view.trash, now, grace_span, needed)
    if not over and past_grace(view.trash, now, grace_span):
        few = ", ".join(sorted(needed))
        screen.say(f"Free: {few} has too few good points; what lies here may be needed", "warn")
        return
    if not over:
        grace = span_text(view.settings.grace)
        screen.say(f"Free: nothing has lain here for {grace} yet", "warn")
        return
    count = f"{len(over)} point{'s' if len(over) != 1 else ''}"
    size = size_text(sum(each.bytes for each in over))
    question = [
        line(" ", (f"Free the space of {count} for good?", "heading"), f"  {size}"),
        line(("   They have been in the trash longer than the grace. No way back.", "warn")),
    ]
    answers = [Answer("No, nothing"), Answer("Yes, free it", "y", "fsbackup retain --empty")]
    screen.ask(question, answers, lambda _index: start(screen, EmptyTrashRequest()))
