"""Whether a point's database and code fit, by the migrations each of them has."""

from __future__ import annotations

import dataclasses

import pytest

from fsbackup_tui.domain.fit import fits_of, migration_fit
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import CodeFacts
from tests.support.points import START, part

NAMES = ("20250101_init", "20250301_users", "20260105_events")


def code(*migrations: str) -> CodeFacts:
    head = migrations[-1] if migrations else None
    return CodeFacts(
        "/srv/app", "a" * 40, "main", (), 0, 0, 0, 0, migration_head=head, migrations=migrations
    )


@pytest.mark.parametrize(
    ("database", "facts", "verdict", "words"),
    [
        (NAMES[-1], code(*NAMES), "same", "both are at 20260105_events"),
        (NAMES[0], code(*NAMES), "code newer", "2 migrations are pending: 20250301_users, "),
        (NAMES[1], code(*NAMES), "code newer", "1 migration is pending: 20260105_events"),
        (NAMES[-1], code(*NAMES[:2]), "database newer", "does not have its 20260105_events"),
        ("20250201_other", code(*NAMES), "unknown", "does not have the database's 20250201_other"),
        (None, code(*NAMES), "unknown", "the database tells of no migration"),
        (NAMES[0], code(), "unknown", "the code tells of no migration"),
        (NAMES[0], None, "unknown", "the code tells of no migration"),
    ],
)
def test_the_verdict_and_its_words(
    database: str | None, facts: CodeFacts | None, verdict: str, words: str
) -> None:
    fit = migration_fit(database, facts)
    assert fit.verdict == verdict
    assert words in fit.words()


def test_every_database_is_put_beside_every_code_part() -> None:
    sources = [
        part("db", migration_head=NAMES[0]),
        part("log"),
        PartManifest("app", "code", START, START, (), (), code=code(*NAMES)),
        PartManifest("page", "code", START, START, (), (), code=code()),
    ]
    found = {(database, app): fit.verdict for database, app, fit in fits_of(sources)}
    assert found == {
        ("db", "app"): "code newer",
        ("db", "page"): "unknown",
        ("log", "app"): "unknown",
    }
    assert list(fits_of([dataclasses.replace(sources[0])])) == []
