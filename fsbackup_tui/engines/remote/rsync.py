"""Replicas through rsync over SSH.

Only rsync itself is run over there, so that an account does that may run nothing else (rrsync).
No option that deletes is ever given here; see ``removal.py`` for that.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.domain.errors import DiskFull, ReplicaError, ReplicaLacks, ReplicaRefused
from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.engines.remote.programs import Program, probe_rsync, probe_ssh
from fsbackup_tui.engines.remote.remote import LARGEST_READ, RemoteFile, is_there, quietly
from fsbackup_tui.engines.remote.stream_hash import hash_stream
from fsbackup_tui.engines.remote.words import replica_error

_SSH = (
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
_TIMEOUT = "--timeout=60"
_PARTIAL = ".partial"
_LISTED = re.compile(r"-\S{9}\s+(?P<bytes>[\d,.]+) \d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?P<name>.*)")
_PROGRESS = re.compile(
    r"\s*(?P<done>[\d,.]+)\s+(?P<share>\d+)%\s+(?P<rate>[\d.]+)(?P<unit>[kMGT]?)B/s"
)
_UNITS = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NO_PARTIAL = "--partial-dir has been disabled"
_NOT_THERE = re.compile(r"No such file or directory")
_SOME_FAILED = 23
_MKPATH = (3, 2, 3)
_QUOTES_ITSELF = (3, 2, 4)
Kind = TypeVar("Kind", bound="RsyncRemote")


async def open_rsync(name: str, replica: Replica, work: Path, *, kind: type[Kind]) -> Kind:
    """Return the way to a replica by rsync; ToolMissing where rsync or ssh is not installed."""
    rsync, ssh = await probe_rsync(), await probe_ssh()
    return kind(name, replica, rsync, ssh.path, work)


class RsyncRemote:
    """A replica that rsync reaches; see ``Remote``."""

    def __init__(self, name: str, replica: Replica, rsync: Program, ssh: str, work: Path) -> None:
        self._name = name
        self._rsync = rsync
        self._work = work
        host, _colon, directory = (replica.rsync or "").partition(":")
        self._host, self._directory = host, directory.rstrip("/") or "/"
        options = [*_SSH]
        if replica.port is not None:
            options += ["-p", str(replica.port)]
        if replica.key_file is not None:
            options += ["-i", str(replica.key_file), "-o", "IdentitiesOnly=yes"]
        if replica.known_hosts is not None:
            options += ["-o", f"UserKnownHostsFile={replica.known_hosts}"]
        self._shell = shlex.join([ssh, *options])
        # Newer ones quote what the far shell sees by themselves; rrsync refuses the option.
        self._quoting = ("--protect-args",) if rsync.version < _QUOTES_ITSELF else ()
        self._keeps_partial = True
        self._limit = (
            () if replica.bandwidth is None else (f"--bwlimit={max(1, replica.bandwidth // 1024)}",)
        )

    @property
    def describe(self) -> str:
        """The place in words that people know."""
        return f"{self._host}:{self._directory}"

    async def probe(self) -> None:
        """Return when the host answers and lets us in; the directory need not exist yet."""
        await self.list(recursive=False)

    async def list(
        self, prefix: str = "", *, recursive: bool = True, hashes: bool = False
    ) -> list[RemoteFile]:
        """Return the files below a directory, sorted by path; rsync tells no hashes."""
        before = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        options = ["--recursive"] if recursive else ["--dirs"]
        found = await self._listed(self._remote(prefix, directory=True), options, "listing it")
        ours = [
            RemoteFile(f"{before}{file.path}", file.bytes)
            for file in found
            if f"/{_PARTIAL}/" not in f"/{file.path}"
        ]
        return sorted(ours, key=lambda file: file.path)

    async def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        return bool(await self._listed(self._remote(path), [], "looking at a file"))

    async def read(self, path: str, limit: int = LARGEST_READ) -> bytes:
        """Return a small file's bytes."""
        file = await self._one(path)
        if file.bytes > limit:
            raise ReplicaError(
                f"REPLICA {self._name}: {path} IS TOO LARGE to be what it should be.",
                why=f"It has {file.bytes} bytes.",
                fix=f"Check the replica: fsbackup replicate {self._name} --check",
            )
        taken = self._scratch()
        try:
            await self.fetch(path, taken)
            return taken.read_bytes()
        finally:
            taken.unlink(missing_ok=True)

    async def read_hash(self, path: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of what the far side gives; needs its size in space."""
        file = await self._one(path)
        free = shutil.disk_usage(self._work).free
        if free < file.bytes:
            raise DiskFull(
                f"NOT ENOUGH SPACE to read {path} back: {file.bytes} bytes, {free} free.",
                why=f"rsync brings whole files, to {self._work}.",
                fix="Free space there, or reach the replica through sftp:// instead.",
            )
        taken = self._scratch()
        try:
            await self.fetch(path, taken)
            return await hash_stream(taken)
        finally:
            taken.unlink(missing_ok=True)

    async def lock_of(self, path: str) -> str | None:
        """Return None: rsync tells of no locks."""
        return None

    async def fetch(self, path: str, to: Path, report: Report = quietly) -> None:
        """Bring one file to ``to``."""
        ended = await self._run(
            f"fetching {path}", "--times", self._remote(path), str(to), report=report, detail=path
        )
        if ended.missing or not is_there(to):
            raise self._lacks(path)

    async def fetch_all(self, paths: Sequence[str], root: Path, report: Report = quietly) -> None:
        """Bring files to the same paths below ``root``."""
        if paths:
            source, target = self._remote("", directory=True), f"{root}/"
            options = ("--times", "--from0", "--files-from=-", "--ignore-missing-args")
            await self._run(
                "fetching from it", *options, source, target, stdin=_zeroed(paths), report=report
            )

    async def put(
        self, root: Path, paths: Sequence[str], report: Report = quietly, *, replace: bool = False
    ) -> None:
        """Send files below ``root`` to the same paths there."""
        if not paths:
            return
        try:
            ended = await self._send(root, paths, report, replace=replace)
        except ReplicaRefused as error:
            if _NO_PARTIAL not in error.why or not self._keeps_partial:
                raise
            # An append-only account lets no half file lie beside: then each begins anew.
            self._keeps_partial = False
            ended = await self._send(root, paths, report, replace=replace)
        if ended.missing:
            raise replica_error(self._name, self.describe, "sending to it", ended.messages)

    async def _send(
        self, root: Path, paths: Sequence[str], report: Report, *, replace: bool
    ) -> _Ended:
        manner = ("--ignore-times", "--whole-file") if replace else ("--ignore-existing",)
        making = ("--mkpath",) if self._rsync.version >= _MKPATH else ()
        keeping = (f"--partial-dir={_PARTIAL}",) if self._keeps_partial else ()
        return await self._run(
            "sending to it",
            *("--times", "--from0", "--files-from=-"),
            *keeping,
            *manner,
            *making,
            f"{root}/",
            self._remote("", directory=True),
            stdin=_zeroed(paths),
            report=report,
        )

    async def _listed(
        self, remote: str, options: Sequence[str], doing: str
    ) -> Sequence[RemoteFile]:
        found: list[RemoteFile] = []

        def take(line: str) -> None:
            match = _LISTED.fullmatch(line)
            if match is not None:
                found.append(RemoteFile(match["name"], _whole(match["bytes"])))

        arguments = ("--list-only", "--8-bit-output", "--no-human-readable", *options, remote)
        ended = await self._run(doing, *arguments, on_line=take)
        return [] if ended.missing else found

    async def _one(self, path: str) -> RemoteFile:
        found = await self._listed(self._remote(path), [], f"looking at {path}")
        if not found:
            raise self._lacks(path)
        return found[0]

    def _lacks(self, path: str) -> ReplicaLacks:
        return ReplicaLacks(
            f"REPLICA {self._name} LACKS {path}.",
            why=f"{self.describe} has no such file.",
            fix=f"Check the replica: fsbackup replicate {self._name} --check",
        )

    def _scratch(self) -> Path:
        return self._work / f"read-back-{secrets.token_hex(6)}"

    def _remote(self, path: str, *, directory: bool = False) -> str:
        path = path.strip("/")
        whole = f"{self._directory.rstrip('/')}/{path}" if path else self._directory
        return f"{self._host}:{whole.rstrip('/')}/" if directory else f"{self._host}:{whole}"

    async def _run(
        self,
        doing: str,
        *arguments: str,
        stdin: bytes | None = None,
        report: Report | None = None,
        detail: str = "",
        on_line: Callable[[str], None] | None = None,
    ) -> _Ended:
        listener = _Listener(report, detail)
        telling = () if on_line else ("--info=progress2", "--no-inc-recursive")
        completed = await run(
            Command(
                (
                    *(self._rsync.path, "--rsh", self._shell, *self._quoting, _TIMEOUT),
                    *(*self._limit, *telling, *arguments),
                ),
                stdin=stdin,
                cwd=Path("/"),
            ),
            report=report,
            check=False,
            on_stderr_line=listener.error,
            on_stdout_line=on_line or listener.line,
        )
        missing = completed.exit_status == _SOME_FAILED and bool(
            listener.messages and _NOT_THERE.search("\n".join(listener.messages))
        )
        if completed.exit_status != 0 and not missing:
            said = listener.messages or [f"It ended with {completed.ended()}."]
            raise replica_error(self._name, self.describe, doing, said)
        return _Ended(missing, listener.messages)


class _Ended:
    def __init__(self, missing: bool, messages: list[str]) -> None:
        self.missing = missing
        self.messages = messages


class _Listener:
    """Reads rsync's lines: progress is reported, and what went wrong is kept."""

    def __init__(self, report: Report | None, detail: str) -> None:
        self.messages: list[str] = []
        self._report = report
        self._detail = detail

    def error(self, text: str) -> None:
        """Take one line of its standard error."""
        if text.strip() and len(self.messages) < 20:
            self.messages.append(text)

    def line(self, text: str) -> None:
        """Take one line of its progress."""
        match = _PROGRESS.match(text)
        if match is None or self._report is None:
            return
        done, share = _whole(match["done"]), int(match["share"])
        rate = float(match["rate"]) * _UNITS[match["unit"]]
        total = done * 100 / share if share else None
        eta = (total - done) / rate if total is not None and rate else None
        self._report(Progress(float(done), total, "bytes", self._detail, rate, eta))


def _whole(digits: str) -> int:
    return int(digits.replace(",", "").replace(".", ""))


def _zeroed(paths: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)
