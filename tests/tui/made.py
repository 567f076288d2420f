"""Points as the tests of the screens show them: the times, the inventory, a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fsbackup_tui.domain.anomaly import RowChange
from fsbackup_tui.domain.point import (
    Artifact,
    ExtensionFacts,
    LevelCheck,
    Manifest,
    PartManifest,
    PartSummary,
    PointSummary,
    PostgresFacts,
    ServerIdentity,
    TableFacts,
    point_id,
)
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.against import Against

NOW = datetime(2026, 11, 22, 2, 1, 30, tzinfo=UTC)
AGAINST = (
    Against(
        "db",
        "20261119T010000Z-daily-azz3",
        datetime(2026, 11, 19, 1, tzinfo=UTC),
        Trust.PROVEN,
        (
            RowChange("old_sessions", 12, None, vanished=True),
            RowChange("generated_videos", 5340, 40),
            RowChange("new_thing", None, 3),
            RowChange("users", 500, 510),
        ),
    ),
)
ZONE = ZoneInfo("Europe/Berlin")
TABLE_NAMES = ("users", "generated_videos", "face_sources", "events", "_prisma_migrations")


def make_point(
    index: int,
    *,
    plan: str = "daily",
    trust: Trust = Trust.READABLE,
    suspect: Sequence[str] = (),
    running: bool = False,
    reason: str | None = None,
    change: float | None = 0.003,
    problems: Sequence[str] = (),
) -> PointSummary:
    """Return the point ``index`` days before the newest."""
    created = NOW - timedelta(days=index, minutes=61, seconds=30)
    rows = 5_412_345 - 1000 * index
    return PointSummary(
        id=point_id(created, plan, f"a{index % 1000:03}".replace("0", "z").replace("1", "y")),
        sequence=1_000_000 - index,
        plan=plan,
        created=created,
        whole=trust is not Trust.INCOMPLETE,
        running=running,
        trust=trust,
        suspect=tuple(suspect),
        bytes=310_000_000 - 1000 * index,
        parts=(PartSummary("db", "postgres", trust, 310_000_000, rows, 1_200_000_000),),
        rows=rows,
        rows_change=change,
        database_bytes=1_200_000_000 - 1_000_000 * index,
        seconds=41.0,
        reason=reason,
        problems=tuple(problems),
        levels={"sealed": LevelCheck(True, created + timedelta(minutes=2), "v1", 1.4)}
        if trust >= Trust.SEALED
        else {},
    )


def some_points() -> list[PointSummary]:
    """Return a small inventory with one point of every kind."""
    return [
        make_point(0, trust=Trust.READABLE),
        make_point(1, trust=Trust.SEALED, reason="deploy-4f2a [bold]not markup[/]"),
        make_point(
            2,
            trust=Trust.SEALED,
            suspect=("public.generated_videos had 5340 rows, has 40",),
            change=-0.75,
        ),
        make_point(3, trust=Trust.UNVERIFIED, change=None),
        make_point(4, trust=Trust.DAMAGED, problems=("db/database.dump: SHA-256 differs",)),
        make_point(5, trust=Trust.INCOMPLETE),
        make_point(6, plan="weekly-schema", trust=Trust.SEALED, change=0.0),
        make_point(40, trust=Trust.PROVEN),
    ]


def make_manifest(point: PointSummary, tables: int = 5) -> Manifest:
    """Return a manifest that fits the point; some names are hostile on purpose."""
    names = [
        *TABLE_NAMES,
        'we"ird; [red]table[/red]',
        "bell\x07 and \x1b[31mescape",
        "naïve 表",
        *(f"table_{number:05}" for number in range(tables)),
    ]
    identity = ServerIdentity(
        "db1", 5432, "face_swap", 16_384, "app", "7301112223334445556", False, "15.8", 150_008
    )
    facts = PostgresFacts(
        identity=identity,
        client_version="15.8",
        scope="full",
        format="directory",
        encoding="UTF8",
        collate="C.UTF-8",
        ctype="C.UTF-8",
        locale_provider="libc",
        locale=None,
        icu_rules=None,
        collation_version=None,
        owner="app",
        tablespace="pg_default",
        connection_limit=-1,
        comment=None,
        settings=(),
        grants=(),
        roles=("app", "readonly"),
        extensions=(ExtensionFacts("pgcrypto", "1.3", "public"),),
        tables=tuple(
            TableFacts(
                "public", name, "table", 1000 * (len(names) - i), True, 80_000_000 // (i + 1)
            )
            for i, name in enumerate(names)
        ),
        sequences=(),
        large_objects=0,
        large_object_bytes=0,
        subscriptions=(),
        prepared_transactions=(),
        replication_slots=(),
        snapshot_at=point.created,
        snapshot_lsn="0/16B3748",
        replay_at=None,
        count_method="content",
        count_note="",
        toc_entries=58,
        schema_sha256="ab" * 32,
    )
    part = PartManifest(
        source="db",
        kind="postgres",
        started=point.created,
        finished=point.created + timedelta(seconds=40),
        artifacts=(Artifact("database.dump/toc.dat", "dump", 310_000_000, "0f" * 32),),
        restore_commands=(
            "(cd db && sha256sum -c SHA256SUMS)",
            "createdb -T template0 -E UTF8 NAME",
            "pg_restore -j4 --no-owner -d NAME db/database.dump",
        ),
        warnings=("table events was locked for 12 s",),
        postgres=facts,
    )
    return Manifest(
        id=point.id,
        sequence=point.sequence,
        site="face-swap",
        plan=point.plan,
        reason=point.reason,
        host="app1",
        operator="ana",
        tool_version="0.1",
        started=point.created,
        finished=point.created + timedelta(seconds=41),
        phases={"snapshot": 0.2, "dump": 31.0, "hash": 4.1},
        parts=(part,),
        job="20261122T010000Z-backup-k3f9",
    )
