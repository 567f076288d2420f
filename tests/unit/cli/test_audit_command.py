"""Every changing command stands in the audit log; ``audit`` tells and verifies it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.cli.acts import ACTS, READS
from fsbackup_tui.cli.main import build_parser, run_command_line
from fsbackup_tui.repository.audit import AUDIT
from fsbackup_tui.repository.layout import create_repository
from tests.support.pictures import picture
from tests.support.recovering import NOW


class Called:
    """The command line of one site, in this process."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = config
        self.capsys = capsys
        self.err = ""
        self.out = ""

    def __call__(self, *words: str) -> int:
        """Run a command and return its exit code."""
        self.capsys.readouterr()
        code = run_command_line(["--config", str(self.config), *words])
        self.out, self.err = self.capsys.readouterr()
        return code

    @property
    def state(self) -> Path:
        """The site's state directory."""
        return next(
            path for path in (self.config.parent / "state").iterdir() if path.name != "known"
        )

    def entries(self, *words: str) -> list[dict[str, Any]]:
        """Return what the log tells, the newest first."""
        assert self("audit", "--json", "--limit", "50", *words) == 0
        found: list[dict[str, Any]] = json.loads(self.out)["entries"]
        return found

    def told(self) -> list[tuple[str, str, str]]:
        """Return what was done, to what, and how it went, the oldest first."""
        rows = [(each["action"], each["subject"], each["result"]) for each in self.entries()]
        return rows[::-1]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Called:
    """A site of files alone, never backed up."""
    tmp_path.chmod(0o700)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a")
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    document = {
        "site": "shop",
        "repository": str(tmp_path / "repository"),
        "state": str(tmp_path / "state"),
        "sources": {"uploads": {"kind": "files", "root": str(tmp_path / "files")}},
        "plans": {"daily": {"sources": ["uploads"]}},
    }
    config.write_text(json.dumps(document))
    create_repository(tmp_path / "repository", "shop", NOW)
    return Called(config, capsys)


def test_every_command_is_known_to_change_something_or_nothing() -> None:
    parser = build_parser()
    commands = next(
        set(action.choices)
        for action in parser._actions
        if action.metavar == "COMMAND" and action.choices is not None
    )
    assert commands <= set(ACTS) | READS
    assert not set(ACTS) & READS


def test_a_job_begins_and_ends_in_it_and_a_refusal_stands_there_too(call: Called) -> None:
    assert call("backup", "daily", "--reason", "deploy") == 0
    assert call("clear", "nowhere-to-be-found", "--reason", "x") == 2
    assert call("backup", "weekly") == 2
    assert call("leftovers", "--drop", "x") == 4
    assert call("list") == 0
    assert call.told() == [
        ("backup", "daily", "started"),
        ("backup", "daily", "ok"),
        ("clear", "nowhere-to-be-found", "failed"),
        ("backup", "weekly", "failed"),
        ("leftovers", "x", "refused"),
    ]
    refused, *_, ended, started = call.entries()
    assert "NOT CONFIRMED: x was not dropped." in refused["problem"]
    assert started["job"] == ended["job"] != ""
    assert started["arguments"]["reason"] == "deploy"
    assert {started["origin"][name] for name in ("host", "via")} == {
        ended["origin"][name] for name in ("host", "via")
    }
    assert call("audit", "--verify") == 0
    assert "5 lines" in call.out


def test_a_cleared_point_is_told_with_its_reason_in_80_columns(call: Called) -> None:
    assert call("backup", "daily") == 0
    reason = "old videos were purged on purpose by the people who look after them, all of them"
    assert call("clear", "latest", "--reason", reason) == 0
    assert call("audit", "--limit", "1") == 0
    assert f"clear latest: {reason}" in " ".join(call.out.split())
    assert max(map(len, call.out.splitlines())) <= 80
    assert call("audit", "--since", "1h") == 0
    assert "backup daily" in call.out
    assert call("audit", "--since", "2030-01-01") == 0
    assert "Nothing is in the audit log since then." in call.out


def test_a_broken_log_is_told_mended_with_a_reason_and_kept(call: Called) -> None:
    assert call("backup", "daily") == 0
    log = call.state / AUDIT
    log.write_bytes(log.read_bytes().replace(b'"daily"', b'"never"', 1))
    assert call("audit", "--verify") == 1
    words = " ".join(call.out.split())
    assert "AUDIT LOG BROKEN" in words
    assert "line 1: it was altered" in words
    assert call("audit", "--verify", "--json") == 1
    document = json.loads(call.out)
    assert document["ok"] is False
    assert document["logs"][0]["misfit"] == {"line": 1, "what": "it was altered"}
    assert call("audit", "--begin-anew") == 2
    assert call("audit", "--begin-anew", "--reason", "an editor") == 0
    assert call("audit", "--verify") == 0
    (kept,) = log.parent.glob("audit-*.jsonl")
    assert b'"never"' in kept.read_bytes()


