"""A plan's pings and a look's messages, by the commands that the schedule runs."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site
from tests.support.web import web_server

CANARY = "c4n4ry-t0ken"


def notified_site(directory: Path, url: str, server: ScratchServer, port: int) -> Site:
    site = make_site(
        directory,
        url,
        settings={
            "clients": [str(server.bin_directory)],
            "notify": {
                "to": [{"env": "NOTIFY_URL"}],
                "ping": {"daily": {"env": "PING_URL"}, "check": {"env": "PING_URL"}},
            },
        },
    )
    site.environment |= {
        "NOTIFY_URL": f"json://127.0.0.1:{port}/{CANARY}",
        "PING_URL": f"http://127.0.0.1:{port}/{CANARY}",
    }
    return site


def test_a_run_is_pinged_and_a_look_is_told(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "create table users as select 1 as id")
    with web_server() as web:
        site = notified_site(tmp_path / "site", url, server, web.port)
        assert site.run("backup", "daily").exit_code == 0
        assert web.paths == [f"/{CANARY}/start", f"/{CANARY}"]

        site.url = "postgresql://ana@127.0.0.1:1/gone"
        assert site.run("backup", "daily").exit_code == 1
        assert web.paths[2:] == [f"/{CANARY}/start", f"/{CANARY}/fail"]

        found = site.run("check", "--notify", "--json").document
        assert found["findings"]
        [message] = web.messages
        assert message["title"].startswith(f"fsbackup face-swap: {found['state']} - ")
        assert found["findings"][0]["what"] in message["message"]
        site.run("check", "--notify")
        assert len(web.messages) == 1

        done = site.run("notify", "test", "--json")
        assert (done.exit_code, done.document["targets"][0]["delivered"]) == (0, True)
        assert web.titles()[-1] == "fsbackup face-swap: a test"

    # Nobody is there any more: that fails no backup, and is found.
    site.url = url
    done = site.run("backup", "daily")
    assert done.exit_code == 0
    assert "notify.ping.daily" in done.stdout + done.stderr
    done = site.run("notify", "test")
    assert done.exit_code == 1
    assert "to[0] (json)  NOT DELIVERED" in done.stdout
    ids = {one["id"] for one in site.run("check", "--json").document["findings"]}
    assert {"notify-undelivered:to[0]", "notify-undelivered:ping.daily"} <= ids

    kept = [path for path in site.state.rglob("*") if path.is_file()]
    kept += [path for path in site.repository.rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in done.stdout + done.stderr
