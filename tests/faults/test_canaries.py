"""No secret is told anywhere, and nothing of an encrypted site lies in plain, whatever runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.key_question import KeyQuestion
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from fsbackup_tui.jobs.job import Job
from fsbackup_tui.jobs.layout import JOURNAL
from fsbackup_tui.tui.widgets.hidden import HiddenPanel
from tests.support.canaries import (
    Canaries,
    CanarySite,
    DiskLook,
    ProcessLook,
    Sightings,
    make_canary_site,
    watch,
)
from tests.support.faults import jobs_of, newest_job
from tests.support.keys import at_the_keys
from tests.support.prompting import Person
from tests.support.servers import MakeDatabase, execute, query
from tests.support.waiting import wait_until
from tests.tui.fakes import FakeSite, make_app
from tests.tui.screens import press, until, until_text

ROWS = 3000
KINDS = [
    pytest.param("age", id="age"),
    pytest.param("gpg", id="gpg and code", marks=pytest.mark.machine),
]


@pytest.fixture(params=KINDS)
def nest(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    canary_server: ScratchServer,
    make_database: MakeDatabase,
) -> CanarySite:
    """A site full of canaries, never backed up."""
    canaries = Canaries()
    url = make_database(canary_server)
    execute(
        url,
        "CREATE TABLE videos (id int PRIMARY KEY, path text, title text)",
        "INSERT INTO videos SELECT i, CASE WHEN i % 2 = 0 THEN 'a.txt' ELSE 'b.txt' END,"
        f" '{canaries.of('row')}' || md5(i::text) FROM generate_series(1, {ROWS}) AS i",
    )
    method = request.param
    return make_canary_site(
        tmp_path / "site", url, canaries, method=method, with_code=method == "gpg"
    )


def test_the_watchers_see(tmp_path: Path) -> None:
    """They are worth nothing if they see nothing."""
    canaries = Canaries()
    deleted = tmp_path / "deleted"
    expected = {"kept", "deleted (deleted), open"}
    look = DiskLook(canaries, [tmp_path])
    (tmp_path / "kept").write_text(canaries.of("row"))
    deleted.write_text(canaries.of("file"))
    environ = {"PATH": os.environ["PATH"], "PHRASE": canaries.passphrase}
    with (
        deleted.open("rb") as handed,
        watch(ProcessLook(canaries)) as others,
        watch(look) as seen,
        subprocess.Popen(
            ["tail", "-f", "/dev/null", canaries.password],
            env=environ,
            stdin=handed,
            stderr=subprocess.DEVNULL,
        ) as child,
    ):
        deleted.unlink()
        wait_until(lambda: len(others.seen) > 1 and _tails(seen) >= expected, what="all is seen")
        child.kill()
    assert sorted(sight.partition(":")[0].partition(" of ")[0] for sight in others.seen) == [
        "command line",
        "environment",
    ]


async def test_screens_that_crash_tell_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Not in the exception's words, nor in the variables of those that were at work."""
    canaries = Canaries()
    app = make_app(environ={"FSBACKUP_PASSPHRASE": canaries.passphrase})

    def breaks() -> None:
        known = {"DATABASE_URL": f"postgres://app:{canaries.password}@db/shop"}
        raise KeyError(f"{canaries.passphrase}, {len(known)} known")

    async def crash() -> None:
        async with app.run_test() as pilot:
            app.call_later(breaks)
            await pilot.pause()

    with pytest.raises(KeyError):
        await crash()
    told = capsys.readouterr().err
    assert "in breaks" in told
    assert "KeyError: '***, 1 known'" in told
    assert [secret for secret in canaries.secrets if secret in told] == []


