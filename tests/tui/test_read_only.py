"""A site that is only looked at: the screens say so, offer no changing key, change nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.cli.main import run_command_line
from fsbackup_tui.recovery.declare import declare
from fsbackup_tui.recovery.desk import open_desk
from fsbackup_tui.repository.layout import create_repository
from fsbackup_tui.tui.keys import KEYS, keys_of
from fsbackup_tui.tui.site_data import open_site
from tests.support.pictures import picture
from tests.tui.fakes import FakeSite, make_app
from tests.tui.screens import press, screen_text, text_lines, until, until_text

READ_ONLY = {"HOME": "/nonexistent", "FSBACKUP_READ_ONLY": "1"}
# What leaves, or stops, the application itself.
LEAVING = {"quit", "interrupt", "suspend", "palette"}
WORDS = ("back up", "RECOVER", "cancel", "drill", "run", "skip", "undo", "note", "take over", "go ")


def every_key() -> list[str]:
    """Return the first key of every action, each once."""
    keys = [keys_of(key.id, {}).split(",")[0] for key in KEYS if key.id not in LEAVING]
    return list(dict.fromkeys(keys))


async def test_the_header_says_so_and_no_changing_key_is_offered() -> None:
    site = FakeSite()
    app = make_app(site, environ=READ_ONLY)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        assert "READ ONLY" in text_lines(app)[0]
        shown = []
        for mode in ("1", "2", "3", "4"):
            await press(pilot, mode)
            shown.append(text_lines(app)[-1])
            assert "READ ONLY" in text_lines(app)[0]
        assert not [word for word in WORDS for foot in shown if f" {word}" in foot], shown
        await press(pilot, "1", "b", "r", "2", "c", "b", "1")
        assert site.started == []
        assert site.cancelled == []
        await press(pilot, "question_mark")
        assert "Back up now" not in screen_text(app)
        await press(pilot, "escape", "colon")
        await until_text(pilot, "Inventory")
        assert "Back up now" not in screen_text(app)


async def test_without_it_the_same_keys_are_there() -> None:
    app = make_app(FakeSite())
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "1/8")
        assert "READ ONLY" not in text_lines(app)[0]
        assert "b back up" in text_lines(app)[-1]


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The configuration of a site of files alone, with a point and a job."""
    tmp_path.chmod(0o700)
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.txt").write_text("a")
    config = tmp_path / "fsbackup.yaml"
    config.touch(mode=0o600)
    document = {
        "site": "shop",
        "repository": str(tmp_path / "repository"),
        "state": str(tmp_path / "state"),
        "sources": {"uploads": {"kind": "files", "root": str(files)}},
        "plans": {"daily": {"sources": ["uploads"]}},
    }
    config.write_text(json.dumps(document))
    create_repository(tmp_path / "repository", "shop", datetime.now(UTC))
    assert run_command_line(["--config", str(config), "backup", "daily"]) == 0
    capsys.readouterr()
    return config


@pytest.mark.parametrize("incident", [False, True], ids=["quiet", "in an incident"])
async def test_every_key_of_every_screen_changes_not_a_byte(
    config: Path, tmp_path: Path, *, incident: bool
) -> None:
    environ = {"HOME": str(tmp_path)}
    if incident:
        desk = open_desk(CliContext(config_path=config, environ=environ).load(), environ)
        right = datetime.now(UTC) - timedelta(minutes=5)
        declare(desk, source="uploads", seen="files", last_right=right).leave()
    looking = CliContext(config_path=config, environ={**environ, "FSBACKUP_READ_ONLY": "1"})
    roots = [tmp_path / name for name in ("repository", "state", "files")]
    before = picture(*roots)
    app = make_app(open_site=lambda: open_site(looking), environ=looking.environ)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.checked)
        for mode in "1234":
            for key in every_key():
                if key not in "1234":
                    await press(pilot, mode, "enter", key, "enter", "escape", "escape")
            assert picture(*roots) == before, mode
    assert app.data is not None
    app.data.close()
    assert picture(*roots) == before
