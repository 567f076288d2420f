"""What the screens change without a job stands in the audit log, who and what."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.retention import Retention
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.retention import Keep
from fsbackup_tui.tui.site_data import LiveSite
from tests.support.checking import NOW, Watched, healthy


def lines(site: Watched) -> list[tuple[str, str, str]]:
    log = site.state / "audit.jsonl"
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [(line["action"], line["subject"], line["result"]) for line in found]


def screens(site: Watched) -> LiveSite:
    return LiveSite(site.loaded, site.environ, now=lambda: NOW)


def test_pins_and_rules_of_retention_are_told(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    point = site.point(timedelta(hours=1)).id
    live = screens(site)
    live.pin(point, "before the release")
    live.pin(point, None)
    live.write(live.draft("daily", Keep(last=7), Retention()))
    assert lines(site) == [
        ("pin", point, "ok"),
        ("unpin", point, "ok"),
        ("configure", "fsbackup.yaml", "ok"),
    ]
    told = (site.state / "audit.jsonl").read_text()
    assert "before the release" in told
    assert "last: 7" in told


def test_what_is_refused_or_fails_is_told_too(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    live = screens(site)
    edit = live.draft("daily", Keep(last=7), Retention())
    site.config.write_text(site.config.read_text() + "# changed meanwhile\n")
    with pytest.raises(FsbackupError):
        live.write(edit)
    with pytest.raises(FsbackupError):
        live.pin("20200101T000000Z-daily-none", "why not")
    assert [(action, result) for action, _, result in lines(site)] == [
        ("configure", "refused"),
        ("pin", "failed"),
    ]
