"""``python -m tests.benchmarks.swap``: how long live is unreachable while it is swapped, and back.

The swap is the job's own, with everything around it, on a site whose application writes all the
time from many sessions. One client of the application's role, in a process of its own, inserts
without a pause and comes back at once whenever it is thrown out; the longest time between two of
its successes is how long live was unreachable, and every error it saw is counted. Three ways:
directly, behind a PgBouncer that the tool pauses, and with a hot standby: there one client writes
to the primary, and one reads from the standby. Exit code 0 when every gap on the primary is below
``--limit``. ``--dir`` says on which disk the servers lie, with fsync: in memory (/dev/shm) the
figures are the program's own, on a disk those of a commit there as well.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ctypes import c_bool, c_int
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import psycopg

from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from tests.benchmarks.running import work_directory
from tests.benchmarks.site import default_binaries
from tests.support.pooler import running_pooler
from tests.support.restored_copies import Trouble, trouble_on
from tests.support.servers import execute, query
from tests.support.standby import make_standby
from tests.support.waiting import wait_until

_WRITE = "INSERT INTO orders (user_id, total) VALUES (1, 1)"
_READ = "SELECT count(*) FROM users"
_CLIENTS = ("direct", "pooler", "primary", "standby")
_spawn = multiprocessing.get_context("spawn")


@dataclass
class Seen:
    """What one client saw of one swap."""

    gap: float = 0.0
    errors: int = 0
    calls: int = 0
    kinds: set[str] = field(default_factory=set)


def _hammer(url: str, statement: str, phase: Any, stop: Any, told: Pipe) -> None:
    """Run a statement without a pause, and tell what was seen in each phase when stopped."""
    seen: dict[int, Seen] = {}
    last = time.monotonic()
    while not stop.value:
        try:
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
                while not stop.value:
                    connection.execute(statement.encode())
                    now = time.monotonic()
                    here = seen.setdefault(phase.value, Seen())
                    here.gap, last = max(here.gap, now - last), now
                    here.calls += 1
        except psycopg.Error as error:
            here = seen.setdefault(phase.value, Seen())
            here.errors += 1
            here.kinds.add(str(error).strip().splitlines()[0].rpartition(": ")[2])
    told.send(seen)


def _load(url: str, statement: str, count: int, stop: Any) -> None:
    """Keep the server busy from many sessions, in a process of its own."""
    phase = _spawn.Value(c_int, 0)
    ignored, told = _spawn.Pipe(duplex=False)
    threads = [
        threading.Thread(target=_hammer, args=(url, statement, phase, stop, told), daemon=True)
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ignored.close()


@dataclass
class Clients:
    """The clients that measure, by name; ``phase`` says which swap they are looking at."""

    phase: Any
    stop: Any
    told: Mapping[str, Pipe]

    def finish(self) -> dict[str, dict[int, Seen]]:
        """Stop them and return what each saw, by phase."""
        self.stop.value = True
        return {name: told.recv() for name, told in self.told.items()}


@contextmanager
def _clients(
    measured: Mapping[str, tuple[str, str]], load: tuple[str, str], count: int
) -> Iterator[Clients]:
    phase, stop = _spawn.Value(c_int, 0), _spawn.Value(c_bool, False)
    pipes = {name: _spawn.Pipe(duplex=False) for name in measured}
    processes = [
        _spawn.Process(target=_hammer, args=(*what, phase, stop, pipes[name][1]), daemon=True)
        for name, what in measured.items()
    ]
    processes.append(_spawn.Process(target=_load, args=(*load, count, stop), daemon=True))
    for process in processes:
        process.start()
    try:
        yield Clients(phase, stop, {name: receiver for name, (receiver, _) in pipes.items()})
    finally:
        stop.value = True
        for process in processes:
            process.join(20)
            if process.is_alive():
                process.kill()


@dataclass
class Round:
    """One swap or its undoing, as the tool and as the client saw it."""

    way: str
    direction: str
    closed: float
    seen: Seen


def _measure(trouble: Trouble, clients: Clients, *, reads: str | None) -> list[Round]:
    """Swap and undo it under load; ``reads`` is where one client reads beside the primary."""
    url = trouble.url()
    wait_until(lambda: _busy(url) and (reads is None or _busy(reads)), timeout=60)
    _let_run()
    rounds = []
    clients.phase.value = 1
    done = asyncio.run(trouble.swap())
    _let_run()
    clients.phase.value = 2
    undone = asyncio.run(trouble.swap(trouble.back(done)))
    _let_run()
    seen = clients.finish()
    for direction, document, phase in (("swap", done, 1), ("back", undone, 2)):
        closed = float(document["closed_seconds"])
        rounds += [
            Round(way, direction, closed, of_client.get(phase, Seen()))
            for way, of_client in seen.items()
        ]
    return rounds


def _busy(url: str) -> bool:
    """Whether somebody is at work in the database."""
    return bool(
        query(
            url,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
    )


def _let_run() -> None:
    """Leave the clients alone for a moment, in which they come back and do many calls."""
    threading.Event().wait(1.5)


def main() -> int:
    """Measure, print, and return whether every gap on the primary is below the limit (0)."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.swap", description=__doc__)
    parser.add_argument("--writers", type=int, default=6, help="hot writers beside the client")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each way")
    parser.add_argument("--limit", type=float, default=1.0, help="seconds of the longest gap")
    parser.add_argument("--bin", type=Path, default=default_binaries(), help="the server's")
    parser.add_argument("--dir", type=Path, help="where to work: a disk, or memory (/dev/shm)")
    arguments = parser.parse_args()
    rounds: list[Round] = []
    with work_directory(arguments.dir) as directory:
        for number in range(arguments.repeat):
            for way in ("direct", "pooler", "standby"):
                work = directory / f"{way}-{number}"
                work.mkdir(mode=0o711)
                rounds += _round(way, work, arguments.bin, arguments.writers)
    return _print(rounds, arguments.writers, arguments.limit)


