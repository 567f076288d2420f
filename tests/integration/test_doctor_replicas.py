"""What ``doctor`` says of replicas on a real server: each is called, and gets nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations.doctor import Finding
from fsbackup_tui.operations.doctor_replicas import check_replicas
from fsbackup_tui.operations.status import open_site_repository
from tests.support.replicas import free_port, s3_server
from tests.support.replicating import described, made, replicate, site_with, tree
from tests.support.sites import Site

pytestmark = pytest.mark.machine


async def told(site: Site) -> dict[str, Finding]:
    loaded = load_config(site.config, site.environ())
    home = open_site_repository(loaded, site.environ())
    found = await check_replicas(loaded, dict(os.environ), Redactor(()), home)
    return {finding.id: finding for finding in found}


async def test_each_replica_is_called_as_a_run_would_and_gets_nothing(tmp_path: Path) -> None:
    with s3_server(tmp_path / "far") as bucket:
        place = described(bucket.replica())
        wrong = {**place, "secret_key": "canary-not-the-key-0123456789abcdef"}
        gone = {**place, "endpoint": f"http://127.0.0.1:{free_port()}"}
        site = site_with(tmp_path, far=place, wrong=wrong, gone=gone)
        made(site)
        found = await told(site)
        assert found["replica-far"].severity == "ok"
        assert "answers, and is empty yet; " in found["replica-far"].what
        assert found["replica-wrong"].severity == "error"
        assert "REFUSES THE CREDENTIALS" in found["replica-wrong"].what
        assert found["replica-gone"].severity == "error"
        assert "gone" in found["replica-gone"].what
        assert all(one.fix for one in found.values() if one.severity != "ok")
        assert "canary" not in str(found)
        assert tree(bucket.files) == {}

        assert (await replicate(site, "far"))["ok"]
        assert "holds copies" in (await told(site))["replica-far"].what

        stranger = site_with(tmp_path / "other", far=place)
        made(stranger)
        other = (await told(stranger))["replica-far"]
        assert (other.severity, "ANOTHER REPOSITORY" in other.what) == ("error", True)


async def test_a_replica_that_no_plan_names_is_told(tmp_path: Path) -> None:
    with s3_server(tmp_path / "far") as bucket:
        site = site_with(tmp_path, far=described(bucket.replica()))
        site.settings = {**site.settings, "plans": {"daily": {"sources": ["db"]}}}
        site.write_config()
        made(site)
        found = (await told(site))["replica-far"]
        assert found.severity == "warning"
        assert found.what == "REPLICA far NOT USED: no plan names it."
        assert "replicas: [far]" in found.fix
