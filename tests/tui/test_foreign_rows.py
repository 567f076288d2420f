"""Backups of other scripts in the inventory's table: marked, greyed, without numbers."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import load_config
from fsbackup_tui.tui.data import PointQuery
from fsbackup_tui.tui.modes.columns import point_row, trust_shown
from fsbackup_tui.tui.site_data import LiveSite
from tests.support.sites import make_site

DUMP = b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (i int);\n"
WHOLE = DUMP + b"\n--\n-- PostgreSQL database dump complete\n--\n\n"
NOW = datetime(2026, 7, 5, 12, 0, tzinfo=UTC)


def test_a_foreign_backup_is_greyed_and_offers_what_can_be_done_with_it(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    path = backups / "backup_20240630_120000.sql"
    path.write_bytes(WHOLE)
    os.utime(path, (1_719_741_600, 1_719_741_600))
    made = make_site(
        tmp_path / "site", "postgresql://nobody@127.0.0.1:1/x", settings={"adopt": [str(backups)]}
    )
    environ = made.environ()
    site = LiveSite(load_config(made.config, environ), environ, now=lambda: NOW)
    try:
        site.overview()
        query = PointQuery()
        (point,) = site.points(query, 0, 10)
        assert (site.count(query), point.foreign) == (1, str(path))
        assert trust_shown(point) == ("UNVERIFIED", "muted")
        row = point_row(point, 240, False, now=NOW, zone=UTC, known=True)
        assert {piece.role for piece in row if piece.text.strip().startswith("2024")} == {"muted"}
        text = "".join(piece.text for piece in row)
        assert "foreign" in text
        assert "plain SQL; whole; it holds no rows" in text
        details = site.details(point.id)
        assert (details.manifest, details.problem) == (None, None)
        assert details.commands == (
            f"fsbackup verify {path}",
            f"fsbackup restore {path} --beside backup_20240630_120000_restored",
            f"fsbackup adopt {path}",
        )
    finally:
        site.close()
