"""Two configurations compared by names: entries and keys that came, went or changed."""

from __future__ import annotations

from fsbackup_tui.domain.config_change import compare_config, differing
from fsbackup_tui.engines.config_digest import DigestKey, config_facts
from fsbackup_tui.engines.config_files import ConfigItem

KEY = DigestKey.new()
BEFORE = (
    ConfigItem("file", "/srv/.env", b"A=1\nB=two\nC=3\n"),
    ConfigItem("file", "/etc/app.conf", b"server { }\n"),
    ConfigItem("variable", "NODE_ENV", b"production"),
    ConfigItem("command", "crontab", b"* * * * * x\n"),
)
NOW = (
    ConfigItem("file", "/srv/.env", b"A=1\nB='2'\nD=4\n"),
    ConfigItem("file", "/etc/app.conf", b"server { listen 80; }\n"),
    ConfigItem("variable", "NODE_ENV", b"production"),
    ConfigItem("variable", "PORT", b"80"),
)


def test_keys_and_entries_are_told_apart_by_name() -> None:
    changes = {c.name: c for c in compare_config(config_facts(BEFORE, KEY), config_facts(NOW, KEY))}
    assert {name: change.change for name, change in changes.items()} == {
        "/srv/.env": "changed",
        "/etc/app.conf": "changed",
        "NODE_ENV": "same",
        "PORT": "added",
        "crontab": "removed",
    }
    assert changes["/srv/.env"].words() == "changed (+D, -C, ~B)"
    assert changes["/etc/app.conf"].words() == "changed"
    assert changes["/srv/.env"].document()["keys"] == {
        "added": ["D"],
        "removed": ["C"],
        "changed": ["B"],
    }


def test_with_another_key_names_alone_are_compared() -> None:
    other = config_facts(NOW, DigestKey.new())
    changes = {c.name: c.words() for c in compare_config(config_facts(BEFORE, KEY), other)}
    assert changes["/srv/.env"] == "changed (+D, -C)"
    assert changes["NODE_ENV"] == "unknown"
    same = compare_config(config_facts(BEFORE, KEY), config_facts(BEFORE, KEY))
    assert differing(same) == ()
