"""``fsbackup init``: a working configuration, a repository, and what it refuses."""

from __future__ import annotations

import argparse
import io
import json
import os
import stat
import sys
from pathlib import Path

import pexpect
import pytest

from fsbackup_tui.cli import init
from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.config import load
from fsbackup_tui.config.load import load_config
from fsbackup_tui.config.values import SecretText
from fsbackup_tui.domain.errors import (
    FsbackupError,
    RepositoryError,
    RepositoryUnwritable,
    UsageError,
)
from fsbackup_tui.repository import new_site
from fsbackup_tui.repository.layout import open_repository

URL = "postgresql://ana:hunter2@db1/shop"


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.out)
        return document


class Project:
    """A project directory in which init is run as the command line runs it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.directory = base / "shop"
        self.directory.mkdir(mode=0o700)
        self.repository = base / "backups" / "shop"
        self.environ = {"HOME": str(base / "home"), "PATH": os.environ["PATH"]}
        (base / "home").mkdir(mode=0o700)

    @property
    def config(self) -> Path:
        return self.directory / "fsbackup.yaml"

    def env_file(self, text: str, name: str = ".env") -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def init(self, *words: str) -> Result:
        arguments = parse([*words])
        context = CliContext.from_arguments(arguments)
        context.environ = self.environ
        context.stdout, context.stderr = io.StringIO(), io.StringIO()
        code = init.run(arguments, context)
        return Result(code, context.stdout.getvalue(), context.stderr.getvalue())


def parse(words: list[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path)
    common.add_argument("--site")
    common.add_argument("--json", action="store_true")
    parser = argparse.ArgumentParser(parents=[common])
    init.add_parser(parser.add_subparsers(), [common])
    return parser.parse_args(["init", *words])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path)
    monkeypatch.chdir(project.directory)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return project


def test_everything_given(project: Project) -> None:
    result = project.init(
        "--yes", "--site", "shop", "--url", URL, "--repository", str(project.repository)
    )
    assert result.code == 0
    assert stat.S_IMODE(project.config.stat().st_mode) == 0o600
    loaded = load_config(project.config, {})
    assert loaded.config.site == "shop"
    assert loaded.config.databases["db"].url == SecretText(text=URL)
    assert loaded.config.plans["daily"].sources == ("db",)
    assert open_repository(loaded.config.repository, site="shop").root == project.repository
    assert stat.S_IMODE(project.repository.stat().st_mode) == 0o700
    assert result.out.splitlines()[-2:] == ["  fsbackup doctor", "  fsbackup backup daily"]
    assert "hunter2" not in result.out + result.err


def test_it_needs_no_yes_when_nothing_is_left_to_ask(project: Project) -> None:
    project.init("--site", "shop", "--url", URL, "--repository", str(project.repository))
    assert load_config(project.config, {}).config.site == "shop"


def test_a_password_with_dollars_is_written_so_that_it_comes_back(project: Project) -> None:
    url = "postgresql://ana:a$b${C}$$@db1/na%C3%AFve"
    project.init("--yes", "--url", url, "--repository", str(project.repository))
    source = load_config(project.config, {}).config.databases["db"]
    assert isinstance(source.url, SecretText)
    from fsbackup_tui.config.template import expand

    assert expand(source.url.text, {}) == url


def test_an_env_file_with_both_addresses(project: Project) -> None:
    env_file = project.env_file(f"DATABASE_URL={URL}\nDIRECT_URL='{URL}'\n")
    result = project.init("--json", "--yes", "--repository", str(project.repository))
    document = result.document
    assert document["ok"] is True
    assert document["config"] == str(project.config)
    assert document["database"] == "ana@db1:5432/shop"
    assert document["env_file"] == str(env_file)
    assert document["next"] == ["fsbackup doctor", "fsbackup backup daily"]
    assert document["notes"] == []
    loaded = load_config(project.config, {})
    assert loaded.config.env_file == env_file
    assert loaded.config.databases["db"].url == SecretText(text="${DIRECT_URL:-${DATABASE_URL}}")
    assert "hunter2" not in project.config.read_text() + result.out


def test_a_prisma_projects_own_names(project: Project) -> None:
    (project.directory / "prisma").mkdir()
    (project.directory / "prisma" / "schema.prisma").write_text(
        'datasource db {\n url = env("POOL")\n directUrl = env("MIGRATE")\n}\n'
    )
    project.env_file(f"POOL=prisma://x\nMIGRATE={URL}\n", ".env.production")
    project.init("--yes", "--repository", str(project.repository))
    loaded = load_config(project.config, {})
    assert loaded.config.databases["db"].url == SecretText(text="${MIGRATE:-${POOL}}")
    assert loaded.config.env_file == project.directory / ".env.production"


def test_the_environment_is_noted_as_not_enough_for_cron(project: Project) -> None:
    project.environ["DATABASE_URL"] = URL
    result = project.init("--yes", "--repository", str(project.repository))
    assert "has to be set wherever fsbackup runs, cron too" in " ".join(result.out.split())
    notes = result.out[result.out.index("Note ") : result.out.index("Next")].splitlines()
    assert max(map(len, notes)) <= 80
    assert all(line.startswith(" " * 15) for line in notes[1:])
    assert 'url: "${DATABASE_URL}"' in project.config.read_text()


def test_a_named_variable(project: Project) -> None:
    arguments = ("--yes", "--url-env", "SHOP_URL", "--repository", str(project.repository))
    result = project.init(*arguments)
    assert 'url: "${SHOP_URL}"' in project.config.read_text()
    assert "its address is not set here yet" in result.out
    project.config.unlink()
    env_file = project.env_file(f"SHOP_URL={URL}\n")
    result = project.init(*arguments)
    assert "ana@db1:5432/shop" in result.out
    assert load_config(project.config, {}).config.env_file == env_file
    with pytest.raises(UsageError, match="NO VARIABLE'S NAME") as caught:
        project.init("--yes", "--url-env", URL)
    assert "hunter2" not in str(caught.value)


def test_what_is_missing_is_listed_with_a_command_to_paste(project: Project) -> None:
    with pytest.raises(UsageError) as caught:
        project.init()
    error = caught.value
    assert error.exit_code == 2
    for word in ("--site NAME", "--url URL", "--repository DIR"):
        assert word in error.why
    assert error.fix.startswith("fsbackup init --site shop --url postgresql://USER:PASSWORD@")
    with pytest.raises(UsageError) as caught:
        project.init("--yes")
    assert "--site NAME" not in caught.value.why
    assert "the database's address" in caught.value.why
    assert not project.config.exists()


def test_the_pasted_command_works_once_the_address_is_found(project: Project) -> None:
    project.env_file(f"DATABASE_URL={URL}\n")
    with pytest.raises(UsageError) as caught:
        project.init("--repository", str(project.repository))
    words = caught.value.fix.split()
    assert "hunter2" not in str(caught.value)
    assert project.init(*words[2:]).code == 0


def test_an_address_that_cannot_be_used_is_refused_before_anything_is_made(
    project: Project,
) -> None:
    for url, what in (
        ("postgresql://postgres:[YOUR-PASSWORD]@db.a.supabase.co/postgres", "PASSWORD NOT FILLED"),
        ("postgresql://ana:hunter@2@db1/shop", "PASSWORD NOT ESCAPED"),
    ):
        with pytest.raises(UsageError, match=what) as caught:
            project.init("--yes", "--url", url, "--repository", str(project.repository))
        assert "hunter" not in str(caught.value)
    project.env_file("DATABASE_URL=prisma://x\n")
    with pytest.raises(UsageError, match="NOT A DATABASE SERVER"):
        project.init("--yes", "--repository", str(project.repository))
    assert not project.repository.exists()
    assert not project.config.exists()


def test_a_repository_in_the_project_a_work_tree_or_a_data_directory(project: Project) -> None:
    project.env_file(f"DATABASE_URL={URL}\n")
    work_tree = project.base / "tree"
    (work_tree / ".git").mkdir(parents=True)
    (work_tree / ".git" / "HEAD").touch()
    data = project.base / "data"
    (data / "base").mkdir(parents=True)
    (data / "PG_VERSION").touch()
    link = project.base / "link"
    link.symlink_to(work_tree)
    for place, words in (
        (project.directory / "backups", "lies inside the project"),
        (work_tree / "backups", "lies inside the git work tree"),
        (link / "backups", "lies inside the git work tree"),
        (data / "backups", "lies inside the PostgreSQL data directory"),
    ):
        with pytest.raises(UsageError, match=words):
            project.init("--yes", "--repository", str(place))
        assert not place.exists()
    assert not project.config.exists()


def test_a_directory_with_something_else_in_it(project: Project) -> None:
    foreign = project.base / "foreign"
    foreign.mkdir(mode=0o700)
    (foreign / "photo.jpg").touch()
    with pytest.raises(UsageError, match=r"photo\.jpg"):
        project.init("--yes", "--url", URL, "--repository", str(foreign))
    assert not project.config.exists()


def test_an_empty_directory_that_others_can_read_is_made_private(project: Project) -> None:
    project.repository.mkdir(parents=True)
    project.repository.chmod(0o755)
    project.init("--yes", "--url", URL, "--repository", str(project.repository))
    assert stat.S_IMODE(project.repository.stat().st_mode) == 0o700


def test_somebody_elses_open_directory_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = project.base / "theirs"
    place.mkdir()
    place.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UsageError, match="others can read"):
        new_site.check_repository_place(place, [])


def test_a_place_that_cannot_be_written(project: Project) -> None:
    with pytest.raises(RepositoryUnwritable, match="REPOSITORY NOT MADE"):
        project.init("--yes", "--url", URL, "--repository", "/proc/nowhere/shop")
    assert not project.config.exists()


def test_twice_the_same_is_once(project: Project) -> None:
    arguments = ("--yes", "--url", URL, "--repository", str(project.repository), "--json")
    first = project.init(*arguments).document
    before = (project.repository / "fsbackup.json").read_bytes()
    second = project.init(*arguments).document
    assert (first["written"], first["created"]) == (True, True)
    assert (second["written"], second["created"]) == (False, False)
    assert (project.repository / "fsbackup.json").read_bytes() == before


def test_another_configuration_is_never_written_over(project: Project) -> None:
    project.config.write_text("site: mine\n")
    with pytest.raises(UsageError, match="CONFIG EXISTS"):
        project.init("--yes", "--url", URL, "--repository", str(project.repository))
    assert project.config.read_text() == "site: mine\n"
    assert not project.repository.exists()


def test_another_sites_repository_is_refused(project: Project) -> None:
    project.init("--yes", "--site", "one", "--url", URL, "--repository", str(project.repository))
    project.config.unlink()
    with pytest.raises(RepositoryError, match="one"):
        project.init(
            "--yes", "--site", "two", "--url", URL, "--repository", str(project.repository)
        )
    assert not project.config.exists()


def test_where_the_file_goes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--yes", "--url", URL, "--repository", str(project.repository), "--json")
    named = project.base / "etc" / "deep" / "shop.yaml"
    document = project.init(*arguments, "--output", str(named)).document
    assert document["next"] == [
        f"fsbackup --config {named} doctor",
        f"fsbackup --config {named} backup daily",
    ]
    assert stat.S_IMODE(named.parent.stat().st_mode) == 0o700
    project.environ["FSBACKUP_CONFIG"] = str(project.base / "etc" / "other.yaml")
    assert project.init(*arguments).document["next"] == ["fsbackup doctor", "fsbackup backup daily"]
    del project.environ["FSBACKUP_CONFIG"]
    project.directory.chmod(0o775)
    monkeypatch.setattr(load, "SYSTEM_DIRECTORY", project.base / "system")
    own = project.base / "home" / ".config" / "fsbackup" / "config.yaml"
    expected = project.base / "system" / "config.yaml" if os.getuid() == 0 else own
    assert project.init(*arguments).document["config"] == str(expected)
    with pytest.raises(UsageError, match="CONFIG NOT WRITTEN"):
        project.init(*arguments, "--output", str(project.directory / "x.yaml"))


def test_a_password_in_a_work_tree_is_noted(project: Project) -> None:
    (project.directory / ".git").mkdir()
    (project.directory / ".git" / "HEAD").touch()
    result = project.init("--yes", "--url", URL, "--repository", str(project.repository))
    assert "keep it out of git" in result.out


@pytest.mark.parametrize("name", ["a b", "../x", "", "-x", "x" * 41])
def test_names_that_no_site_has(project: Project, name: str) -> None:
    with pytest.raises(FsbackupError, match="SITE NAME REFUSED"):
        project.init("--yes", f"--site={name}", "--url", URL)


RUN = """
import sys
from tests.unit.cli.test_init import parse
from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.domain.errors import FsbackupError
arguments = parse(sys.argv[1:])
try:
    sys.exit(arguments.run(arguments, CliContext.from_arguments(arguments)))
