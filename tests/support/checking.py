"""A site under ``check``: real directories, real points, and a clock that the test sets."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.finding import Check, Finding
from fsbackup_tui.domain.point import Manifest
from fsbackup_tui.jobs.check import site_jobs
from fsbackup_tui.jobs.feed import JobFeed
from fsbackup_tui.jobs.job import state_document
from fsbackup_tui.jobs.layout import STATE, JobRequest, replace_json
from fsbackup_tui.operations.check import PROBES, look
from fsbackup_tui.operations.probes.probe import Probe
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.operations.restore_rights import note_restore_rights
from fsbackup_tui.repository.layout import Repository, create_repository, site_state
from fsbackup_tui.repository.records import write_record
from tests.support.points import make_point, part, table, verify_record

LADDER = ("sealed", "readable", "restored", "proven")
LOCAL = tuple(probe for probe in PROBES if not probe.live)
"""The looks that ask no server and no program."""

NOW = datetime(2025, 11, 20, 12, 0, tzinfo=UTC)
"""A Thursday, and past: whether a job is lost is told by the real clock."""

SITE = """\
site: shop
timezone: UTC
repository: {directory}/repository
state: {directory}/state
sources:
  db: {{kind: postgres, url: '${{DATABASE_URL}}'}}
plans:
  daily: {{sources: [db], verify: proven{plan}}}
{more}"""


class Watched:
    """A site that is looked at; ``now`` is what time it is to it."""

    def __init__(self, directory: Path, *, plan: str = "", more: str = "") -> None:
        self.directory = directory
        self.environ = {"HOME": str(directory), "PATH": "/usr/bin:/bin"}
        self.now = NOW
        directory.chmod(0o700)
        self.config = directory / "fsbackup.yaml"
        self.configure(plan=plan, more=more)
        self.repository: Repository = create_repository(directory / "repository", "shop", NOW)
        self.know_rights(True)

    def configure(self, *, plan: str = "", more: str = "") -> None:
        """Write the configuration anew: more of the plan (``, at: "02:00"``), more sections."""
        self.config.touch(mode=0o600)
        self.config.write_text(SITE.format(directory=self.directory, plan=plan, more=more))
        self.loaded: LoadedConfig = load_config(self.config, self.environ)

    @property
    def state(self) -> Path:
        return site_state(self.loaded, self.environ, self.repository)

    def know_rights(self, rights: bool | None) -> None:
        """Have doctor have found this of the rights to restore, a moment ago."""
        note_restore_rights(self.state, self.loaded.digest, rights, self.now)

    def point(
        self,
        age: timedelta,
        *,
        plan: str = "daily",
        rows: int = 5340,
        level: str = "proven",
        tried: timedelta | None = None,
        suspect: Sequence[str] = (),
        content: bytes = b"dump",
    ) -> Manifest:
        """Take a point so long ago, shown good up to a level (empty: not at all) right after."""
        created = self.now - age
        description = part(tables=[table("videos", rows)], suspect=suspect)
        description = dataclasses.replace(description, started=created, finished=created)
        made = make_point(self.repository, description, created=created, plan=plan, content=content)
        if level:
            at = created + timedelta(minutes=5) if tried is None else self.now - tried
            for rung in LADDER[: LADDER.index(level) + 1]:
                verify_record(self.repository, made.id, rung, now=at)
        return made

    def clear(self, point: str) -> None:
        """Say that a point is right as it is."""
        write_record(
            self.repository, point, "cleared", {"reason": "so"}, now=self.now, job="", operator="a"
        )

    def drill(self, point: str, *, outcome: str = "ok", seconds: float = 60.0) -> None:
        """Hold a drill now."""
        document = {
            "point": point,
            "outcome": outcome,
            "ok": outcome == "ok",
            "seconds": seconds,
            "phases": {},
            "problems": [{"what": "no role app"}],
        }
        write_record(self.repository, point, "drill", document, now=self.now, job="d", operator="a")

    def job(
        self,
        outcome: str,
        *,
        ago: timedelta = timedelta(hours=1),
        request: Request | None = None,
        problem: Problem | None = None,
    ) -> Path:
        """Leave what a job left that ended so; ``lost``: its worker vanished."""
        at = self.now - ago
        name = f"{at:%Y%m%dT%H%M%SZ}-job-{outcome[:4].ljust(4, 'x')}"
        directory = self.state / "jobs" / name
        directory.parent.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(mode=0o700)
        whole = JobRequest(
            job=name,
            request=request or BackupRequest(plan="daily"),
            site="shop",
            config=self.config,
            config_digest="0",
            operator="ana",
            host="db1",
            requested=at,
        )
        feed = JobFeed()
        feed.started = at
        if outcome in ("ok", "failed", "cancelled"):
            feed.finished, feed.outcome, feed.problem = at, outcome, problem  # type: ignore[assignment]
        replace_json(directory / "request.json", whole.document(), sync=False)
        replace_json(directory / STATE, state_document(whole, feed, now=at), sync=False)
        return directory

    def check(self, probes: Iterable[Probe] = LOCAL) -> Check:
        """Look at the site."""
        return asyncio.run(look(self.loaded, self.environ, self.now, site_jobs, probes))

    def found(self, probes: Iterable[Probe] = LOCAL) -> Mapping[str, Finding]:
        """Return what is found, by id."""
        findings = self.check(probes).findings
        found = {finding.id: finding for finding in findings}
        assert len(found) == len(findings), "two findings of one id"
        return found


def healthy(directory: Path, *, plan: str = "", more: str = "") -> Watched:
    """A site of which there is nothing to say: proven points of the last days, rights tried."""
    site = Watched(directory, plan=plan, more=more)
    for days in (3, 2, 1, 0):
        site.point(timedelta(days=days, hours=5), rows=5340 + days)
    return site
