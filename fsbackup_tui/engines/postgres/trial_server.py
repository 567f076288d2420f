"""A server made for one trial restore: which programs, how it is tuned, and that it goes again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import ScratchUnavailable, ServerUnreachable
from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from fsbackup_tui.engines.postgres.scratch_account import choose_account
from fsbackup_tui.engines.postgres.scratch_programs import Launch
from fsbackup_tui.engines.postgres.scratch_room import Room
from fsbackup_tui.engines.process_group import undisturbed

_ELSEWHERE = (
    "Mend what its log says. Other server programs are named under clients: in the config, another "
    "place for its data under scratch: directory, another server under scratch: url"
)
_SERVER_PROGRAMS = ("postgres", "initdb", "pg_isready")
_MEGABYTE = 1 << 20
_SESSIONS_BESIDE_JOBS = 30
_LOCKS_AT_LEAST = 20_000
# The parts of the memory that buffers, index builds together, and sorts together may take.
_BUFFERS_SHARE, _BUILDS_SHARE, _SORTS_SHARE = 0.25, 0.5, 0.15
_WAL_BYTES = (256 * _MEGABYTE, 4096 * _MEGABYTE)
_WAL_SHARE = 0.1
_FIRST_WITH_EVENT_TRIGGERS_OFF = 17
_STATISTICS_OVER_UDP_UNTIL = 14
# What CREATE EXTENSION asks to have been loaded at the server's start, of those that keep to
# themselves: no background worker, nothing sent anywhere.
_PRELOADED = {"pgaudit": "pgaudit"}


@dataclass(frozen=True, slots=True)
class ServerBinaries:
    """The programs of a server, and what is to be said of them."""

    client: ClientTools
    note: str = ""


def choose_server(clients: Sequence[ClientTools], server_version_num: int) -> ServerBinaries:
    """Return the server programs of the captured server's major, else of the next newer one.

    Of the same major: those whose directory the config names, then the system's, then a Python
    package's; the newest. A version of 0 is not known: then the newest major of all serves.
    Raises ScratchUnavailable, which says what to install.
    """
    wanted = server_version_num // 10_000
    if not wanted:
        wanted = max((client.major for client in clients), default=0)
    servers = [
        client
        for client in clients
        if client.major >= wanted
        and all((client.directory / name).is_file() for name in _SERVER_PROGRAMS)
    ]
    if not servers:
        fix = server_remedy(wanted)
        raise ScratchUnavailable(
            f"NO SCRATCH SERVER: no server programs of PostgreSQL {wanted} are on this machine.",
            why="A trial restore needs initdb and postgres of the captured server's major version.",
            fix=fix,
            lacks=((f"server programs of PostgreSQL {wanted} are missing on this machine", fix),),
        )
    chosen = min(servers, key=_rank)
    if chosen.major == wanted:
        return ServerBinaries(chosen)
    return ServerBinaries(
        chosen,
        f"No server programs of PostgreSQL {wanted} are here: the trial runs on {chosen.version}. "
        f"{server_remedy(wanted)}",
    )


def _rank(client: ClientTools) -> tuple[int, bool, bool, tuple[int, ...]]:
    minor = tuple(-int(number) for number in client.version.split(".")[1:] if number.isdigit())
    return (client.major, not client.configured, client.embedded, minor)


def server_remedy(major: int) -> str:
    """Return what to install for a scratch server of that major."""
    return (
        f"Install postgresql-{major} (Debian, Ubuntu), postgresql{major}-server (PGDG on Red Hat) "
        f"or postgresql@{major} (Homebrew), or name its directory under clients: in the config, "
        "or another server under scratch: url"
    )


def trial_settings(
    facts: PostgresFacts, *, major: int, memory: int, disk: int, jobs: int
) -> dict[str, str]:
    """Return the settings of a server that is filled once, compared, and thrown away.

    ``memory`` and ``disk`` (bytes) are what it may use, ``jobs`` how many sessions load.
    """
    sessions = _SESSIONS_BESIDE_JOBS + 2 * jobs
    entries = facts.toc_entries + len(facts.tables) + len(facts.sequences)
    locks = max(_LOCKS_AT_LEAST, 3 * entries)
    wal = min(max(int(disk * _WAL_SHARE), _WAL_BYTES[0]), _WAL_BYTES[1])
    settings = {
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_replication_slots": "0",
        "autovacuum": "off",
        "checkpoint_timeout": "1d",
        "max_wal_size": _megabytes(wal),
        "wal_buffers": "16MB",
        "bgwriter_lru_maxpages": "0",
        "shared_buffers": _megabytes(memory * _BUFFERS_SHARE, least=16),
        "maintenance_work_mem": _megabytes(memory * _BUILDS_SHARE / jobs, least=16),
        "work_mem": _megabytes(memory * _SORTS_SHARE / jobs, least=4),
        "hash_mem_multiplier": "1",
        "max_connections": str(sessions),
        "max_locks_per_transaction": str(max(64, -(-locks // sessions))),
        "jit": "off",
        "log_min_messages": "fatal",
        "log_min_error_statement": "panic",
    }
    if major >= _FIRST_WITH_EVENT_TRIGGERS_OFF:
        settings["event_triggers"] = "off"
    return settings


def preloaded_libraries(facts: PostgresFacts, bin_directory: Path) -> dict[str, str]:
    """Return the setting that loads what the captured extensions need, where it is installed."""
    wanted = {_PRELOADED[item.name] for item in facts.extensions if item.name in _PRELOADED}
    places = (bin_directory.parent / "lib", bin_directory.parent / "lib" / "postgresql")
    here = sorted(
        name for name in wanted if any((place / f"{name}.so").is_file() for place in places)
    )
    return {"shared_preload_libraries": ",".join(here)} if here else {}


def _megabytes(count: float, *, least: int = 1) -> str:
    return f"{max(least, int(count) // _MEGABYTE)}MB"


def runs_as_another_user() -> bool:
    """Whether a trial server is given to another user id: always when we are root."""
    return os.geteuid() == 0 and choose_account("uid").is_other_user


class TrialServer:
    """A throw-away server in a room of its own, which goes with all that is in it."""

    def __init__(self, room: Room, server: ScratchServer) -> None:
        self._room = room
        self.server = server

    def remove(self) -> None:
        """Stop the server and delete its room; call it in a thread: that can take a while."""
        self.server.remove_all_but_log()
        self._room.remove()


async def start_trial_server(
    parent: Path,
    programs: ClientTools,
    settings: Mapping[str, str],
    *,
    manners: tuple[str, ...] = (),
    on_room: Callable[[Path], None],
) -> TrialServer:
    """Start a server in a new room below ``parent``; the event loop goes on meanwhile.

    It is reached through a Unix socket alone, runs as root never (a user id of its own, no
    user namespace), without a network where the system lets us, and dies at once with this
    process. ``on_room`` is told, in another thread, where its data will lie. A cancel leaves
    nothing.
    """
    starting = asyncio.ensure_future(
        asyncio.to_thread(_start, parent, programs, settings, manners, on_room)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await undisturbed(_remove_once_started(starting))
        raise


async def _remove_once_started(starting: asyncio.Future[TrialServer]) -> None:
    await asyncio.wait([starting])
    if starting.exception() is None:
        await asyncio.to_thread(starting.result().remove)


def _start(
    parent: Path,
    programs: ClientTools,
    settings: Mapping[str, str],
    manners: tuple[str, ...],
    on_room: Callable[[Path], None],
) -> TrialServer:
    room = Room(open_to_pass=os.geteuid() == 0, parent=parent)
    try:
        on_room(room.path)
        server = start_scratch_server(
            room.path / "server",
            bin_directory=programs.directory,
            settings=settings,
            isolation="uid",
            offline=programs.major > _STATISTICS_OVER_UDP_UNTIL,
            launch=Launch(death_signal="QUIT", manners=manners),
        )
    except ServerUnreachable as error:
        room.remove()  # with the log that the error names
        raise ServerUnreachable(error.what, why=error.why, fix=_ELSEWHERE) from error
    except BaseException:
        room.remove()
        raise
    return TrialServer(room, server)