except FsbackupError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def dialogue(project: Project, *words: str) -> pexpect.spawn[str]:
    root = str(Path(__file__).resolve().parents[3])
    environment = {**project.environ, "PYTHONPATH": root, "TERM": "dumb"}
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-c", RUN, *words],
        cwd=str(project.directory),
        env=environment,
        encoding="utf-8",
        timeout=30,
    )
    return child


def test_the_dialogue(project: Project) -> None:
    child = dialogue(project)
    child.expect("Database URL")
    child.sendline("postgresql://ana:hun@ter2@db1/shop")
    child.expect("PASSWORD NOT ESCAPED")
    child.expect("Database URL")
    child.sendline(URL)
    child.expect(r"Name of the site \[shop\]")
    child.sendline("my shop")
    child.expect("SITE NAME REFUSED")
    child.expect(r"Name of the site \[shop\]")
    child.sendline("")
    child.expect("Where recovery points go")
    (project.base / "tree" / ".git").mkdir(parents=True)
    (project.base / "tree" / ".git" / "HEAD").touch()
    child.sendline(str(project.base / "tree" / "x"))
    child.expect("git work tree")
    child.expect("Where recovery points go")
    child.sendline(str(project.repository))
    child.expect("fsbackup backup daily")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert load_config(project.config, {}).config.repository == project.repository


def test_the_dialogue_lets_choose_and_be_left(project: Project) -> None:
    project.env_file(f"DATABASE_URL={URL}\n")
    project.env_file("DATABASE_URL=postgresql://ana:hunter2@prod/shop\n", ".env.production")
    child = dialogue(project, "--site", "shop", "--repository", str(project.repository))
    child.expect("1  ana@prod:5432/shop   from .env.production")
    child.expect("2  ana@db1:5432/shop   from .env")
    child.expect("Which one")
    child.sendline("3")
    child.expect("type one of 1, 2")
    child.sendline("2")
    child.expect("fsbackup backup daily")
    child.expect(pexpect.EOF)
    assert load_config(project.config, {}).config.env_file == project.directory / ".env"
    left = dialogue(project, "--output", "other.yaml")
    left.expect("Which one")
    left.sendcontrol("c")
    left.expect("INIT LEFT: nothing was written")
    left.expect(pexpect.EOF)
    left.close()
    assert left.exitstatus == 130
    assert not (project.directory / "other.yaml").exists()
