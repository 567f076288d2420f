"""Who am I about to hurt, of files, configuration and code: the path, its disk, whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fsbackup_tui.domain.incident import Incident
from fsbackup_tui.domain.place import PathIdentity, PlaceStanding, is_another
from fsbackup_tui.domain.text import age_text, plain_text
from fsbackup_tui.operations.plain import plain

if TYPE_CHECKING:
    from fsbackup_tui.recovery.actions.action import Situation

STOPPED_SERVER = "STOPPED: this is not the database the point came from."
STOPPED_PLACE = "STOPPED: this may not be the place the point came from."
FIRST = "first_place"
_PATHS_SHOWN = 3


def stopped_words(kind: str) -> str:
    """Return the headline over why a target may be the wrong one."""
    return STOPPED_SERVER if kind == "postgres" else STOPPED_PLACE


def place_mismatch(
    standing: PlaceStanding,
    first: Mapping[str, object],
    captured: tuple[str, str] | None,
    environment: str,
) -> str:
    """Return why a path may not be the one a point came from, in lines; empty where it is.

    ``captured`` is host and path of the newest point, ``first`` what was at the path when it was
    first looked at in this incident.
    """
    return "\n".join(_doubts(standing, first, captured, environment))


def _doubts(
    standing: PlaceStanding,
    first: Mapping[str, object],
    captured: tuple[str, str] | None,
    environment: str,
) -> Iterator[str]:
    here = [(standing.host, path) for path in (standing.path, standing.configured)]
    if captured is not None and captured not in here:
        host, path = captured
        yield f"point   {plain_text(path)} on {plain_text(host)}"
        yield f"target  {plain_text(standing.path)} on {plain_text(standing.host)}"
    if standing.kind != "config" and is_another(first, standing.here):
        yield f"Another directory is at {plain_text(standing.path)} than when you began:"
        yield f"inode {first.get('inode')} then, {standing.here.inode} now."
    if standing.unmounted:
        yield f"Nothing is mounted at {plain_text(standing.unmounted)}, as /etc/fstab has it:"
        yield "what is written there lands on another disk. Mount it first."
    if standing.environment and standing.environment != environment:
        yield (
            f"The configuration says {environment}, {standing.environment_from} says"
            f" {standing.environment}."
        )


def first_seen(incident: Incident, here: PathIdentity) -> Mapping[str, object]:
    """Return what was first at the path; what this incident's own exchange brings is no stranger.

    One that was killed between its two renames has brought it already, and is gone on with.
    """
    state = incident.steps.get("files-exchange")
    asked = state.request.get("arguments") if state is not None else None
    brings = (asked.get("inode"), asked.get("kept_inode")) if isinstance(asked, Mapping) else ()
    first = incident.parameters.get(FIRST)
    if here.inode and here.inode in brings:
        first = plain(here)
    return first if isinstance(first, Mapping) else {}


def place_facts(incident: Incident, standing: PlaceStanding, mismatch: str) -> dict[str, object]:
    """Return what an incident remembers of a look."""
    facts: dict[str, object] = {
        "place": plain(standing),
        "live_name": standing.path,
        "mismatch": mismatch,
    }
    if FIRST not in incident.parameters and standing.here.is_there:
        facts[FIRST] = plain(standing.here)
    return facts


def taken_for_first(here: PathIdentity) -> dict[str, object]:
    """Return what is remembered where another directory is at the path, and rightly so."""
    return {FIRST: plain(here) if here.is_there else {}}


def place_word(standing: PlaceStanding | None) -> str:
    """Return what has to be typed to accept another place: host:path."""
    return "" if standing is None else f"{standing.host}:{standing.path}"


def place_lines(situation: Situation) -> tuple[str, ...]:
    """Return who would be hurt: path, host, owner, file system, free space, environment."""
    from fsbackup_tui.operations.wording import size_text

    standing = situation.facts.place
    if standing is None:
        return ("not looked at yet",)
    here = standing.here
    shown = situation.loaded.config.environment.upper()
    if standing.environment:
        shown += f", the name says {standing.environment}"
    age = age_text((situation.now - standing.at).total_seconds())
    there = "" if here.is_there else "  NOT THERE"
    lines = [f"{plain_text(standing.path)} on {plain_text(standing.host)}{there}  {shown}"]
    whose = f"owner {plain_text(standing.owner)} {standing.mode}  " if standing.owner else ""
    inode = f"  inode {here.inode}" if here.is_there else ""
    lines.append(f"{whose}as {plain_text(standing.role)}{inode}  (looked {age} ago)")
    free = f"{size_text(standing.free_bytes)} free of {size_text(standing.total_bytes)}"
    lines.append(f"disk  {free}  {plain_text(standing.file_system)}")
    if not standing.writable:
        lines.append(f"{plain_text(standing.role)} may not write there.")
    more = len(standing.paths) - _PATHS_SHOWN
    lines += [f"and {plain_text(each.path)}" for each in standing.paths[1:_PATHS_SHOWN]]
    if more > 0:
        lines.append(f"and {more} paths more")
    if standing.touching:
        count = len(standing.touching)
        word = "is at work" if count == 1 else "are at work"
        lines.append(f"{count} {word} there, or will be by the clock")
    lines += [plain_text(note) for note in standing.notes[:_PATHS_SHOWN]]
    return tuple(lines)
