"""Retention's rules as one changes them by keys: their words, steps, and how they are typed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from fsbackup_tui.config.retention import Retention
from fsbackup_tui.config.values import Duration, Share
from fsbackup_tui.domain.retention import Keep, span_text

Value = int | float | timedelta | None
_DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 548, 730, 1095, 1825, 3650)
_SPANS = tuple(timedelta(days=each) for each in _DAYS)
_MOST = 100_000
_SHARE_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its setting, what it means, what it begins with; ``site``: for all plans."""

    name: str
    words: str
    begin: Value
    site: bool = False


RULES: tuple[Rule, ...] = (
    Rule("last", "so many newest good points", 7),
    Rule("within", "every good point that is younger", timedelta(days=30)),
    Rule("hourly", "the newest good one of so many hours", 24),
    Rule("daily", "the newest good one of so many days", 14),
    Rule("weekly", "the newest good one of so many weeks", 8),
    Rule("monthly", "the newest good one of so many months", 12),
    Rule("yearly", "the newest good one of so many years", 3),
    Rule("minimum_good", "newest good ones stay in any case", 2, site=True),
    Rule("most_share", "more at once wants the site's name", 0.5, site=True),
    Rule("grace", "in the trash before space is freed", timedelta(days=7), site=True),
)


@dataclass(frozen=True, slots=True)
class Draft:
    """Rules that are tried: a plan's own, and the site's."""

    keep: Keep
    settings: Retention

    def value(self, rule: Rule) -> Value:
        """Return a rule's value; None: the plan does without it."""
        value: Value = getattr(self.settings if rule.site else self.keep, rule.name)
        return value

    def having(self, rule: Rule, value: Value) -> Draft:
        """Return the draft with another value of a rule; a site's rule is never without one."""
        if not rule.site:
            keep = replace(self.keep, **{rule.name: value})  # type: ignore[arg-type]
            return replace(self, keep=keep)
        if value is None:
            value = rule.begin
        return replace(self, settings=self.settings.model_copy(update={rule.name: value}))

    def stepped(self, rule: Rule, step: int) -> Draft:
        """Return the draft with a rule's value one step up or down."""
        return self.having(rule, _stepped(rule, self.value(rule), step))


def _stepped(rule: Rule, value: Value, step: int) -> Value:
    if value is None:
        return rule.begin if step > 0 else None
    if isinstance(value, timedelta):
        if step > 0:
            return next((each for each in _SPANS if each > value), value)
        lower = [each for each in _SPANS if each < value]
        return lower[-1] if lower else (timedelta(0) if rule.site else None)
    if isinstance(value, float):
        return min(1.0, max(0.0, round(value + step * _SHARE_STEP, 2)))
    number = min(_MOST, value + step)
    if number >= 1:
        return number
    return 1 if rule.site else None


def value_text(value: Value) -> str:
    """Return a value as the screen shows it: ``30 d``, ``50 %``, ``8``, ``-``."""
    if value is None:
        return "-"
    if isinstance(value, timedelta):
        return span_text(value) if value else "0"
    return f"{value * 100:.6g} %" if isinstance(value, float) else str(value)


def typed_value(rule: Rule, text: str) -> Value:
    """Return the value that a typed text means, None for none; ValueError says what is wrong."""
    text = text.strip()
    if text in ("", "-"):
        return None
    begin = rule.begin
    if isinstance(begin, timedelta):
        return _span(f"{text}d" if re.fullmatch(r"\d+", text) else text, zero=rule.site)
    if isinstance(begin, float):
        try:
            shown = f"{text} %" if re.fullmatch(r"\d+([.]\d+)?", text) else text
            return float(TypeAdapter(Share).validate_python(shown))
        except ValidationError:
            raise ValueError("A share looks like 50 %.") from None
    if not re.fullmatch(r"\d{1,6}", text) or not 1 <= int(text) <= _MOST:
        raise ValueError(f"A whole number from 1 to {_MOST:n}.")
    return int(text)


def _span(text: str, *, zero: bool) -> timedelta:
    try:
        span: timedelta = TypeAdapter(Duration).validate_python(text)
    except (ValidationError, OverflowError):
        raise ValueError("A time looks like 30d, 36h or 8w.") from None
    if span < timedelta(0) or (not span and not zero):
        raise ValueError("It has to be longer than nothing.")
    return span


def typed_wrong(rule: Rule, text: str) -> str:
    """Return what is wrong with a typed text, empty where nothing is."""
    try:
        typed_value(rule, text)
    except ValueError as error:
        return str(error)
    return ""
