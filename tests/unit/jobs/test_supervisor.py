"""Starting, listing, finding, cancelling and pruning jobs."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import DiskFull, JobError, JobNotFound, UsageError
from fsbackup_tui.domain.events import JobFinished, JobStarted
from fsbackup_tui.domain.point import POINT_ID
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.jobs.layout import read_json
from fsbackup_tui.jobs.supervisor import (
    cancel_job,
    find_job,
    follow,
    list_jobs,
    operator_name,
    prune_jobs,
    start_job,
)
from fsbackup_tui.operations.requests import VerifyRequest
from tests.support.jobs import SECRET, let_go_on, make_site, start_slow_job, write_past_job
from tests.support.waiting import wait_until

REQUEST = VerifyRequest(point="20261122T020000Z-daily-aaaa")


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    return make_site(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def test_a_job_is_started_and_comes_to_an_end(loaded: LoadedConfig, state: Path) -> None:
    environ = {**os.environ, "DATABASE_URL": f"postgresql://ana:{SECRET}@db1/shop"}
    unlike = dataclasses.replace(loaded, digest="0" * 64)

    job = start_job(REQUEST, unlike, environ=environ, state=state, operator="ana")

    match = POINT_ID.fullmatch(job.id)
    assert match is not None
    assert match["plan"] == "verify"
    lines = [line async for line in follow(job)]
    first, last = lines[0].event, lines[-1].event
    assert isinstance(first, JobStarted)
    assert isinstance(last, JobFinished)
    assert last.outcome == "failed"
    assert last.problem is not None
    assert last.problem.what.startswith("CONFIGURATION CHANGED")
    ended = find_job(state, job.id)
    assert (ended.state, ended.operator, ended.request) == ("failed", "ana", REQUEST)
    for path in job.directory.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    assert mode_of(state) == 0o700


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_following_an_ended_job_from_its_end_gives_its_last_word(
    loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "loop")
    let_go_on(job)
    whole = [line async for line in follow(job)]
    late = [line async for line in follow(job, from_start=False)]
    assert [line.seq for line in whole] == list(range(1, len(whole) + 1))
    assert late == whole[-1:]
    assert isinstance(late[0].event, JobFinished)


async def test_following_a_running_job_from_now_leaves_out_what_was(
    loaded: LoadedConfig, state: Path
) -> None:
    job = start_slow_job(loaded, state, "loop")
    wait_until(lambda: load_job(job.directory).progress is not None)
    lines = follow(job, from_start=False)
    let_go_on(job)
    seen = [line async for line in lines]
    assert not any(isinstance(line.event, JobStarted) for line in seen)
    assert isinstance(seen[-1].event, JobFinished)


async def test_a_journal_without_its_end_is_ended_by_the_state(
    loaded: LoadedConfig, state: Path
) -> None:
    """As when the journal's disk was full to the last."""
    job = start_slow_job(loaded, state, "loop")
    let_go_on(job)
    whole = [line async for line in follow(job)]
    journal = job.directory / "journal.jsonl"
    shortened = b"".join(journal.read_bytes().splitlines(keepends=True)[:-1])
    rewrite(journal, shortened)
    again = [line async for line in follow(job)]
    assert [line.event for line in again] == [line.event for line in whole]


def rewrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_a_worker_that_does_not_come_up_is_told_with_what_it_said(
    loaded: LoadedConfig, state: Path
) -> None:
    environ = {**os.environ, "PYTHONHOME": "/nowhere"}

    with pytest.raises(JobError) as caught:
        start_job(REQUEST, loaded, environ=environ, state=state, operator="ana")

    problem = caught.value.problem()
    assert problem.what.startswith("JOB NOT STARTED")
    assert "exit status 1" in problem.why
    assert "encodings" in problem.why
    assert "output.log" in problem.fix
    assert [job.state for job in list_jobs(state)] == ["failed"]


