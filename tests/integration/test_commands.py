"""The site's own programs in a recovery, what a drill leaves out, and Prisma's migrations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import FsbackupError, SafetyRefusal, ToolMissing, UsageError
from fsbackup_tui.domain.events import CommandStarted, Event, Log
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.operations import command, migration
from fsbackup_tui.operations.recovery_requests import CommandRequest, MigrationRequest
from fsbackup_tui.operations.site_commands import ABOUT_LIVE_ALONE, command_text
from tests.support.incidents import incident_context
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import PROJECT, Site, make_site
from tests.support.waiting import wait_until

LIVE = "postgresql://app:hunter22@db1:5432/shop"


def site_with(directory: Path, commands: Mapping[str, object], **more: Any) -> Site:
    settings = {"commands": dict(commands), **more.pop("settings", {})}
    return make_site(directory / "site", more.pop("url", LIVE), settings=settings, **more)


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


async def run(site: Site, name: str, *, message: str = "", database: str = "") -> tuple[Any, str]:
    """Return the result, and every line that was journaled."""
    events: list[Event] = []
    request = CommandRequest("db", command=name, message=message, database=database)
    try:
        result = await command.run(request, incident_context(site, None, events))
    finally:
        told = "\n".join(
            " ".join(event.argv) if isinstance(event, CommandStarted) else event.text
            for event in events
            if isinstance(event, Log | CommandStarted)
        )
    return result, told


async def test_it_runs_where_the_configuration_lies_with_the_site_s_environment(
    tmp_path: Path,
) -> None:
    script = 'pwd; echo "mode $APP_MODE"; echo "oops" >&2; cat'
    site = site_with(
        tmp_path,
        {"notify_people": shell(script)},
        settings={"env_file": str(tmp_path / "site.env")},
    )
    (tmp_path / "site.env").write_text("APP_MODE=maintenance\n")
    result, told = await run(site, "notify_people", message="We are on it.\nETA 20 m")
    lines = result["printed"].splitlines()
    assert set(lines) == {
        str(site.directory),
        "mode maintenance",
        "oops",
        "We are on it.",
        "ETA 20 m",
    }
    assert (result["ok"], result["exit_status"]) == (True, 0)
    assert all(line in told for line in lines)


async def test_what_it_prints_is_journaled_within_bounds_and_without_secrets(
    tmp_path: Path,
) -> None:
    words = ["env", "printf", "%s of $HOME\\n", "--api-key=given99", "--token", "given77"]
    site = site_with(
        tmp_path,
        {
            "stop_app": shell('echo "key $STRIPE_SECRET_KEY url $DATABASE_URL"'),
            "start_app": shell("seq 1 100000"),
            "smoke_test": words,
        },
    )
    site.environment["STRIPE_SECRET_KEY"] = "sk_live_4242"
    result, told = await run(site, "stop_app")
    assert result["printed"] == "key *** url postgresql://app:***@db1:5432/shop"
    assert "4242" not in told
    assert "hunter22" not in told
    result, told = await run(site, "start_app")
    assert len(told.splitlines()) < 500
    assert told.splitlines()[-1] == "100000"
    assert result["printed"].splitlines()[-1] == "100000"
    result, told = await run(site, "smoke_test")
    assert "given" not in told + result["printed"]


async def test_a_failure_says_what_why_and_how_to_try_it(tmp_path: Path) -> None:
    script = "seq 1 100; echo no such unit: app.service >&2; exit 5"
    site = site_with(tmp_path, {"stop_app": shell(script), "start_app": ["./no-such-thing"]})
    with pytest.raises(
        FsbackupError, match="COMMAND FAILED: stop_app ended with exit status 5"
    ) as e:
        await run(site, "stop_app")
    assert "no such unit: app.service" in e.value.why
    assert len(e.value.why.splitlines()) == 6
    assert f"Try it by hand in {site.directory}: sh -c 'seq 1 100;" in e.value.fix
    with pytest.raises(ToolMissing, match="PROGRAM MISSING"):
        await run(site, "start_app")
    with pytest.raises(UsageError, match=r"COMMAND NOT CONFIGURED: commands\.smoke_test") as u:
        await run(site, "smoke_test")
    assert "fsbackup.yaml:" in u.value.why
    with pytest.raises(UsageError, match="NOT CONFIGURED"):
        await run(site, "__class__")


async def test_what_it_starts_goes_on_without_it(tmp_path: Path) -> None:
    mark = tmp_path / "lives"
    script = f"(while sleep 0.05; do date +%s%N > {mark}; done) >/dev/null 2>&1 & echo $!"
    site = site_with(tmp_path, {"start_app": shell(script)})
    result, _told = await run(site, "start_app")
    pid = int(result["printed"])
    try:
        wait_until(mark.is_file)
        before = mark.read_text()
        wait_until(lambda: mark.read_text() not in ("", before))
    finally:
        os.kill(pid, 15)


async def test_a_drill_stops_starts_and_tells_nobody(tmp_path: Path) -> None:
    mark = tmp_path / "done"
    commands = {name: shell(f"touch {mark}") for name in sorted(ABOUT_LIVE_ALONE)}
    step = {
        "runbook": "data-loss",
        "phase": "stop",
        "id": "cdn-off",
        "title": "Switch the CDN off",
        "why": "It would go on serving what is gone.",
        "command": shell(f"touch {mark}"),
    }
    settings = {"recovery": {"steps": [step]}}
    site = site_with(tmp_path, commands, settings=settings)
    for name in (*sorted(ABOUT_LIVE_ALONE), "cdn-off"):
        result, told = await run(site, name, database="shop__drill_k3f9")
        assert (result["exit_status"], result["skipped"]) == (None, "a drill")
        assert f"Not run, this is a drill: sh -c 'touch {mark}'" in told
    assert not mark.exists()
    await run(site, "cdn-off")
    assert mark.exists()


async def test_what_looks_at_the_database_looks_at_the_drill_s_copy(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f'echo "$DATABASE_URL $SHOP_DB $PGDATABASE" > {seen}'
    site = site_with(tmp_path, {"smoke_test": shell(script), "migration_status": shell(script)})
    site.environment["SHOP_DB"] = f"{LIVE}?schema=public"
    for name in ("smoke_test", "migration_status"):
        result, told = await run(site, name, database="shop__drill_k3f9")
        urls = seen.read_text().split()
        assert urls[0].partition("?")[0] == "postgresql://app:hunter22@db1:5432/shop__drill_k3f9"
        assert urls[1:] == [urls[0], "shop__drill_k3f9"]
        assert "hunter22" not in told + result["printed"]
        await run(site, name)
        assert "drill" not in seen.read_text()


async def test_a_site_that_is_only_looked_at_runs_nothing(tmp_path: Path) -> None:
    site = site_with(tmp_path, {"stop_app": shell("true")}, settings={"read_only": True})
    with pytest.raises(SafetyRefusal, match="READ ONLY"):
        await run(site, "stop_app")


def test_a_command_is_shown_ready_to_paste_without_its_secrets(tmp_path: Path) -> None:
    words = [
        "curl",
        "-H",
        "Authorization: Bearer abc.def",
        "--password",
        "x y",
        "https://a/b?c=d e",
    ]
    site = site_with(
        tmp_path,
        {
            "notify_people": words,
            "stop_app": ["deploy", "--to=prod", "--token=tttt", "sk_live_4242", LIVE],
        },
    )
    loaded = load_config(site.config, site.environ())
    environ = {"STRIPE_SECRET_KEY": "sk_live_4242"}
    assert command_text(loaded, "notify_people", environ) == (
        "curl -H 'Authorization: Bearer ***' --password *** 'https://a/b?c=d e'"
    )
    assert command_text(loaded, "stop_app", environ) == (
        "deploy --to=prod --token=*** *** 'postgresql://app:***@db1:5432/shop'"
    )


def test_showing_a_command_needs_no_database_driver() -> None:
    code = "import sys, fsbackup_tui.operations.site_commands; print('psycopg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


MIGRATIONS = """
CREATE TABLE _prisma_migrations (
    id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz,
    migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count int NOT NULL DEFAULT 0);
INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at,
    rolled_back_at) VALUES
    ('1', 'a', '20260101_init', '2026-01-01', '2026-01-01 00:00:05', NULL),
    ('2', 'b', '20260201_videos', '2026-02-01', NULL, '2026-02-01 01:00'),
    ('3', 'b', '20260201_videos', '2026-02-02', '2026-02-02', NULL),
    ('4', 'c', '20260301_likes', '2026-03-01', NULL, NULL),
    ('5', 'd', '20260215_hotfix', '2026-02-15', '2026-02-15', NULL);
"""


async def test_the_migration_head_is_told_with_what_failed_and_the_exact_commands(
    matrix_server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(matrix_server)
    execute(url, MIGRATIONS)
    site = make_site(
        tmp_path / "site", url, source={"also": [str(tmp_path / "app/prisma/schema.prisma")]}
    )
    request = MigrationRequest("db")
    found: dict[str, Any] = await migration.run(request, incident_context(site, None))
    assert (found["table"], found["head"]) == ("public._prisma_migrations", "20260215_hotfix")
    assert found["applied"] == ["20260101_init", "20260201_videos", "20260215_hotfix"]
    assert found["failed"] == ["20260301_likes"]
    assert (found["expected"], found["pending"], found["unknown"]) == ("", [], [])
    for name in ("20260101_init", "20260201_videos", "20260301_likes", "20260401_drop it"):
        directory = tmp_path / "app/prisma/migrations" / name
        directory.mkdir(parents=True)
        (directory / "migration.sql").write_text("SELECT 1;")
    found = await migration.run(request, incident_context(site, None))
    assert found["expected"] == "20260401_drop it"
    assert found["pending"] == ["20260301_likes", "20260401_drop it"]
    assert found["unknown"] == ["20260215_hotfix"]
    commands: Any = found["commands"]
    assert [each["command"] for each in commands] == [
        "npx prisma migrate status",
        "npx prisma generate",
        "npx prisma migrate resolve --rolled-back 20260301_likes",
        "npx prisma migrate resolve --applied 20260301_likes",
        "npx prisma migrate resolve --applied '20260401_drop it'",
    ]


async def test_a_database_without_migrations_has_none(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    execute(url, "CREATE TABLE _prisma_migrations (migration_name text)")  # not Prisma's
    site = make_site(tmp_path / "site", url)
    found = await migration.run(MigrationRequest("db"), incident_context(site, None))
    assert (found["table"], found["head"], found["commands"]) == ("", "", [])
