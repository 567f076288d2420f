"""NOW.txt: how an incident goes on by hand, with stock commands, as it stands this moment. Pure.

It is rewritten with every entry of the journal, so that whoever finds the directory after a crash
needs nothing of fsbackup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from shlex import quote
from typing import Any

from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.incident import SEEN_TEXTS, SHELL, Incident, StepState
from fsbackup_tui.domain.incident_now_site import (
    how_to_look,
    is_about_site,
    site_foot,
    site_state_lines,
)
from fsbackup_tui.domain.kept_name import kept_name
from fsbackup_tui.domain.merge_by_hand import merge_look_sql, merge_undo_sql

_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
_LIST_DATABASES = " -c 'SELECT oid, datname FROM pg_database'"
_DROP_UNFINISHED = (
    "SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database"
    " WHERE shobj_description(oid, 'pg_database') = '{mark}' OR datname = 'fsbackup-{job}' \\gexec"
)
_STATUS_WORDS = {
    "unknown": "BEGUN, END NOT KNOWN",
    "done": "done",
    "failed": "failed",
    "skipped": "skipped",
    "undone": "undone",
    "open": "not done",
}


def now_text(incident: Incident, at: datetime) -> str:
    """Return the whole text, in lines of plain ASCII words and commands to paste."""
    return "\n".join(
        (
            *_head(incident, at),
            *_frozen(incident),
            *(site_state_lines(incident) if is_about_site(incident) else _databases(incident)),
            *_unknown(incident),
            *_done(incident),
            *_foot(incident),
            "",
        )
    )


def _head(incident: Incident, at: datetime) -> Iterator[str]:
    yield f"INCIDENT {incident.id}  site {incident.site}, source {incident.source}"
    yield f"as of {format_time(at)} (UTC; so are all times here)"
    yield ""
    yield f"Declared  {format_time(incident.opened)} by {incident.opened_by}"
    yield f"Seen      {SEEN_TEXTS[incident.seen]}"
    right = incident.last_right
    yield f"Right at  {format_time(right) if right is not None else 'not known'}"
    leader = incident.leader
    if leader is not None:
        yield f"Leader    {leader.operator} on {leader.host}, since {format_time(leader.since)}"
    if incident.closed is not None:
        yield f"CLOSED    {format_time(incident.closed)}: {incident.closed_why}"
    if incident.is_drill:
        yield "A DRILL: it plays on a copy; the live database has no part in it."
    yield ""


def connect_command(parameters: Mapping[str, Any]) -> str:
    """Return the psql command that reaches the maintenance database; the password is asked for."""
    server = parameters.get("server")
    if not isinstance(server, Mapping):
        return "psql -d postgres        (as a role that may rename databases)"
    host, role, database = (quote(str(server.get(name))) for name in ("host", "role", "database"))
    return f"psql -h {host} -p {server.get('port')} -U {role} -d {database}"


def _frozen(incident: Incident) -> Iterator[str]:
    stopped = [freeze for freeze in incident.freezes if freeze.place == SHELL]
    if stopped:
        yield "STOPPED: this was stopped. To let it go on, in a shell:"
        for freeze in stopped:
            yield f"  # {freeze.what}, since {format_time(freeze.since)}"
            yield from (f"  {command}" for command in freeze.undo)
        yield ""
    frozen = [freeze for freeze in incident.freezes if freeze.place != SHELL]
    if not frozen:
        yield "FROZEN    nothing: the application may write as far as fsbackup is concerned."
        yield ""
        return
    yield "FROZEN: this is switched off. To switch it on again, in psql:"
    yield f"  {connect_command(incident.parameters)}"
    # What keeps everybody out of a database comes first: the rest is undone in there.
    at = ""
    for freeze in sorted(frozen, key=lambda each: each.place == "live"):
        yield f"  -- {freeze.what}, since {format_time(freeze.since)}"
        if freeze.place == "live" and freeze.database != at:
            at = freeze.database
            yield f"  \\connect {_quoted(at)}"
        for command in freeze.undo:
            yield f"  {command}"
    yield ""


def _databases(incident: Incident) -> Iterator[str]:
    parameters = incident.parameters
    swapped = parameters.get("swapped")
    copy = parameters.get("copy")
    if isinstance(swapped, Mapping) and isinstance(swapped.get("schemas"), list):
        yield from _schemas(incident, swapped["schemas"])
    elif isinstance(swapped, Mapping):
        live, kept = swapped.get("database"), swapped.get("kept_as")
        yield f"SWAPPED   {live} is the restored copy (OID {swapped.get('database_oid')})."
        if kept:
            yield f"          The former one is whole, as {kept} (OID {swapped.get('kept_oid')})."
            yield "To go back by hand (ends all sessions of both; nothing is lost, the newer one"
            yield "is kept as well):"
            yield f"  {connect_command(parameters)}"
            after = kept_name(str(live), "after", _tag(incident))
            yield from (f"  {line}" for line in swap_sql(str(live), str(kept), after))
        yield ""
    elif isinstance(copy, str) and copy:
        yield f"RESTORED  {copy} is a restored copy, beside the live database. It is used by"
        yield "          nobody. Look at it with psql -d; drop it with DROP DATABASE."
        name = parameters.get("live_name")
        if isinstance(name, str) and name:
            yield "To let it take the live database's place by hand:"
            yield f"  {connect_command(parameters)}"
            before = kept_name(name, "before", _tag(incident))
            yield from (f"  {line}" for line in swap_sql(name, copy, before))
        yield ""
    merged = parameters.get("merged")
    if isinstance(merged, Mapping):
        yield f"MERGED    rows were put back; what undoes it lies in schema {merged.get('staging')}"
        yield f"          of the live database (set {merged.get('set_number')})."
        yield from _merge_back(incident, str(merged.get("staging") or ""))
        yield ""


def _merge_back(incident: Incident, staging: str) -> Iterator[str]:
    live = incident.parameters.get("live_name")
    if not (staging and isinstance(live, str) and live):
        return
    yield "To take the rows out again by hand (what was written to them since is overwritten; rows"
    yield "of tables without a key stay, and so does what was defined again):"
    yield f"  {connect_command(incident.parameters)}"
    yield f"  \\connect {_quoted(live)}"
    yield from (f"  {line}" for line in merge_undo_sql(staging))


def _schemas(incident: Incident, schemas: list[Any]) -> Iterator[str]:
    pairs = [
        (str(each.get("schema")), str(each.get("kept_as")))
        for each in schemas
        if isinstance(each, Mapping) and each.get("kept_as")
    ]
    names = ", ".join(schema for schema, _ in pairs)
    yield f"SWAPPED   schemas: {names}. The former ones are whole."
    yield "To go back by hand (views, keys and policies of OTHER schemas that were pointed to the"
    yield "restored ones are not pointed back by this; fsbackup rollback does that):"
    yield f"  {connect_command(incident.parameters)}"
    yield f"  \\connect {_quoted(str(incident.parameters.get('live_name') or ''))}"
    yield "  BEGIN;"
    for schema, kept in pairs:
        newer = kept_name(schema, "after", _tag(incident))
        yield f"  ALTER SCHEMA {_quoted(schema)} RENAME TO {_quoted(newer)};"
        yield f"  ALTER SCHEMA {_quoted(kept)} RENAME TO {_quoted(schema)};"
    yield "  COMMIT;"
    yield ""


def _tag(incident: Incident) -> str:
    return incident.id.replace("-", "_")


def swap_sql(live: str, coming: str, kept_as: str) -> tuple[str, ...]:
    """Return the stock SQL by which ``coming`` becomes ``live``, in one transaction."""
    leaving, entering, kept = (_quoted(name) for name in (live, coming, kept_as))
    literals = ", ".join("'" + name.replace("'", "''") + "'" for name in (live, coming))
    return (
        _END_SESSIONS + f" WHERE datname IN ({literals});",
        "BEGIN;",
        f"ALTER DATABASE {leaving} RENAME TO {kept};",
        f"ALTER DATABASE {entering} RENAME TO {leaving};",
        "COMMIT;",
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unknown(incident: Incident) -> Iterator[str]:
    unknown = {name: step for name, step in incident.steps.items() if step.status == "unknown"}
    if not unknown:
        return
    yield "BEGUN, AND NOBODY WROTE HOW IT ENDED. Look before doing anything else:"
    for name, step in unknown.items():
        yield f"  {name}: {step.title}, begun {format_time(step.at)}"
        if step.job:
            yield f"    job {step.job} (fsbackup attach {step.job})"
        yield from (f"    {command}" for command in step.commands)
        yield from (f"    {line}" for line in _how_to_look(incident, step))
    yield ""


def _how_to_look(incident: Incident, step: StepState) -> Iterator[str]:
    if is_about_site(incident):
        yield from how_to_look(incident, step)
        return
    arguments = step.request.get("arguments")
    if not isinstance(arguments, Mapping):
        return
    operation = step.request.get("operation")
    if operation == "swap":
        yield connect_command(incident.parameters) + _LIST_DATABASES
        yield (
            f"It is done if {arguments.get('kept_as')} has OID {arguments.get('live_oid')};"
            f" not done if {arguments.get('copy')} still has OID {arguments.get('copy_oid')}."
        )
        yield from _back_by_hand(incident, arguments)
    elif operation == "restore":
        yield connect_command(incident.parameters) + _LIST_DATABASES
        yield f"It is done if {arguments.get('beside')} exists: unfinished copies have other names."
        if step.job:
            yield "To drop what it left unfinished:"
            yield f"  {connect_command(incident.parameters)}"
            yield f"  {_drop_unfinished(step.job)}"
    elif operation in ("merge", "merge-undo"):
        yield from _look_at_merge(incident, str(arguments.get("staging") or ""))
    elif operation == "schema-swap":
        yield from _look_at_schemas(incident, arguments)


def _drop_unfinished(job: str) -> str:
    """Return the SQL that drops what a job began to restore; nothing else bears its mark."""
    mark = f"fsbackup: unfinished restore by job {job}. Not usable; may be dropped."
    return _DROP_UNFINISHED.replace("{mark}", mark).replace("{job}", job)


def _look_at_merge(incident: Incident, staging: str) -> Iterator[str]:
    """Yield how to see whether a merge is in force: it is one transaction, done or not."""
    live = incident.parameters.get("live_name")
    if not (staging and isinstance(live, str) and live):
        return
    yield "It is one transaction: nothing is half done. A merge is in force if this shows a row:"
    yield f"  {connect_command(incident.parameters)}"
    yield f"  \\connect {_quoted(live)}"
    yield f"  {merge_look_sql(staging)}"
    yield from _merge_back(incident, staging)


def _look_at_schemas(incident: Incident, arguments: Mapping[str, Any]) -> Iterator[str]:
    names, live = arguments.get("schemas"), incident.parameters.get("live_name")
    coming = arguments.get("copy_oids")
    if not (isinstance(names, list) and isinstance(coming, list) and isinstance(live, str)):
        return
    yield "It is one transaction: nothing is half done. Look which schema has which OID:"
    yield f"  {connect_command(incident.parameters)}"
    yield f"  \\connect {_quoted(live)}"
    yield "  SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 2;"
    told = ", ".join(f"{name} has OID {oid}" for name, oid in zip(names, coming, strict=False))
    yield f"It is done if {told}."


def _back_by_hand(incident: Incident, arguments: Mapping[str, Any]) -> Iterator[str]:
    name, kept = incident.parameters.get("live_name"), arguments.get("kept_as")
    if not (isinstance(name, str) and name and kept and arguments.get("live_oid")):
        return
    kind = "before" if arguments.get("back") is True else "after"
    yield "If it is done, to go back by hand:"
    yield f"  {connect_command(incident.parameters)}"
    newer = kept_name(name, kind, f"{_tag(incident)}_by_hand")
    yield from (f"  {line}" for line in swap_sql(name, str(kept), newer))


def _done(incident: Incident) -> Iterator[str]:
    yield "STEPS"
    if not incident.steps:
        yield "  none yet"
    for name, step in incident.steps.items():
        words = _STATUS_WORDS[step.status]
        why = f": {step.reason}" if step.reason else ""
        yield f"  {format_time(step.at)}  {words:<8} {name}  {step.title}{why}"
    for note in incident.notes:
        yield f"  {format_time(note.at)}  note     {note.operator}: {note.text}"
    yield ""


def _foot(incident: Incident) -> Iterator[str]:
    yield "To go on with fsbackup, at the same step:"
    yield f"  fsbackup recover --resume {incident.id}"
    if is_about_site(incident):
        yield from site_foot()
        return
    yield "To go on without it: undo what is frozen (above), start the application, take a"
    yield "backup (pg_dump -Fc), and drop no database whose name has __before_ in it."
