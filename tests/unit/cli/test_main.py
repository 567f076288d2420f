"""The command line as a whole: mistakes in it, its version, and a machine without configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsbackup_tui import __version__
from fsbackup_tui.cli.main import run_command_line

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("FSBACKUP_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("fsbackup_tui.config.load.SYSTEM_DIRECTORY", tmp_path / "etc")


def refused(capsys: Capture, *argv: str) -> list[str]:
    assert run_command_line(argv) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err.splitlines()


@pytest.mark.parametrize("argv", [["--version", "--json"], ["--json", "--version"]])
def test_the_version_is_one_document(capsys: Capture, argv: list[str]) -> None:
    assert run_command_line(argv) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "version": __version__}


def test_the_version_is_one_line(capsys: Capture) -> None:
    assert run_command_line(["--version"]) == 0
    assert capsys.readouterr().out == f"fsbackup {__version__}\n"


def test_an_unknown_option_names_the_command_and_what_is_near(capsys: Capture) -> None:
    assert refused(capsys, "list", "--bogus") == [
        "NO SUCH OPTION: fsbackup list takes no --bogus.",
        "Next  fsbackup list --help   shows what there is",
    ]
    assert refused(capsys, "list", "--plann=x")[1:] == [
        "Next  Did you mean --plan?",
        "      fsbackup list --help   shows what there is",
    ]
    assert refused(capsys, "backup", "daily", "nightly")[0] == (
        "NO SUCH ARGUMENT: fsbackup backup takes no nightly."
    )


def test_an_unknown_word_is_answered_by_the_nearest(capsys: Capture) -> None:
    assert refused(capsys, "lst") == [
        "NO SUCH COMMAND: lst.",
        "Next  Did you mean list?",
        "      fsbackup --help   shows what there is",
    ]
    nothing_near = refused(capsys, "xyzzy")
    assert nothing_near[1].startswith("Why   There are: demo, init, doctor, backup, list,")
    assert refused(capsys, "verify", "latest", "--level", "seald")[:2] == [
        "NOT UNDERSTOOD: --level can't be seald.",
        "Next  Did you mean sealed?",
    ]


def test_a_mistake_is_a_document_too(capsys: Capture) -> None:
    assert run_command_line(["lst", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "usage"
    assert "Did you mean list?" in error["fix"]


@pytest.mark.parametrize("argv", [[], ["doctor"], ["list"], ["doctor", "--sql"]])
def test_without_a_configuration_the_ways_to_begin_are_told(
    capsys: Capture, argv: list[str]
) -> None:
    lines = refused(capsys, *argv)
    assert lines[0] == "NO CONFIGURATION FOUND."
    assert lines[-2].startswith("Next  fsbackup init   ")
    assert lines[-1].startswith("      fsbackup demo   ")
    assert max(map(len, lines[-2:])) <= 80


def test_without_a_terminal_the_application_does_not_open(capsys: Capture, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    assert refused(capsys)[0].startswith("NO TERMINAL: ")


def test_a_broken_configuration_is_exit_code_2_for_doctor(capsys: Capture, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    config.write_text("site: shop\nrepositry: /x\n")
    lines = refused(capsys, "doctor")
    assert lines[0].startswith("CONFIG NOT USABLE")
    assert "repositry" in "".join(lines)


def test_a_site_that_is_not_known(capsys: Capture, tmp_path: Path) -> None:
    assert refused(capsys, "--site", "shop", "list")[-1] == "Next  Give the file: --config FILE"
    (tmp_path / "etc" / "sites").mkdir(parents=True)
    (tmp_path / "etc" / "sites" / "blog.yaml").touch()
    lines = refused(capsys, "--site", "shop", "list")
    assert "blog" in lines[-2]
    assert lines[-1] == "Next  Name one of them, or give its file: --config FILE"


def test_what_to_do_next_repeats_the_configuration_that_was_named(
    capsys: Capture, tmp_path: Path
) -> None:
    config = tmp_path / "my site.yaml"
    config.touch(mode=0o600)
    config.write_text("site: shop\nrepository: /nowhere\nplans: []\n")
    told = refused(capsys, "list", "--config", "my site.yaml")
    assert "then run: fsbackup --config 'my site.yaml' doctor" in " ".join(" ".join(told).split())


def test_what_nobody_foresaw_tells_no_secret_of_the_environment(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_arguments: object) -> int:
        raise ZeroDivisionError("dividing canary-phrase by canary-token")

    monkeypatch.setenv("FSBACKUP_PASSPHRASE", "canary-phrase")
    monkeypatch.setenv("GIT_TOKEN", "canary-token")
    monkeypatch.setattr("fsbackup_tui.cli.jobs.run_jobs", breaks)
    assert run_command_line(["jobs"]) == 1
    shown = capsys.readouterr().err
    assert "INTERNAL ERROR" in shown
    assert "ZeroDivisionError: dividing *** by ***" in shown
