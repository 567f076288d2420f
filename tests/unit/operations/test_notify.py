"""Who is told what, once; what can't be delivered; and that no address is told to anybody."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.finding import Check, Finding, Severity
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.operations.deliver import ping, send
from fsbackup_tui.operations.notify import ping_plan, tell, try_targets
from fsbackup_tui.operations.notify_state import read_notify_state, undelivered
from tests.support.web import WebServer, web_server
from tests.unit.config.support import write_config

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CANARY = "c4n4ry-t0ken"


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@contextmanager
def silent_port() -> Iterator[int]:
    """A server that takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def site(directory: Path, *addresses: str, on: str = "warning", **pings: str) -> LoadedConfig:
    document = {
        "site": "shop",
        "repository": str(directory / "repo"),
        "state": str(directory / "state"),
        "sources": {"db": {"kind": "postgres", "url": "postgresql://ana@db1/shop"}},
        "plans": {"daily": {"sources": ["db"]}},
        "notify": {"to": list(addresses), "ping": pings, "on": on},
    }
    return load_config(write_config(directory, json.dumps(document)), {})


def finding(name: str, severity: Severity = "critical") -> Finding:
    return Finding(name, severity, NOW, f"WRONG: {name}.", "It matters.", "fsbackup doctor")


def look(now: datetime, *findings: Finding) -> Check:
    return Check("shop", now, findings)


async def test_a_message_says_what_why_and_what_next(web: WebServer, tmp_path: Path) -> None:
    loaded = site(tmp_path, f"json://127.0.0.1:{web.port}/hook")
    [done] = await tell(look(NOW, finding("backup-age:daily")), loaded, {}, tmp_path)
    assert (done.target, done.scheme, done.why) == ("to[0]", "json", "")
    [message] = web.messages
    assert message["title"] == "fsbackup shop: CRITICAL - 1 new"
    assert message["message"].splitlines() == [
        "NEW CRITICAL: WRONG: backup-age:daily.",
        "  It matters.",
        "  Next: fsbackup doctor",
    ]


async def test_a_week_of_hourly_looks_tells_each_thing_once(web: WebServer, tmp_path: Path) -> None:
    loaded = site(tmp_path, f"json://127.0.0.1:{web.port}/hook")
    age, disk = "backup-age:daily", "disk-forecast"
    for hour in range(7 * 24):
        found: list[Finding] = []
        if hour >= 20:
            found.append(finding(disk, "warning" if hour < 100 else "critical"))
        if 30 <= hour < 60 or hour >= 150:
            found.append(finding(age))
        await tell(look(NOW + timedelta(hours=hour), *found), loaded, {}, tmp_path)
    assert web.titles() == [
        "fsbackup shop: WARNING - 1 new",
        "fsbackup shop: CRITICAL - 1 new",
        "fsbackup shop: WARNING - 1 mended",
        "fsbackup shop: CRITICAL - 1 worse",
        "fsbackup shop: CRITICAL - 1 new",
    ]
    assert "MENDED: backup-age:daily" in web.messages[2]["message"]
    assert "1 more as before: fsbackup check" in web.messages[1]["message"]
    assert read_notify_state(tmp_path).looked == NOW + timedelta(hours=7 * 24 - 1)


async def test_what_is_out_of_sight_is_not_mended(web: WebServer, tmp_path: Path) -> None:
    loaded = site(tmp_path, f"json://127.0.0.1:{web.port}/hook")
    wrong, blind = finding("backup-age:daily"), finding("unknown:disk", "unknown")
    for found in ((wrong,), (blind,), (wrong,), ()):
        await tell(look(NOW, *found), loaded, {}, tmp_path)
    assert web.titles() == [
        "fsbackup shop: CRITICAL - 1 new",
        "fsbackup shop: UNKNOWN - 1 new",
        "fsbackup shop: CRITICAL - 1 mended",
        "fsbackup shop: OK - 1 mended",
    ]


async def test_who_wants_only_the_worst_is_told_only_that(web: WebServer, tmp_path: Path) -> None:
    loaded = site(tmp_path, f"json://127.0.0.1:{web.port}/hook", on="critical")
    await tell(look(NOW, finding("disk-forecast", "warning")), loaded, {}, tmp_path)
    assert web.messages == []
    await tell(look(NOW, finding("disk-forecast")), loaded, {}, tmp_path)
    await tell(look(NOW, finding("disk-forecast", "warning")), loaded, {}, tmp_path)
    await tell(look(NOW), loaded, {}, tmp_path)
    assert web.titles() == [
        "fsbackup shop: CRITICAL - 1 new",
        "fsbackup shop: OK - 1 mended",
    ]


