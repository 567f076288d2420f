"""Two Unix users of one site: the state is their group's, and each acts under their own name."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.jobs.supervisor import list_jobs
from fsbackup_tui.repository.audit import AUDIT, HEADS, verify_log
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.lock import Holder, Lock
from tests.support.other_user import OtherUser
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.machine

GROUP = "users"
NAME = "daemon"
_OTHERS = stat.S_IRWXO


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of files that root runs; its configuration is everybody's to read."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.txt").write_text("a")
    made = make_site(tmp_path / "site", "postgresql://nobody@/none", settings={"group": GROUP})
    document = {
        "site": "face-swap",
        "group": GROUP,
        "repository": str(made.repository),
        "state": str(made.directory / "state"),
        "sources": {"uploads": {"kind": "files", "root": str(files)}},
        "plans": {"daily": {"sources": ["uploads"]}},
    }
    made.config.write_text(json.dumps(document))
    made.config.chmod(0o644)
    made.directory.chmod(0o755)
    home = made.directory / "home"
    home.mkdir()
    shutil.chown(home, NAME)
    return made


def state_of(site: Site) -> Path:
    """Return the state of the site's repository."""
    return site.state / open_repository(site.repository).id


def as_other(site: Site, *words: str, groups: Sequence[str] = (GROUP,)) -> list[str]:
    return OtherUser(NAME, tuple(groups)).command(site.command(*words), site.directory)


def run(site: Site, *words: str, groups: Sequence[str] = (GROUP,)) -> tuple[int, str, str]:
    """Run fsbackup as the other user."""
    environ = {**site.environ(), "HOME": str(site.directory / "home"), "TMPDIR": "/tmp"}
    done = subprocess.run(
        as_other(site, *words, groups=groups),
        env=environ,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def hold_plan(repository: Repository) -> Lock:
    """Return the plan's lock, for which a backup waits as long as it is told to."""
    return Lock(repository.plan_lock("daily"), what="plan daily")


def test_a_second_user_follows_a_job_cancels_it_and_is_named(site: Site) -> None:
    assert site.run("backup", "daily").exit_code == 0
    repository = open_repository(site.repository)
    holder = Holder("root", "here", 1, "test", datetime.now(UTC))
    with hold_plan(repository).acquire(0, holder):
        running = site.start("backup", "daily", "--wait", "600")
        wait_until(
            lambda: any(job.running for job in list_jobs(state_of(site))), what="the backup waits"
        )
        code, out, err = run(site, "jobs", "--json")
        assert code == 0, err
        newest = json.loads(out)["jobs"][0]
        assert (newest["state"], newest["operator"]) == ("running", "root")
        code, out, err = run(site, "cancel", newest["id"])
        assert (code, out) == (0, f"{newest['id']}: cancelled\n"), err
        running.communicate(timeout=60)
    assert running.returncode == 130
    code, out, err = run(site, "attach", newest["id"])
    assert code == 130
    assert f"CANCELLED: {newest['id']} by {NAME}." in " ".join(err.split())

    code, out, err = run(site, "audit", "--json")
    assert code == 0, err
    told = [
        (each["action"], each["operator"], each["result"]) for each in json.loads(out)["entries"]
    ]
    # The job's own first line and the other user's may come in either order.
    assert told[::-1][:2] == [("backup", "root", "started"), ("backup", "root", "ok")]
    assert sorted(told[::-1][2:4]) == [("backup", "root", "started"), ("cancel", NAME, "ok")]
    assert told[::-1][4:] == [("backup", "root", "cancelled")]
    code, out, err = run(site, "clear", "latest", "--reason", "x")
    assert code == 1, "the repository is root's"
    assert site.run("audit", "--verify").exit_code == 0
    assert run(site, "audit", "--verify")[0] == 0
    assert verify_log(state_of(site)).lines == 6
    assert list((site.repository / HEADS).iterdir())


def test_the_state_is_the_group_s_and_nobody_else_s(site: Site) -> None:
    assert site.run("backup", "daily").exit_code == 0
    assert site.run("list").exit_code == 0
    assert run(site, "list")[0] in (0, 1)
    found = {path: path.lstat().st_mode for path in state_of(site).rglob("*")}
    assert (state_of(site) / AUDIT) in found
    open_to_others = [str(path) for path, mode in found.items() if mode & _OTHERS]
    assert open_to_others == []
    closed_to_group = [
        path.relative_to(state_of(site)).as_posix()
        for path, mode in found.items()
        if not (mode & stat.S_IWGRP and mode & stat.S_IRGRP)
    ]
    assert closed_to_group == []
    code, out, err = run(site, "jobs", groups=())
    assert code != 0
    assert "STATE DIRECTORY" in err or "NOT READABLE" in err, (out, err)
