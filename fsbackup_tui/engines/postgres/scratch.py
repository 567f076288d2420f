"""Throw-away PostgreSQL servers: for the demo, the tests and trial restores.

A server is fast and forgetful (no fsync), is reached through a Unix socket in a directory of its
owner alone, and dies with the process that started it. What it holds is lost by design.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from fsbackup_tui.domain.errors import (
    PostgresError,
    SafetyRefusal,
    ServerUnreachable,
    ToolMissing,
)
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.postgres.scratch_account import (
    Account,
    Isolation,
    choose_account,
    without_network,
)
from fsbackup_tui.engines.postgres.scratch_programs import ASK_SECONDS, Launch, ServerPrograms
from fsbackup_tui.engines.postgres.scratch_room import (
    ROOM_PREFIX,
    Room,
    give_to,
    may_enter,
    remove_tree,
    temporary_directories,
)
from fsbackup_tui.engines.process_group import Child
from fsbackup_tui.engines.process_output import open_new_file

StopMode = Literal["smart", "fast", "immediate"]

LONGEST_SOCKET_PATH = 103
"""Bytes of sun_path without its end on macOS, the shortest supported (Linux has 107)."""

START_SECONDS = 120.0
STOP_SECONDS = 30.0

_INITDB_SECONDS = 120.0
_LOOK_SECONDS = 0.02
_LOG_LINES = 8
_SOCKET_PORT = 5432
_OUR_NAMES = ("data", "s", "password", "server.log")
_STATUS_LINE = 7  # LOCK_FILE_LINE_PM_STATUS of PostgreSQL's miscadmin.h, counted from 0
_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}
_LOCALES = (
    ("--encoding=UTF8", "--locale=C.UTF-8"),
    ("--encoding=UTF8", "--locale=C"),
)
_STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class ScratchServer:
    """A cluster in ``directory`` and the server on it; made by ``start_scratch_server``.

    ``directory`` has the log (``server.log``) and, where the server's account may enter it, the
    data and the socket; else these lie in a temporary directory that goes when we end.
    """

    superuser = "postgres"

    def __init__(
        self,
        directory: Path,
        *,
        bin_directory: Path,
        account: Account,
        settings: Mapping[str, str],
        tcp: bool,
        password: Secret | None,
        launch: Launch,
    ) -> None:
        _check(directory, bin_directory)
        self.directory = directory
        self.tcp = tcp
        self.password = password or (Secret(secrets.token_urlsafe(18)) if tcp else None)
        self.log = directory / "server.log"
        self._account = account
        self._settings = settings
        self._how = launch
        self._asks_everybody = password is not None
        self._rooms: list[Room] = []
        self._child: Child | None = None
        self._programs = ServerPrograms(bin_directory, account)
        self.version_num = self._programs.version_num()
        home = self._make_home()
        self.data_directory = home / "data"
        self.socket_directory = self._make_socket_directory(home)
        self.port = _free_port() if tcp else _SOCKET_PORT

    @property
    def command(self) -> tuple[str, ...]:
        """The command line of the server itself, as it could be typed."""
        return (str(self.bin_directory / "postgres"), *self._arguments())

    @property
    def is_offline(self) -> bool:
        """Whether what runs in the server can reach no other host."""
        return bool(self._account.offline)

    @property
    def bin_directory(self) -> Path:
        """Where the server's programs are run from (perhaps a copy), clients among them."""
        return self._programs.directory

    @property
    def pid(self) -> int | None:
        """Process id of the running postmaster, or None."""
        running = self._child is not None and self._child.wait_blocking(0) is None
        return self._child.pid if self._child is not None and running else None

    def url(
        self, database: str = "postgres", user: str | None = None, password: str | None = None
    ) -> str:
        """Return a libpq URL: over TCP with its password where TCP was asked for, else socket."""
        if self.tcp:
            if password is None and self.password is not None and user in (None, self.superuser):
                password = self.password.reveal()
            return f"{self._login(user, password)}127.0.0.1:{self.port}/{quote(database, safe='')}"
        return self.socket_url(database, user, password)

    def socket_url(
        self, database: str = "postgres", user: str | None = None, password: str | None = None
    ) -> str:
        """Return a libpq URL through the Unix socket."""
        where = f"host={quote(str(self.socket_directory), safe='')}&port={self.port}"
        return f"{self._login(user, password)}/{quote(database, safe='')}?{where}"

    def _login(self, user: str | None, password: str | None) -> str:
        secret = "" if password is None else ":" + quote(password, safe="")
        return f"postgresql://{quote(user or self.superuser, safe='')}{secret}@"

    def start(self) -> None:
        """Start the server and return when it accepts connections.

        Raises ServerUnreachable with the end of its log when it does not.
        """
        if self.pid is not None:
            return
        self._child = self._launch()
        atexit.register(self.stop, "immediate")
        deadline = time.monotonic() + START_SECONDS
        # A crashed server leaves a postmaster.pid that says "ready": only an answer counts.
        while not self._accepts():
            if self._child.wait_blocking(_LOOK_SECONDS) is not None:
                raise self._not_started("It ended at once. Its log ends so:")
            if time.monotonic() > deadline:
                self.stop("immediate")
                raise self._not_started(f"It was not ready in {START_SECONDS:g} s. Its log:")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and return when it is gone; nothing is removed.

        ``fast`` ends the sessions, ``immediate`` crashes on purpose, ``smart`` waits for the
        sessions to end; one that takes longer than 30 s is crashed.
        """
        child, self._child = self._child, None
        if child is None:
            return
        atexit.unregister(self.stop)
        child.signal(_STOP_SIGNALS[mode])
        if child.wait_blocking(STOP_SECONDS) is None:
            child.signal(signal.SIGQUIT)
            child.wait_blocking(ASK_SECONDS)
        child.kill()

    def remove(self) -> None:
        """Stop the server and delete everything that was made for it.

        Its directory goes too, unless somebody else put something there.
        """
        self.remove_all_but_log()
        self.log.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def remove_all_but_log(self) -> None:
        """Stop the server and delete its data, its socket and the copies of its programs."""
        self.stop("immediate")
        for path in (self.data_directory, self.socket_directory):
            remove_tree(path)
        for room in self._rooms:
            room.remove()
        self._programs.give_back()

    def initialise(self, options: Sequence[str]) -> None:
        """Make the cluster with initdb; PostgresError with what it said when it can't."""
        said = ""
        for locale in _LOCALES:
            status, said = self._initdb((*locale, *options))
            if status == 0:
                break
            if "locale" not in said:
                raise PostgresError("NO SCRATCH SERVER: initdb failed.", why=said)
        else:
            raise PostgresError("NO SCRATCH SERVER: initdb failed.", why=said)
        if self._account.user is not None:
            give_to(self.data_directory, self._account.user)
            give_to(self.socket_directory, self._account.user)

    def _initdb(self, options: Sequence[str]) -> tuple[int | None, str]:
        remove_tree(self.data_directory)
        self.data_directory.mkdir(mode=0o700)
        local = "scram-sha-256" if self._asks_everybody else "trust"
        arguments = [
            f"--pgdata={self.data_directory}",
            f"--username={self.superuser}",
            f"--auth-local={local}",
            "--auth-host=scram-sha-256"
            if self.tcp or self._asks_everybody
            else "--auth-host=trust",
            "--no-sync",
            "--no-instructions",
            *options,
        ]
        if self._account.lender is not None:
            give_to(self.data_directory, self._account.lender)
        with self._password_file() as path:
            if path is not None:
                arguments.append(f"--pwfile={path}")
            return self._programs.ask(
                "initdb", *arguments, timeout=_INITDB_SECONDS, user=self._account.lender
            )

    @contextlib.contextmanager
    def _password_file(self) -> Iterator[Path | None]:
        if self.password is None:
            yield None
            return
        path = self.data_directory.with_name("password")
        descriptor = open_new_file(path)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{self.password.reveal()}\n")
            if self._account.lender is not None:
                give_to(path, self._account.lender)
            yield path
        finally:
            path.unlink()

    def _launch(self) -> Child:
        return self._programs.launch(self._arguments(), self.log, self._how)

    def _arguments(self) -> list[str]:
        settings = {
            **_FORGETFUL,
            "listen_addresses": "127.0.0.1" if self.tcp else "",
            "unix_socket_directories": str(self.socket_directory),
            **self._settings,
        }
        arguments = ["-D", str(self.data_directory), "-p", str(self.port)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

    def _accepts(self) -> bool:
        """Whether the server says that it is ready, and then answers a client."""
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() not in ("ready", "standby"):
            return False
        host = ("-h", str(self.socket_directory), "-p", str(self.port))
        status, _ = self._programs.ask("pg_isready", "--quiet", *host)
        return status == 0

    def _not_started(self, why: str) -> ServerUnreachable:
        self.stop("immediate")
        return ServerUnreachable(
            f"SCRATCH SERVER NOT STARTED: {self.bin_directory / 'postgres'}.",
            why=f"{why}\n{self._log_tail()}",
            fix=f"The whole log: {self.log}",
        )

    def _log_tail(self) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        except OSError as error:
            return f"It can't be read: {error.strerror}."

    def _make_home(self) -> Path:
        """Return the directory for the data: ours if the account may enter it, else a room."""
        missing = not self.directory.exists()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._account.is_other_user:
            return self.directory
        if missing and may_enter(self.directory.parent):
            self.directory.chmod(0o711)
        return self.directory if may_enter(self.directory) else self._new_room()

    def _make_socket_directory(self, home: Path) -> Path:
        path = home / "s"
        if not _fits_a_socket(path):
            # Of the temporary directories not the first, but the first that is short enough.
            other_user = self._account.is_other_user
            short = (
                place
                for place in temporary_directories()
                if _fits_a_socket(place / f"{ROOM_PREFIX}12345678" / "s")
                and (may_enter(place) or not other_user)
            )
            path = self._new_room(next(short, None)) / "s"
        path.mkdir(mode=0o700)
        return path

    def _new_room(self, parent: Path | None = None) -> Path:
        self._rooms.append(Room(open_to_pass=self._account.is_other_user, parent=parent))
        return self._rooms[-1].path


def start_scratch_server(
    directory: Path,
    *,
    bin_directory: Path,
    settings: Mapping[str, str] | None = None,
    tcp: bool = False,
    isolation: Isolation = "auto",
    password: Secret | None = None,
    initdb_options: Sequence[str] = (),
    offline: bool = False,
    launch: Launch | None = None,
) -> ScratchServer:
    """Make a cluster in the directory, start its server, and return it ready for clients.

    ``settings`` are configuration parameters of the server, put on its command line. Who may
    enter the socket's directory is trusted; with ``password`` everybody must give it, and over
    ``tcp`` (127.0.0.1, any free port) too (a random one if none is given).
    As root the server runs under a user id of its own (``uid``), else in a user namespace.
    ``offline`` takes the network away from it where the system lets us (``is_offline``).
    Raises PostgresError when initdb fails, ServerUnreachable when the server does not start,
    FsbackupError when root finds nobody to run it.
    """
    account = choose_account(isolation)
    server = ScratchServer(
        directory.absolute(),
        bin_directory=bin_directory,
        account=without_network(account) if offline else account,
        settings=settings or {},
        tcp=tcp,
        password=password,
        launch=launch or Launch(),
    )
    try:
        server.initialise(initdb_options)
        server.start()
    except BaseException:
        server.remove_all_but_log()
        raise
    return server


def _fits_a_socket(directory: Path) -> bool:
    """Whether a socket in the directory has a path that the system and libpq take."""
    longest = os.fsencode(directory / ".s.PGSQL.65535.lock")
    return len(longest) <= LONGEST_SOCKET_PATH and "," not in str(directory)


def _check(directory: Path, bin_directory: Path) -> None:
    if not (bin_directory / "postgres").is_file():
        raise ToolMissing(
            f"NO SCRATCH SERVER: there is no postgres in {bin_directory}.",
            fix="Install PostgreSQL's server programs, or: pip install 'fsbackup-tui[demo]'",
        )
    for name in _OUR_NAMES:
        if (directory / name).exists():
            raise SafetyRefusal(
                f"NOT TOUCHED: {directory / name} is already there.",
                why="A throw-away server makes it, and deletes it in the end.",
                fix="Name another directory, or an empty one.",
            )


def _free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
