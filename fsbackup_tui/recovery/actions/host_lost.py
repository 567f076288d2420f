"""The whole machine is gone: the new server, the point, then every part in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.standing import Standing
from fsbackup_tui.domain.text import count_text, duration_text, plain_text, when_text
from fsbackup_tui.operations.host_requests import (
    HostDatabaseRequest,
    HostKind,
    HostLinksRequest,
    HostPlaceRequest,
    HostRolesRequest,
    HostServerRequest,
    HostStageRequest,
    HostUnstageRequest,
)
from fsbackup_tui.operations.recovery_requests import CheckCopyRequest
from fsbackup_tui.operations.request import Request
from fsbackup_tui.recovery.actions.action import Action, Facts, Situation
from fsbackup_tui.recovery.actions.commands import in_drill
from fsbackup_tui.recovery.actions.names import tag_of
from fsbackup_tui.recovery.actions.recovering import check_lines
from fsbackup_tui.recovery.actions.words import bounded
from fsbackup_tui.recovery.question import Answer, Option, Question

RUNBOOK = "host-lost"
STAGE, UNSTAGE = "host-stage", "host-unstage"
_WORDS: Mapping[HostKind, str] = {
    "files": "the files",
    "config": "the configuration",
    "code": "the code",
}


def _stage(situation: Situation) -> str:
    value = situation.incident.parameters.get("host_stage")
    return value if isinstance(value, str) else ""


def _common(situation: Situation) -> dict[str, Any]:
    facts = situation.facts
    return {
        "part": situation.part,
        "point": facts.point,
        "database": facts.database,
        "stage": _stage(situation),
        "target": facts.server,
        "reason_unsigned": str(situation.incident.parameters.get("point_reason") or ""),
    }


def _server(situation: Situation, _: Answer) -> Request:
    right = situation.incident.last_right
    return HostServerRequest(
        **{**_common(situation), "target": None},
        last_right="" if right is None else format_time(right),
    )


def _server_lines(situation: Situation) -> tuple[str, ...]:
    host = situation.facts.document("host")
    if not host:
        return ()
    server = host.get("server")
    lines = []
    if isinstance(server, Mapping):
        lines.append(
            f"PostgreSQL {server.get('server_version')} on {plain_text(str(server.get('host')))}:"
            f"{server.get('port')}, as {plain_text(str(server.get('role')))}"
        )
    name = plain_text(str(host.get("live_name") or ""))
    if not host.get("live_there"):
        lines.append(f"It has no database {name}, as it should be.")
    lines += [plain_text(str(each)) for each in host.get("problems") or ()]
    lines += [plain_text(str(each)) for each in host.get("notes") or ()]
    return bounded(lines)


def _unfit(_s: Situation, result: Mapping[str, Any]) -> str:
    if result.get("usable"):
        return ""
    problems = result.get("problems")
    return "\n".join(map(str, problems if isinstance(problems, list) else ()))


def _learn_server(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {"host": {name: value for name, value in result.items() if name != "ok"}}


def _points(situation: Situation) -> Question:
    found = situation.facts.document("host").get("candidates")
    candidates = [each for each in (found or ()) if isinstance(each, Mapping)]
    preferred = situation.incident.parameters.get("preferred_point")
    sound = [str(each["point"]) for each in candidates if not each.get("doubt")]
    best = str(preferred) if preferred in sound else next(iter(sound), "")
    return Question(
        "Which point? The newest good one loses least.",
        tuple(
            Option(
                str(each["point"]),
                _point_words(situation, each),
                doubt=str(each.get("doubt") or ""),
                recommended=str(each["point"]) == best,
            )
            for each in candidates
        ),
        default=best,
        hint="All parts come from this one. Nothing is changed by choosing.",
    )


def _point_words(situation: Situation, candidate: Mapping[str, Any]) -> str:
    from fsbackup_tui.operations.wording import size_text

    at = when_text(parse_time(str(candidate["at"])), situation.now, situation.zone)
    size = candidate.get("bytes")
    place = f"  at {plain_text(str(candidate['from']))}" if candidate.get("from") else ""
    shown = size_text(size if isinstance(size, int) else None)
    return f"{at}  {str(candidate.get('trust')).upper()}  {shown}{place}"


def _chosen(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"point": answer.value, "point_reason": answer.reason}


def _roles_lines(situation: Situation) -> tuple[str, ...]:
    roles = situation.facts.document("host_roles")
    if not roles:
        return ()
    made = ", ".join(map(str, roles.get("made") or ())) or "none was missing"
    lines = [f"roles made: {plain_text(made)}"]
    lines += [plain_text(str(each)) for each in roles.get("notes") or ()]
    return bounded(lines)


def _result_as(name: str) -> Callable[[Situation, Answer, Mapping[str, Any]], Facts]:
    def learn(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
        return {name: {key: value for key, value in result.items() if key != "ok"}}

    return learn


def _learn_database(situation: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "copy": str(result.get("target") or situation.facts.live_name),
        "copy_oid": int(result.get("target_oid") or 0),
        "host_database": {name: result.get(name) for name in ("entries", "seconds", "fetched")},
    }


def _database_settled(situation: Situation, standing: Standing) -> Facts | None:
    """Return what is learnt where the database has its name: it gets that when it is whole."""
    if standing.live is None:
        return None
    return {"copy": standing.live.name, "copy_oid": standing.live.oid}


def _database_lines(situation: Situation) -> tuple[str, ...]:
    done = situation.facts.document("host_database")
    if not done:
        return ()
    entries, seconds = done.get("entries"), done.get("seconds")
    counts = entries if isinstance(entries, Mapping) else {}
    took = duration_text(seconds if isinstance(seconds, int | float) else None)
    return (
        f"{count_text(counts.get('restored'))} entries restored,"
        f" {count_text(counts.get('lost'))} lost, in {took}",
    )


def _proof(situation: Situation, _: Answer) -> Request:
    facts = situation.facts
    return CheckCopyRequest(
        part=situation.part,
        database=facts.database,
        target=facts.server,
        point=facts.point,
        copy=facts.copy,
        copy_oid=facts.copy_oid,
    )


def _differs(_s: Situation, result: Mapping[str, Any]) -> str:
    if result.get("verdict") != "different":
        return ""
    found = result.get("differences")
    return f"IT DIFFERS from its point in {len(found) if isinstance(found, list) else 0} things."


def _place(kind: HostKind) -> Action:
    name = f"host_{kind}"

    def request(situation: Situation, _: Answer) -> Request:
        return HostPlaceRequest(**_common(situation), kind=kind)

    def shows(situation: Situation) -> tuple[str, ...]:
        return bounded(list(_placed_lines(situation, name)))

    def runs(situation: Situation) -> tuple[str, ...]:
        point = situation.facts.point or "POINT"
        return (f"fsbackup restore {point} --part PART --to …   {_WORDS[kind]} of the point",)

    return Action(
        f"host-{kind}",
        "act",
        request=request,
        runs=runs,
        shows=shows,
        learn=_result_as(name),
    )


def _placed_lines(situation: Situation, name: str) -> Iterator[str]:
    done = situation.facts.document(name)
    for each in done.get("placed") or ():
        files = each.get("files")
        count = f", {count_text(files)} files" if isinstance(files, int) else ""
        yield f"{plain_text(str(each.get('part')))}: {plain_text(str(each.get('where')))}{count}"
    for each in done.get("left") or ():
        yield f"LEFT AS IT IS: {plain_text(str(each.get('where')))}"
        yield f"  {plain_text(str(each.get('why')))}"
    for note in done.get("notes") or ():
        yield plain_text(str(note))
    if done and not done.get("placed") and not done.get("left"):
        yield "The point has none."


def _links(situation: Situation, _: Answer) -> Request:
    return HostLinksRequest(**_common(situation))


def _links_wrong(_s: Situation, result: Mapping[str, Any]) -> str:
    if result.get("whole"):
        return ""
    parts = result.get("parts")
    told = [
        f"{each.get('part')}: {each.get('missing')} files of the point are missing,"
        f" {each.get('nowhere')} rows name a file that is not there"
        for each in (parts if isinstance(parts, list) else ())
    ]
    return "\n".join(["FILES AND ROWS DO NOT FIT.", *told])


def _links_lines(situation: Situation) -> tuple[str, ...]:
    found = situation.facts.document("host_links")
    lines = [
        f"{plain_text(str(each.get('part')))}: {each.get('missing')} files missing,"
        f" {count_text(each.get('rows'))} rows looked at, {each.get('nowhere')} without their file"
        for each in found.get("parts") or ()
    ]
    return bounded([*lines, *(plain_text(str(note)) for note in found.get("notes") or ())])


def _address(situation: Situation) -> Question:
    return Question("Who points to the new address? Write who does it, and when.", default="")


def _told_address(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"host_address": answer.value}


def _old_off(_: Situation) -> Question:
    return Question("Is it off? yes, or what you know", default="")


def _remains(_: Situation) -> Question:
    return Question("Write what is left, and who keeps it; or: nothing", default="")


def _told_remains(_s: Situation, answer: Answer, _r: Mapping[str, Any]) -> Facts:
    return {"host_remains": answer.value}


def _make_stage(situation: Situation, _: Answer) -> Request:
    return HostStageRequest(part=situation.part, tag=tag_of(situation))


def _made_stage(_s: Situation, _a: Answer, result: Mapping[str, Any]) -> Facts:
    return {
        "host_stage": str(result.get("stage") or ""),
        "database": str(result.get("database") or ""),
    }


def _drop_stage(situation: Situation, _: Answer) -> Request:
    return HostUnstageRequest(
        part=situation.part, database=situation.facts.database, stage=_stage(situation)
    )


def _address_lines(situation: Situation) -> tuple[str, ...]:
    if in_drill(situation):
        return ("A drill: say who would do it.",)
    return (
        "DNS, the proxy or load balancer, firewalls, the mail server's allow-list, webhooks:"
        " nobody's client finds this machine before.",
    )


ACTIONS = (
    Action(
        "host-old-off",
        "confirm",
        question=_old_off,
        shows=lambda _: (
            "What is thought lost may wake up: its application would serve the same users, its cron"
            " write to the same copy. bootstrap has retired it as a writer there.",
        ),
    ),
    Action("host-remains", "ask", question=_remains, learn=_told_remains),
    Action(
        "host-server",
        "check",
        request=_server,
        runs=lambda _: ("psql -c 'SELECT version()'",),
        shows=_server_lines,
        fails=_unfit,
        learn=_learn_server,
    ),
    Action("host-point", "choose", question=_points, learn=_chosen),
    Action(
        "host-roles",
        "act",
        request=lambda s, _: HostRolesRequest(**_common(s)),
        runs=lambda _: ("CREATE ROLE …   those of globals.sql that the server lacks",),
        shows=_roles_lines,
        learn=_result_as("host_roles"),
        changes=True,
    ),
    Action(
        "host-database",
        "act",
        request=lambda s, _: HostDatabaseRequest(**_common(s)),
        runs=lambda s: (
            f"pg_restore … -d {plain_text(s.facts.live_name or 'NAME')} {s.facts.point}",
        ),
        shows=_database_lines,
        learn=_learn_database,
        changes=True,
        settling="look",
        settled=_database_settled,
    ),
    Action(
        "host-proof",
        "check",
        request=_proof,
        runs=lambda s: (f"fsbackup compares it with {s.facts.point}, row by row",),
        shows=check_lines,
        fails=_differs,
        learn=_result_as("copy_check"),
    ),
    _place("files"),
    _place("config"),
    _place("code"),
    Action(
        "host-links",
        "check",
        request=_links,
        runs=lambda _: ("every row's file, and every file of the point",),
        shows=_links_lines,
        fails=_links_wrong,
        learn=_result_as("host_links"),
    ),
    Action("host-address", "ask", question=_address, shows=_address_lines, learn=_told_address),
    Action(
        STAGE,
        "act",
        request=_make_stage,
        runs=lambda _: ("mkdir STATE/host-drills/…; the database gets the name NAME__drill_…",),
        learn=_made_stage,
    ),
    Action(
        UNSTAGE,
        "act",
        request=_drop_stage,
        runs=lambda s: (f'DROP DATABASE "{s.facts.database}"', f"rm -r {_stage(s) or '…'}"),
    ),
)
