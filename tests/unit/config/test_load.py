"""Finding, trusting and reading a configuration file."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config import load
from fsbackup_tui.config.load import (
    LoadedConfig,
    find_config,
    load_config,
    site_environment,
    state_directory,
)
from fsbackup_tui.config.ownership import check_ownership
from fsbackup_tui.config.values import SecretCommand, SecretFile, SecretText, SecretVariable
from fsbackup_tui.domain.errors import ConfigError, SecretUnavailable, UsageError
from tests.unit.config.support import MINIMAL, private_directory, write_config


def loaded(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> LoadedConfig:
    return load_config(write_config(tmp_path, text), environ or {})


def test_a_minimal_configuration_loads_without_any_variable(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    found = load_config(path, {})
    assert found.path == path
    assert found.config.site == "shop"
    assert found.config.environment == "production"
    assert found.config.repository == tmp_path / "repo"
    source = found.config.databases["db"]
    assert source.url == SecretText(text="${DIRECT_URL:-${DATABASE_URL}}")
    assert source.lock_timeout == timedelta(seconds=30)
    assert found.config.plans["daily"].sources == ("db",)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.text == path.read_text()
    assert found.lines["sources", "db", "url"] == 4
    assert found.place("sources", "db", "url") == f"{path}:4"
    assert found.place("sources", "db", "admin", "url") == f"{path}:4"
    assert found.notes == ()


def test_a_literal_url_is_in_no_repr(tmp_path: Path) -> None:
    text = MINIMAL.format(repository="/r").replace(
        "${DIRECT_URL:-${DATABASE_URL}}", "postgresql://u:hunter2@h/d"
    )
    found = loaded(tmp_path, text)
    assert "hunter2" in found.text
    assert "hunter2" not in repr(found)


def test_the_four_forms_of_a_secret(tmp_path: Path) -> None:
    text = """\
site: shop
repository: /r
sources:
  a: {kind: postgres, url: {env: A_URL}}
  b: {kind: postgres, url: {file: secrets/url}}
  c: {kind: postgres, url: {command: [pass, show, "${NAME}"]}}
  d: {kind: postgres, url: {file: "${DIR}/url"}, admin: {url: "${ADMIN_URL:-}"}}
