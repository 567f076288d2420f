"""What doctor says of a configuration's files besides whether they can be captured."""

from __future__ import annotations

import os
from pathlib import Path

from fsbackup_tui.config.load import load_config
from fsbackup_tui.operations.doctor_site import check_site_sources
from tests.support.sites import make_site


async def test_what_a_killed_restore_left_beside_a_file_is_told(tmp_path: Path) -> None:
    place = tmp_path / "srv site"
    place.mkdir()
    live = place / ".env"
    live.write_text("A=1\n")
    site = make_site(
        tmp_path / "site",
        "",
        settings={
            "sources": {"env": {"kind": "config", "files": [str(live)], "plaintext": True}},
            "plans": {"daily": {"sources": ["env"]}},
        },
    )
    young, old, other = (place / name for name in _names(".env", ".env", "other"))
    for path in (young, old, other):
        path.write_text("A=canary\n")
    for path in (old, other):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    loaded = load_config(site.config, site.environ())
    fine, left = await check_site_sources(loaded, site.environ())
    assert fine.severity == "ok"
    assert (left.id, left.severity) == ("source-env", "warning")
    assert left.what == f"LEFT BY A KILLED RESTORE: {old}."
    assert left.fix == f"rm -- '{old}'"
    assert "canary" not in f"{left.what}{left.why}{left.fix}"


def _names(*names: str) -> list[str]:
    return [f".{name}.fsbackup-{number:012x}" for number, name in enumerate(names)]
