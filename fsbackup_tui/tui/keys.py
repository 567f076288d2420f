"""The one table of keys: what the screens bind, what the bottom line and the help show.

Each key has an id, by which ``tui.yaml`` can give it others. No letter destroys anything: what
changes something asks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from textual.binding import BindingType

Context = Literal[
    "general",
    "list",
    "inventory",
    "point",
    "jobs",
    "job",
    "verify",
    "proof",
    "picture",
    "text",
    "alerts",
    "choice",
    "recover",
    "incident",
    "step",
    "report",
    "answers",
    "retention",
    "rules",
    "trash",
]
# What stands at the bottom: an action by its id, or a key and a word where a text field has them.
Shown: TypeAlias = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Key:
    """One action: its id, its usual keys, its word at the bottom, its sentence in the help.

    ``changes``: it leads to something being changed, and is not there in a read-only site.
    """

    id: str
    context: Context
    keys: str
    action: str
    word: str
    help: str
    priority: bool = False
    changes: bool = False


KEYS: tuple[Key, ...] = (
    Key("inventory", "general", "1", "app.mode('inventory')", "points", "Inventory"),
    Key("jobs", "general", "2", "app.mode('jobs')", "jobs", "Jobs"),
    Key("verification", "general", "3", "app.mode('verify')", "verify", "Verify"),
    Key("recover", "general", "4", "app.mode('recover')", "recover", "Recover"),
    Key("retention", "general", "5", "app.mode('retention')", "retention", "Retention"),
    Key("alerts", "general", "a", "app.alerts", "alerts", "What needs a person, and the remedy"),
    Key("back", "general", "escape", "screen.back", "back", "One level back; never quits"),
    Key("help", "general", "question_mark,f1", "app.help", "keys", "This help"),
    Key("palette", "general", "colon,ctrl+p", "app.palette", "commands", "All commands, themes"),
    Key("mouse", "general", "M", "app.mouse", "mouse", "Mouse on and off"),
    Key("repaint", "general", "ctrl+l", "app.repaint", "repaint", "Paint the screen anew"),
    Key("suspend", "general", "ctrl+z", "app.suspend_process", "suspend", "To the shell", True),
    Key("quit", "general", "q", "app.leave", "quit", "Leave; jobs run on"),
    Key("interrupt", "general", "ctrl+c", "app.leave", "quit", "Leave; jobs run on", True),
    Key("open", "list", "enter", "open", "open", "Open what the cursor is on"),
    Key("up", "list", "up,k", "move(-1)", "", "One line up"),
    Key("down", "list", "down,j", "move(1)", "", "One line down"),
    Key("page-up", "list", "pageup", "page(-1)", "", "One page up"),
    Key("page-down", "list", "pagedown,space", "page(1)", "", "One page down"),
    Key("half-up", "list", "ctrl+u", "page(-0.5)", "", "Half a page up"),
    Key("half-down", "list", "ctrl+d", "page(0.5)", "", "Half a page down"),
    Key("first", "list", "g,home", "first", "", "To the first line"),
    Key("last", "list", "G,end", "last", "", "To the last line"),
    Key(
        "back-up",
        "inventory",
        "b",
        "screen.back_up",
        "back up",
        "Back up now; asks which plan",
        changes=True,
    ),
    Key("verify", "inventory", "v", "screen.verify", "verify", "Verify the point; asks how far"),
    Key("filter", "inventory", "slash", "screen.filter", "filter", "Show points with this text"),
    Key(
        "sort",
        "inventory",
        "s",
        "screen.sort",
        "sort",
        "Order: oldest, largest, least trusted",
    ),
    Key(
        "recover-point",
        "inventory",
        "r",
        "screen.recover",
        "RECOVER",
        "Recover with this point",
        changes=True,
    ),
    Key("copy", "inventory", "y", "screen.copy", "copy", "Copy the point's restore command"),
    Key("show", "inventory", "Y", "screen.show", "by hand", "Show it, to select by hand"),
    Key("point-verify", "point", "v", "screen.verify", "verify", "Verify; asks how far"),
    Key(
        "point-recover",
        "point",
        "r",
        "screen.recover",
        "RECOVER",
        "Recover with this point",
        changes=True,
    ),
    Key("point-copy", "point", "y", "screen.copy", "copy", "Copy the restore commands"),
    Key("point-show", "point", "Y", "screen.show", "by hand", "Show them, to select by hand"),
    Key(
        "jobs-cancel",
        "jobs",
        "c",
        "screen.cancel",
        "cancel",
        "Cancel the running job; asks",
        changes=True,
    ),
    Key(
        "jobs-back-up",
        "jobs",
        "b",
        "screen.back_up",
        "back up",
        "Back up now; asks which plan",
        changes=True,
    ),
    Key("jobs-copy", "jobs", "y", "screen.copy", "copy", "Copy the command that attaches to it"),
    Key("jobs-show", "jobs", "Y", "screen.show", "by hand", "Show it, to select by hand"),
    Key("job-view", "job", "tab", "screen.next_view", "view", "Tables, log, commands"),
    Key(
        "job-cancel",
        "job",
        "c",
        "screen.cancel",
        "cancel",
        "Cancel the running job; asks",
        changes=True,
    ),
    Key("job-copy", "job", "y", "screen.copy", "copy", "Copy the commands it ran"),
    Key("job-show", "job", "Y", "screen.show", "by hand", "Show them, to select by hand"),
    Key("verify-point", "verify", "v", "screen.verify", "verify", "Verify the point; asks how far"),
    Key(
        "verify-picture", "verify", "p", "screen.picture", "picture", "Size, rows and proof by time"
    ),
    Key(
        "verify-filter", "verify", "slash", "screen.filter", "filter", "Show points with this text"
    ),
    Key(
        "verify-sort",
        "verify",
        "s",
        "screen.sort",
        "sort",
        "Order: oldest, largest, least trusted",
    ),
    Key("proof-verify", "proof", "v", "screen.verify", "verify", "Verify again; asks how far"),
    Key("proof-view", "proof", "tab", "screen.next_view", "view", "Tables, checks, receipt, times"),
    Key("proof-copy", "proof", "y", "screen.copy", "copy", "Copy the command that verifies it"),
    Key("proof-show", "proof", "Y", "screen.show", "by hand", "Show it, to select by hand"),
    Key("picture-older", "picture", "left,h", "screen.move(-1)", "older", "To the points before"),
    Key("picture-newer", "picture", "right,l", "screen.move(1)", "newer", "To the points after"),
    Key("picture-oldest", "picture", "g,home", "screen.move(-100000)", "", "To the oldest points"),
    Key("picture-newest", "picture", "G,end", "screen.move(100000)", "", "To the newest points"),
    Key("picture-open", "picture", "enter", "screen.open", "open", "Open the point's proof"),
    Key("picture-plan", "picture", "tab", "screen.next_plan", "plan", "The next plan's points"),
    Key("picture-out", "picture", "minus", "screen.span(1)", "longer", "A longer time"),
    Key("picture-in", "picture", "plus", "screen.span(-1)", "shorter", "A shorter time"),
    Key("text-up", "text", "up,k", "move(-1)", "", "One line up"),
    Key("text-down", "text", "down,j", "move(1)", "", "One line down"),
    Key("text-page-up", "text", "pageup,ctrl+u", "page(-1)", "", "One page up"),
    Key("text-page-down", "text", "pagedown,space,ctrl+d", "page(1)", "", "One page down"),
    Key("text-first", "text", "g,home", "first", "", "To the beginning"),
    Key("text-last", "text", "G,end", "last", "", "To the end"),
    Key("choice-up", "choice", "up,k,left", "move(-1)", "", "The answer above"),
    Key("choice-down", "choice", "down,j,right,tab", "move(1)", "other answer", "The answer below"),
    Key("choice-take", "choice", "enter", "take", "answer", "Give the marked answer"),
    Key(
        "drill",
        "recover",
        "D",
        "screen.drill",
        "drill…",
        "Practise a scenario on a copy",
        changes=True,
    ),
    Key(
        "step-run",
        "incident",
        "enter",
        "screen.act('run')",
        "run",
        "Run the step; 0.7 s after any key",
        changes=True,
    ),
    Key("step-list", "incident", "tab", "screen.steps", "steps", "The list of steps, and back"),
    Key(
        "step-skip",
        "incident",
        "S",
        "screen.act('skip')",
        "skip…",
        "Go past the step; asks why",
        changes=True,
    ),
    Key(
        "step-undo",
        "incident",
        "U",
        "screen.act('undo')",
        "undo…",
        "Take the step back; asks",
        changes=True,
    ),
    Key(
        "step-note",
        "incident",
        "N",
        "screen.act('note')",
        "note",
        "Write a note into the incident",
        changes=True,
    ),
    Key(
        "step-output",
        "incident",
        "O",
        "screen.act('output')",
        "output",
        "All that the step's job says",
    ),
    Key(
        "hand-over",
        "incident",
        "H",
        "screen.act('hand-over')",
        "hand over",
        "The text to hand it over",
    ),
    Key(
        "step-again",
        "incident",
        "A",
        "screen.act('again')",
        "again…",
        "Open the step again; asks",
        changes=True,
    ),
    Key(
        "runbook",
        "incident",
        "W",
        "screen.act('runbook')",
        "runbook…",
        "Go on with another runbook",
        changes=True,
    ),
    Key(
        "damage-time",
        "incident",
        "t",
        "screen.act('damage-time')",
        "time…",
        "Correct the damage time",
        changes=True,
    ),
    Key(
        "take-over",
        "incident",
        "T",
        "screen.act('take-over')",
        "take over",
        "Ask for the lead, take it",
        changes=True,
    ),
    Key(
        "refuse",
        "incident",
        "R",
        "screen.act('refuse')",
        "refuse",
        "Keep the lead when asked for it",
        changes=True,
    ),
    Key(
        "go",
        "incident",
        "G",
        "screen.act('go')",
        "go",
        "Agree, watching, to a step that can hurt",
        changes=True,
    ),
    Key(
        "close",
        "incident",
        "C",
        "screen.act('close')",
        "close…",
        "Close the incident; asks why",
        changes=True,
    ),
    Key("step-copy", "incident", "y", "screen.copy", "copy", "Copy the commands, or the message"),
    Key("step-show", "incident", "Y", "screen.show", "by hand", "Show them, to select by hand"),
    Key("step-up", "step", "up,k", "move(-1)", "", "One line up"),
    Key("step-down", "step", "down,j", "move(1)", "", "One line down"),
    Key("step-page-up", "step", "pageup,ctrl+u", "page(-1)", "", "One page up"),
    Key("step-page-down", "step", "pagedown,space,ctrl+d", "page(1)", "", "One page down"),
    Key("step-first", "step", "g,home", "first", "", "To the beginning"),
    Key("step-last", "step", "end", "last", "", "To the end"),
    Key("alerts-copy", "alerts", "y", "screen.copy", "copy", "Copy the alerts and remedies"),
    Key("alerts-show", "alerts", "Y", "screen.show", "by hand", "Show them, to select by hand"),
    Key("report-copy", "report", "y", "screen.copy", "copy", "Copy the text"),
    Key("report-show", "report", "Y", "screen.show", "by hand", "Show it, to select by hand"),
    Key(
        "retain-rules",
        "retention",
        "e",
        "screen.rules",
        "rules…",
        "Try other rules; asks first",
        changes=True,
    ),
    Key(
        "retain-apply",
        "retention",
        "A",
        "screen.apply",
        "remove…",
        "Move to the trash; asks",
        changes=True,
    ),
    Key(
        "retain-pin",
        "retention",
        "p",
        "screen.pin",
        "pin…",
        "Pin the point or unpin it; asks",
        changes=True,
    ),
    Key("retain-trash", "retention", "t", "screen.trash", "trash", "What lies in the trash"),
    Key("retain-plan", "retention", "tab", "screen.next_plan", "plan", "The next plan's points"),
    Key("retain-copy", "retention", "y", "screen.copy", "copy", "Copy the command that shows it"),
    Key("rule-more", "rules", "right,l,plus", "screen.step(1)", "more", "Keep more by this rule"),
    Key("rule-less", "rules", "left,h,minus", "screen.step(-1)", "less", "Keep less by this rule"),
    Key("rule-without", "rules", "x,delete", "screen.without", "without", "Do without this rule"),
    Key("rule-again", "rules", "u", "screen.again", "as it is", "All rules as the config has them"),
    Key("rule-write", "rules", "w", "screen.write", "WRITE…", "Write to the config; shows, asks"),
    Key("trash-back", "trash", "b", "screen.take_back", "take back…", "Take the point back; asks"),
    Key("trash-free", "trash", "F", "screen.free", "free…", "Free what is past its grace; asks"),
)
_BY_ID = {key.id: key for key in KEYS}
_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "space": "Space",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "minus": "-",
    "plus": "+",
}
TITLES: Mapping[Context, str] = {
    "general": "Everywhere",
    "list": "In a list",
    "inventory": "Inventory",
    "point": "Recovery point",
    "jobs": "Jobs",
    "job": "Job",
    "verify": "Verify",
    "proof": "Proof",
    "picture": "Picture",
    "text": "In a text",
    "alerts": "With the alerts",
    "choice": "In a question",
    "recover": "Recover",
    "incident": "Incident",
    "step": "In a step",
    "report": "Report",
    "answers": "In the answers",
    "retention": "Retention",
    "rules": "Rules",
    "trash": "Trash",
}
# Digits belong to the question that is open; they are no keys that could be given others.
_DIGITS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "answers": [("1 to 9", "Mark an answer; Enter gives it", "")],
    "step": [("1 to 9, 0", "Mark an answer; 0: those after the ninth", "")],
}


def bindings(*contexts: Context) -> list[BindingType]:
    """Return the Textual bindings of the contexts' keys."""
    from textual.binding import Binding

    return [
        Binding(key.keys, key.action, key.help, id=key.id, priority=key.priority)
        for key in KEYS
        if key.context in contexts
    ]


