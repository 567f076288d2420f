"""The configuration for another machine: comments stay, places change, masks become variables."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.config.rebuild import OriginReplica, rebuild_config
from fsbackup_tui.config.yaml_reader import read_yaml

BLOCK = """\
# The shop's backups.
site: shop
env_file: /srv/shop/.env   # of the application
repository: /mnt/old
sources:
  db:
    kind: postgres
    url: "postgresql://ana:***@db1/shop"
    admin:
      url: "${ADMIN_URL:-***}"
plans:
  daily: {sources: [db]}
encryption: {method: age, passphrase: "***"}
"""
ENV = Path("/etc/fsbackup/config.env")
ORIGIN = OriginReplica(
    "s3://bucket/shop", {"endpoint": "https://s3.example.org"}, ("access_key", "secret_key")
)


def values(text: str) -> dict[str, object]:
    document = read_yaml(text, "new.yaml")
    assert document.problems == []
    assert isinstance(document.value, dict)
    return document.value


def test_places_change_and_comments_stay() -> None:
    rebuilt = rebuild_config(BLOCK, repository=Path("/mnt/new"), env_file=ENV, origin=None)
    assert "# The shop's backups." in rebuilt.text
    assert "# of the application" in rebuilt.text
    new = values(rebuilt.text)
    assert (new["repository"], new["env_file"]) == ("/mnt/new", str(ENV))
    assert (rebuilt.former_repository, rebuilt.former_env_file) == ("/mnt/old", "/srv/shop/.env")
    assert rebuilt.origin == ""


def test_what_was_masked_becomes_a_variable() -> None:
    rebuilt = rebuild_config(BLOCK, repository=None, env_file=ENV, origin=None)
    assert "***" not in rebuilt.text
    assert "postgresql://ana:${SOURCES_DB_URL}@db1/shop" in rebuilt.text
    assert '"${ADMIN_URL}"' in rebuilt.text
    assert rebuilt.masked == {
        "SOURCES_DB_URL": "sources.db.url",
        "ENCRYPTION_PASSPHRASE": "encryption.passphrase",
    }


def test_the_replica_it_came_from_is_known_though_its_keys_were_masked() -> None:
    text = BLOCK + (
        "replicas:\n  far: {url: 's3://bucket/shop', endpoint: 'https://s3.example.org',"
        " access_key: '***', secret_key: {text: '***'}}\n"
    )
    rebuilt = rebuild_config(text, repository=None, env_file=ENV, origin=ORIGIN)
    assert rebuilt.origin == "far"
    assert rebuilt.origin_variables == {
        "access_key": "REPLICAS_FAR_ACCESS_KEY",
        "secret_key": "REPLICAS_FAR_SECRET_KEY_TEXT",
    }
    replicas = values(rebuilt.text)["replicas"]
    assert isinstance(replicas, dict)
    assert list(replicas) == ["far"]
    assert replicas["far"]["access_key"] == "${REPLICAS_FAR_ACCESS_KEY}"
    assert replicas["far"]["secret_key"] == {"text": "${REPLICAS_FAR_SECRET_KEY_TEXT}"}


def test_the_replica_it_came_from_is_added_where_none_is_named() -> None:
    rebuilt = rebuild_config(BLOCK, repository=None, env_file=ENV, origin=ORIGIN)
    assert rebuilt.origin == "origin"
    assert values(rebuilt.text)["replicas"] == {
        "origin": {
            "url": "s3://bucket/shop",
            "endpoint": "https://s3.example.org",
            "access_key": {"env": "FSBACKUP_ORIGIN_ACCESS_KEY"},
            "secret_key": {"env": "FSBACKUP_ORIGIN_SECRET_KEY"},
        }
    }


def test_it_is_added_beside_others_in_either_style() -> None:
    for replicas in (
        "replicas:\n  far:\n    rsync: a@b:/c\n",
        'replicas: {far: {rsync: "a@b:/c"}}',
    ):
        rebuilt = rebuild_config(BLOCK + replicas, repository=None, env_file=ENV, origin=ORIGIN)
        found = values(rebuilt.text)["replicas"]
        assert isinstance(found, dict)
        assert found["far"] == {"rsync": "a@b:/c"}
        assert found["origin"]["url"] == "s3://bucket/shop"


def test_one_that_is_named_is_taken_with_its_own_variables() -> None:
    named = BLOCK + (
        "replicas:\n  s3:\n    url: s3://bucket/shop\n    endpoint: https://s3.example.org\n"
        "    access_key: {env: S3_ID}\n    secret_key: ${S3_SECRET}\n"
    )
    rebuilt = rebuild_config(named, repository=None, env_file=ENV, origin=ORIGIN)
    assert rebuilt.origin == "s3"
    assert rebuilt.origin_variables == {"access_key": "S3_ID", "secret_key": "S3_SECRET"}
    assert "origin" not in rebuilt.text


def test_a_site_without_an_env_file_gets_one() -> None:
    text = BLOCK.replace("env_file: /srv/shop/.env   # of the application\n", "")
    rebuilt = rebuild_config(text, repository=None, env_file=ENV, origin=None)
    assert values(rebuilt.text)["env_file"] == str(ENV)
    assert rebuilt.former_env_file == ""
