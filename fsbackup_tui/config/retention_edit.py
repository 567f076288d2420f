"""Retention settings as changes of the configuration file: only what differs is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.retention import Retention
from fsbackup_tui.config.yaml_edit import Change, Scalar
from fsbackup_tui.config.yaml_reader import read_yaml
from fsbackup_tui.domain.retention import Keep, span_text

RULES: tuple[str, ...] = tuple(each.name for each in fields(Keep))
SITE_RULES: tuple[str, ...] = ("minimum_good", "most_share", "grace")


def keep_change(loaded: LoadedConfig, plan: str, keep: Keep) -> Change | None:
    """Return the change that gives a plan these rules; None where it has them.

    Without a rule the plan keeps everything: ``keep:`` is taken out.
    """
    settings = loaded.config.plans[plan].keep
    before = Keep() if settings is None else settings.keep()
    if before == keep:
        return None
    path = ("plans", plan, "keep")
    said = _said(loaded, path)
    values: dict[str, Scalar] = {}
    for rule in RULES:
        value = getattr(keep, rule)
        if value is not None:
            same = rule in said and value == getattr(before, rule)
            values[rule] = said[rule] if same else setting_text(value)
    return Change(path, values or None)


def retention_change(loaded: LoadedConfig, wanted: Retention) -> Change | None:
    """Return the change that gives the site these settings; None where it has them."""
    before = loaded.config.retention
    if before == wanted:
        return None
    said = _said(loaded, ("retention",))
    usual = Retention()
    values: dict[str, Scalar] = {}
    for rule in SITE_RULES:
        value = getattr(wanted, rule)
        if value == getattr(before, rule):
            if rule in said:
                values[rule] = said[rule]
        elif rule in said or value != getattr(usual, rule):
            values[rule] = setting_text(value)
    return Change(("retention",), values or None)


def setting_text(value: timedelta | float) -> Scalar:
    """Return a value as it is written in the file: ``30d``, ``8``, ``50 %``."""
    if isinstance(value, timedelta):
        return span_text(value).replace(" ", "")
    return f"{value * 100:.6g} %" if isinstance(value, float) else value


def _said(loaded: LoadedConfig, path: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a section as the file writes it; empty where it writes none."""
    value: Any = read_yaml(loaded.text, str(loaded.path)).value
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
