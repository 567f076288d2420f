"""RECOVER.md: commands that a shell takes as pasted, whatever the names are."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.point import Artifact, DatabaseSetting, Manifest, PartManifest
from fsbackup_tui.repository.recover_text import copy_name, point_recover_text, stock_commands
from tests.support.points import START, make_point, make_repository, part

NASTY = "we\"ird; `db` $(touch pwned) '\n```sh\ntouch pwned\n```"


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def dumped(*paths: str, **changes: Any) -> PartManifest:
    artifacts = tuple(Artifact(path, "dump", 1, "0" * 64) for path in paths)
    return dataclasses.replace(part(**changes), artifacts=artifacts)


def manifest(description: PartManifest) -> Manifest:
    return Manifest(
        id="20261120T010000Z-daily-k3f9",
        sequence=1,
        site="face-swap",
        plan="daily",
        reason=None,
        host="db1",
        operator="ana",
        tool_version="0.1",
        started=START,
        finished=START,
        phases={},
        parts=(description,),
        job="job-1",
    )


@pytest.mark.parametrize(
    ("paths", "changes", "command"),
    [
        (
            ["database.dump"],
            {},
            'pg_restore --jobs=4 --no-subscriptions -d "$NEW_DATABASE" db/database.dump',
        ),
        (
            ["database/12.dat.zst", "database/toc.dat"],
            {"format": "directory"},
            'pg_restore --jobs=4 --no-subscriptions -d "$NEW_DATABASE" db/database',
        ),
        (
            ["database.sql.gz"],
            {"format": "plain"},
            "gzip -dc db/database.sql.gz | psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -1 "
            '-d "$NEW_DATABASE"',
        ),
        (
            ["database.sql.zst"],
            {"format": "plain", "scope": "schema"},
            "zstd -dc db/database.sql.zst | psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -1 "
            '-d "$NEW_DATABASE"',
        ),
        (
            ["database.dump"],
            {"scope": "data"},
            "pg_restore --jobs=4 --no-subscriptions --data-only "
            '-d "$NEW_DATABASE" db/database.dump',
        ),
    ],
)
def test_the_command_of_each_form(paths: list[str], changes: dict[str, Any], command: str) -> None:
    text = point_recover_text(manifest(dumped(*paths, **changes)))
    assert command in "".join(shell_blocks(text)).splitlines()
    assert command in stock_commands(dumped(*paths, **changes))
    creates = "createdb" in text
    assert creates is (changes.get("scope") != "data")


def test_a_shell_takes_every_block_and_no_name_escapes(tmp_path: Path) -> None:
    description = dumped(
        "database.dump",
        roles=("app", NASTY, "pg_monitor"),
        settings=(
            DatabaseSetting(None, "search_path", '"$user", public'),
            DatabaseSetting(NASTY, "my.thing", NASTY),
            DatabaseSetting(None, "empty.one", ""),
        ),
        subscriptions=(NASTY,),
        grants=(NASTY,),
    )
    facts = description.postgres
    assert facts is not None
    named = dataclasses.replace(facts.identity, database=NASTY, server_version=NASTY)
    description = dataclasses.replace(
        description, postgres=dataclasses.replace(facts, identity=named, owner=NASTY)
    )
    text = point_recover_text(manifest(dataclasses.replace(description, suspect=(NASTY,))))
    blocks = shell_blocks(text)
    assert len(blocks) >= 6
    for block in blocks:
        checked = subprocess.run(["sh", "-n"], input=block, text=True, check=False)
        assert checked.returncode == 0, block
    commands = [line for block in blocks for line in block.splitlines()]
    assert not any(line.strip() == "touch pwned" for line in commands), "a fence was forged"
    assert sum(line == "SQL" for line in commands) == 2, "a here-document was ended early"
    for block in blocks:
        # What the shell itself would run, were the stock tools only words.
        stubbed = "psql() { cat > /dev/null; }; createdb() { :; }; pg_restore() { :; };"
        stubbed += " vacuumdb() { :; }; sha256sum() { :; };"
        ran = subprocess.run(
            ["sh", "-eu"],
            input=f"NEW_DATABASE=x\n{stubbed}\n{block}",
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_the_new_name_is_plain_and_can_be_chosen(tmp_path: Path) -> None:
    assert copy_name(NASTY).replace("_", "").isalnum()
    assert len(copy_name("x" * 80)) == 63
    block = shell_blocks(point_recover_text(manifest(dumped("database.dump"))))[1]
    for given, expected in (("", "face_swap_restored"), ("mine", "mine")):
        said = subprocess.run(
            ["sh", "-c", f'{block}\nprintf %s "$NEW_DATABASE"'],
            env={"NEW_DATABASE": given, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == expected


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"locale_provider": "icu", "locale": "de-DE"}, "--icu-locale=de-DE"),
        ({"locale_provider": "builtin", "locale": "C.UTF-8"}, "--builtin-locale=C.UTF-8"),
        ({"encoding": "LATIN1", "collate": "de DE"}, "'--lc-collate=de DE'"),
        ({}, "--locale-provider=libc"),
    ],
)
def test_the_database_is_made_as_it_was(changes: dict[str, Any], option: str) -> None:
    text = point_recover_text(manifest(dumped("database.dump", **changes)))
    line = next(line for line in text.splitlines() if line.startswith("createdb"))
    assert option in line
    assert "--template=template0" in line


def test_what_is_needed_is_said() -> None:
    text = point_recover_text(manifest(dumped("database.dump", client_version="17.6")))
    assert "Needs `pg_restore` 17 or newer" in text
    assert "Roles it refers to: `app`" in text


def test_the_blocks_at_the_root_find_and_check_the_newest_whole_point(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    point = make_point(repository)
    (repository.points / "20990101T000000Z-daily-zzzz").mkdir()
    blocks = shell_blocks((repository.root / "RECOVER.md").read_text())
    done = subprocess.run(
        ["sh", "-eu"],
        input="\n".join(blocks),
        cwd=repository.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "manifest.json: OK" in done.stdout
    assert f"# How to restore {point.id} without fsbackup" in done.stdout
