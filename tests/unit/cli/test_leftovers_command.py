"""``leftovers`` before it starts anything, and how its list reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.cli.leftovers import list_lines, summary
from fsbackup_tui.cli.main import run_command_line

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
ITEM = {
    "kind": "before",
    "name": "shop__before_k3f9",
    "oid": 7,
    "of": "20261122-01",
    "since": "2026-11-22T02:00:00.000Z",
    "size_bytes": 1_600_000_000,
    "what": "shop as it was before a swap",
    "held_by": "",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    url = f"postgresql://ana@/shop?host={tmp_path}/no-server-here"
    document = {
        "site": "face-swap",
        "repository": str(tmp_path / "repository"),
        "state": str(tmp_path / "state"),
        "sources": {name: {"kind": "postgres", "url": url} for name in ("db", "other")},
        "plans": {"daily": {"sources": ["db", "other"]}},
    }
    config.write_text(json.dumps(document))
    return config


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["--drop", "x"], 4, "NOT CONFIRMED: x was not dropped."),
        (["--part", "uploads"], 2, "NO SUCH SOURCE: uploads"),
        (["--confirm", "x"], 2, "NOTHING TO CONFIRM: --confirm goes with --drop NAME."),
        (["--part", "db", "--drop", "x"], 4, "NOT CONFIRMED: x was not dropped."),
        (["--part", "db", "--drop", "x", "--confirm", "X"], 4, "NOT CONFIRMED: x was not dropped."),
        (["--part", "db", "--drop", "x", "--confirm", ""], 4, "NOT CONFIRMED: x was not dropped."),
    ],
)
def test_what_is_missing_is_told_before_any_job_is_started(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    what: str,
) -> None:
    assert run_command_line(["--config", str(config), "leftovers", *words]) == code
    assert capsys.readouterr().err.startswith(what)
    assert not list((config.parent / "state").glob("*/jobs"))


def test_a_site_that_only_looks_drops_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), "read_only": True}))
    words = ["leftovers", "--part", "db", "--drop", "x", "--confirm", "x", "--json"]
    assert run_command_line(["--config", str(config), *words]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "refused"


def test_what_two_servers_have_is_listed_twice_and_dropped_where_it_is_meant(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Databases of one name are on many servers: `postgres` is."""
    document = json.loads(config.read_text())
    document["sources"]["other"]["url"] = "postgresql://ana@/shop?host=/another"
    config.write_text(json.dumps(document))
    fence = {**ITEM, "kind": "fence", "name": "shop is closed", "oid": 0}
    found = {"items": [fence, ITEM], "notes": []}
    monkeypatch.setattr("fsbackup_tui.cli.follow.result_of", lambda *_: found)
    assert run_command_line(["--config", str(config), "leftovers", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["leftovers"]
    assert [(item["name"], item["part"]) for item in items] == [
        ("shop is closed", "db"),
        ("shop is closed", "other"),
        ("shop__before_k3f9", "db"),
    ]
    words = ["leftovers", "--drop", "shop is closed", "--confirm", "shop is closed"]
    assert run_command_line(["--config", str(config), *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("WHICH ONE? There are 2 of the name shop is closed.")
    assert "They belong to db, other." in told


def test_the_list_tells_size_age_incident_and_who_holds_it() -> None:
    held = {**ITEM, "name": "shop__restore_k3f9", "kind": "restore", "since": None}
    held |= {"size_bytes": None, "held_by": "shop app of ana, pid 7 is in it"}
    lines = list_lines([ITEM, held], NOW, UTC)
    assert lines == [
        "KIND     SIZE    AGE   OF           NAME",
        "before   1.6 GB  24 h  20261122-01  shop__before_k3f9",
        "  shop as it was before a swap, since Sun 02:00 UTC",
        "restore  -       -     20261122-01  shop__restore_k3f9",
        "  shop as it was before a swap",
        "  HELD: shop app of ana, pid 7 is in it",
    ]
    assert list_lines([], NOW, UTC) == []


def test_what_was_dropped_is_told_with_what_it_freed() -> None:
    done = {"dropped": "shop__before_k3f9", "kind": "before", "bytes": 1_600_000_000}
    assert summary(done) == ["Dropped: shop__before_k3f9, 1.6 GB freed"]
    fence = {"dropped": "20261122-01/everybody in shop", "kind": "fence", "bytes": None}
    assert summary(fence) == ["Undone: 20261122-01/everybody in shop"]
