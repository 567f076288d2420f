"""``list``, ``show`` and ``clear``: the text at 80 columns, the documents, the exit codes."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.cli.inventory import parse_since, run_clear, run_list, run_show
from fsbackup_tui.domain.errors import FsbackupError, PointNotFound, UsageError
from fsbackup_tui.domain.text import cell_width
from fsbackup_tui.repository.layout import Repository, open_repository
from tests.support.points import (
    flip_byte,
    make_point,
    make_repository,
    part,
    table,
    verify_record,
)

NOW = datetime(2026, 11, 22, 2, 1, tzinfo=UTC)
TONIGHT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


class Commands:
    """The inventory's commands on a site without server and without DATABASE_URL."""

    def __init__(self, directory: Path) -> None:
        self.repository: Repository = make_repository(directory)
        self.config = directory / "fsbackup.yaml"
        document = {
            "site": "face-swap",
            "timezone": "Europe/Berlin",
            "repository": str(self.repository.root),
            "state": str(directory / "state"),
            "sources": {"db": {"kind": "postgres", "url": "${DATABASE_URL}"}},
            "plans": {"daily": {"sources": ["db"]}},
        }
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(document))
        self.output = ""
        self.errors = ""

    def run(self, command: str, *, as_json: bool = False, **arguments: Any) -> Any:
        """Run a command; returns its text, or its document under ``as_json``."""
        import argparse

        context = CliContext(config_path=self.config, json=as_json, environ={"HOME": "/nowhere"})
        context.stdout, context.stderr = io.StringIO(), io.StringIO()
        context.now = lambda: NOW  # type: ignore[method-assign]
        given = {"list": {"plan": None, "since": None}}.get(command, {}) | arguments
        given = {"replica": None, **given}
        run = {"list": run_list, "show": run_show, "clear": run_clear}[command]
        try:
            assert run(argparse.Namespace(**given), context) == 0
        finally:
            self.output, self.errors = context.stdout.getvalue(), context.stderr.getvalue()
        return json.loads(self.output) if as_json else self.output


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def fits(text: str) -> bool:
    return all(cell_width(line) <= 80 for line in text.splitlines())


def test_an_empty_repository_says_what_to_do(commands: Commands) -> None:
    assert commands.run("list") == (
        "PROD face-swap  NO POINTS YET. Take one: fsbackup backup PLAN\n"
    )
    assert commands.run("list", as_json=True) == {"ok": True, "points": []}


def test_the_list_is_aligned_and_says_why_a_point_is_bad(commands: Commands) -> None:
    good = make_point(
        commands.repository,
        part(tables=[table("videos", 5340)]),
        created=TONIGHT - timedelta(days=1),
    )
    verify_record(commands.repository, good.id, "sealed")
    bad = make_point(
        commands.repository,
        part(tables=[table("videos", 40)], suspect=["videos 5340 to 40"]),
        created=TONIGHT,
    )
    text = commands.run("list")
    assert text.splitlines() == [
        "PROD face-swap  02:00 SUSPECT: videos 5340 to 40. Before: Sat 02:00 CET sealed",
        "",
        "POINT                        WHEN              AGE  SIZE  Δ ROWS  TRUST",
        f"{bad.id}  today 02:00 CET  61 m   4 B   −99 %  SUSPECT",
        "    videos 5340 to 40",
        f"{good.id}  Sat 02:00 CET    25 h   4 B       -  sealed",
    ]
    assert fits(text)


def test_proof_never_hides_suspicion_and_what_was_blocked_is_named(commands: Commands) -> None:
    bad = make_point(
        commands.repository,
        part(tables=[table("videos", 40)], suspect=["videos 5340 to 40"]),
        created=TONIGHT,
    )
    for level in ("sealed", "readable", "restored", "proven"):
        verify_record(commands.repository, bad.id, level)
    text = commands.run("list")
    assert text.splitlines()[3].endswith("SUSPECT PROVEN")
    assert fits(text)
    shown = commands.run("show", point=bad.id)
    assert shown.splitlines()[0] == f"{bad.id}  SUSPECT PROVEN"
    assert "Trust: SUSPECT PROVEN\n  It comes back as it was taken" in shown
    document = commands.run("list", as_json=True)["points"][0]
    assert (document["trust"], document["suspect"]) == ("proven", ["videos 5340 to 40"])


