"""A point that was taken in an incident is never green, and says what it is wherever it stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.tui.buckets import is_bad
from fsbackup_tui.tui.last_seen import LastSeen, last_seen_path, read_last_seen, write_last_seen
from fsbackup_tui.tui.modes.columns import note_of, trust_shown
from fsbackup_tui.tui.modes.details import summary_lines
from fsbackup_tui.tui.modes.rungs import Around, verify_note
from tests.tui.made import NOW, ZONE, make_point

POINT = replace(make_point(0, trust=Trust.PROVEN), in_incident="20261122-01")
WHY = "taken in the incident 20261122-01: what it holds may be damaged"


def test_its_row_and_its_details_say_so() -> None:
    assert trust_shown(POINT) == ("IN INCIDENT", "warn")
    assert note_of(POINT) == (WHY, "warn")
    assert is_bad(POINT)
    lines = summary_lines(POINT, 78, now=NOW, zone=ZONE)
    text = "\n".join("".join(piece.text for piece in line) for line in lines)
    assert "Trust      IN INCIDENT" in text
    assert f"Incident IN INCIDENT: {WHY}" in " ".join(text.split())
    assert f"fsbackup clear {POINT.id} --reason" in text
    note = verify_note(POINT, 200, 5, Around(NOW, ZONE))
    assert f"IN INCIDENT: {WHY}" in "".join(piece.text for line in note for piece in line)


def test_while_an_incident_is_open_each_says_on_which_side_of_the_damage_it_lies() -> None:
    after = replace(make_point(0, trust=Trust.PROVEN), after_damage=True)
    assert trust_shown(after) == ("AFTER DAMAGE", "warn")
    assert note_of(after) == ("taken after it was last right: it may hold the damage", "warn")
    before = replace(after, after_damage=False)
    assert trust_shown(before) == ("PROVEN", "good")
    lines = summary_lines(before, 78, now=NOW, zone=ZONE)
    text = "\n".join("".join(piece.text for piece in line) for line in lines)
    assert "Damage     taken before the damage" in text


def test_what_is_worse_is_said_first() -> None:
    assert trust_shown(replace(POINT, suspect=("fell",))) == ("SUSPECT PROVEN", "bad")
    assert trust_shown(replace(POINT, trust=Trust.DAMAGED)) == ("DAMAGED", "bad")
    assert trust_shown(replace(POINT, running=True)) == ("RUNNING", "accent")


def test_it_is_remembered_for_the_first_paint(tmp_path: Path) -> None:
    path = last_seen_path({"XDG_CACHE_HOME": str(tmp_path)}, "identity")
    write_last_seen(
        path, LastSeen(NOW, "s", "production", "answer", "Europe/Berlin", "/c", 1, (POINT,))
    )
    again = read_last_seen(path)
    assert again is not None
    assert again.points[0].in_incident == "20261122-01"