def _round(way: str, work: Path, binaries: Path, writers: int) -> list[Round]:
    with ExitStack() as stack:
        # A standby, which is of another account, reaches its primary over TCP alone.
        server = _server(stack, work / "server", binaries, tcp=way == "standby")
        execute(server.url(), "CREATE DATABASE shop")
        if way == "pooler":
            return _behind_pooler(stack, server, work, writers)
        if way == "standby":
            standby = _server(stack, work / "standby", binaries)
            make_standby(server, standby, work)
            source = {"standbys": [standby.url()]}
            trouble = stack.enter_context(
                trouble_on(server, server.url("shop"), work, source=source)
            )
            _grant(trouble)
            reads = standby.url(trouble.live, user=trouble.role)
            wait_until(lambda: query(standby.url("shop"), _READ) == [(3,)], timeout=60)
            load = (trouble.url(user=trouble.role), _WRITE)
            measured = {"primary": load, "standby": (reads, _READ)}
            clients = stack.enter_context(_clients(measured, load, writers))
            return _measure(trouble, clients, reads=standby.url(trouble.live))
        trouble = stack.enter_context(trouble_on(server, server.url("shop"), work))
        _grant(trouble)
        load = (trouble.url(user=trouble.role), _WRITE)
        clients = stack.enter_context(_clients({way: load}, load, writers))
        return _measure(trouble, clients, reads=None)


def _behind_pooler(
    stack: ExitStack, server: ScratchServer, work: Path, writers: int
) -> list[Round]:
    trouble = stack.enter_context(trouble_on(server, server.url("shop"), work))
    _grant(trouble)
    pooler = stack.enter_context(
        running_pooler(server, work / "pooler", {"app": "shop"}, roles=("postgres", trouble.role))
    )
    trouble.site.source = {**trouble.site.source, "poolers": [pooler.admin]}
    trouble.site.write_config()
    load = (pooler.url("app", trouble.role), _WRITE)
    clients = stack.enter_context(_clients({"pooler": load}, load, writers))
    return _measure(trouble, clients, reads=None)


def _grant(trouble: Trouble) -> None:
    for name in (trouble.live, trouble.copy):
        execute(
            trouble.url(name),
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {trouble.role}",
        )


def _server(
    stack: ExitStack, directory: Path, binaries: Path, *, tcp: bool = False
) -> ScratchServer:
    settings = {"fsync": "on", "synchronous_commit": "on", "wal_level": "replica"}
    server = start_scratch_server(directory, bin_directory=binaries, settings=settings, tcp=tcp)
    stack.callback(server.remove)
    return server


def _print(rounds: list[Round], writers: int, limit: float) -> int:
    count = len(rounds) // (2 * len(_CLIENTS))
    print(f"{writers} hot writers; seconds as median (longest) of {count} rounds")
    print("primary, standby: with a hot standby; a client writes to the one and reads the other")
    print(f"{'way':<9} {'':<5} {'renames':>15} {'unreachable':>15} {'errors':>7}")
    held = True
    kinds: set[str] = set()
    for way in _CLIENTS:
        for direction in ("swap", "back"):
            these = [r for r in rounds if (r.way, r.direction) == (way, direction)]
            closed = [r.closed for r in these]
            gaps = [r.seen.gap for r in these]
            errors = [r.seen.errors for r in these]
            for r in these:
                kinds |= r.seen.kinds
            held = held and (way == "standby" or max(gaps) < limit)
            print(
                f"{way:<9} {direction:<5} {_figures(closed):>15} {_figures(gaps):>15}"
                f" {statistics.median(errors):>3.0f} ({max(errors)})"
            )
    for kind in sorted(kinds):
        print(f"  seen: {kind}")
    return 0 if held else 1


def _figures(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({max(values):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
