"""What a killed worker leaves on the server where its sessions don't notice, and who ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg

from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job, load_job
from fsbackup_tui.jobs.layout import STATE, read_json, replace_json
from tests.support.faults import SLOW_RATE, fill, jobs_of, moving, wait_for_event
from tests.support.jobs import journal_lines
from tests.support.processes import is_running
from tests.support.relay import relay
from tests.support.servers import MakeDatabase, execute, query
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until


def sessions_of(url: str, job: Job) -> list[tuple[object, ...]]:
    return query(
        url,
        "SELECT pid, state FROM pg_stat_activity"
        f" WHERE application_name = 'fsbackup/{job.id}' ORDER BY pid",
    )


def said(job: Job, kind: type[Log | Warned] = Log) -> list[str]:
    events = (line.event for line in journal_lines(job.directory))
    return [event.text for event in events if isinstance(event, kind)]


def seen_to(job: Job) -> bool:
    document = read_json(job.directory / STATE)
    assert document is not None
    return bool(document["sessions_ended"])


def kill_in_mid_dump(site: Site) -> Job:
    """Start a backup and kill its worker when rows flow; return the lost job."""
    command = site.start("backup", "daily", "--json")
    job = wait_for_event(site, moving)
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)
    command.communicate(timeout=30)
    assert command.returncode == 1
    wait_until(lambda: not is_running(job.pid or 0))
    job = load_job(job.directory)
    assert job.state == "lost"
    return job


def test_the_next_backup_ends_the_sessions_that_a_killed_worker_left(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    fill(url)
    with relay(url) as relayed:
        site = make_site(
            tmp_path / "site", relayed, source={"max_rate": SLOW_RATE, "format": "custom"}
        )
        lost = kill_in_mid_dump(site)
        # Nobody told the server: its sessions, and with them their locks, would stay for ever.
        left = sessions_of(url, lost)
        assert len(left) >= 2
        assert "idle in transaction" in {state for _, state in left}
        assert not seen_to(lost)
        site.run("jobs")
        assert sessions_of(url, lost) == left, "a face ends nothing on a server"

        site.source = {}
        site.write_config()
        again = site.run("backup", "daily", "--json")
        assert again.exit_code == 0, again.stdout + again.stderr
        assert sessions_of(url, lost) == []
        assert seen_to(lost)
        second = jobs_of(site)[0]
        assert any(lost.id in text and "Ended" in text for text in said(second))

        assert site.run("backup", "daily", "--json").exit_code == 0
        assert not any(lost.id in text for text in said(jobs_of(site)[0]))


def lost_job(site: Site) -> Job:
    """Return a job that counts as lost: one that ended, its state rewritten."""
    assert site.run("backup", "daily", "--json").exit_code == 0
    return as_lost(jobs_of(site)[0])


def as_lost(job: Job) -> Job:
    document = read_json(job.directory / STATE)
    assert document is not None
    lost = {**document, "state": "lost", "sessions_ended": False, "problem": None, "result": {}}
    replace_json(job.directory / STATE, lost, sync=False)
    return load_job(job.directory)


def test_a_backup_names_the_sessions_it_may_not_end_and_the_administrator_ends_them(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    role = f"reader_{os.getpid()}"
    execute(url, "CREATE TABLE t (a int)", f"CREATE ROLE {role} LOGIN", f"GRANT ALL ON t TO {role}")
    site = make_site(tmp_path / "site", url.replace("postgres@", f"{role}@"))
    job = lost_job(site)
    try:
        with closing(psycopg.connect(url, application_name=f"fsbackup/{job.id}")) as left:
            first = site.run("backup", "daily", "--json")
            assert first.exit_code == 0, first.stdout + first.stderr
            assert left.execute("SELECT 1").fetchone() == (1,)
            warned = said(jobs_of(site)[0], Warned)
            assert any("1 sessions of a lost job" in text and job.id in text for text in warned)
            assert not seen_to(job)

            site.source = {"admin": {"url": url}}
            site.write_config()
            second = site.run("backup", "daily", "--json")
            assert second.exit_code == 0, second.stdout + second.stderr
            assert sessions_of(url, job) == []
            assert seen_to(job)
    finally:
        execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_recoverys_next_job_ends_what_a_lost_one_of_it_left(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database(server)
    site = make_site(tmp_path / "site", url)
    assert site.run("leftovers", "--json").exit_code == 0
    lost = as_lost(jobs_of(site)[0])
    with closing(psycopg.connect(url, application_name=f"fsbackup/{lost.id}")):
        assert len(sessions_of(url, lost)) == 1
        assert site.run("leftovers", "--json").exit_code == 0
        assert sessions_of(url, lost) == []
    assert seen_to(lost)
    assert any(lost.id in text and "Ended" in text for text in said(jobs_of(site)[0]))


def test_looking_for_sessions_is_tried_again_and_fails_no_job(
    server: ScratchServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The lost job's other source can't be reached; a verification doesn't even try."""
    url = make_database(server)
    site = make_site(
        tmp_path / "site",
        url,
        settings={
            "sources": {
                "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
                "other": {"kind": "postgres", "url": "${OTHER_URL}"},
            },
            "plans": {"daily": {"sources": ["db"]}, "both": {"sources": ["db", "other"]}},
        },
    )
    job = lost_job(site)
    document = read_json(job.directory / STATE)
    assert document is not None
    document["arguments"] = {**job_arguments(document), "plan": "both"}
    replace_json(job.directory / STATE, document, sync=False)

    assert site.run("verify", "latest", "--json").exit_code == 0
    assert job.id not in "".join(said(jobs_of(site)[0]))
    assert site.run("backup", "daily", "--json").exit_code == 0
    assert not seen_to(job), "nobody has looked at the other server"
    failed = site.run("backup", "both", "--json")
    assert "OTHER_URL" in failed.error["what"]
    assert any("OTHER_URL" in text for text in said(jobs_of(site)[0]))
    site.environment["OTHER_URL"] = url
    assert site.run("backup", "both", "--json").exit_code == 0
    assert seen_to(job)


def job_arguments(document: Mapping[str, object]) -> Mapping[str, object]:
    arguments = document["arguments"]
    assert isinstance(arguments, dict)
    return arguments
