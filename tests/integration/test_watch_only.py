"""A newcomer's site of three lines: other scripts' backups are watched, nothing is backed up."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.tui.data import PointQuery
from fsbackup_tui.tui.site_data import LiveSite
from tests.support.sites import PROJECT, CommandResult
from tests.tui.fakes import make_app
from tests.tui.screens import press, screen_text, until_text

TABLE = b"-- Name: t; Type: TABLE; Schema: public; Owner: -\n\nCREATE TABLE public.t (i int);\n\n"
ROWS = (
    b"-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: -\n\n"
    b"COPY public.t (i) FROM stdin;\n1\n2\n\\.\n\n"
)
DUMP = b"--\n-- PostgreSQL database dump\n--\n\n" + TABLE + ROWS
WHOLE = DUMP + b"--\n-- PostgreSQL database dump complete\n--\n\n"


@dataclass
class Newcomer:
    """A directory with a configuration of three lines, and some backups below it."""

    directory: Path

    @property
    def backups(self) -> Path:
        return self.directory / "backups"

    @property
    def config(self) -> Path:
        return self.directory / "fsbackup.yaml"

    def environ(self) -> dict[str, str]:
        home = str(self.directory / "home")
        state = str(self.directory / "state")
        path = os.environ["PATH"]
        return {"PATH": path, "PYTHONPATH": str(PROJECT), "HOME": home, "XDG_STATE_HOME": state}

    def run(self, *arguments: str) -> CommandResult:
        """Run ``fsbackup`` in the directory, as it is typed there."""
        done = subprocess.run(
            [sys.executable, "-m", "fsbackup_tui", *arguments],
            env=self.environ(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    made = Newcomer(tmp_path / "shop")
    for directory in (made.directory, made.directory / "home", made.backups):
        directory.mkdir(mode=0o700)
    (made.backups / "backup_20240630_120000.sql").write_bytes(WHOLE)
    (made.backups / "backup_20240629_120000.sql.gz").write_bytes(gzip.compress(DUMP))
    os.mkfifo(made.backups / "pipe.sql")
    (made.backups / "loop.sql").symlink_to("loop.sql")
    (made.backups / "above").symlink_to("..")
    made.config.touch(mode=0o600)
    made.config.write_text("site: shop\nrepository: points\nadopt: [backups]\n")
    return made


def test_three_lines_watch_and_verify_and_write_nothing(newcomer: Newcomer) -> None:
    before = sorted(newcomer.backups.iterdir())
    listed = newcomer.run("list")
    assert (listed.exit_code, listed.stderr) == (0, "")
    first = listed.stdout.splitlines()[0]
    assert first.startswith("PROD shop  WATCHING OTHERS' BACKUPS. Newest: 2024-06-30 12:00")
    assert "unverified" in first
    assert "it is cut off: the line with which pg_dump ends" in " ".join(listed.stdout.split())
    verified = newcomer.run("verify", "backups/backup_20240630_120000.sql", "--level", "restored")
    assert verified.exit_code == 0, verified.stdout + verified.stderr
    again = newcomer.run("list", "--json").document["points"]
    assert {point["trust"] for point in again} == {"restored", "unverified"}
    assert "Newest: 2024-06-30 12:00" in (line := newcomer.run("list").stdout.splitlines()[0])
    assert " restored" in line
    assert sorted(newcomer.backups.iterdir()) == before
    assert not (newcomer.directory / "points").exists()


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("backup", "daily"), 2, "NO PLAN: this configuration only watches"),
        (("verify", "--due"), 2, "NO PLAN: this configuration only watches"),
        (("verify", "--live"), 2, "NO DATABASE: there is none to look into."),
        (("doctor", "--sql"), 2, "NO DATABASE: rights are needed on one alone."),
        (
            ("restore", "backups/backup_20240630_120000.sql", "--beside", "copy"),
            2,
            "NO DATABASE: restoring beside needs the server to restore into.",
        ),
        (("drill",), 1, "NO REPOSITORY at "),
        (("verify", "backups/pipe.sql"), 2, "NOT A BACKUP: backups/pipe.sql is no regular file."),
        (("verify", "backups/loop.sql"), 2, "NO SUCH FILE: backups/loop.sql."),
    ],
)
def test_what_needs_more_says_what_to_add(
    newcomer: Newcomer, words: tuple[str, ...], exit_code: int, said: str
) -> None:
    done = newcomer.run(*words)
    assert (done.exit_code, done.stdout) == (exit_code, "")
    told = " ".join(done.stderr.split())
    assert told.startswith(said)
    if said.startswith(("NO PLAN", "NO DATABASE")):
        assert 'sources: {db: {kind: postgres, url: "${DATABASE_URL}"}}' in told


def test_doctor_counts_what_is_seen_and_misses_nothing(newcomer: Newcomer) -> None:
    done = newcomer.run("doctor", "--json")
    findings = {finding["id"]: finding for finding in done.document["findings"]}
    assert (done.exit_code, findings["plans"]["severity"]) == (0, "ok")
    assert findings["adopt"]["what"].endswith(": 2 backups seen")
    assert findings["repository"]["severity"] == "warning"


def test_init_makes_the_repository_and_a_backup_becomes_a_point(newcomer: Newcomer) -> None:
    path = "backups/backup_20240630_120000.sql"
    refused = newcomer.run("adopt", path)
    assert refused.exit_code == 1
    assert "Make it: fsbackup init" in refused.stderr
    made = newcomer.run("init", "--json")
    assert (made.exit_code, made.document["created"]) == (0, True)
    adopted = newcomer.run("adopt", path, "--json")
    assert (adopted.exit_code, adopted.document["part"]) == (0, "db"), adopted.stderr
    assert newcomer.run("verify", adopted.document["point"]).exit_code == 0
    assert "NO PROVEN POINT. Best: 2024-06-30" in newcomer.run("list").stdout.splitlines()[0]
    assert newcomer.run("init", "--json").document["created"] is False


def test_init_writes_such_a_configuration(newcomer: Newcomer) -> None:
    newcomer.config.unlink()
    words = ("init", "--yes", "--site", "shop", "--repository", "points", "--adopt")
    assert newcomer.run(*words, "nowhere").stderr.startswith("NO SUCH DIRECTORY:")
    done = newcomer.run(*words, "backups")
    assert done.exit_code == 0, done.stderr
    assert f"Watched {newcomer.backups} only read" in " ".join(done.stdout.split())
    assert "fsbackup list" in done.stdout
    assert "fsbackup backup" not in done.stdout
    config = load_config(newcomer.config, newcomer.environ()).config
    assert (config.adopt, dict(config.sources), dict(config.plans)) == ((newcomer.backups,), {}, {})


def test_a_plan_still_needs_its_source_and_nothing_to_watch_needs_both(newcomer: Newcomer) -> None:
    head = "site: shop\nrepository: points\n"
    newcomer.config.write_text(f"{head}adopt: [backups]\nplans: {{daily: {{sources: [db]}}}}\n")
    assert "there is no source 'db'" in newcomer.run("list").stderr
    newcomer.config.write_text(f"{head}adopt: []\n")
    told = " ".join(newcomer.run("list").stderr.split())
    assert "'sources' is missing" in told
    assert "'plans' is missing" in told


async def test_the_screen_of_a_newcomer_has_no_dead_key(newcomer: Newcomer) -> None:
    environ = newcomer.environ()
    site = LiveSite(load_config(newcomer.config, environ), environ)
    try:
        overview = site.overview()
        assert (overview.answer.state, overview.answer.tone) == ("watching", "warn")
        assert (overview.plans, overview.alerts) == ((), ())
        assert set(overview.blocked) == {"backup"}
        assert site.count(PointQuery()) == 2
        app = make_app(open_site=lambda: site)
        async with app.run_test(size=(100, 30)) as pilot:
            await until_text(pilot, "foreign")
            assert "WATCHING OTHERS' BACKUPS" in screen_text(app)
            await press(pilot, "b")
            await until_text(pilot, "NO PLAN: this configuration only watches")
            await press(pilot, "v")
            await until_text(pilot, "Verify readable")
            await press(pilot, "escape", "3")
            await until_text(pilot, "unverified")
            await press(pilot, "enter")
            await until_text(pilot, "v 3 restores it on a scratch server")
            await press(pilot, "escape", "2", "1", "enter")
            await until_text(pilot, "fsbackup restore")
    finally:
        site.close()
