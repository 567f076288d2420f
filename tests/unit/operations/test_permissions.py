"""Who may read and write what is kept: found wherever it lies, and mended."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fsbackup_tui.config.ownership import user_name
from fsbackup_tui.operations.permissions import (
    Open,
    mend,
    open_repository_paths,
    open_secret_files,
    open_state_paths,
)
from fsbackup_tui.repository.files import share_with_group
from tests.support.checking import healthy


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("newest", [None, 2], ids=["all", "the newest"])
def test_every_path_of_a_repository_that_others_may_reach_is_found_and_closed(
    tmp_path: Path, newest: int | None
) -> None:
    site = healthy(tmp_path)
    names = sorted(path.name for path in site.repository.points.iterdir())
    shown = None if newest is None else names[-newest:]
    assert list(open_repository_paths(site.repository, shown)) == []
    point = site.repository.points / names[-1]
    wrong = [site.repository.root, site.repository.records, point / "db", point / "manifest.json"]
    for path, bits in zip(wrong, (0o755, 0o750, 0o707, 0o646), strict=True):
        path.chmod(bits)
    old = site.repository.points / names[0] / "manifest.json"
    old.chmod(0o604)
    found = {one.path: one for one in open_repository_paths(site.repository, shown)}
    assert set(found) == {*wrong, *([old] if newest is None else [])}
    assert found[site.repository.records].words == "its group may read it"
    assert found[point / "manifest.json"].writable
    mended, failed = mend(found.values())
    assert (set(mended), failed) == (set(found), [])
    assert [mode(path) for path in wrong] == [0o700, 0o700, 0o700, 0o600]
    assert list(open_repository_paths(site.repository, shown)) == []


def test_a_symbolic_link_is_no_path_to_close(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    outside = tmp_path / "outside"
    outside.touch(0o644)
    (site.state / "link").symlink_to(outside)
    mend(open_state_paths(site.state))
    assert mode(outside) == 0o644


def test_what_was_given_to_a_group_on_purpose_stays_open_to_it_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    site = healthy(tmp_path)
    share_with_group(site.state, os.getegid())
    assert list(open_state_paths(site.state)) == []
    (site.state / "restore-rights.json").chmod(0o664)
    [found] = open_state_paths(site.state)
    assert found.words == "every user may read it"
    mend([found])
    assert mode(site.state / "restore-rights.json") == 0o660


def test_files_with_secrets_are_those_that_the_configuration_names(tmp_path: Path) -> None:
    phrase, env = tmp_path / "phrase", tmp_path / ".env"
    for path in (phrase, env):
        path.write_text("A=b\n")
        path.chmod(0o600)
    more = f"env_file: .env\nencryption: {{method: age, passphrase: {{file: {phrase}}}}}\n"
    site = healthy(tmp_path, more=more)
    assert list(open_secret_files(site.loaded)) == []
    phrase.chmod(0o640)
    assert list(open_secret_files(site.loaded)) == []
    phrase.chmod(0o644)
    env.chmod(0o660)
    found = {one.path: one for one in open_secret_files(site.loaded)}
    assert found[phrase] == Open(phrase, "others may read it", 0o640)
    assert found[env] == Open(env, "others may change it", 0o640, writable=True)
    phrase.unlink()
    assert [one.path for one in open_secret_files(site.loaded)] == [env]


def test_what_belongs_to_somebody_else_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = healthy(tmp_path)
    stray = site.state / "restore-rights.json"
    given: list[tuple[Path, int, int]] = []
    real = Path.lstat
    theirs = 4242

    def lstat(self: Path) -> os.stat_result:
        facts = list(real(self))
        if self == stray and not given:
            facts[4] = theirs
        return os.stat_result(facts)

    def chown(path: Path, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        assert not follow_symlinks
        given.append((path, uid, gid))

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(os, "chown", chown)
    [found] = open_state_paths(site.state)
    owner = user_name(os.geteuid())
    assert found.words == f"it belongs to uid {theirs}, not {owner}"
    assert found.command() == f"chown {owner} {stray}"
    mend([found])
    assert given == [(stray, os.geteuid(), -1)]
    assert list(open_state_paths(site.state)) == []


def test_what_can_not_be_mended_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    one = Open(tmp_path, "every user may read it", 0o700)
    assert mend([one])[0] == []
    assert one.command() == f"chmod 700 {tmp_path}"