@pytest.mark.parametrize("way", ["typed", "pasted"])
async def test_screens_that_crash_tell_nothing_of_what_was_typed_hidden(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Not in the words of an exception that shows the event, or what was made of it."""
    secret = Canaries().passphrase
    site = FakeSite(question=KeyQuestion("face-swap", "k3f9x2ab"), passphrase="another")
    app = make_app(site)

    def refuse(*seen: object, **_named: object) -> None:
        raise LookupError(f"nothing for {seen}, {app.screen.query_one(HiddenPanel).text}")

    async def crash() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await until_text(pilot, "1/8")
            await press(pilot, "b")
            await until_text(pilot, "Back up now?")
            await press(pilot, "1")
            await until_text(pilot, "Passphrase of face-swap")
            await press(pilot, *secret)
            if way == "pasted":
                monkeypatch.setattr(HiddenPanel, "_insert", refuse)
                event = events.Paste(f"{secret}-pasted\nand {secret}")
                app.screen.query_one(HiddenPanel).post_message(event)
            else:
                app.call_later(refuse)
            await until(pilot, lambda: not app.is_running)

    with pytest.raises(LookupError):
        await crash()
    told = capsys.readouterr().err
    assert "LookupError: nothing for " in told
    assert secret not in told
    assert "-pasted" not in told


def _tails(seen: Sightings) -> set[str]:
    return {sight.rpartition("/")[2] for sight in seen.seen}


class Told:
    """What commands said, and the places where a secret stands in it."""

    def __init__(self, nest: CanarySite) -> None:
        self._nest = nest
        self.leaks: list[str] = []
        self.codes: dict[str, int] = {}

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run a command, look through its words, and return them."""
        result = self._nest.site.run(*arguments)
        said = result.stdout + result.stderr
        self.look(" ".join(arguments), said)
        assert code is None or result.exit_code == code, f"{arguments}: {said}"
        return said

    def look(self, what: str, said: str) -> None:
        """Look through some text."""
        secrets = self._nest.canaries.secrets
        self.leaks += [f"{secret} in {what}" for secret in secrets if secret in said]
        assert "Traceback" not in said, f"{what}: {said}"


def test_no_secret_is_told_while_everything_runs(nest: CanarySite) -> None:
    told = Told(nest)
    with watch(ProcessLook(nest.canaries)) as others:
        told.run("doctor", code=None)
        told.run("backup", "daily", "--json")
        told.run("verify", "latest", "--level", "proven", "--json")
        told.run("show", "latest")
        _change_live(nest)
        told.run("restore", "latest", "--part", "env", "--diff")
        told.run("backup", "daily")
        asyncio.run(_screens(nest, told))
        _restore_all(nest, told)
        if not nest.has_code:  # once is enough for what knows of no key
            _swap(nest, told)
            _exchange(nest, told)
            _init(nest, told)
        _crash(nest, told)
        _other_key(nest, told)
        _recover(nest, told)
        told.run("jobs", "--json")
        told.run("list", "--json")
        told.run("show", "latest", "--json")
    assert others.looks > 100
    assert others.seen == set()
    assert told.leaks == []
    assert nest.told() == []
    _nothing_shows_itself(nest)


def _change_live(nest: CanarySite) -> None:
    env_file = nest.live / ".env"
    env_file.write_text(f"{env_file.read_text()}ADDED={nest.canaries.of('env-value')}-too\n")


def _restore_all(nest: CanarySite, told: Told) -> None:
    out = nest.out
    told.run("restore", "latest", "--part", "db", "--beside", nest.name_of("beside"), "--json")
    told.run("restore", "latest", "--part", "db", "--tables", "videos", code=None)
    told.run("restore", "latest", "--part", "env", "--to", str(out / "env"))
    told.run(
        *("restore", "latest", "--part", "env", "--in-place", "--files", ".env"),
        *("--confirm", "face-swap"),
        code=None,
    )
    told.run("restore", "latest", "--part", "uploads", "--to", str(out / "uploads"))
    (nest.live / "storage" / "a.txt").unlink()
    told.run(
        *("restore", "latest", "--part", "uploads", "--put-back", "--confirm", "storage"),
        *("--reason", "it is the test's own"),
    )
    assert (nest.live / "storage" / "a.txt").exists()
    if nest.has_code:
        told.run("restore", "latest", "--part", "code", "--to", str(out / "code"))
    point = nest.site.repository / "points" / nest.site.points()[0]["id"]
    (stored,) = point.glob("env/config.tar.gz.*")
    told.run("decrypt", str(stored), "--output", str(out / "config.tar.gz"))
    assert (out / "config.tar.gz").exists()


def _newest(nest: CanarySite) -> str:
    return str(nest.site.run("incidents", "--json").document["incidents"][0]["id"])


def _swap(nest: CanarySite, told: Told) -> None:
    """The database of the point swapped in, and back."""
    ((live,),) = query(nest.url, "SELECT current_database()::text")
    words = ("--confirm", str(live), "--reason", "it is the test's own")
    told.run("restore", "latest", "--part", "db", "--swap", *words)
    told.run("rollback", "--incident", _newest(nest), "--confirm", str(live))


def _exchange(nest: CanarySite, told: Told) -> None:
    """The tree of the point exchanged for live's, and back."""
    words = ("--confirm", "storage", "--reason", "it is the test's own")
    told.run("restore", "latest", "--part", "uploads", "--exchange", *words)
    told.run("rollback", "--incident", _newest(nest), "--confirm", "storage")


def _init(nest: CanarySite, told: Told) -> None:
    """A second configuration beside, made of the application's own file."""
    made = nest.live / "second.yaml"
    repository = str(nest.out / "second")
    words = ("--site", "second", "--repository", repository, "--output", str(made))
    nest.site.environment["ITS_URL"] = nest.url
    told.run("init", "--yes", "--url-env", "ITS_URL", *words)
    del nest.site.environment["ITS_URL"]
    told.look("the configuration that init wrote", made.read_text())


def _recover(nest: CanarySite, told: Told) -> None:
    """An incident begun at a terminal and left: its hand-over, its NOW.txt, its report."""
    person = Person(nest.site, "recover", "data-loss", "--plain", "--last-right", "unknown")
    for answer in ("", "h", "q"):
        if person.child.isalive():
            person.say(answer)
    told.look("recover --plain", person.seen)
    assert "data-loss" in person.seen
    person.child.close(force=True)
    incident = nest.site.run("incidents", "--json").document["incidents"][0]["id"]
    told.run("incidents", "show", incident)
    told.run("incidents", "report", incident)
    assert list(nest.site.directory.rglob("NOW.txt"))


def _crash(nest: CanarySite, told: Told) -> None:
    """A worker killed in mid-backup; what it left goes with the next."""
    known = {job.id for job in jobs_of(nest.site)}
    running = nest.site.start("backup", "daily")
    job = begun(nest, known)
    wait_until(lambda: "stage-started" in (job.directory / JOURNAL).read_text(), what="a stage")
    kill_worker(nest)
    stdout, stderr = running.communicate(timeout=60)
    told.look("a backup whose worker was killed", stdout + stderr)
    told.run("backup", "daily")
    assert len(jobs_of(nest.site)) > 3


def _other_key(nest: CanarySite, told: Told) -> None:
    """The passphrase changed, all points encrypted anew; then a wrong one."""
    site, former = nest.site, {"passphrase": {"env": "FORMER"}}
    encryption = {**site.settings["encryption"], "former": [former]}  # type: ignore[dict-item]
    site.settings = {**site.settings, "encryption": encryption}
    site.write_config()
    site.environment |= {
        "FORMER": nest.canaries.passphrase,
        "FSBACKUP_PASSPHRASE": nest.canaries.of("new-passphrase"),
    }
    told.run("rekey", "--all")
    told.run("verify", "latest", "--level", "readable")
    site.environment["FSBACKUP_PASSPHRASE"] = nest.canaries.of("new-passphrase") + "-mistyped"
    told.run("backup", "daily", code=None)


def _nothing_shows_itself(nest: CanarySite) -> None:
    """What a traceback or a debugger shows of the objects that carry secrets."""
    site = nest.site
    loaded = load_config(site.config, site.environ())
    assert not [secret for secret in nest.canaries.secrets if secret in repr(loaded)]


async def _screens(nest: CanarySite, told: Told) -> None:
    """What stands on them, as text and as a picture."""
    async with at_the_keys(nest.site) as keys:
        await keys.until_text("1/2")
        for key in (
            *("1", "enter", "escape", "2", "enter", "escape"),
            *("3", "enter", "escape", "4"),
        ):
            await keys.press(key)
            told.look(f"the screen after {key}", keys.text)
            told.look(f"the picture after {key}", keys.app.export_screenshot())
        await keys.until_text("> Declare an incident")
        await keys.press("D")
        await keys.until_text("Practise which scenario?")
        await keys.press("escape", "enter")
        await keys.until_text("When was it last right?")
        told.look("the screen that declares", keys.text)
        told.look("the picture that declares", keys.app.export_screenshot())
        await keys.press("escape")


def test_nothing_of_an_encrypted_site_lies_in_plain(nest: CanarySite) -> None:
    """Neither while it is captured, nor after a restore that ended, failed, or was killed."""
    site = nest.site
    with watch(DiskLook(nest.canaries, nest.places())) as seen:
        taken = site.run("backup", "daily", "--json")
    assert taken.exit_code == 0, taken.stdout + taken.stderr
    assert seen.looks > 5
    assert seen.seen == set()
    assert nest.plain() == []
    for end in (_ends, _fails, _is_killed):
        with watch(DiskLook(nest.canaries, nest.places())) as seen:
            end(nest)
        work = str(site.state)
        assert all(f" in {work}" in sighting and "/work" in sighting for sighting in seen.seen)
        # What a killed worker left goes with the next job of the site.
        if end is _is_killed:
            assert site.run("verify", "latest", "--level", "sealed").exit_code == 0
        assert nest.plain() == []


def _ends(nest: CanarySite) -> None:
    done = nest.site.run("restore", "latest", "--part", "db", "--beside", nest.name_of("ends"))
    assert done.exit_code == 0, done.stderr


def _fails(nest: CanarySite) -> None:
    done = nest.site.run("restore", "latest", "--part", "db", "--beside", nest.name_of("ends"))
    assert done.exit_code != 0


def _is_killed(nest: CanarySite) -> None:
    known = {job.id for job in jobs_of(nest.site)}
    running = nest.site.start(
        "restore", "latest", "--part", "db", "--beside", nest.name_of("killed")
    )
    lies_there = _plain_in(begun(nest, known).directory)
    wait_until(lies_there, what="the dump lies in the job's private directory")
    kill_worker(nest)
    running.communicate(timeout=60)


def begun(nest: CanarySite, known: set[str]) -> Job:
    """Return the job that is none of those known, once its worker has begun."""

    def is_new() -> bool:
        job = newest_job(nest.site)
        return job.id not in known and job.pid is not None

    wait_until(is_new, what="the job has begun")
    return newest_job(nest.site)


def kill_worker(nest: CanarySite) -> None:
    """Kill the newest job's worker."""
    pid = newest_job(nest.site).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def _plain_in(directory: Path) -> Callable[[], bool]:
    return lambda: any(
        path.is_file() and path.stat().st_size > 0 for path in directory.glob("work/**/*.dump")
    )
