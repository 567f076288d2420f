"""A state given to a group: found by who may not read the repository, with what was there before;
and holds in the repository that outlived their incident."""

from __future__ import annotations

import grp
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import RepositoryUnreadable
from fsbackup_tui.repository.files import make_directory
from fsbackup_tui.repository.holds import hold_repository, release_closed
from fsbackup_tui.repository.incidents import IncidentJournal, list_incidents
from fsbackup_tui.repository.layout import create_repository, site_state
from tests.support.recovering import NOW, make_desk, open_session

GROUP = grp.getgrgid(os.getgid()).gr_name


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_group_named_later_gets_what_is_there_and_finds_it_without_the_repository(
    tmp_path: Path,
) -> None:
    loaded = make_desk(tmp_path).loaded
    repository = create_repository(loaded.config.repository, loaded.config.site, NOW)
    state = site_state(loaded, {}, repository)
    old = make_directory(make_directory(state / "incidents") / "20261122-01") / "journal.jsonl"
    old.touch(mode=0o600)
    cluster = make_directory(make_directory(state / "jobs") / "cluster")
    (cluster / "PG_VERSION").touch(mode=0o600)
    shared = replace(loaded, config=loaded.config.model_copy(update={"group": GROUP}))
    assert site_state(shared, {}, repository) == state
    assert mode(old) == 0o660
    assert mode(old.parent) == mode(state) == mode(state.parent / "known") == 0o2770
    assert mode(cluster) == 0o700
    (memory,) = (state.parent / "known").iterdir()
    assert mode(memory) == 0o660
    assert site_state(shared, {}, None) == state


def test_a_state_that_is_closed_to_us_says_whose_it_is_and_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_directory(tmp_path / "incidents")
    tmp_path.chmod(0o750)

    def refuse(_: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(RepositoryUnreadable, match="STATE DIRECTORY NOT READABLE") as caught:
        list_incidents(tmp_path)
    assert "one may be open" in caught.value.why
    assert "usermod -aG" in caught.value.fix


def test_the_hold_of_a_closed_incident_goes_and_another_host_s_stays(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    repository = create_repository(desk.loaded.config.repository, desk.loaded.config.site, NOW)
    session = open_session(desk, runbook="data-loss")
    hold = hold_repository(repository, session.journal, desk.author)
    foreign = hold_repository(
        repository, IncidentJournal(Path("20261122-07")), replace(desk.author, host="db2")
    )
    assert release_closed(repository, desk.state) == ()
    session.close("practised")
    assert release_closed(repository, desk.state) == (session.journal.id,)
    assert (hold.exists(), foreign.exists()) == (False, True)
    written = json.loads(foreign.read_bytes())
    hold.write_text(json.dumps({**written, "incident": hold.stem}))
    assert release_closed(repository, desk.state) == ()
    assert hold.exists()
