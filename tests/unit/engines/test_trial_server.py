"""Which programs a trial's server runs from, how it is tuned, and where its data go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import ScratchUnavailable
from fsbackup_tui.engines.postgres import trial_space
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.trial_server import choose_server
from fsbackup_tui.engines.postgres.trial_space import choose_data_place, tree_bytes


def programs(
    place: Path, version: str, *, server: bool = True, embedded: bool = False, named: bool = False
) -> ClientTools:
    directory = place / f"{version}-{server}-{embedded}-{named}"
    directory.mkdir(parents=True)
    for name in ("postgres", "initdb", "pg_isready") if server else ("pg_dump",):
        (directory / name).touch()
    major = int(version.split(".")[0])
    return ClientTools(directory, version, major, False, False, embedded, configured=named)


def test_the_captured_major_comes_first_then_the_next(tmp_path: Path) -> None:
    clients = [
        programs(tmp_path, "15.3"),
        programs(tmp_path, "16.9", server=False),
        programs(tmp_path, "17.2", embedded=True),
        programs(tmp_path, "17.1"),
        programs(tmp_path, "17.4"),
        programs(tmp_path, "18.1"),
    ]
    assert choose_server(clients, 170009).client.version == "17.4"
    assert choose_server(clients, 170009).note == ""
    newer = choose_server(clients, 160000)
    assert newer.client.version == "17.4"
    assert "the trial runs on 17.4" in newer.note
    assert "postgresql-16" in newer.note
    named = programs(tmp_path, "17.0", named=True)
    assert choose_server([*clients, named], 170009).client is named
    with pytest.raises(ScratchUnavailable) as caught:
        choose_server(clients, 190000)
    assert (
        caught.value.lacks[0][0] == "server programs of PostgreSQL 19 are missing on this machine"
    )


def test_data_go_where_the_servers_user_may_enter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(trial_space, "may_enter", lambda path: path != work)
    assert choose_data_place(None, work, other_user=False, needed=0) == work
    assert choose_data_place(None, work, other_user=True, needed=0) == temporary
    free = {temporary: 10**9, Path("/var/tmp"): 10**12}
    monkeypatch.setattr(trial_space, "free_bytes", lambda path: free.get(path, 0))
    assert choose_data_place(None, work, other_user=True, needed=10**11) == Path("/var/tmp")
    with pytest.raises(ScratchUnavailable, match="NOT ENOUGH SPACE") as caught:
        choose_data_place(None, work, other_user=True, needed=10**13)
    assert f"{temporary} has 1000 MB free." in caught.value.why


def test_the_configured_directory_is_made_and_must_be_usable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(trial_space, "may_enter", lambda path: path != closed)
    made = choose_data_place(tmp_path / "a" / "b", tmp_path, other_user=True, needed=0)
    assert made == tmp_path / "a" / "b"
    assert made.stat().st_mode & 0o777 == 0o711
    with pytest.raises(ScratchUnavailable, match="NO PLACE FOR A SCRATCH SERVER"):
        choose_data_place(closed, tmp_path, other_user=True, needed=0)
    assert choose_data_place(closed, tmp_path, other_user=False, needed=0) == closed
    (tmp_path / "file").touch()
    with pytest.raises(ScratchUnavailable, match="NO PLACE FOR A SCRATCH SERVER"):
        choose_data_place(tmp_path / "file" / "below", tmp_path, other_user=False, needed=0)
    assert closed.stat().st_mode & 0o777 == 0o700


def test_a_tree_is_measured_by_what_it_takes_on_disk(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "full").write_bytes(b"x" * 1_000_000)
    with (tmp_path / "hole").open("wb") as file:
        os.truncate(file.fileno(), 10**12)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert 1_000_000 <= tree_bytes(tmp_path) < 2_000_000
