"""A blocked rung that the configuration accepts: named everywhere, and no alarm for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.tui.site_data import LiveSite
from tests.support.servers import FreshServer, execute
from tests.support.sites import CommandResult, Site, make_site

REASON = "only the reports need it"
WORDS = "db: extension geo is missing on the scratch server"
DUE = {"daily": {"sources": ["db"], "verify": "proven", "verify_every": "1ms"}}


@pytest.fixture
def site(fresh_server: FreshServer, tmp_path: Path) -> Site:
    """A site whose database needs an extension that no scratch server has, backed up."""
    server = server_with_extension(fresh_server)
    execute(server.url(), "CREATE DATABASE shop")
    execute(
        server.url("shop"),
        "CREATE EXTENSION geo",
        "CREATE TABLE places (id int PRIMARY KEY, at spot)",
        "INSERT INTO places SELECT i, i::spot FROM generate_series(1, 300) i",
    )
    return make_site(tmp_path / "site", server.url("shop"), settings={"plans": DUE})


def server_with_extension(fresh_server: FreshServer) -> ScratchServer:
    """A server (18: extension_control_path) with an extension that a table depends on."""
    server = fresh_server(18)
    place = server.data_directory / "own" / "extension"
    place.mkdir(parents=True)
    (place / "geo.control").write_text("default_version = '1.0'\n")
    (place / "geo--1.0.sql").write_text("CREATE DOMAIN public.spot AS integer;")
    execute(
        server.url(),
        f"ALTER SYSTEM SET extension_control_path = '{place.parent}:$system'",
        "SELECT pg_reload_conf()",
    )
    return server


def accept(site: Site, *entries: tuple[str, str]) -> None:
    site.source = {"accept_blocked": [{"what": what, "reason": why} for what, why in entries]}
    site.write_config()


def point_of(result: CommandResult) -> dict[str, Any]:
    (point,) = result.document["points"]
    assert isinstance(point, dict)
    return point


def alerts(site: Site) -> list[str]:
    live = LiveSite(load_config(site.config, site.environ()), site.environ())
    try:
        return [alert.what for alert in live.overview().alerts]
    finally:
        live.close()


def test_an_alarm_rings_until_it_is_accepted_and_again_when_it_is_not(site: Site) -> None:
    taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 1
    assert taken.document["stages"]["verify"]["problem"]["kind"] == "not-proven"
    point = taken.document["point"]
    assert point_of(site.run("list", "--json"))["blocked"] == [WORDS]
    assert f"NOT TRIED: {point} could not be restored here." in alerts(site)

    # Nothing is tried again: what was recorded is seen in another light.
    accept(site, ("Extension GEO", REASON))
    shown = point_of(site.run("list", "--json"))
    assert shown["blocked"] == []
    assert shown["accepted"] == [{"what": WORDS, "reason": REASON}]
    assert shown["trust"] == "readable"
    assert [text for text in alerts(site) if "NOT TRIED" in text] == []
    told = " ".join(site.run("show", point).stdout.split())
    assert f"could not be restored here: {WORDS} (accepted: {REASON})" in told
    assert "readable. More can't be tried" in site.run("list").stdout

    accept(site)
    assert point_of(site.run("list", "--json"))["blocked"] == [WORDS]


def test_every_command_that_verifies_ends_well_and_names_it(site: Site) -> None:
    accept(site, ("extension geo", REASON))
    taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 0, taken.stdout
    assert taken.document["trust"] == "readable"
    assert taken.document["stages"]["verify"]["ok"] is True
    (accepted,) = taken.document["accepted"]
    assert (accepted["part"], accepted["reason"]) == ("db", REASON)

    verified = site.run("verify", "latest", "--level", "proven", "--json")
    assert verified.exit_code == 0
    assert verified.document["ok"] is True
    assert verified.document["trust"] == "readable"
    assert verified.document["levels"]["restored"]["ok"] is None
    assert verified.document["blocked"] == []
    words = site.run("verify", "latest", "--level", "proven").stdout
    assert f"blocked: {WORDS} (accepted: {REASON})" in " ".join(words.split())

    due = site.run("verify", "--due", "--json")
    assert due.exit_code == 0
    assert due.document["problems"] == []
    assert due.document["verified"][0]["accepted"] == [accepted]
    assert "0 of 1 held" in (told := site.run("verify", "--due").stdout)
    assert "blocked, readable" in told

    drilled = site.run("drill", "--json")
    assert drilled.exit_code == 0
    assert drilled.document["outcome"] == "blocked"


def test_one_of_two_is_not_enough_and_what_matches_nothing_is_noted(site: Site) -> None:
    site.settings = {"plans": {"daily": {"sources": ["db"]}}}
    accept(site, ("extension gea", "misspelt"))
    point = site.run("backup", "daily", "--json").document["point"]
    verified = site.run("verify", point, "--level", "proven", "--json")
    assert verified.exit_code == 1
    assert [item["what"] for item in verified.document["blocked"]] == [WORDS.removeprefix("db: ")]
    (note,) = (text for text in verified.document["notes"] if "accept_blocked" in text)
    assert note.startswith(f"accept_blocked 'extension gea' ({site.config}:")
    assert note.endswith("matched nothing that was blocked")
    accept(site, ("extension geo", REASON))
    verified = site.run("verify", point, "--level", "proven", "--json")
    assert verified.exit_code == 0
    assert not [text for text in verified.document["notes"] if "accept_blocked" in text]
