"""The site's own check sees the copy and nothing else, and what it prints tells no secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fsbackup_tui.domain.database_url import parse_database_url
from fsbackup_tui.domain.proof import ProofCheck
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.site_command import check_by_command, copy_environment
from tests.support.contexts import context_of
from tests.support.sites import make_site

COPY = parse_database_url("postgresql://postgres@/copy_k3f9?host=/run/scratch")
LIVE = "postgresql://app:hunter22@db1:5432/shop"


def make_context(directory: Path, environment: dict[str, str]) -> JobContext:
    site = make_site(directory / "site", LIVE)
    return replace(context_of(site, lambda _event: None), environment=environment)


async def check(tmp_path: Path, script: str, environment: dict[str, str]) -> ProofCheck:
    context = make_context(tmp_path, environment)
    return await check_by_command(context, ("sh", "-c", script), COPY, live_database="shop")


@pytest.mark.parametrize("name", ["APP_DATABASE", "DATABASE_URL", "POSTGRES_PRISMA_URL"])
def test_every_variable_that_leads_to_live_leads_to_the_copy(name: str) -> None:
    found = copy_environment({name: f"{LIVE}?pgbouncer=true"}, COPY, "shop")
    assert found[name] == found["DATABASE_URL"] == COPY.url().reveal()


def test_libpq_s_own_variables_lead_to_the_copy() -> None:
    live = {"PGHOST": "db1", "PGPASSWORD": "hunter22", "PGSERVICE": "shop", "PGSSLMODE": "require"}
    found = copy_environment(live, COPY, "shop")
    assert {name: value for name, value in found.items() if name.startswith("PG")} == {
        "PGHOST": "/run/scratch",
        "PGPORT": "5432",
        "PGDATABASE": "copy_k3f9",
        "PGUSER": "postgres",
    }


def test_what_leads_elsewhere_stays() -> None:
    other = {"EVENTS_URL": "postgresql://app@db2/events", "REDIS_URL": "redis://db1/0", "N": "shop"}
    found = copy_environment(other, COPY, "shop")
    assert {name: found[name] for name in other} == other


async def test_a_check_that_reads_the_site_s_own_variable_sees_the_copy(tmp_path: Path) -> None:
    script = 'case "$SHOP_DB" in */copy_k3f9*) exit 0;; esac; exit 1'
    assert (await check(tmp_path, script, {"SHOP_DB": LIVE})).verdict == "equal"


async def test_what_a_failing_check_prints_tells_no_secret(tmp_path: Path) -> None:
    environment = {"STRIPE_SECRET_KEY": "sk_live_4242", "SHOP_DB": LIVE}
    found = await check(tmp_path, 'echo "key $STRIPE_SECRET_KEY of $HOME" >&2; exit 3', environment)
    assert found.verdict == "different"
    assert found.note.startswith("it ended with exit status 3: key *** of ")


async def test_what_it_printed_on_standard_output_is_told_too(tmp_path: Path) -> None:
    environment = {"API_TOKEN": "abc123def"}
    found = await check(tmp_path, 'echo "3 orders without user $API_TOKEN"; exit 1', environment)
    assert found.note == "it ended with exit status 1: 3 orders without user ***"


async def test_a_check_may_print_without_end(tmp_path: Path) -> None:
    found = await check(tmp_path, "yes 'a line of some length' | head -c 20000000", {})
    assert found.verdict == "equal"


async def test_a_program_that_may_not_be_run_says_so(tmp_path: Path) -> None:
    program = tmp_path / "check.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    context = make_context(tmp_path, {})
    found = await check_by_command(context, (str(program),), COPY, live_database="shop")
    assert found.verdict == "blocked"
    assert found.note.startswith(f"PROGRAM NOT RUNNABLE: {program}.")
