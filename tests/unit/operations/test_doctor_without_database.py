"""A site without a database needs no client of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.operations.doctor import diagnose
from tests.support.sites import make_site


async def test_clients_are_missed_only_where_a_database_is_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSBACKUP_CLIENTS", "")
    named = tmp_path / "app.env"
    named.write_text("A=1\n")
    site = make_site(tmp_path / "site", "postgresql://nobody@127.0.0.1:1/none")

    async def errors() -> list[str]:
        found = await diagnose(load_config(site.config, site.environ()), site.environ())
        return [finding.what for finding in found if finding.severity == "error"]

    assert any("NO CLIENT" in what for what in await errors())
    env = {"kind": "config", "files": [str(named)], "plaintext": True}
    site.settings = {"sources": {"env": env}, "plans": {"daily": {"sources": ["env"]}}}
    site.write_config()
    assert await errors() == []
