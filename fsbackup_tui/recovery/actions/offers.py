"""What a diff offers to be put back, and what the chosen offers come to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.merge import (
    ALL_COLUMNS,
    Drift,
    MergePlan,
    Proposed,
    SampleRow,
    TableChoice,
    TableDifference,
)
from fsbackup_tui.domain.text import count_text, plain_text, shorten
from fsbackup_tui.recovery.question import Option

OfferKind = Literal["missing", "changed", "only-live", "again", "column", "object"]
DEFAULT, NULL = "DEFAULT", "NULL"
_SAMPLE_WIDTH = 60
_SPECIAL = frozenset(",:")


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that can be put back: as an option, and what it is of."""

    option: Option
    kind: OfferKind
    table: TableName
    name: str = ""


def table_text(table: TableName) -> str:
    """Return a table's name as people read it."""
    return plain_text(f"{table[0]}.{table[1]}")


def offers_of(
    plan: MergePlan, proposed: Sequence[Proposed], *, structure: bool
) -> tuple[Offer, ...]:
    """Return all that can be put back; what is proposed is recommended.

    ``structure``: definitions were seen to be gone, so that making them again is proposed, too.
    """
    choices = {each.choice.table: each for each in proposed}
    offers = [
        *_definitions(plan.drift, choices, structure=structure),
        *(offer for table in plan.tables for offer in _rows(table, choices.get(table.table))),
    ]
    # A name may hold what parts answers; such an offer is known by its number.
    return tuple(
        replace(offer, option=replace(offer.option, key=f"#{number}"))
        if _SPECIAL & set(offer.option.key.replace(":", "", 1))
        else offer
        for number, offer in enumerate(offers, 1)
    )


def _definitions(
    drifts: Sequence[Drift], choices: Mapping[TableName, Proposed], *, structure: bool
) -> Iterator[Offer]:
    for drift in drifts:
        if not drift.lost or drift.kind in ("type", "key"):
            continue
        found = choices.get(drift.table)
        name = drift.column or ""
        kind: OfferKind = "again"
        proposed = found is not None and found.choice.recreate
        if drift.kind == "column":
            kind = "column"
            proposed = found is not None and name in found.choice.columns
        elif drift.column is not None:
            kind = "object"
            proposed = found is not None and name in found.choice.objects
        what = f"{drift.kind} {plain_text(name)} of " if name else f"{drift.kind} "
        key = f"{drift.table[0]}.{drift.table[1]}:{kind}" + (f"={name}" if name else "")
        option = Option(
            key,
            f"make {what}{table_text(drift.table)} again",
            tuple(_about(drift)),
            impossible=plain_text(drift.obstacle),
            recommended=not drift.obstacle and (proposed or structure),
        )
        yield Offer(option, kind, drift.table, name)


def _about(drift: Drift) -> Iterator[str]:
    yield plain_text(drift.copy or "")
    if drift.rows is not None:
        since = f", {count_text(drift.rows_since)} rows since" if drift.rows_since else ""
        yield f"filled by key for {count_text(drift.rows)} rows{since}"
    if drift.comes_along:
        yield f"with it: {plain_text(', '.join(drift.comes_along[:4]))}"


def _rows(table: TableDifference, found: Proposed | None) -> Iterator[Offer]:
    name, choice = table_text(table.table), found.choice if found is not None else None
    base = f"{table.table[0]}.{table.table[1]}"
    if table.missing:
        rows = table.missing if table.filtered is None else table.filtered
        reasons = tuple(plain_text(text) for text in (found.reasons if found is not None else ()))
        option = Option(
            f"{base}:missing",
            f"{name}: put {count_text(rows)} missing rows back",
            (*reasons, *_samples(table, "missing")),
            recommended=choice is not None and choice.missing and not table.whole_rows,
        )
        yield Offer(option, "missing", table.table)
    if table.changed:
        columns = ", ".join(
            f"{plain_text(column)} in {count_text(rows)}"
            for column, rows in sorted(table.changed_columns.items())
        )
        option = Option(
            f"{base}:changed",
            f"{name}: set {count_text(table.changed)} changed rows back",
            (f"differs: {columns or 'any column'}", *_samples(table, "changed")),
            recommended=choice is not None and bool(choice.overwrite),
        )
        yield Offer(option, "changed", table.table)
    if table.only_in_live:
        option = Option(
            f"{base}:only-live",
            f"{name}: DELETE {count_text(table.only_in_live)} rows that only live has",
            _samples(table, "only in live"),
            doubt="They were written since, or by somebody who is right.",
        )
        yield Offer(option, "only-live", table.table)


def _samples(table: TableDifference, row_class: str) -> tuple[str, ...]:
    rows = [row for row in table.sample if row.row_class == row_class]
    return tuple(f"like {_sample(row)}" for row in rows[:2])


def _sample(row: SampleRow) -> str:
    key = ", ".join(row.key)
    values = []
    for value in row.values[:3]:
        new, old = value.in_live, value.in_copy
        if row.row_class == "changed":
            values.append(f"{value.column}: {new or NULL}, in the copy {old or NULL}")
        else:
            values.append(f"{value.column}: {(old if new is None else new) or NULL}")
    return shorten(
        plain_text(f"{key}: {'; '.join(values)}" if key else "; ".join(values)), _SAMPLE_WIDTH
    )


def choices_from(
    offers: Sequence[Offer],
    keys: Sequence[str],
    proposed: Sequence[Proposed],
    values: Mapping[str, Any],
) -> tuple[TableChoice, ...]:
    """Return what the chosen offers come to; ``values`` has them by table and column."""
    suggested = {each.choice.table: each.choice for each in proposed}
    chosen: dict[TableName, list[Offer]] = {}
    for offer in offers:
        if offer.option.key in keys:
            chosen.setdefault(offer.table, []).append(offer)
    choices = []
    for table, of_table in chosen.items():
        kinds = {offer.kind for offer in of_table}
        base = suggested.get(table, TableChoice(table))
        columns = tuple(offer.name for offer in of_table if offer.kind == "column")
        given = dict(values.get(f"{table[0]}.{table[1]}") or {})
        choices.append(
            replace(
                base,
                missing="missing" in kinds,
                overwrite=(base.overwrite or ALL_COLUMNS) if "changed" in kinds else (),
                delete_only_in_live="only-live" in kinds,
                recreate="again" in kinds,
                columns=columns,
                by_default=tuple(name for name in columns if given.get(name) == DEFAULT),
                objects=tuple(offer.name for offer in of_table if offer.kind == "object"),
                values={
                    **base.values,
                    **{
                        name: None if value == NULL else str(value)
                        for name, value in given.items()
                        if value != DEFAULT
                    },
                },
            )
        )
    return tuple(choices)
