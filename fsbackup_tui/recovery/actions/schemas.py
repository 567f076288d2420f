"""The schema swap: where databases can't be renamed, schemas change places (design §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsbackup_tui.domain.text import plain_text
from fsbackup_tui.operations.recovery_requests import SchemaCopyRequest, SchemaSwapRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.names import tag_of
from fsbackup_tui.recovery.question import Answer

WAY = "schema swap"


def _copy(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    return SchemaCopyRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        copy=facts.copy,
        copy_oid=facts.copy_oid,
        tag=tag_of(situation, "swap"),
        point=facts.point,
    )


def _copied(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"schema_copy": {name: value for name, value in result.items() if name != "ok"}}


def _pairs(situation: Situation) -> list[Mapping[str, Any]]:
    found = situation.facts.document("schema_copy").get("schemas")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def copied_lines(situation: Situation) -> tuple[str, ...]:
    """Return what lies beside the live schemas now, and what will be pointed to it."""
    lines = [
        f"{plain_text(str(each.get('beside')))} beside it, proven" for each in _pairs(situation)
    ]
    copied = situation.facts.document("schema_copy")
    for name in ("repoints", "notes"):
        texts = copied.get(name)
        lines += [plain_text(str(text)) for text in texts] if isinstance(texts, list) else []
    return tuple(lines)


def swap_request(situation: Situation) -> Request:
    """Return the request that lets the copied schemas take the live ones' names."""
    pairs, facts = _pairs(situation), situation.facts
    return SchemaSwapRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        schemas=tuple(str(each.get("schema")) for each in pairs),
        live_oids=tuple(int(each.get("live_oid") or 0) for each in pairs),
        copy_oids=tuple(int(each.get("oid") or 0) for each in pairs),
        tag=str(facts.document("schema_copy").get("tag") or ""),
        again=bool(facts.document("schema_copy").get("again")),
    )


def rolled_back(situation: Situation, result: Mapping[str, Any]) -> Facts:
    """Return what is known once the former schemas came back: the others can come once more."""
    found = result.get("schemas")
    listed = found if isinstance(found, list) else []
    pairs = [
        {
            "schema": each.get("schema"),
            "beside": each.get("kept_as"),
            "oid": each.get("kept_oid"),
            "live_oid": each.get("oid"),
        }
        for each in listed
        if isinstance(each, Mapping) and each.get("kept_as")
    ]
    copied = {**situation.facts.document("schema_copy"), "schemas": pairs, "again": True}
    return {
        "swapped": None,
        "rolled_back": {name: value for name, value in result.items() if name != "ok"},
        "schema_copy": copied,
    }


def swap_lines(situation: Situation) -> tuple[str, ...]:
    """Return the swap's SQL as it will run."""
    lines = ["BEGIN;"]
    for each in _pairs(situation):
        schema, beside = plain_text(str(each.get("schema"))), plain_text(str(each.get("beside")))
        lines.append(f'ALTER SCHEMA "{schema}" RENAME TO "{schema}__before_…";')
        lines.append(f'ALTER SCHEMA "{beside}" RENAME TO "{schema}";')
    return (*lines, "COMMIT;")


def back_request(situation: Situation, swapped: Mapping[str, Any]) -> Request | None:
    """Return the request that lets the former schemas come back; None without any."""
    found = swapped.get("schemas")
    schemas = (
        [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    )
    if not schemas:
        return None
    facts = situation.facts
    return SchemaSwapRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        schemas=tuple(str(each.get("schema")) for each in schemas),
        live_oids=tuple(int(each.get("oid") or 0) for each in schemas),
        copy_oids=tuple(int(each.get("kept_oid") or 0) for each in schemas),
        tag=str(facts.document("schema_copy").get("tag") or ""),
        back=True,
    )


ACTIONS = (
    Action(
        "schema-copy",
        "act",
        request=_copy,
        runs=lambda s: (
            f"pg_dump the schemas of {plain_text(s.facts.copy)}, pg_restore them beside live's",
        ),
        shows=copied_lines,
        learn=_copied,
        changes=True,
    ),
)
