"""What is asked for on the first paint, before the site is open."""

from __future__ import annotations

import threading

import pytest

from fsbackup_tui.domain.errors import RepositoryMissing
from fsbackup_tui.operations.requests import VerifyRequest
from fsbackup_tui.tui.last_seen import LastSeen
from tests.tui.fakes import FakeSite, make_app
from tests.tui.made import NOW, some_points
from tests.tui.screens import press, until, until_text

SEEN = LastSeen(
    NOW, "face-swap", "production", "RESTORE TO 02:00 PROVEN", "Europe/Berlin", "", 8,
    tuple(some_points()),
)  # fmt: skip


@pytest.mark.parametrize("opens", [True, False])
async def test_it_begins_when_the_site_is_open_and_never_where_it_is_not(opens: bool) -> None:
    gate = threading.Event()
    site = FakeSite()
    refused = [] if opens else [RepositoryMissing("REPOSITORY GONE.", why="/b", fix="Mount it")]

    def open_site() -> FakeSite:
        assert gate.wait(30)
        if refused:
            raise refused.pop()
        return site

    app = make_app(site, seen=SEEN, open_site=open_site)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "weekly-schema")
        await press(pilot, "v", "1")
        await until_text(pilot, "verify begins as soon as the site is read…")
        assert site.started == []
        gate.set()
        if opens:
            await until(pilot, lambda: site.started != [])
            assert [type(request) for request in site.started] == [VerifyRequest]
            return
        await until_text(pilot, "REPOSITORY GONE.")
        app.refresh_overview()
        await until_text(pilot, "1/8")
        assert site.started == []
