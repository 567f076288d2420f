"""The lines that frame every screen, as plain functions: answer, tabs, keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from fsbackup_tui.domain.health import Tone, site_head
from fsbackup_tui.tui.data import Overview
from fsbackup_tui.tui.keys import Shown, shown_key, word_of
from fsbackup_tui.tui.lines import Line, Part, Role, clip_left, fit, line, spread, width_of

MODES: tuple[tuple[str, str, str], ...] = (
    ("inventory", "inventory", "Inventory"),
    ("jobs", "jobs", "Jobs"),
    ("verify", "verification", "Verify"),
    ("recover", "recover", "Recover"),
    ("retention", "retention", "Retention"),
)
_TONES: Mapping[Tone, Role] = {"good": "good", "warn": "warn", "bad": "bad", "checking": "muted"}


def environment_tag(environment: str) -> str:
    """Return the word for the environment: ``PROD``, ``STAGING`` …"""
    return site_head(environment, "")


def answer_line(overview: Overview, width: int, *, read_only: bool = False) -> Line:
    """Return the line that answers: what can be restored, to when, how long it takes."""
    tag = environment_tag(overview.environment)
    production = overview.environment.lower() == "production"
    head: list[Part] = []
    if tag:
        head.append((tag, "production" if production else "bar"))
        head.append(" ")
    if overview.site:
        head.append((overview.site, "text"))
        head.append("  ")
    if read_only:
        head.append(("READ ONLY", "warn"))
        head.append("  ")
    room = max(8, width - width_of(line(*head)))
    return fit(line(*head, (overview.answer.body(room), _TONES[overview.answer.tone])), width)


def tabs_line(overview: Overview, mode: str, remapped: Mapping[str, str], width: int) -> Line:
    """Return the modes with the present one marked, and the counts of jobs and alerts."""
    right = _counts(overview, shown_key("alerts", remapped))
    left = _tabs(mode, remapped, width - width_of(right))
    room = width - width_of(line(*left)) - width_of(right) - 4
    if overview.config and room >= 16:
        left.append(("  " + clip_left(overview.config, room), "muted"))
    return spread(line(*left), right, width)


def _tabs(mode: str, remapped: Mapping[str, str], room: int) -> list[Part]:
    """Return the modes; in a narrow window with less space between them, then without names."""
    tabs: list[Part] = []
    for before, all_names in ((" ", True), ("", True), (" ", False)):
        tabs = [] if before else [" "]
        for name, key_id, title in MODES:
            here = name == mode
            words = f" {title}" if here or all_names else ""
            text = f"{before}{shown_key(key_id, remapped)}{words} "
            tabs.append((text, "bar" if here else "muted"))
        if width_of(line(*tabs)) < room:
            break
    return tabs


def _counts(overview: Overview, key: str) -> Line:
    jobs, alerts = len(overview.running), len(overview.alerts)
    severe = any(alert.severe for alert in overview.alerts)
    pieces: list[Part] = []
    if jobs:
        pieces.append((f"{jobs} job{'s' if jobs != 1 else ''}", "accent"))
    if alerts:
        pieces.append("  ")
        words = f"{alerts} alert{'s' if alerts != 1 else ''}"
        pieces.append((words, "bad" if severe else "warn"))
        pieces.append((f" ({key})", "muted"))
    return line(*pieces, " ")


def keys_line(shown: Sequence[Shown], remapped: Mapping[str, str], width: int) -> Line:
    """Return the keys of the context; what does not fit is left out whole, but never ``?``/``q``.

    The last two are taken to be help and quit.
    """
    parts = [
        (shown_key(item, remapped), word_of(item)) if isinstance(item, str) else item
        for item in shown
    ]
    sizes = [cell_len(key) + 1 + cell_len(word) + 2 for key, word in parts]
    keep = list(range(len(parts)))
    while len(keep) > 2 and sum(sizes[index] for index in keep) - 1 > width:
        del keep[-3]
    pieces: list[Part] = [" "]
    for index in keep:
        key, word = parts[index]
        pieces.append((key, "key"))
        pieces.append((f" {word}" if index == keep[-1] else f" {word}  ", "muted"))
    return fit(line(*pieces), width)
