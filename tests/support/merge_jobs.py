"""Merges asked for as a face does it: by requests, whose results are read again."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.comparison import TableName
from fsbackup_tui.domain.errors import FsbackupError, Problem
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.merge import Merged, MergePlan, MergePreview, Proposed, TableChoice
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import load_job
from fsbackup_tui.jobs.launch import WORKER, await_first_line, launch_worker, make_job_directory
from fsbackup_tui.operations.merge_documents import (
    choices_text,
    preview_text,
    read_merged,
    read_plan,
    read_preview,
    read_proposed,
)
from fsbackup_tui.operations.merge_requests import (
    MergePlanRequest,
    MergePreviewRequest,
    MergeRequest,
    MergeUndoRequest,
)
from fsbackup_tui.operations.request import Request
from tests.support.contexts import context_of
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.swapping import oid_of


@dataclass
class Planned:
    """What a plan's result tells."""

    staging: str
    plan: MergePlan
    proposed: tuple[Proposed, ...]
    preview: MergePreview | None
    document: Mapping[str, Any]

    @property
    def choices(self) -> tuple[TableChoice, ...]:
        """What is proposed, as choices."""
        return tuple(each.choice for each in self.proposed)


@dataclass
class Ended:
    """How a job ended."""

    problem: Problem | None
    result: Mapping[str, Any]


@dataclass
class Recovery:
    """A site whose live database is to get rows back from a copy on the same server.

    ``workers``: a real worker does each job; else this process, in a thread, which is faster.
    """

    server: ScratchServer
    site: Site
    live: str
    copy: str
    workers: bool = False
    incident: str | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def live_url(self) -> str:
        return self.server.url(self.live)

    @property
    def copy_url(self) -> str:
        return self.server.url(self.copy)

    def damage(self, *statements: str) -> None:
        execute(self.live_url, *statements)

    def rows(self, statement: str, *, copy: bool = False) -> list[tuple[object, ...]]:
        return query(self.copy_url if copy else self.live_url, statement)

    def start(
        self, request: Request, *, module: str = WORKER, environ: Mapping[str, str] | None = None
    ) -> tuple[Path, subprocess.Popen[bytes]]:
        """Start a job's worker, and return at its first word."""
        environment = {**self.site.environ(), **(environ or {})}
        directory, written = make_job_directory(
            request,
            load_config(self.site.config, environment),
            state=self.site.state,
            operator="ana",
            incident=None,
            epoch=None,
        )
        process = launch_worker(directory, environment, module=module)
        await_first_line(process, directory, written)
        return directory, process

    def job(self, request: Request) -> Ended:
        """Run a job to its end."""
        if not self.workers:
            with ThreadPoolExecutor(1) as threads:
                return threads.submit(asyncio.run, self._here(request)).result()
        directory, process = self.start(request)
        process.wait(timeout=120)
        job = load_job(directory)
        return Ended(job.problem, job.result)

    async def _here(self, request: Request) -> Ended:
        module, _, function = request.runner.partition(":")
        runner = getattr(importlib.import_module(module), function)
        shutil.rmtree(self.site.directory / "work", ignore_errors=True)
        context = context_of(self.site, self.events.append)
        if self.incident is not None:
            context = replace(context, incident=self.site.directory / self.incident)
        try:
            document = await runner(request, context)
        except FsbackupError as error:
            return Ended(error.problem(), {})
        return Ended(None, json.loads(json.dumps(document)))

    def problem(self, request: Request) -> Problem:
        """Run a job that must not end well, and return why."""
        ended = self.job(request)
        assert ended.problem is not None, ended.result
        return ended.problem

    def result(self, request: Request) -> Mapping[str, Any]:
        """Run a job that must end well, and return what it tells."""
        ended = self.job(request)
        assert ended.problem is None, ended.problem
        return ended.result

    def plan(self, *named: str, where: str = "", copy: str | None = None) -> Planned:
        return planned(self.result(self.plan_request(*named, where=where, copy=copy)))

    def plan_request(
        self, *named: str, where: str = "", copy: str | None = None
    ) -> MergePlanRequest:
        name = copy or self.copy
        return MergePlanRequest(
            "db",
            copy=name,
            copy_oid=oid_of(self.server, name),
            named=named,
            where=where,
            live_oid=oid_of(self.server, self.live),
        )

    def preview(self, staging: str, choices: Sequence[TableChoice]) -> MergePreview:
        request = MergePreviewRequest("db", staging=staging, choices=choices_text(tuple(choices)))
        preview = read_preview(self.result(request)["preview"])
        assert preview is not None
        return preview

    def merge_request(self, staging: str, choices: Sequence[TableChoice]) -> MergeRequest:
        """Foretell the choices, and return the request that does them."""
        return MergeRequest(
            "db",
            staging=staging,
            choices=choices_text(tuple(choices)),
            expected=preview_text(self.preview(staging, choices)),
        )

    def merge(self, staging: str, choices: Sequence[TableChoice]) -> Merged:
        merged = read_merged(self.result(self.merge_request(staging, choices))["merged"])
        assert merged is not None
        return merged

    def undo(self, staging: str, merged: Merged) -> Merged:
        request = MergeUndoRequest("db", staging=staging, set_number=merged.set_number)
        undone = read_merged(self.result(request)["merged"])
        assert undone is not None
        return undone


def planned(document: Mapping[str, Any]) -> Planned:
    """Return what a plan's result tells."""
    plan = read_plan(document["plan"])
    assert plan is not None
    return Planned(
        str(document["staging"]),
        plan,
        read_proposed(document["proposed"]),
        read_preview(document["preview"]),
        document,
    )


def make_recovery(
    server: ScratchServer, make_database: MakeDatabase, directory: Path, *setup: str
) -> Recovery:
    """Make a live database by these statements, and a copy of it as it is now."""
    url = make_database(server)
    live = url.partition("?")[0].rpartition("/")[2]
    execute(url, *setup)
    copy = f"{live}__restore_k3f9"
    make_copy(server, make_database, live, copy)
    return Recovery(server, make_site(directory / "site", url), live, copy)


def make_copy(server: ScratchServer, make_database: MakeDatabase, live: str, copy: str) -> None:
    """Copy a database as it is now; the copy is dropped when the test ends."""
    make_database(server, copy)
    execute(
        server.url(),
        f'DROP DATABASE "{copy}"',
        f'CREATE DATABASE "{copy}" TEMPLATE "{live}"',
    )


def changed(
    choices: Sequence[TableChoice], table: TableName, **fields: object
) -> tuple[TableChoice, ...]:
    """Return the choices with one table's changed, or added."""
    mine = next((c for c in choices if c.table == table), TableChoice(table, missing=False))
    new = replace(mine, **fields)  # type: ignore[arg-type]
    return (*(c for c in choices if c.table != table), new)
