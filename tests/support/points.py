"""Points made for tests: real directories through the real writer, small contents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsbackup_tui.domain.point import (
    ArtifactRole,
    ExtensionFacts,
    Manifest,
    PartManifest,
    PostgresFacts,
    ServerIdentity,
    TableFacts,
)
from fsbackup_tui.repository.artifacts import hash_artifacts
from fsbackup_tui.repository.layout import Repository, create_repository
from fsbackup_tui.repository.records import Record, write_record
from fsbackup_tui.repository.writer import PointWriter

START = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
ROLES: Mapping[str, ArtifactRole] = {
    "database.dump": "dump",
    "schema.sql": "schema",
    "globals.sql": "globals",
}


def make_repository(tmp_path: Path, site: str = "face-swap") -> Repository:
    """Return a new repository below ``tmp_path``."""
    return create_repository(tmp_path / "repository", site, START)


def table(
    name: str, rows: int | None, *, schema: str = "public", counted: bool = True, size: int = 8192
) -> TableFacts:
    """Return a table of so many rows."""
    return TableFacts(schema, name, "table", rows, counted, size)


def facts(tables: Sequence[TableFacts] = (), **changes: object) -> PostgresFacts:
    """Return what a capture tells of a small database, with ``changes`` to it."""
    identity = ServerIdentity(
        host="db1",
        port=5432,
        database="face_swap",
        database_oid=16384,
        role="app",
        system_identifier="7301234567890123112",
        standby=False,
        server_version="15.18",
        server_version_num=150018,
        size_bytes=1_200_000_000,
    )
    base = PostgresFacts(
        identity=identity,
        client_version="15.18",
        scope="full",
        format="custom",
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
        roles=("app",),
        extensions=(ExtensionFacts("plpgsql", "1.0", "pg_catalog"),),
        tables=tuple(tables),
        sequences=(),
        large_objects=0,
        large_object_bytes=0,
        subscriptions=(),
        prepared_transactions=(),
        replication_slots=(),
        snapshot_at=START,
        snapshot_lsn="0/1234567",
        replay_at=None,
        count_method="counts",
        count_note="",
        toc_entries=42,
        schema_sha256=None,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def part(
    source: str = "db",
    tables: Sequence[TableFacts] = (),
    *,
    suspect: Sequence[str] = (),
    **changes: object,
) -> PartManifest:
    """Return a postgres part without artifacts."""
    return PartManifest(
        source=source,
        kind="postgres",
        started=START,
        finished=START + timedelta(seconds=30),
        artifacts=(),
        restore_commands=(),
        suspect=tuple(suspect),
        postgres=facts(tables, **changes),
    )


def begin_point(
    repository: Repository,
    *,
    created: datetime = START,
    plan: str = "daily",
    job: str = "job-1",
    site_yaml: str = "site: face-swap\n",
    space_needed: int | None = None,
) -> PointWriter:
    """Begin a point as a backup does."""
    return PointWriter.begin(
        repository,
        plan=plan,
        job=job,
        now=created,
        reason=None,
        operator="ana",
        host="db1",
        tool_version="0.1",
        site_yaml=site_yaml,
        space_needed=space_needed,
    )


def write_part(writer: PointWriter, description: PartManifest, content: bytes = b"dump") -> None:
    """Write a part's files and make it whole."""
    directory = writer.part_directory(description.source)
    (directory / "database.dump").write_bytes(content)
    artifacts = hash_artifacts(directory, ROLES)
    writer.commit_part(description.source, dataclasses.replace(description, artifacts=artifacts))


def make_point(
    repository: Repository,
    *parts: PartManifest,
    created: datetime = START,
    plan: str = "daily",
    content: bytes = b"dump",
) -> Manifest:
    """Write a whole point; one part ``db`` of one table unless parts are given."""
    writer = begin_point(repository, created=created, plan=plan)
    for description in parts or (part(tables=[table("videos", 5340)]),):
        write_part(writer, description, content)
    return writer.finish({"dump": 1.5}, now=created + timedelta(seconds=42))


def verify_record(
    repository: Repository,
    point: str,
    level: str,
    *,
    ok: bool | None = True,
    sources: Sequence[str] = ("db",),
    problems: Sequence[str] = (),
    blocked: Sequence[str] = (),
    now: datetime = START + timedelta(minutes=5),
) -> Record:
    """Record that a level was tried; ``ok`` None: it was blocked."""
    outcome = {"ok": ok, "problems": list(problems), "blocked": [{"what": b} for b in blocked]}
    return write_record(
        repository,
        point,
        "verified",
        {"level": level, "ok": ok, "parts": dict.fromkeys(sources, outcome), "seconds": 1.0},
        now=now,
        job="job-2",
        operator="ana",
    )


def flip_byte(path: Path, offset: int = -1) -> None:
    """Change one byte of a file, as a bad disk does: size and times as they were."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x01
    path.write_bytes(bytes(content))
    import os

    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