plans: {daily: {sources: [a, b, c, d]}}
"""
    found = loaded(tmp_path, text)
    urls = [source.url for source in found.config.databases.values()]
    assert urls == [
        SecretVariable(env="A_URL"),
        SecretFile(file=found.path.parent / "secrets/url"),
        SecretCommand(command=("pass", "show", "${NAME}")),
        SecretFile(file=Path("${DIR}/url")),
    ]
    assert found.config.databases["d"].admin.url == SecretText(text="${ADMIN_URL:-}")


def test_texts_are_expanded_with_the_env_file_over_the_shell(tmp_path: Path) -> None:
    path = write_config(
        tmp_path,
        "site: ${SITE}\nenvironment: ${STAGE:-test}$$\nenv_file: .env\nrepository: ${BASE}/r\n"
        "sources: {db: {kind: postgres, url: '${U}', also: ['${BASE}/x', y, ~/z]}}\n"
        "plans: {daily: {sources: [db]}}\n",
    )
    env_file = path.parent / ".env"
    env_file.write_text("SITE=from-file\n")
    env_file.chmod(0o600)
    config = load_config(path, {"SITE": "stale", "BASE": "/base", "HOME": "/home/ana"}).config
    assert config.site == "from-file"
    assert config.environment == "test$"
    assert config.env_file == env_file
    assert config.repository == Path("/base/r")
    assert config.databases["db"].also == (
        Path("/base/x"),
        path.parent / "y",
        Path("/home/ana/z"),
    )


def test_sections_with_nothing_in_them_mean_their_defaults(tmp_path: Path) -> None:
    config = loaded(tmp_path, MINIMAL.format(repository="/r") + "limits:\nstall_after:\n").config
    assert config.limits.nice == 0
    assert config.stall_after == timedelta(minutes=2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"{}\n", "the file is empty"),
        (b"- a\n- b\n", "the file holds no name: value lines"),
        (b"just text\n", "the file holds no name: value lines"),
        (b"site: x\nname: \xff\n", "fsbackup.yaml:2: byte 0xff is not UTF-8"),
        (b"\xff\xfes\x00", "fsbackup.yaml:1: byte 0xff is not UTF-8"),
        (b"site: [\n", "fsbackup.yaml:2: not YAML"),
    ],
)
def test_files_that_hold_no_configuration(tmp_path: Path, content: bytes, words: str) -> None:
    path = write_config(tmp_path)
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_byte_order_mark_and_crlf_are_taken(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_config(path, {}).config.site == "shop"


def test_a_directory_a_pipe_a_missing_file(tmp_path: Path) -> None:
    directory = private_directory(tmp_path / "d")
    os.mkfifo(directory / "pipe")
    for path, words in (
        (directory, "Is a directory"),
        (directory / "pipe", "it is no regular file"),
        (directory / "none", "No such file"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            load_config(path, {})
        assert caught.value.what.startswith("CONFIG NOT READABLE:")
        assert caught.value.fix


def test_an_unreadable_file_names_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match=r"sudo -u \S+ fsbackup"):
        load_config(path, {})


@pytest.mark.parametrize(
    ("file_mode", "directory_mode", "words"),
    [
        (0o620, 0o700, "fsbackup.yaml: the file can be written by its group (mode 0620)"),
        (0o602, 0o700, "fsbackup.yaml: the file can be written by every user"),
        (0o600, 0o770, "etc: the directory can be written by its group (mode 0770)"),
        (0o600, 0o777, "etc: the directory can be written by every user"),
        (0o600, 0o1777, "move the configuration into a directory of its own"),
    ],
)
def test_a_configuration_that_others_could_write_is_refused(
    tmp_path: Path, file_mode: int, directory_mode: int, words: str
) -> None:
    path = write_config(tmp_path)
    path.chmod(file_mode)
    path.parent.chmod(directory_mode)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert caught.value.what.startswith("CONFIG NOT TRUSTED:")
    assert words in str(caught.value)
    remedies = ("chmod go-w ", "move the configuration ")
    assert any(line.startswith(remedies) for line in caught.value.fix.splitlines())
    assert not any(remedy in caught.value.why for remedy in remedies)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o440])
def test_one_that_others_may_read_is_taken(tmp_path: Path, mode: int) -> None:
    path = write_config(tmp_path)
    path.chmod(mode)
    path.parent.chmod(0o755)
    assert load_config(path, {}).config.site == "shop"


def test_somebody_elses_file_is_refused_and_roots_is_taken(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    status = list(path.stat())
    me = path.stat().st_uid
    status[4] = 4_000_000
    with pytest.raises(ConfigError, match="belongs to uid 4000000"):
        check_ownership(path, os.stat_result(status), uid=me)
    status[4] = 0
    check_ownership(path, os.stat_result(status), uid=me)
    status[4] = me
    if me != 0:
        with pytest.raises(ConfigError):
            check_ownership(path, os.stat_result(status), uid=me + 1)


def test_a_link_is_judged_by_both_its_directories(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    open_directory = private_directory(tmp_path / "open")
    link = open_directory / "fsbackup.yaml"
    link.symlink_to(path)
    assert load_config(link, {}).path == link
    open_directory.chmod(0o777)
    with pytest.raises(ConfigError, match="open: the directory can be written"):
        load_config(link, {})


def test_the_env_file_wins_and_its_absence_blocks_only_its_use(tmp_path: Path) -> None:
    text = MINIMAL.format(repository="/r") + "env_file: .env\n"
    found = loaded(tmp_path, text)
    assert any("env_file" in note and "No such file" in note for note in found.notes)
    with pytest.raises(SecretUnavailable, match="ENV FILE NOT READ") as caught:
        site_environment(found, {"DATABASE_URL": "shell"})
    assert f"{found.path}:7" in caught.value.why
    env_file = found.path.parent / ".env"
    env_file.write_text("DATABASE_URL=file\n")
    environment = site_environment(found, {"DATABASE_URL": "shell", "PATH": "/bin"})
    assert environment == {"DATABASE_URL": "file", "PATH": "/bin"}


def test_what_is_odd_in_the_env_file_becomes_a_note(tmp_path: Path) -> None:
    path = write_config(tmp_path, MINIMAL.format(repository="/r") + "env_file: .env\n")
    env_file = path.parent / ".env"
    env_file.write_text("A: 1\n")
    env_file.chmod(0o644)
    notes = load_config(path, {}).notes
    assert len(notes) == 2
    assert "can be read by every user" in notes[0]
    assert f"{env_file}:1: write NAME=value" in notes[1]


def test_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_config(tmp_path)
    found = load_config(path, {})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_directory(found, {"HOME": "/home/ana"}) == Path("/home/ana/.local/state/fsbackup")
    assert state_directory(found, {"XDG_STATE_HOME": "/x"}) == Path("/x/fsbackup")
    relative = {"XDG_STATE_HOME": "x", "HOME": "/home/ana"}
    assert state_directory(found, relative) == Path("/home/ana/.local/state/fsbackup")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_directory(found, {}) == Path("/var/lib/fsbackup")
    monkeypatch.setattr(os, "geteuid", os.getuid)
    path.write_text(path.read_text() + "state: ../state\n")
    assert state_directory(load_config(path, {}), {}) == path.parent / "../state"


class TestFindConfig:
    @pytest.fixture(autouse=True)
    def places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cwd = private_directory(tmp_path / "cwd")
        self.user = private_directory(tmp_path / "xdg" / "fsbackup") / "config.yaml"
        self.system = private_directory(tmp_path / "sys") / "config.yaml"
        self.sites = private_directory(tmp_path / "sys" / "sites")
        self.environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
        monkeypatch.setattr(load, "SYSTEM_DIRECTORY", tmp_path / "sys")

    def find(self, explicit: Path | None = None, site: str | None = None) -> Path:
        return find_config(explicit=explicit, site=site, environ=self.environ, cwd=self.cwd)

    def test_the_order(self) -> None:
        self.system.touch()
        assert self.find() == self.system
        self.user.touch()
        assert self.find() == self.user
        local = self.cwd / "fsbackup.yaml"
        local.touch()
        assert self.find() == local
        (self.cwd / "named.yaml").touch()
        self.environ["FSBACKUP_CONFIG"] = "named.yaml"
        assert self.find() == self.cwd / "named.yaml"
        (self.sites / "shop.yaml").touch()
        assert self.find(site="shop") == self.sites / "shop.yaml"
        assert self.find(explicit=Path("fsbackup.yaml")) == local

    def test_none_found_offers_init_and_demo_and_says_where_it_looked(self) -> None:
        with pytest.raises(UsageError) as caught:
            self.find()
        for words in ("fsbackup init", "fsbackup demo", str(self.user), str(self.system)):
            assert words in str(caught.value)

    def test_somebody_elses_local_file_is_passed_over_and_said(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local = self.cwd / "fsbackup.yaml"
        local.touch()
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(UsageError, match=r"fsbackup.yaml \(not used: it belongs to"):
            self.find()
        self.system.touch()
        assert self.find() == self.system

    def test_what_is_named_and_not_there(self) -> None:
        with pytest.raises(UsageError, match="CONFIG NOT FOUND"):
            self.find(explicit=Path("/nowhere/x.yaml"))
        self.environ["FSBACKUP_CONFIG"] = "/nowhere/y.yaml"
        with pytest.raises(UsageError, match=r"\$FSBACKUP_CONFIG names it"):
            self.find()

    def test_sites(self) -> None:
        (self.sites / "shop.yaml").touch()
        with pytest.raises(UsageError, match="Sites there are: shop"):
            self.find(site="shopp")
        with pytest.raises(UsageError, match="SITE NOT KNOWN"):
            self.find(site="../sites/shop")
        with pytest.raises(UsageError, match="TWO CONFIGURATIONS"):
            self.find(explicit=Path("x"), site="shop")
