"""Replicas through rclone: S3 and its kin, SFTP, and whatever a remote of rclone's own is.

What rclone is told lies in its environment (``RCLONE_CONFIG_…``): no secret stands in a command
line or on a disk. Only ``lsjson``, ``cat``, ``copy`` and ``copyto`` are ever run here, so that
there is no command that could remove anything; see ``removal.py`` for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.domain.errors import ReplicaError, ReplicaLacks
from fsbackup_tui.domain.events import Progress, Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.process import Command, Completed, run
from fsbackup_tui.engines.process_channel import Channel, ChannelStopped, in_thread
from fsbackup_tui.engines.remote.programs import probe_rclone
from fsbackup_tui.engines.remote.rclone_place import Place, place_of
from fsbackup_tui.engines.remote.remote import LARGEST_READ, RemoteFile, is_there, quietly
from fsbackup_tui.engines.remote.words import replica_error

# Of its own, rclone would wait 232 s for a server that answers 500 (10 tries of 20 s).
_PATIENCE = (
    "--retries",
    "1",
    "--low-level-retries",
    "3",
    "--contimeout",
    "10s",
    "--timeout",
    "60s",
)
_TELLING = (
    "--use-json-log",
    "--stats",
    "1s",
    "--stats-log-level",
    "NOTICE",
    "--log-level",
    "NOTICE",
)
_NOT_FOUND = 3
_BLOCK = 1 << 20
Kind = TypeVar("Kind", bound="RcloneRemote")
_KEPT_MESSAGES = 20


async def open_rclone(
    name: str,
    replica: Replica,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    *,
    where: str = "",
    kind: type[Kind],
) -> Kind:
    """Return the way to a replica by rclone; see ``open_remote``."""
    program = await probe_rclone()
    place = await place_of(name, replica, program.path, environment, redactor, work, where=where)
    return kind(name, program.path, place, redactor, replica.bandwidth)


class RcloneRemote:
    """A replica that rclone reaches; see ``Remote``."""

    def __init__(
        self, name: str, program: str, place: Place, redactor: Redactor, bandwidth: int | None
    ) -> None:
        self._name = name
        self._program = program
        self._place = place
        self._redactor = redactor
        self._limit = () if bandwidth is None else ("--bwlimit", f"{bandwidth}B")

    @property
    def describe(self) -> str:
        """The place in words that people know."""
        return self._place.shown

    async def probe(self) -> None:
        """Return when the place answers and may be listed."""
        await self.list(recursive=False)

    async def list(
        self, prefix: str = "", *, recursive: bool = True, hashes: bool = False
    ) -> list[RemoteFile]:
        """Return the files below a directory, sorted by path."""
        options = ["--files-only", *(["--recursive"] if recursive else [])]
        options += ["--hash"] if hashes else ["--no-mimetype"]
        before = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        found: list[RemoteFile] = []

        def take(line: str) -> None:
            # One object a line; the whole may be longer than what is kept of an output.
            if line.startswith("{"):
                found.append(_file(before, json.loads(line.rstrip(","))))

        ended = await self._run(
            "listing it", "lsjson", *options, self._remote(prefix), on_line=take
        )
        if ended.missing and self._place.must_exist and not before:
            raise ReplicaError(
                f"REPLICA {self._name}: NO SUCH BUCKET.",
                why=f"{self.describe} answers, and has no bucket of that name.",
                fix="Make the bucket there, or correct its name in the config.",
            )
        return [] if ended.missing else sorted(found, key=lambda file: file.path)

    async def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        ended = await self._run("looking at a file", "lsjson", "--stat", self._remote(path))
        if ended.missing:
            return False
        text = ended.completed.stdout.decode("utf-8", "replace").strip()
        with contextlib.suppress(ValueError):
            document = json.loads(text)
            return isinstance(document, dict) and not document.get("IsDir", True)
        return False

    async def read(self, path: str, limit: int = LARGEST_READ) -> bytes:
        """Return a small file's bytes."""
        taken = bytearray()

        def take(block: bytes) -> None:
            taken.extend(block)
            if len(taken) > limit:
                raise ReplicaError(
                    f"REPLICA {self._name}: {path} IS TOO LARGE to be what it should be.",
                    why=f"More than {limit} bytes came of it.",
                    fix=f"Check the replica: fsbackup replicate {self._name} --check",
                )

        await self._cat(path, take)
        # Of a file that is not there rclone gives nothing, and is content.
        if not taken and not await self.exists(path):
            raise _missing(self._name, self.describe, path)
        return bytes(taken)

    async def read_hash(self, path: str) -> tuple[str, int]:
        """Return the SHA-256 and the size of what the far side gives."""
        digest, size = hashlib.sha256(), 0

        def take(block: bytes) -> None:
            nonlocal size
            digest.update(block)
            size += len(block)

        await self._cat(path, take)
        if not size and not await self.exists(path):
            raise _missing(self._name, self.describe, path)
        return digest.hexdigest(), size

    async def lock_of(self, path: str) -> str | None:
        """Return in words how long a file is locked there; older versions of rclone don't tell."""
        ended = await self._run(
            "asking for its lock", "lsjson", "--stat", "--metadata", self._remote(path)
        )
        document: object = None
        with contextlib.suppress(ValueError):
            document = json.loads(ended.completed.stdout)
        metadata = document.get("Metadata") if isinstance(document, dict) else None
        facts = metadata if isinstance(metadata, dict) else {}
        mode, until = facts.get("object-lock-mode"), facts.get("object-lock-retain-until-date")
        if mode and until:
            return f"locked until {until} ({str(mode).lower()})"
        return "locked (legal hold)" if facts.get("object-lock-legal-hold-status") == "ON" else None

    async def fetch(self, path: str, to: Path, report: Report = quietly) -> None:
        """Bring one file to ``to``."""
        await self._run(
            f"fetching {path}",
            "copyto",
            *self._limit,
            self._remote(path),
            str(to),
            report=report,
            detail=path,
        )
        if not is_there(to):
            raise _missing(self._name, self.describe, path)

    async def fetch_all(self, paths: Sequence[str], root: Path, report: Report = quietly) -> None:
        """Bring files to the same paths below ``root``."""
        await self._copy("fetching from it", self._remote(""), str(root), paths, report)

    async def put(
        self, root: Path, paths: Sequence[str], report: Report = quietly, *, replace: bool = False
    ) -> None:
        """Send files below ``root`` to the same paths there."""
        manner = ("--no-check-dest",) if replace else ("--immutable",)
        await self._copy("sending to it", str(root), self._remote(""), paths, report, *manner)

    async def _copy(
        self,
        doing: str,
        source: str,
        target: str,
        paths: Sequence[str],
        report: Report,
        *options: str,
    ) -> None:
        if not paths:
            return
        if any("\n" in path or path.startswith("/") for path in paths):
            raise ValueError("a path that rclone can't be given in a list")
        ended = await self._run(
            doing,
            "copy",
            *("--files-from-raw", "-", "--no-traverse"),
            *options,
            *self._limit,
            source,
            target,
            stdin="".join(f"{path}\n" for path in paths).encode(),
            report=report,
            detail=paths[0] if len(paths) == 1 else "",
        )
        if ended.missing:
            raise replica_error(self._name, self.describe, doing, ended.messages)

    async def _cat(self, path: str, take: Callable[[bytes], None]) -> None:
        channel = Channel("reads")

        def read() -> None:
            try:
                with contextlib.suppress(ChannelStopped):
                    while block := channel.read(_BLOCK):
                        take(block)
            finally:
                # Whoever wants no more of it ends rclone, too.
                channel.finish()

        reading = asyncio.create_task(in_thread(read, stop=channel.stop))
        try:
            ended = await self._run(
                f"reading {path}", "cat", *self._limit, self._remote(path), stdout=channel
            )
            await reading
        except ReplicaError:
            if reading.done():
                reading.result()
            raise
        finally:
            channel.stop()
            await asyncio.gather(reading, return_exceptions=True)
            channel.close()
        if ended.missing:
            raise _missing(self._name, self.describe, path)

    def _remote(self, path: str) -> str:
        base, path = self._place.remote, path.strip("/")
        if not path:
            return base
        return f"{base}{path}" if base.endswith((":", "/")) else f"{base}/{path}"

    async def _run(
        self,
        doing: str,
        *arguments: str,
        stdin: bytes | None = None,
        stdout: Channel | None = None,
        report: Report | None = None,
        detail: str = "",
        on_line: Callable[[str], None] | None = None,
    ) -> _Ended:
        listener = _Listener(report, detail, self._redactor)
        completed = await run(
            Command(
                (self._program, *arguments, *_PATIENCE, *_TELLING),
                env=self._place.environment,
                stdin=stdin,
                stdout=stdout,
            ),
            report=report,
            redactor=self._redactor,
            check=False,
            on_stderr_line=listener.line,
            on_stdout_line=on_line,
        )
        if completed.exit_status not in (0, _NOT_FOUND, _NOT_FOUND + 1):
            said = listener.messages or [f"It ended with {completed.ended()}."]
            raise replica_error(self._name, self.describe, doing, said)
        return _Ended(completed, completed.exit_status != 0, listener.messages)