def test_a_full_state_directory_is_named(
    loaded: LoadedConfig, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fsbackup_tui.jobs.launch.replace_json", full)
    with pytest.raises(DiskFull, match="STATE DIRECTORY FULL"):
        start_job(REQUEST, loaded, environ=os.environ, state=state, operator="ana")


def test_an_ended_worker_leaves_no_zombie(loaded: LoadedConfig, state: Path) -> None:
    job = start_slow_job(loaded, state, "loop")
    assert job.pid is not None
    proc = Path("/proc") / str(job.pid)
    assert (proc / "cwd").resolve() == Path("/")
    assert os.getsid(job.pid) == job.pid != os.getsid(0)
    assert stat.S_ISCHR((proc / "fd/0").stat().st_mode)
    let_go_on(job)

    wait_until(lambda: find_job(state, job.id).state == "ok")
    wait_until(lambda: list_jobs(state) and not proc.exists(), what="the worker is collected")


def test_a_starter_that_ends_first_says_nothing_of_it(
    tmp_path: Path, loaded: LoadedConfig, state: Path
) -> None:
    script = (
        "from pathlib import Path\n"
        "from tests.support.jobs import *\n"
        f"job = start_slow_job(make_site(Path({str(tmp_path)!r})), Path({str(state)!r}), 'loop')\n"
        "sys.stdout.write(job.id)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert (done.returncode, done.stderr) == (0, "")
    job = find_job(state, done.stdout)
    assert job.running
    let_go_on(job)
    wait_until(lambda: find_job(state, job.id).state == "ok")


def test_a_foreign_yaml_is_not_imported_by_the_worker(
    tmp_path: Path, loaded: LoadedConfig, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "yaml.py").write_text("raise SystemExit('the wrong yaml')\n")
    monkeypatch.chdir(elsewhere)
    for search in ("", ".", f".{os.pathsep}", f"../elsewhere{os.pathsep}."):
        environ = {**os.environ, "PYTHONPATH": search}
        job = start_job(REQUEST, loaded, environ=environ, state=state, operator="ana")
        wait_until(lambda job=job: not find_job(state, job.id).running)  # type: ignore[misc]
        assert "wrong yaml" not in (job.directory / "output.log").read_text()


def test_a_thousand_past_jobs_are_listed_at_once(state: Path) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(1000):
        moment = first + timedelta(hours=number)
        write_past_job(state, f"{moment:%Y%m%dT%H%M%SZ}-backup-aaaa", started=moment)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        jobs = list_jobs(state)
        seconds.append(time.perf_counter() - started)
    assert len(jobs) == 1000
    assert [job.id for job in jobs] == sorted((job.id for job in jobs), reverse=True)
    assert {job.state for job in jobs} == {"ok"}
    assert min(seconds) < 0.3
    assert len(list_jobs(state, limit=7)) == 7


def test_jobs_of_one_second_are_listed_as_they_were_started(state: Path) -> None:
    names = [f"20261122T020000Z-{rest}" for rest in ("backup-zzzz", "verify-mmmm", "backup-aaaa")]
    for number, name in enumerate(names):
        directory = write_past_job(state, name)
        os.utime(directory / "request.json", ns=(number, number))
    write_past_job(state, "20261122T020001Z-backup-aaaa")
    listed = [job.id for job in list_jobs(state)]
    assert listed == ["20261122T020001Z-backup-aaaa", *reversed(names)]


def test_a_damaged_job_hides_no_other(state: Path) -> None:
    write_past_job(state, "20261122T020000Z-backup-aaaa")
    (state / "jobs" / "20261122T030000Z-backup-bbbb").mkdir()
    damaged = write_past_job(state, "20261122T040000Z-backup-cccc")
    (damaged / "state.json").write_text("{")
    (damaged / "request.json").write_text("{")
    assert [job.id for job in list_jobs(state)] == ["20261122T020000Z-backup-aaaa"]


def test_no_jobs_yet(tmp_path: Path) -> None:
    assert list_jobs(tmp_path) == []
    with pytest.raises(JobNotFound, match="NO JOB YET"):
        find_job(tmp_path, "last")


def test_a_job_is_found_by_prefix_tag_and_as_the_last(state: Path) -> None:
    for name in (
        "20261121T020000Z-backup-aaaa",
        "20261122T020000Z-backup-bbbb",
        "20261122T020000Z-verify-cccc",
    ):
        write_past_job(state, name)
    assert find_job(state, "last").id == "20261122T020000Z-verify-cccc"
    assert find_job(state, "20261121").id == "20261121T020000Z-backup-aaaa"
    assert find_job(state, "bbbb").id == "20261122T020000Z-backup-bbbb"
    with pytest.raises(JobNotFound) as several:
        find_job(state, "20261122T")
    assert set(several.value.why.splitlines()) == {
        "20261122T020000Z-backup-bbbb",
        "20261122T020000Z-verify-cccc",
    }
    for text in ("", "2027", "../jobs"):
        with pytest.raises(JobNotFound):
            find_job(state, text)


def test_a_job_that_has_ended_is_not_cancelled(state: Path) -> None:
    directory = write_past_job(state, "20261122T020000Z-backup-aaaa")
    with pytest.raises(UsageError, match=r"NOTHING TO CANCEL.*\(ok\)"):
        cancel_job(find_job(state, "last"))
    assert not (directory / "control").exists()


def test_old_jobs_are_pruned_and_the_others_kept(state: Path) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    names = []
    for number in range(230):
        moment = now - timedelta(days=number)
        names.append(f"{moment:%Y%m%dT%H%M%SZ}-backup-aaaa")
        write_past_job(state, names[-1], started=moment)
    running, of_incident = (state / "jobs" / names[210], state / "jobs" / names[220])
    for directory, change in ((running, {"state": "running"}), (of_incident, {"incident": "i"})):
        document = read_json(directory / "state.json") or {}
        (directory / "state.json").write_text(json.dumps({**document, **change}))

    removed = prune_jobs(state, now=now)

    expected = set(names[200:]) - {names[210], names[220]}
    assert set(removed) == expected
    assert {path.name for path in (state / "jobs").iterdir()} == set(names) - expected


def test_young_jobs_are_kept_however_many(state: Path) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    for number in range(230):
        moment = now - timedelta(hours=number)
        write_past_job(state, f"{moment:%Y%m%dT%H%M%SZ}-backup-aaaa", started=moment)
    assert prune_jobs(state, now=now) == []


def test_the_user_behind_sudo_is_the_operator() -> None:
    own = operator_name({})
    assert own
    assert operator_name({"SUDO_USER": "ana"}) == ("ana" if own == "root" else own)