def is_changing(identifier: str) -> bool:
    """Return whether the action of an id leads to something being changed."""
    return _BY_ID[identifier].changes


@cache
def changing_actions() -> frozenset[tuple[str, tuple[object, ...]]]:
    """Return what the changing keys do, as Textual names it: the action and its parameters."""
    from textual.actions import parse

    return frozenset(
        (name, tuple(parameters))
        for _, name, parameters in (parse(key.action) for key in KEYS if key.changes)
    )


def is_key_id(identifier: str) -> bool:
    """Return whether an action has this id."""
    return identifier in _BY_ID


def keys_of(identifier: str, remapped: Mapping[str, str]) -> str:
    """Return the keys of an action, the user's where there are any."""
    return remapped.get(identifier) or _BY_ID[identifier].keys


def shown_key(identifier: str, remapped: Mapping[str, str], *, every: bool = False) -> str:
    """Return an action's key as people write it; all of its keys with ``every``."""
    names = [_name(key.strip()) for key in keys_of(identifier, remapped).split(",")]
    return ", ".join(names) if every else names[0]


def _name(key: str) -> str:
    *modifiers, last = key.split("+")
    name = _NAMES.get(last, last.upper() if last[1:].isdigit() else last)
    return "-".join([*modifiers, name])


def word_of(identifier: str) -> str:
    """Return the word that stands for an action at the bottom of the screen."""
    return _BY_ID[identifier].word


def clashes(remapped: Mapping[str, str]) -> str:
    """Return what is wrong where two actions would have one key in one place, else nothing."""
    for context in TITLES:
        seen: dict[str, str] = {}
        for key in KEYS:
            if key.context not in (context, "general") or key.id == "interrupt":
                continue
            for name in keys_of(key.id, remapped).split(","):
                other = seen.setdefault(_name(name.strip()), key.id)
                if other != key.id:
                    return f"{_name(name.strip())} would be both {other} and {key.id}"
    return ""


def help_rows(
    contexts: Sequence[Context], remapped: Mapping[str, str], *, read_only: bool = False
) -> Iterable[tuple[str, list[tuple[str, str, str]]]]:
    """Return, by title, the (keys, sentence, id) rows of the contexts, in the order given."""
    for context in contexts:
        rows = [
            (shown_key(key.id, remapped, every=True), key.help, key.id)
            for key in KEYS
            if key.context == context and not (read_only and key.changes)
        ]
        yield TITLES[context], [*_DIGITS.get(context, ()), *rows]
