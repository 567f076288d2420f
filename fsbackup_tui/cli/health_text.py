"""The words of ``fsbackup verify --live``: what was found, what was not looked at or not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.operations.watch_only import no_source

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

_MOST_FINDINGS = 50


def live_source(loaded: LoadedConfig, wanted: str | None) -> str:
    """Return the postgres source to look at; UsageError where that is not clear.

    Without ``wanted`` it is the one whose rows are backed up, where there is one alone.
    """
    sources = loaded.config.databases
    if wanted is not None:
        if wanted in sources:
            return wanted
        raise UsageError(
            f"NO SUCH DATABASE: {wanted}.",
            why=f"{loaded.path} has the postgres sources: {', '.join(sources) or 'none'}.",
        )
    with_rows = [name for name, source in sources.items() if source.scope != "schema"]
    candidates = with_rows or list(sources)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise no_source(loaded, "there is none to look into")
    raise UsageError(
        f"WHICH DATABASE: the site has {len(candidates)}.",
        why=f"Postgres sources: {', '.join(candidates)}.",
        fix=f"fsbackup verify --live --source {candidates[0]}",
    )


def health_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when it is done."""
    from fsbackup_tui.operations.wording import duration_text

    lines = [f"{_headline(result)}  ({duration_text(result['seconds'])})", f"  {result['target']}"]
    lines += _findings(result["findings"])
    for item in result["unchecked"]:
        fix = f" {item['fix']}" if item["fix"] else ""
        lines.append(f"  NOT CHECKED  {item['table']}: {item['why']}.{fix}")
    lines += [f"  note: {note}" for note in result["notes"]]
    if result["not_seen"]:
        lines.append("Not seen by these checks, if it is there:")
        lines += [f"  - {_unseen(item)}" for item in result["not_seen"]]
    return lines


def _headline(result: Mapping[str, Any]) -> str:
    tables = result["tables"]
    read = [table for table in tables if table["rows"] is not None]
    looked = f"{len(read)} of {len(tables)} tables read"
    damaged = {finding["table"] or "" for finding in result["findings"]}
    if damaged:
        places = "1 place" if len(damaged) == 1 else f"{len(damaged)} places"
        return f"{result['source']}: PROBLEMS FOUND in {places}; {looked}"
    if result["unchecked"]:
        return f"{result['source']}: NOT ALL CHECKED; no damage found so far; {looked}"
    return f"{result['source']}: NO DAMAGE FOUND; {looked}"


def _findings(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the findings, those of one table together, and each remedy once at the end."""
    by_table: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        by_table.setdefault(finding["table"] or "", []).append(finding)
    lines = []
    for table, of_table in by_table.items():
        lines.append(f"  {table or 'the whole database'}")
        lines += [f"    {finding['check']}: {finding['what']}" for finding in of_table]
    if len(lines) > _MOST_FINDINGS:
        left = len(lines) - _MOST_FINDINGS
        lines = [*lines[:_MOST_FINDINGS], f"  and {left} lines more: --json has them all"]
    fixes = dict.fromkeys(finding["fix"] for finding in findings)
    return [*lines, *(f"Next  {fix}" for fix in fixes)]


def _unseen(item: Mapping[str, Any]) -> str:
    fix = f" {item['fix']}" if item["fix"] else ""
    return f"{item['what']}: {item['why']}{fix}"