def test_a_full_log_stops_nobody_and_it_is_said(
    call: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("backup", "daily") == 0
    (call.state / AUDIT).unlink()
    (call.state / AUDIT).mkdir()
    assert call("clear", "latest", "--reason", "fine") == 0
    assert "NOT AUDITED: clear" in call.err
    assert call("backup", "daily", "--json") == 0
    assert json.loads(call.out)["ok"] is True


def test_a_new_site_begins_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    call = Called(tmp_path / "new.yaml", capsys)
    words = ["init", "--yes", "--site", "shop", "--url", "postgresql://a:hunter2@127.0.0.1:1/shop"]
    places = ["--repository", str(tmp_path / "repository"), "--output", str(call.config)]
    assert run_command_line([*words, *places]) == 0
    assert [each[::2] for each in call.told()] == [("init", "ok")]
    everything = [path.read_bytes() for path in (tmp_path / "state").rglob("*.jsonl")]
    assert everything
    assert not any(b"hunter2" in each for each in everything)


CHANGING = [
    ("backup", "daily"),
    ("clear", "latest", "--reason", "x"),
    ("verify", "--due"),
    ("verify", "latest", "--keep-spare"),
    ("drill",),
    ("recover", "--plain", "--seen", "files", "--last-right", "unknown"),
    ("recover", "files-loss", "--drill"),
    ("restore", "latest", "--part", "uploads", "--to", "TO"),
    ("restore", "latest", "--part", "uploads"),
    ("rollback", "--confirm", "shop"),
    ("leftovers", "--drop", "x", "--confirm", "x"),
    ("rekey",),
    ("adopt", "CONFIG"),
    ("cancel", "last"),
    ("doctor", "--fix"),
    ("decrypt", "CONFIG"),
    ("init", "--yes"),
    ("demo", "--dir", "TO", "--no-tui"),
    ("audit", "--begin-anew", "--reason", "x"),
    ("retain", "--apply"),
    ("retain", "--empty"),
    ("pin", "latest", "--reason", "x"),
    ("unpin", "latest"),
    ("replicate",),
    ("fetch", "latest", "--replica", "far"),
    ("kit", "--output", "TO"),
    ("schedule", "install"),
    ("schedule", "remove"),
    ("notify", "test"),
]
READING = [
    ("list",),
    ("show", "latest"),
    ("jobs",),
    ("incidents",),
    ("runbook",),
    ("drill", "--list"),
    ("audit",),
    ("audit", "--verify"),
    ("retain",),
    ("kit", "--print"),
    ("check",),
    ("metrics",),
    ("schedule", "show"),
    ("attach", "last"),
]


@pytest.mark.parametrize("how", ["flag", "config"])
def test_read_only_shows_everything_and_changes_not_a_byte(
    call: Called, tmp_path: Path, how: str
) -> None:
    assert call("backup", "daily") == 0
    flag = ["--read-only"] if how == "flag" else []
    if how == "config":
        document = json.loads(call.config.read_text())
        call.config.write_text(json.dumps({**document, "read_only": True}))
    os.environ.pop("FSBACKUP_READ_ONLY", None)
    roots = [tmp_path / name for name in ("repository", "state", "files")]
    before = picture(*roots)
    place = {"TO": str(tmp_path / "to"), "CONFIG": str(call.config)}
    for words in CHANGING:
        told = [place.get(word, word) for word in words]
        assert call(*flag, *told) == 3, words
        assert "READ ONLY" in call.err, words
        assert "It would " in call.err, words
        assert picture(*roots) == before, words
    for words in READING:
        fine = (0, 1, 2) if words == ("check",) else (0,)
        assert call(*flag, *words) in fine, (words, call.err)
        assert picture(*roots) == before, words
    assert not (tmp_path / "to").exists()
    refused = [each for each in call.entries() if each["result"] == "refused"]
    assert len(refused) == len(CHANGING)


def test_what_is_only_looked_at_runs_and_records_nothing(call: Called, tmp_path: Path) -> None:
    assert call("backup", "daily") == 0
    # A lock keeps others from removing what is read.
    roots = [tmp_path / "repository" / name for name in ("points", "records", "holds", "trash")]
    repository = picture(*roots, tmp_path / "files")
    assert call("--read-only", "verify", "latest", "--level", "readable") == 0
    assert "Not recorded: --read-only was given." in " ".join(call.out.split())
    assert picture(*roots, tmp_path / "files") == repository


def test_a_state_that_was_never_made_is_not_made(call: Called, tmp_path: Path) -> None:
    assert call("--read-only", "list") == 0
    assert call("--read-only", "backup", "daily") == 3
    assert "NOT AUDITED" in call.err
    assert not (tmp_path / "state").exists()
