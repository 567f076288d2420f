"""External programs: what they get, what is kept of them, and that none is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import (
    DiskFull,
    RepositoryMissing,
    RepositoryUnwritable,
    ToolError,
    ToolMissing,
)
from fsbackup_tui.domain.events import CommandStarted, Event
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines import process, process_group
from fsbackup_tui.engines.process import (
    Command,
    RunningChild,
    ToolDiskFull,
    ToolFailed,
    ToolTimedOut,
    run,
    run_pipeline,
)
from tests.support.processes import is_running, processes_in_group, state
from tests.support.waiting import wait_until_async

PYTHON = sys.executable


def python(source: str, *arguments: str) -> Command:
    return Command((PYTHON, "-c", source, *arguments))


async def test_output_status_and_time_are_reported() -> None:
    completed = await run(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"), check=False
    )
    assert completed.exit_status == 7
    assert completed.stdout == b"out\n"
    assert completed.stderr == "err\n"
    assert 0 < completed.seconds < 30


async def test_children_see_a_minimal_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@h/d")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    completed = await run(Command(("env",), env={"PGAPPNAME": "fsbackup/j1"}))
    names = dict(line.split("=", 1) for line in completed.stdout.decode().splitlines())
    assert names["LC_ALL"] == "C"
    assert names["PGAPPNAME"] == "fsbackup/j1"
    assert names["TZ"] == "Europe/Berlin"
    assert names["PATH"] == os.environ["PATH"]
    assert not {"DATABASE_URL", "PGPASSWORD", "PGOPTIONS", "LANG"} & set(names)


async def test_stdin_is_empty_bytes_or_a_file(tmp_path: Path) -> None:
    assert (await run(Command(("cat",)))).stdout == b""
    much = os.urandom(3_000_000)
    assert (await run(Command(("cat",), stdin=much))).stdout == much
    source = tmp_path / "in"
    source.write_bytes(b"from a file")
    assert (await run(Command(("cat",), stdin=source))).stdout == b"from a file"
    with pytest.raises(ToolError, match="INPUT NOT READ"):
        await run(Command(("cat",), stdin=tmp_path / "none"))


async def test_a_reader_that_leaves_early_is_no_error() -> None:
    completed = await run(Command(("head", "-c", "3"), stdin=b"x" * 5_000_000))
    assert completed.stdout == b"xxx"


async def test_children_inherit_no_descriptors(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        completed = await run(python("import os; print(sorted(os.listdir('/proc/self/fd')))"))
    descriptors = set(completed.stdout.decode().strip("[]\n").replace("'", "").split(", "))
    assert len(descriptors - {"0", "1", "2"}) == 1  # the listing's own


async def test_output_file_is_new_private_and_complete(tmp_path: Path) -> None:
    target = tmp_path / "dump"
    old = os.umask(0)
    try:
        await run(Command(("printf", "%s", "payload"), stdout=target))
    finally:
        os.umask(old)
    assert target.read_bytes() == b"payload"
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RepositoryUnwritable, match="FILE NOT CREATED"):
        await run(Command(("printf", "%s", "other"), stdout=target))
    assert target.read_bytes() == b"payload"
    with pytest.raises(RepositoryMissing):
        await run(Command(("true",), stdout=tmp_path / "no" / "file"))


async def test_stderr_keeps_its_ends_and_counts_the_rest() -> None:
    source = "import sys\nsys.stderr.write('first\\n' + 'x' * 1_000_000 + '\\nlast\\n')"
    completed = await run(python(source))
    assert completed.stderr.startswith("first\n")
    assert completed.stderr.endswith("x\nlast\n")
    left_out = 1_000_000 + len("first\n\nlast\n") - 2 * 64 * 1024
    assert f"[… {left_out} bytes left out …]" in completed.stderr
    assert len(completed.stderr) < 2 * 64 * 1024 + 100


async def test_lines_come_as_they_are_printed() -> None:
    lines: list[str] = []
    source = "import sys, time; print('ready', file=sys.stderr, flush=True); time.sleep(600)"
    task, child = await started_task([python(source)], on_stderr_line=lines.append)
    await wait_until_async(lambda: lines == ["ready"])
    child.terminate()
    with pytest.raises(ToolFailed):
        await task


async def test_lines_end_at_newline_and_carriage_return_and_may_be_long() -> None:
    source = (
        "import sys\nsys.stderr.write('10 %\\r20 %\\r\\nplain\\n' + 'y' * 200_000 + '\\n\\nend')"
    )
    lines: list[str] = []
    await run(python(source), on_stderr_line=lines.append)
    assert lines[:3] == ["10 %", "20 %", "plain"]
    assert "".join(lines[3:-2]) == "y" * 200_000
    assert max(map(len, lines)) <= 64 * 1024
    assert lines[-2:] == ["", "end"]


async def test_stdout_can_be_taken_line_by_line_without_bound() -> None:
    count = 0

    def take(line: str) -> None:
        nonlocal count
        count += 1
        assert line == "z" * 99

    source = "for _ in range(200_000): print('z' * 99)"
    completed = await run(python(source), on_stdout_line=take)
    assert count == 200_000
    assert completed.stdout == b""


async def test_too_much_output_is_an_error_and_ends_the_child() -> None:
    children: list[RunningChild] = []
    with pytest.raises(ToolError, match="TOO MUCH OUTPUT: yes"):
        await run(Command(("yes",)), on_started=children.append)
    assert not is_running(children[0].pid)


async def test_a_callback_that_raises_ends_the_child() -> None:
    children: list[RunningChild] = []

    def refuse(line: str) -> None:
        raise LookupError(line)

    source = "import sys, time; print('stop', file=sys.stderr, flush=True); time.sleep(600)"
    with pytest.raises(LookupError, match="stop"):
        await run(python(source), on_stderr_line=refuse, on_started=children.append)
    assert not is_running(children[0].pid)


async def test_failure_says_which_program_how_and_what_it_said() -> None:
    source = "import sys; print('one\\ntwo', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ToolFailed) as caught:
        await run(python(source))
    name = Path(PYTHON).name
    assert caught.value.what == f"PROGRAM FAILED: {name} ended with exit status 3."
    assert caught.value.why == "one\ntwo"
    assert caught.value.completed.exit_status == 3


async def test_death_by_a_signal_is_said_by_its_name() -> None:
    with pytest.raises(ToolFailed) as caught:
        await run(python("import os; os.kill(os.getpid(), 9)"))
    assert "was ended by signal SIGKILL" in caught.value.what
    assert caught.value.completed.exit_status == -signal.SIGKILL


async def test_a_full_disk_is_told_apart(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(DiskFull, match="DISK FULL: cp could not go on") as caught:
        await run(Command(("cp", str(source), "/dev/full")))
    assert isinstance(caught.value, ToolDiskFull)
    assert caught.value.completed.exit_status == 1
    assert "No space left on device" in caught.value.why


async def test_a_full_quota_is_a_full_disk() -> None:
    with pytest.raises(DiskFull):
        await run(python("import sys; sys.exit('tar: could not write: Disk quota exceeded')"))


async def test_missing_programs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="PROGRAM MISSING: no-such-program"):
        await run(Command(("no-such-program",)))
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/false\n")
    with pytest.raises(ToolMissing, match="PROGRAM NOT RUNNABLE"):
        await run(Command((str(plain),)))
    broken = tmp_path / "broken"
    broken.write_text("#!/nonexistent/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(ToolMissing, match="PROGRAM NOT STARTED"):
        await run(Command((str(broken),)))


async def test_secrets_show_in_no_event_error_or_result() -> None:
    events: list[Event] = []
    redactor = Redactor([Secret("hunter22")])
    source = "import sys; print('password hunter22', file=sys.stderr); sys.exit(1)"
    with pytest.raises(ToolFailed) as caught:
        await run(
            Command((PYTHON, "-c", source, "--key=hunter22", "postgresql://u:other@h/d")),
            report=events.append,
            redactor=redactor,
        )
    (started,) = events
    assert isinstance(started, CommandStarted)
    assert started.argv[0] == PYTHON
    assert started.argv[-2:] == ("--key=***", "postgresql://u:***@h/d")
    shown = f"{started}{caught.value}{caught.value.completed}"
    assert "hunter22" not in shown
    assert "other" not in shown


async def test_pipeline_carries_bytes_and_every_status() -> None:
    data = os.urandom(2_000_000)
    first, second, third = await run_pipeline(
        [Command(("cat",), stdin=data), Command(("gzip", "-1")), Command(("gzip", "-d"))]
    )
    assert (first.exit_status, second.exit_status, third.exit_status) == (0, 0, 0)
    assert third.stdout == data
    assert first.stdout == second.stdout == b""


async def test_pipeline_failure_names_the_first_that_failed() -> None:
    fails = python("import sys; print('disk melted', file=sys.stderr); sys.exit(5)")
    with pytest.raises(ToolFailed, match="exit status 5") as caught:
        await run_pipeline([fails, Command(("cat",)), Command(("cat",))])
    assert caught.value.why == "disk melted"
    # The writer dies of SIGPIPE, earlier or later: the reader is to blame.
    with pytest.raises(ToolFailed, match="exit status 5"):
        await run_pipeline([Command(("yes",)), fails])


async def test_pipeline_member_that_never_writes_ends_with_its_reader() -> None:
    started = time.monotonic()
    with pytest.raises(ToolFailed, match="exit status 5"):
        await run_pipeline([Command(("sleep", "600")), python("import sys; sys.exit(5)")])
    assert time.monotonic() - started < 8


async def test_pipeline_leaves_nothing_when_a_member_is_missing() -> None:
    events: list[Event] = []
    with pytest.raises(ToolMissing):
        await run_pipeline(
            [Command(("sleep", "600")), Command(("no-such-program",))], report=events.append
        )
    (started,) = events
    assert isinstance(started, CommandStarted)
    assert not is_running(started.pid)


async def test_timeout_ends_the_child() -> None:
    children: list[RunningChild] = []
    with pytest.raises(ToolTimedOut, match=r"did not end within 0\.3 s") as caught:
        await run(Command(("sleep", "600")), timeout=0.3, on_started=children.append)
    assert caught.value.completed.exit_status == -signal.SIGTERM
    assert not is_running(children[0].pid)


async def started_task(
    commands: list[Command], **callbacks: Callable[[str], None]
) -> tuple[asyncio.Task[object], RunningChild]:
    started: asyncio.Future[RunningChild] = asyncio.get_running_loop().create_future()
    task: asyncio.Task[object] = asyncio.create_task(
        run_pipeline(commands, on_started=started.set_result, **callbacks)  # type: ignore[arg-type]
    )
    return task, await started


async def test_cancelling_ends_every_member() -> None:
    task, child = await started_task([Command(("sleep", "600")), Command(("cat",))])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [pid for pid in child.pids if is_running(pid)] == []


async def test_cancelling_waits_for_last_words_even_when_cancelled_again() -> None:
    source = (
        "import signal, sys, time\n"
        "def bye(*_):\n"
        "    time.sleep(0.5)\n"
        "    print('query cancelled', file=sys.stderr, flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\n"
        "print('ready', file=sys.stderr, flush=True)\n"
        "time.sleep(600)\n"
    )
    lines: list[str] = []
    task, child = await started_task([python(source)], on_stderr_line=lines.append)
    await wait_until_async(lambda: "ready" in lines)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lines == ["ready", "query cancelled"]
    assert not is_running(child.pid)


async def test_one_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "TERMINATE_SECONDS", 0.5)
    source = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', file=sys.stderr, flush=True)\n"
        "time.sleep(600)\n"
    )
    lines: list[str] = []
    task, child = await started_task([python(source)], on_stderr_line=lines.append)
    await wait_until_async(lambda: "ready" in lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(child.pid)


async def test_grandchildren_in_the_group_end_with_their_leader() -> None:
    task, child = await started_task([Command(("sh", "-c", "sleep 601 & sleep 602"))])
    await wait_until_async(lambda: len(processes_in_group(child.pid)) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes_in_group(child.pid) == []


async def test_workers_of_a_killed_leader_are_ended() -> None:
    task, child = await started_task([Command(("sh", "-c", "sleep 603 & wait"))])
    await wait_until_async(lambda: len(processes_in_group(child.pid)) == 2)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ToolFailed, match="SIGKILL"):
        await task
    assert processes_in_group(child.pid) == []


async def test_a_stranger_holding_the_pipe_delays_the_end_only_a_little(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "DRAIN_SECONDS", 0.3)
    source = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '604'], start_new_session=True)\n"
        "print(child.pid)\n"
    )
    completed = await run(python(source))
    stranger = int(completed.stdout)
    assert is_running(stranger)
    os.kill(stranger, signal.SIGKILL)


async def test_pause_resume_and_end_while_paused() -> None:
    task, child = await started_task([Command(("yes",)), Command(("wc", "-l"))])
    child.pause()
    await wait_until_async(lambda: all(state(pid) == "T" for pid in child.pids))
    child.resume()
    await wait_until_async(lambda: all(state(pid) != "T" for pid in child.pids))
    child.pause()
    await wait_until_async(lambda: all(state(pid) == "T" for pid in child.pids))
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 5
    assert [pid for pid in child.pids if is_running(pid)] == []


async def test_terminate_by_the_starter_is_reported_as_it_ended() -> None:
    task, child = await started_task([Command(("sleep", "600"))])
    child.terminate()
    with pytest.raises(ToolFailed, match="SIGTERM"):
        await task


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_many_at_once_leave_no_descriptor_open() -> None:
    await run(Command(("true",)))
    before = open_descriptors()
    completed = await asyncio.gather(*(run(Command(("echo", str(n)))) for n in range(40)))
    assert [int(member.stdout) for member in completed] == list(range(40))
    assert open_descriptors() == before


@pytest.mark.parametrize(
    "commands",
    [
        [],
        [Command(())],
        [Command(("true",), stdout=Path("x")), Command(("true",))],
        [Command(("true",)), Command(("true",), stdin=b"")],
    ],
)
async def test_impossible_pipelines_are_refused(commands: list[Command]) -> None:
    with pytest.raises(ValueError, match="pipeline"):
        await run_pipeline(commands)


async def test_works_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_group, "_process_descriptor", lambda pid: None)
    completed = await run(Command(("sh", "-c", "sleep 0.05; exit 4")), check=False)
    assert completed.exit_status == 4
    with pytest.raises(ToolTimedOut):
        await run(Command(("sleep", "600")), timeout=0.2)