async def test_what_is_not_delivered_is_kept_tried_again_and_over_once_it_is(
    web: WebServer, tmp_path: Path
) -> None:
    good = f"json://127.0.0.1:{web.port}/good"
    loaded = site(tmp_path, f"json://127.0.0.1:{dead_port()}/{CANARY}", good)
    first, second = await tell(look(NOW, finding("a")), loaded, {}, tmp_path)
    assert first.why
    assert second.why == ""
    hour = timedelta(hours=1)
    await tell(look(NOW + hour, finding("a")), loaded, {}, tmp_path)
    [one] = undelivered(tmp_path)
    assert (one.target, one.since) == ("to[0]", NOW)
    assert len(web.messages) == 1

    mended = site(tmp_path, f"json://127.0.0.1:{web.port}/now", good)
    await tell(look(NOW + 2 * hour, finding("a")), mended, {}, tmp_path)
    assert undelivered(tmp_path) == ()
    assert web.titles() == ["fsbackup shop: CRITICAL - 1 new"] * 2


async def test_the_test_says_of_each_why_not(
    web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    web.status = 500
    loaded = site(
        tmp_path,
        f"json://127.0.0.1:{web.port}/{CANARY}",
        f"jsno://127.0.0.1:{web.port}/{CANARY}",
        f"json://ana:{CANARY}@127.0.0.1:{dead_port()}/x",
        "${NOWHERE}",
        "not an address",
    )
    tried = await try_targets(loaded, {}, tmp_path, NOW)
    assert [one.scheme for one in tried] == ["json", "jsno", "json", "?", "?"]
    assert all(one.why for one in tried)
    assert "500" in tried[0].why
    assert tried[1].why == "apprise knows no address of this kind (jsno://)"
    assert "NOWHERE" in tried[3].why
    assert len(undelivered(tmp_path)) == 5
    everything = str(tried) + (tmp_path / "notified.json").read_text()
    assert CANARY not in everything + caplog.text

    web.status = 200
    [good] = await try_targets(site(tmp_path, f"json://127.0.0.1:{web.port}"), {}, tmp_path, NOW)
    assert good.why == ""
    with pytest.raises(UsageError, match="NOBODY TO TELL"):
        await try_targets(site(tmp_path), {}, tmp_path, NOW)


def test_nobody_is_waited_for_longer_than_the_deadline() -> None:
    with silent_port() as port:
        why = send(Secret(f"json://127.0.0.1:{port}/{CANARY}"), "t", "b", seconds=0.3)
        assert why == "nobody answered within 0.3 s"
        assert ping(Secret(f"http://127.0.0.1:{port}/{CANARY}"), seconds=0.3)


def test_mail_is_delivered() -> None:
    received: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    for part in iter(self.rfile.readline, b".\r\n"):
                        received.append(part)
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_address[1]
        address = f"mailto://127.0.0.1:{port}?from=backup@example.org&to=ops@example.org"
        assert send(Secret(address), "fsbackup shop: CRITICAL", "the body") == ""
        server.shutdown()
        thread.join()
    text = b"".join(received)
    assert b"To: ops@example.org" in text
    assert b"Subject: fsbackup shop: CRITICAL" in text


async def test_pings_begin_end_and_fail_and_never_stop_anything(
    web: WebServer, tmp_path: Path
) -> None:
    loaded = site(tmp_path, daily=f"http://127.0.0.1:{web.port}/{CANARY}")
    for suffix in ("/start", "", "/fail"):
        assert await ping_plan("daily", suffix, loaded, {}, tmp_path, NOW) == ""
    assert web.paths == [f"/{CANARY}/start", f"/{CANARY}", f"/{CANARY}/fail"]
    assert await ping_plan("weekly", "/start", loaded, {}, tmp_path, NOW) == ""

    web.status = 404
    assert await ping_plan("daily", "", loaded, {}, tmp_path, NOW) == "it answered 404"
    [one] = undelivered(tmp_path)
    assert one.target == "ping.daily"
    dead = site(tmp_path, daily=f"http://127.0.0.1:{dead_port()}/{CANARY}")
    why = await ping_plan("daily", "", dead, {}, tmp_path, NOW)
    assert "could not be reached" in why
    wrong = site(tmp_path, daily=f"file:///{CANARY}")
    why += await ping_plan("daily", "", wrong, {}, tmp_path, NOW)
    assert "https://" in why
    assert CANARY not in why + (tmp_path / "notified.json").read_text()
    web.status = 200
    await ping_plan("daily", "", loaded, {}, tmp_path, NOW)
    assert undelivered(tmp_path) == ()


async def test_the_look_itself_is_pinged(web: WebServer, tmp_path: Path) -> None:
    loaded = site(tmp_path, check=f"http://127.0.0.1:{web.port}/c?x=1")
    await tell(look(NOW), loaded, {}, tmp_path)
    await tell(look(NOW, finding("a")), loaded, {}, tmp_path)
    assert web.paths == ["/c?x=1", "/c/fail?x=1"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"looked": 5}', b"\xff"])
def test_a_damaged_state_knows_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notified.json").write_bytes(content)
    assert undelivered(tmp_path) == ()
