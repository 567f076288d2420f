"""The kit and the writer's right: told when they are not what the day of the fire needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from fsbackup_tui.repository.kit import KitFact, remember_kit
from fsbackup_tui.repository.writers import Retirement, retire, this_writer
from tests.support.checking import Watched, healthy

REPLICA = "replicas: {s3: {rclone: 's3:bucket/shop'}}\n"


def kit_of(site: Watched) -> KitFact:
    return KitFact(site.now, site.loaded.digest, "0.6", "/media/kit", (), ("s3",))


def test_a_site_with_replicas_and_no_kit_is_told_until_there_is_one(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    assert "kit" not in site.found()
    site.configure(more=REPLICA)
    assert site.found()["kit"].what.startswith("NO RECOVERY KIT")
    remember_kit(site.state, kit_of(site))
    assert "kit" not in site.found()


def test_a_kit_of_another_configuration_or_replica_is_out_of_date(tmp_path: Path) -> None:
    site = healthy(tmp_path, more=REPLICA)
    made = kit_of(site)
    remember_kit(site.state, made)
    assert "kit" not in site.found()
    remember_kit(site.state, replace(made, config_digest="another"))
    assert "configuration is another one" in site.found()["kit"].why
    remember_kit(site.state, replace(made, replicas=()))
    assert "does not tell of the replica s3" in site.found()["kit"].why
    remember_kit(site.state, made)
    assert "kit" not in site.found()


def test_a_host_that_was_retired_is_told(tmp_path: Path) -> None:
    site = healthy(tmp_path)
    own = this_writer(site.repository, site.state, host="db1", now=site.now)
    assert "writer-retired" not in site.found()
    retire(site.repository, Retirement(own.id, "db1", "ana", site.now, "it burned"))
    found = site.found()["writer-retired"]
    assert found.severity == "critical"
    assert "it burned" in found.why
    assert found.since == site.now
    site.now += timedelta(hours=1)
    assert site.found()["writer-retired"].since != site.now