def test_the_fall_of_a_suspect_point_is_told_table_by_table(commands: Commands) -> None:
    good = make_point(
        commands.repository,
        part(tables=[table("videos", 5340), table("sessions", 12), table("users", 500)]),
        created=TONIGHT - timedelta(days=1),
    )
    bad = make_point(
        commands.repository,
        part(tables=[table("videos", 40), table("users", 500)], suspect=["videos 5340 to 40"]),
        created=TONIGHT,
    )
    shown = commands.run("show", point=bad.id).splitlines()
    start = shown.index("Rows of db against Sat 02:00 CET (unverified)")
    assert shown[start + 1] == f"  {good.id}"
    told = [" ".join(line.split()) for line in shown[start + 2 : start + 6]]
    assert told == [
        "BEFORE NOW CHANGE TABLE",
        "12 - GONE sessions",
        "5 340 40 −99 % videos",
        "",
    ]
    document = commands.run("show", point=bad.id, as_json=True)["against"]["db"]
    assert document["point"] == good.id
    assert document["tables"][1] == {
        "table": "videos",
        "before": 5340,
        "now": 40,
        "vanished": False,
    }
    assert commands.run("show", point=good.id, as_json=True)["against"] == {}


def test_what_could_not_be_proven_here_is_told_and_is_no_failure(commands: Commands) -> None:
    point = make_point(commands.repository, created=TONIGHT)
    verify_record(commands.repository, point.id, "sealed")
    missing = "extension pg_cron missing on the scratch server"
    verify_record(commands.repository, point.id, "restored", ok=None, blocked=[missing])
    shown = commands.run("show", point=point.id)
    assert f"could not be restored here: {missing}" in " ".join(shown.split())
    assert "  restored  blocked" in shown
    assert "FAILED" not in shown
    document = commands.run("show", point=point.id, as_json=True)
    assert document["blocked"] == [missing]
    assert document["levels"]["restored"]["ok"] is None
    assert document["trust"] == "sealed"


def test_long_remarks_are_wrapped_under_themselves(commands: Commands) -> None:
    reason = "the table public.generated_videos fell from 1 234 567 rows to 40, which is 99 % less"
    point = make_point(commands.repository, part(suspect=[reason]), created=TONIGHT)
    text = commands.run("list")
    assert fits(text)
    assert text.splitlines()[-2:] == [
        "    the table public.generated_videos fell from 1 234 567 rows to 40, which is",
        "      99 % less",
    ]
    cleared = commands.run("clear", point=point.id, reason="it was meant to be " * 5)
    assert fits(cleared)


def test_rows_without_an_earlier_point_have_no_empty_change(commands: Commands) -> None:
    point = make_point(commands.repository, part(tables=[table("users", 12)]), created=TONIGHT)
    assert "  rows        12\n" in commands.run("show", point=point.id)


def test_the_document_has_the_promised_fields(commands: Commands) -> None:
    point = make_point(commands.repository, part("db"), part("schema", scope="schema"))
    document = commands.run("list", as_json=True)["points"][0]
    assert document["id"] == point.id
    assert document["plan"] == "daily"
    assert document["created"] == "2026-11-20T01:00:00.000Z"
    assert document["trust"] == "unverified"
    assert document["suspect"] == []
    assert document["bytes"] == 8
    assert document["problems"] == []
    kinds = [(item["source"], item["kind"], item["schema_only"]) for item in document["parts"]]
    assert kinds == [("db", "postgres", False), ("schema", "postgres", True)]
    assert {"source", "kind", "trust", "bytes"} <= set(document["parts"][0])


def test_filters(commands: Commands) -> None:
    daily = make_point(commands.repository, created=TONIGHT - timedelta(days=3))
    weekly = make_point(commands.repository, created=TONIGHT, plan="weekly")

    def listed(**arguments: Any) -> list[str]:
        return [p["id"] for p in commands.run("list", as_json=True, **arguments)["points"]]

    assert listed() == [weekly.id, daily.id]
    assert listed(plan="daily") == [daily.id]
    assert listed(since="2d") == [weekly.id]
    assert listed(since="2026-11-22T02:00") == [weekly.id]
    assert listed(since="2026-11-19") == [weekly.id, daily.id]
    assert "No point answers to that" in commands.run("list", plan="none")
    with pytest.raises(UsageError, match="NOT A TIME"):
        commands.run("list", since="yesterday")


def test_since_takes_times_and_ages() -> None:
    assert parse_since("1h 30m", NOW, UTC) == NOW - timedelta(minutes=90)
    assert parse_since("2026-11-22T02:00", NOW, UTC) == NOW - timedelta(minutes=1)


