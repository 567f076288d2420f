"""The section ``replicas:`` of the configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import ConfigError
from tests.unit.config.support import write_config

BASE = """site: shop
repository: /var/backups/shop
sources: {db: {kind: postgres, url: "postgresql://h/d"}}
plans: {daily: {sources: [db], replicas: [REPLICA]}}
replicas:
  far: PLACE
"""


def load(directory: Path, place: str, name: str = "far") -> object:
    text = BASE.replace("PLACE", place).replace("REPLICA", name)
    return load_config(write_config(directory, text), {}).config


def test_each_kind_of_place_is_read(tmp_path: Path) -> None:
    for place in (
        '{url: "s3://bucket/x", endpoint: "http://h", access_key: a, secret_key: {env: B}}',
        '{url: "sftp://u@h/x", key_file: /k, known_hosts: /n}',
        '{rsync: "u@h:/x", port: 2222}',
        '{rclone: "azure:x", rclone_config: /c}',
    ):
        load(tmp_path, place)
    config = load_config(
        write_config(tmp_path, BASE.replace("PLACE", '{rsync: "h:/x"}').replace("REPLICA", "far")),
        {},
    ).config
    assert config.replicas["far"].read_back.share == pytest.approx(0.1)
    assert config.replicas["far"].read_back.every == timedelta(days=30)
    assert config.plans["daily"].replicas == ("far",)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{}", "name one of rclone, rsync and url"),
        ('{rsync: "h:/x", rclone: "a:b"}', "name one of rclone, rsync and url"),
        ('{url: "https://h/x"}', "no kind of address"),
        ('{url: "sftp://u:word@h/x"}', "PASSWORD IN THE ADDRESS"),
        ('{rclone: ":s3,secret_access_key=word:x"}', "rclone is REMOTE:PATH"),
        ('{rclone: "s3,secret_access_key=word:x"}', "rclone is REMOTE:PATH"),
        ('{rsync: "-e sh:/x"}', "rsync is USER@HOST:/DIRECTORY"),
        ('{rsync: "h::module"}', "rsync is USER@HOST:/DIRECTORY"),
        ('{rsync: "h:/x", endpoint: e}', "endpoint does not go with"),
        ('{url: "s3://bucket", access_key: a}', "access_key and secret_key go together"),
        ('{rsync: "h:/x", bandwidth: 10}', "at least 1 kB"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, place)
    told = str(caught.value)
    assert message in told
    assert ":6:" in told
    assert "word" not in told.replace("PASSWORD", "").replace("password", "")


def test_a_plan_that_names_no_replica_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, '{rsync: "h:/x"}', "fra")
    assert "there is no replica 'fra'" in str(caught.value)
    assert "far" in str(caught.value)
