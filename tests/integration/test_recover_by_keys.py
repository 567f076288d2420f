"""Recoveries of every kind by keys alone, on real servers, under a busy application."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.keys import at_the_keys
from tests.support.shop import Shop, open_shop

pytestmark = pytest.mark.timeout(600)

GONE = "table or column gone"
WRONG = "rows gone or wrong"
ERRORS = "errors, bad blocks"


@pytest.fixture
def shop(tmp_path: Path, server: ScratchServer) -> Iterator[Shop]:
    with open_shop(tmp_path, server) as made:
        yield made


async def test_a_dropped_table_by_swap_and_back(shop: Shop) -> None:
    before = shop.content()
    shop.back_up()
    async with at_the_keys(shop.site) as keys:
        with shop.application() as client:
            shop.execute("DROP TABLE likes, videos CASCADE")
            await keys.declare("0 s ago", GONE)
            await keys.walk({"Choose the way": "swap"})
            assert client.written
        assert shop.content() == before
        assert shop.works_for_the_application()
        # Nothing of the old database is gone: what it had at the swap is there, by the name
        # that the screen gives.
        found = re.search(r"^ Kept +(\S+) is the database", keys.text, re.MULTILINE)
        assert found is not None, keys.text
        kept = found[1]
        written = shop.count("visits", kept) + shop.count("visits")
        assert 0 <= written - 1 - client.written <= len(client.errors)
        damaged = shop.content(("users", "visits"), kept)
        shop.execute("INSERT INTO videos (user_id, title) VALUES (7, 'after the swap')")
        newer = shop.content(("users", "videos", "likes", "visits"))

        since = await keys.undo("Swap it in")
        print(since)
        assert shop.content(("users", "visits")) == damaged
        print(await keys.whole_card())
        await keys.press("tab")
        print(keys.text)
        await keys.press("tab")
        await keys.press("W")
        print(keys.text)
        await keys.press("1")
        await keys.pilot.pause(1)
        try:
            await keys.walk({"Why":"x"})
        finally:
            for s in keys.screens: print("="*80); print(s)
            print(keys.text)
        print(newer)
        print(shop.content(("users", "videos", "likes", "visits")))
        assert 0