def test_show_tells_everything_of_a_point(commands: Commands) -> None:
    tables = [table("users", 12, size=16_384), table("videos", 5340, size=900_000_000)]
    tables.append(table("log", 1_000_000, counted=False, size=50_000_000))
    point = make_point(commands.repository, part(tables=tables), created=TONIGHT)
    verify_record(commands.repository, point.id, "sealed", now=TONIGHT + timedelta(minutes=1))
    verify_record(commands.repository, point.id, "readable", ok=False, problems=["toc cut off"])
    text = commands.run("show", point=point.id[:20])
    directory = commands.repository.point_directory(point.id)
    for said in (
        f"{point.id}  DAMAGED",
        "taken       today 02:00 CET (61 m ago), took 42 s",
        f"lies in     {directory}",
        "PROBLEM     toc cut off",
        "sealed    ok      today 02:01 CET, took 1.0 s, job job-2",
        "readable  FAILED",
        "database    face_swap on db1:5432, primary",
        f" restore {point.id} --part db --beside face_swap_restored",
        'pg_restore --jobs=4 --no-subscriptions -d "$NEW_DATABASE" db/database.dump',
    ):
        assert said in text
    rows = [line.split()[-1] for line in text.splitlines() if " public." in line]
    assert rows == ["public.videos", "public.log", "public.users"]
    assert "~1 000 000" in text
    document = commands.run("show", as_json=True, point=point.id)
    assert document["id"] == point.id
    assert document["path"] == str(directory)
    assert document["levels"]["readable"]["ok"] is False
    assert document["manifests"]["db"]["postgres"]["tables"][1]["rows"] == 5340
    assert document["commands"]["stock"]["db"]


def test_show_tells_of_a_point_whose_manifest_is_broken(commands: Commands) -> None:
    point = make_point(commands.repository)
    (commands.repository.point_directory(point.id) / "manifest.json").write_text("{}")
    text = commands.run("show", point=point.id)
    assert "DAMAGED" in text
    assert "manifest.json: id: Field required" in text
    assert f" restore {point.id} --part db" in text
    (commands.repository.point_directory(point.id) / "db" / "part.json").write_text("{}")
    assert "DAMAGED" in commands.run("show", point=point.id)


def test_show_of_nothing_names_what_is_near(commands: Commands) -> None:
    point = make_point(commands.repository)
    with pytest.raises(PointNotFound) as caught:
        commands.run("show", point="20261120T010000Z-daily-zzzz")
    assert point.id in caught.value.why


def test_clear_lifts_the_suspicion_with_a_reason(commands: Commands) -> None:
    point = make_point(
        commands.repository, part(tables=[table("videos", 40)], suspect=["videos 5340 to 40"])
    )
    with pytest.raises(UsageError, match="NO REASON"):
        commands.run("clear", point=point.id, reason="  ")
    with pytest.raises(PointNotFound):
        commands.run("show", point="latest:weekly")
    document = commands.run("clear", as_json=True, point=point.id, reason="purged on purpose")
    assert document == {
        "ok": True,
        "point": point.id,
        "cleared": ["videos 5340 to 40"],
        "reason": "purged on purpose",
    }
    assert commands.run("list", as_json=True)["points"][0]["suspect"] == []
    assert "not suspect" in commands.run("clear", point=point.id, reason="again")
    records = list((commands.repository.records / point.id).iterdir())
    assert len(records) == 1


def test_without_its_disk_the_list_shows_what_was_there_and_fails(commands: Commands) -> None:
    point = make_point(commands.repository, created=TONIGHT)
    commands.run("list")
    root = commands.repository.root
    root.rename(root.with_name("unplugged"))
    with pytest.raises(FsbackupError, match="NOT MOUNTED"):
        commands.run("list")
    assert commands.output.splitlines()[0] == (
        "PROD face-swap  REPOSITORY NOT MOUNTED. It had 02:00 CET unverified"
    )
    assert point.id in commands.output
    assert "That is what was there" in commands.errors
    with pytest.raises(FsbackupError, match="NOT MOUNTED"):
        commands.run("list", as_json=True)
    assert commands.output == ""
    root.with_name("unplugged").rename(root)
    assert open_repository(root) == commands.repository


def test_the_state_directory_may_be_gone_or_useless(commands: Commands, tmp_path: Path) -> None:
    point = make_point(commands.repository)
    (tmp_path / "state").write_text("a file in the way")
    assert commands.run("list", as_json=True)["points"][0]["id"] == point.id


def test_a_flipped_byte_is_no_news_for_the_list_before_a_check(commands: Commands) -> None:
    point = make_point(commands.repository)
    flip_byte(commands.repository.point_directory(point.id) / "db" / "database.dump")
    assert commands.run("list", as_json=True)["points"][0]["trust"] == "unverified"