@dataclass(frozen=True, slots=True)
class _Ended:
    completed: Completed
    missing: bool
    messages: list[str]


class _Listener:
    """Reads rclone's lines: progress is reported, and what went wrong is kept."""

    def __init__(self, report: Report | None, detail: str, redactor: Redactor) -> None:
        self.messages: list[str] = []
        self._report = report
        self._detail = detail
        self._redactor = redactor

    def line(self, text: str) -> None:
        """Take one line of its log."""
        try:
            document = json.loads(text)
        except ValueError:
            document = {"level": "error", "msg": text}
        if not isinstance(document, dict):
            return
        if isinstance(document.get("stats"), dict):
            self._progress(document["stats"])
            return
        message = str(document.get("msg", "")).strip()
        subject = str(document.get("object") or "")
        if message and len(self.messages) < _KEPT_MESSAGES:
            told = f"{subject}: {message}" if subject else message
            self.messages.append(self._redactor.redact(told))

    def _progress(self, stats: Mapping[str, Any]) -> None:
        total = stats.get("totalBytes")
        if self._report is None or not total:
            return
        moving = stats.get("transferring")
        active = moving if isinstance(moving, list) else []
        names = tuple(str(one.get("name")) for one in active if isinstance(one, dict))
        self._report(
            Progress(
                float(stats.get("bytes") or 0),
                float(total),
                "bytes",
                names[0] if names else self._detail,
                rate=_number(stats.get("speed")),
                eta_seconds=_number(stats.get("eta")),
                active=names,
            )
        )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _file(before: str, item: Mapping[str, Any]) -> RemoteFile:
    modified = None
    with contextlib.suppress(ValueError, KeyError):
        modified = datetime.fromisoformat(str(item["ModTime"]))
    hashes = item.get("Hashes")
    return RemoteFile(
        f"{before}{item['Path']}",
        int(item["Size"]),
        modified,
        {str(kind): str(value) for kind, value in hashes.items()} if hashes else {},
    )


def _missing(name: str, place: str, path: str) -> ReplicaLacks:
    return ReplicaLacks(
        f"REPLICA {name} LACKS {path}.",
        why=f"{place} has no such file.",
        fix=f"Check the replica: fsbackup replicate {name} --check",
    )
