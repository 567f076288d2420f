"""A worker has imported all it needs before its first word, so that an upgrade harms no job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.launch import await_first_line, launch_worker, make_job_directory
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import BackupRequest, RestoreBesideRequest, VerifyRequest
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import Site, make_site
from tests.support.transfers import empty_kitchen_sink, fill_kitchen_sink
from tests.support.waiting import wait_until
from tests.support.watched_worker import MODULES


def run_job(site: Site, request: Request) -> tuple[Job, list[str]]:
    """Run a job to its end; return it and what its worker imported meanwhile."""
    environ = site.environ()
    directory, written = make_job_directory(
        request,
        load_config(site.config, environ),
        state=site.state,
        operator="ana",
        incident=None,
        epoch=None,
    )
    process = launch_worker(directory, environ, module="tests.support.watched_worker")
    await_first_line(process, directory, written)
    process.wait(timeout=60)
    wait_until((directory / MODULES).exists)
    return load_job(directory), (directory / MODULES).read_text().split()


@pytest.mark.parametrize("dump_format", ["custom", "directory", "plain"])
def test_nothing_is_imported_in_mid_job(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path, dump_format: str
) -> None:
    url = make_database(server)
    fill_kitchen_sink(url)
    try:
        run_all(server, url, tmp_path, dump_format)
    finally:
        empty_kitchen_sink(url)


def run_all(server: ScratchServer, url: str, tmp_path: Path, dump_format: str) -> None:
    site = make_site(
        tmp_path / "site", url, source={"format": dump_format}, settings={"env_file": "site.env"}
    )
    (site.directory / "site.env").write_text("UNUSED=1\n")
    copy = f"imports_{os.getpid()}_{dump_format}"
    backup, imported = run_job(site, BackupRequest(plan="daily"))
    assert (backup.state, imported) == ("ok", [])
    point = str(backup.result["point"])
    verify, imported = run_job(site, VerifyRequest(point=point))
    assert (verify.state, imported) == ("ok", [])
    try:
        restore, imported = run_job(site, RestoreBesideRequest(point, "db", copy))
        assert (restore.state, imported) == ("ok", [])
    finally:
        execute(server.url(), f'DROP DATABASE IF EXISTS "{copy}" WITH (FORCE)')
    missing, imported = run_job(site, VerifyRequest(point="20260101T000000Z-daily-none"))
    assert (missing.state, imported) == ("failed", [])
    site.url = "postgresql://nobody@no-such-host.invalid/none"
    failed, imported = run_job(site, BackupRequest(plan="daily"))
    assert (failed.state, imported) == ("failed", [])
