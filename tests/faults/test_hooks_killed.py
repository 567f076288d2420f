"""A worker killed between 'before' and 'after': what was paused is told to whoever hears of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fsbackup_tui.domain.events import CommandStarted
from tests.support.faults import finish, wait_for_event
from tests.support.file_sites import make_file_site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.machine


def script(path: Path, *lines: str) -> list[str]:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return [str(path)]


def test_a_lost_job_tells_that_deletions_are_paused_yet(tmp_path: Path) -> None:
    paused, gate = tmp_path / "paused", tmp_path / "gate"
    os.mkfifo(gate)
    before = script(tmp_path / "pause", f"touch {paused}", f"cat {gate}")
    after = script(tmp_path / "resume", f"rm -f {paused}")
    files = make_file_site(tmp_path, more={"before": before, "after": after})
    process = files.site.start("backup", "daily", "--json")
    wait_until(paused.exists, timeout=60)
    job = wait_for_event(files.site, lambda event: isinstance(event, CommandStarted))
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    error = finish(process).error
    assert error["what"].startswith("JOB LOST")
    assert str(tmp_path / "resume") in error["fix"]
    (told,) = files.site.run("jobs", "--json").document["jobs"]
    assert "'AFTER' OF uploads WAS NOT RUN" in told["error"]["fix"]
    assert paused.exists()

    script(tmp_path / "pause", f"touch {paused}")
    done = files.site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stderr
    assert not paused.exists()
    owed = list(files.site.directory.rglob("owed.json"))
    assert len(owed) == 1  # the lost job's own: the other owes nothing
