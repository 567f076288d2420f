"""Every mistake at once, each with its line, its value and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import ConfigError
from tests.unit.config.support import MINIMAL, write_config

TEN_MISTAKES = """\
site: face swap
timezone: Europe/Berlni
repositry: /var/backups/x
sources:
  db:
    kind: postgres
    url: "${DATABASE_URL}"
    jobs: 0
    scope: ful
    lock_timeout: soon
  copy: {kind: postgres, url: {password: hunter2}}
plans:
  daily: {sources: [db, uploads]}
  daily: {sources: [db]}
state: ${NOWHERE}/state
"""


def mistakes(tmp_path: Path, text: str) -> list[str]:
    path = write_config(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"HOME": "/home/ana"})
    assert caught.value.exit_code == 2
    assert caught.value.kind == "config"
    return [problem.text().removeprefix(f"{path.parent}/") for problem in caught.value.problems]


def test_ten_mistakes_give_ten_messages_with_their_lines(tmp_path: Path) -> None:
    found = mistakes(tmp_path, TEN_MISTAKES)
    described = (
        'write a text such as "${DATABASE_URL}", or {env: NAME}, {file: /path}, '
        "{command: [program, argument]} or {agent: CACHE-ID}"
    )
    expected = [
        "1: 'repository' is missing; add repository: /var/backups/NAME, where recovery points go",
        "1: site: 'face swap' can't be used; a name has letters, digits, - and _, beginning "
        "with a letter or digit, at most 40",
        "2: timezone: 'Europe/Berlni' can't be used; name a time zone as the tz database does, "
        "did you mean Europe/Berlin?",
        "3: unknown setting 'repositry'; did you mean repository?",
        "8: sources.db.jobs: 0 is too small; write auto or a whole number from 1 to 64",
        "9: sources.db.scope: 'ful' is not known here; did you mean full?",
        "10: sources.db.lock_timeout: 'soon' can't be used; a duration looks like 30s, 15m, "
        "2h or 7d",
        f"11: sources.copy.url: *** can't be used; {described}",
        "13: plans.daily.sources[1]: there is no source 'uploads'; known here: db, copy",
        "14: the key 'daily' is given twice, in lines 13 and 14; keep one of them",
        "15: state: the variable NOWHERE is not set; set it in the environment, or write "
        "${NAME:-default}",
    ]
    assert sorted(found) == sorted(f"fsbackup.yaml:{text}" for text in expected)
    lines = [int(text.split(":")[1]) for text in found]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("site: 12", "site: 12 can't be used; write a text, in quotes if"),
        ("site: true", "site: true can't be used; write a text"),
        ("site:", "site: has no value"),
        ("repository: ''", "repository: '' can't be used; write the path in full"),
        ("repository: ~bob/x", "repository: '~bob/x' can't be used; write the path in full"),
        ("repository: [a]", "repository: a list can't be used; write a path"),
        ("repository: postgresql://u:hunter2@h/d}${", "can't be used; write ${NAME}"),
        ("sources: {}", "sources: is empty; name at least one"),
        (
            "integrity: [{name: a, sql: ' ', expect: no rows}]",
            "integrity[0].sql: is empty; write a text",
        ),
        (
            "integrity: [{name: a, sql: x, expect: no rows}, {name: a, sql: y, expect: no rows}]",
            "integrity: a list can't be used; two are called 'a'; give each its own name",
        ),
        ("sources: abc", "sources: 'abc' can't be used; write a section"),
        ("sources: [a]", "sources: a list can't be used; write a section"),
        ("sources: {db: abc}", "sources.db: 'abc' can't be used; write a section"),
        ("sources: {db: {kind: mysql, url: x}}", "'mysql' is not known here; write one of: postg"),
        ("sources: {db: {url: x}}", "'kind' is missing in sources.db; add kind: postgres"),
        ("sources: {db: {kind: postgres}}", "'url' is missing in sources.db; add url:"),
        ("sources: {'a b': {kind: postgres, url: x}}", "'a b' is no name: letters, digits"),
        ("sources: {db: {kind: postgres, url: {env: A B}}}", "url: *** can't be used; write a"),
        ("sources: {db: {kind: postgres, url: {comand: [x]}}}", "url: *** can't be used; write a"),
        ("sources: {db: {kind: postgres, url: 12}}", "sources.db.url: *** can't be used"),
        ("sources: {db: {kind: postgres, url: ''}}", "sources.db.url: *** can't be used"),
        ("sources: {db: {kind: postgres, url: '${A'}}", "sources.db.url: can't be used; write"),
        (
            "sources: {db: {kind: postgres, url: x, admin: {ur: y}}}",
            "'ur' in sources.db.admin; did",
        ),
        ("plans: {daily: {}}", "'sources' is missing in plans.daily"),
        ("plans: {daily: {sources: []}}", "plans.daily.sources: is empty; name at least one"),
        ("plans: {daily: {sources: db}}", "plans.daily.sources: 'db' can't be used; write a list"),
        ("plans: {daily: {sources: [db, db]}}", "the source 'db' is named twice"),
        ("plans: {daily: {sources: [db], when: '02:00'}}", "unknown setting 'when' in plans.daily"),
        ("limits: {nice: 40}", "limits.nice: 40 is too large; write a whole number from 0 to 19"),
        ("limits: {jobs: true}", "limits.jobs: true can't be used; a whole number is needed"),
        ("limits: {jobs: many}", "limits.jobs: 'many' can't be used; write a whole number from 1"),
        ("limits: {ionice: idel}", "limits.ionice: 'idel' is not known here; did you mean idle?"),
        ("limits: {snapshot_age: 2}", "limits.snapshot_age: 2 can't be used; a duration looks"),
        ("limits: {snapshot_age: 99999999999d}", "'99999999999d' can't be used; 36500 days is"),
        ("retention: {grace: 999999d}", "retention.grace: '999999d' can't be used; 36500 days is"),
        (
            "plans: {daily: {sources: [db], keep: {within: 0d}}}",
            "plans.daily.keep.within: '0d' can't be used; a duration longer than 0 is needed",
        ),
        ("read_only: maybe", "read_only: 'maybe' can't be used; write true or false"),
        ("timezone: Mars", "timezone: 'Mars' can't be used; name a time zone"),
        ("timezone: ../../etc/passwd", "timezone: '../../etc/passwd' can't be used"),
        ("clients: /usr/bin", "clients: '/usr/bin' can't be used; write a list"),
        ("password: hunter2", "unknown setting 'password'; known here: site"),
        ("site_: !x hunter2", "the tag !x is not used in this file"),
    ],
)
def test_single_mistakes(tmp_path: Path, line: str, message: str) -> None:
    key = line.partition(":")[0]
    kept = []
    skipping = False
    for old in MINIMAL.format(repository="/r").splitlines():
        skipping = old.startswith(f"{key}:") or (skipping and old.startswith(" "))
        if not skipping:
            kept.append(old)
    found = "\n".join(mistakes(tmp_path, "\n".join([*kept, line]) + "\n"))
    assert message in found
    assert f"fsbackup.yaml:{len(kept) + 1}: " in found
    assert "hunter2" not in found
    for spew in ("pydantic", "Input should", "SecretText", "literal["):
        assert spew not in found


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("compression: gzip:10", "write auto, none, gzip, gzip:1 to gzip:9"),
        ("jobs: many", "write auto or a whole number from 1 to 64"),
        ("jobs: 65", "65 is too large; write auto or a whole number from 1 to 64"),
        ("suspect_fall: 130 %", "1.3 is too large; write a share from 0 to 1"),
        ("suspect_fall: much", "'much' can't be used; a share looks like 30 % or 0.3"),
        ("max_rate: fast", "'fast' can't be used; a size looks like 500MB or 1.5GB"),
        ("exclude_tables: [1]", "exclude_tables[0]: 1 can't be used; write a text"),
        ("accept_blocked: pg_cron", "accept_blocked: 'pg_cron' can't be used; write a list"),
        ("accept_blocked: [pg_cron]", "accept_blocked[0]: 'pg_cron' can't be used; write a sect"),
        ("accept_blocked: [{what: a}]", "'reason' is missing in sources.db.accept_blocked[0]; add"),
        ("accept_blocked: [{reason: a}]", "'what' is missing in sources.db.accept_blocked[0]; add"),
        (
            "accept_blocked: [{what: '  ', reason: a}]",
            "accept_blocked[0].what: '' can't be used; write words that tell something",
        ),
        (
            "accept_blocked: [{what: a, reason: ''}]",
            "accept_blocked[0].reason: '' can't be used; write words that tell something",
        ),
        ("formt: custom", "unknown setting 'formt' in sources.db; did you mean format?"),
    ],
)
def test_mistakes_in_a_source(tmp_path: Path, setting: str, message: str) -> None:
    text = MINIMAL.format(repository="/r").replace("kind: postgres,", f"kind: postgres, {setting},")
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith("fsbackup.yaml:4: ")
    assert message in found[0]


def test_a_variable_that_an_unread_env_file_may_hold(tmp_path: Path) -> None:
    text = MINIMAL.format(repository="${BASE}/r") + "env_file: /nowhere/.env\n"
    (found,) = mistakes(tmp_path, text)
    assert found == (
        "fsbackup.yaml:2: repository: the variable BASE is not set; "
        "mend this first: env_file /nowhere/.env can't be read (No such file or directory)"
    )


def test_a_repository_in_a_git_work_tree_or_a_data_directory(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / ".git").mkdir(parents=True)
    (tree / ".git" / "HEAD").touch()
    data = tmp_path / "data"
    (data / "base").mkdir(parents=True)
    (data / "PG_VERSION").touch()
    for place, words in (
        (tree / "backups", f"lies inside the git work tree {tree}"),
        (data / "backups", f"lies inside the PostgreSQL data directory {data}"),
    ):
        (found,) = mistakes(tmp_path, MINIMAL.format(repository=place))
        assert found.startswith("fsbackup.yaml:2: repository: ")
        assert words in found


def test_times_that_are_none_are_named_with_their_lines(tmp_path: Path) -> None:
    text = MINIMAL.format(repository=tmp_path / "repo").replace(
        "daily: {sources: [db]}", "daily: {sources: [db], at: 25:00}"
    )
    text += (
        "drills:\n  monthly: {at: monthly 32 04:00}\n  bare: {point: newest}\n"
        "check: {at: 5}\nverify_due:\n  at: every night\n"
    )
    found = mistakes(tmp_path, text)
    assert found[0] == (
        "fsbackup.yaml:6: plans.daily.at: '25:00' can't be used; there is no 25:00: a day goes "
        "from 00:00 to 23:59"
    )
    assert "8: drills.monthly.at: 'monthly 32 04:00' can't be used; '32' is no day" in found[1]
    assert "9: 'at' is missing in drills.bare; add at: …" in found[2]
    assert "10: check.at: 5 can't be used; a time is needed here: write '02:00'" in found[3]
    assert "12: verify_due.at: 'every night' can't be used; 'every night' is no time" in found[4]


def test_what_is_pinged_is_a_plan(tmp_path: Path) -> None:
    text = MINIMAL.format(repository=tmp_path / "repo")
    text += "notify:\n  ping:\n    dayly: https://hc.example.org/x\n    check: https://x.org/y\n"
    [found] = mistakes(tmp_path, text)
    assert (
        found == "fsbackup.yaml:9: notify.ping.dayly: there is no plan 'dayly'; did you mean daily?"
    )
