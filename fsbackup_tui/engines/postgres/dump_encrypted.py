"""Dumping one database in the stream: pg_dump → compression → encryption → file.

No plain content touches a disk. The archive's table of contents leads it, so two ``pg_restore``
read it as it passes by: one lists it, one writes the schema; both leave when they have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.events import Log, Report
from fsbackup_tui.domain.point import ArtifactRole
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.chain import Chain, Written, write_artifact, write_from_command
from fsbackup_tui.engines.postgres.archive import parse_toc
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.dump import (
    DumpPlan,
    DumpResult,
    disk_full,
    dump_arguments,
    globals_arguments,
    schema_arguments,
    tell_warnings,
)
from fsbackup_tui.engines.postgres.plain import PlainScanner, check_harmless
from fsbackup_tui.engines.postgres.schema import DUMP_ENVIRONMENT, SchemaDigest
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure
from fsbackup_tui.engines.process import Command, RunningChild, ToolDiskFull, ToolFailed, run
from fsbackup_tui.engines.process_channel import Channel, ChannelStopped

_NAMES = {"custom": "database.dump", "plain": "database.sql"}


def encrypted_plan(plan: DumpPlan, chain: Chain) -> DumpPlan:
    """Return the plan for a dump that goes through a chain: one stream, compressed there.

    The directory format is many files at once, which no stream is: it becomes custom.
    """
    format_ = "custom" if plan.format == "directory" else plan.format
    return replace(
        plan, format=format_, compression="none", jobs=1, name=_NAMES[format_] + chain.suffix
    )


async def dump_encrypted(
    plan: DumpPlan,
    client: ClientTools,
    environment: Mapping[str, str],
    *,
    chain: Chain,
    snapshot_id: str,
    directory: Path,
    report: Report | None = None,
    redactor: Redactor | None = None,
    on_started: Callable[[RunningChild], None] | None = None,
    on_log: Callable[[str], None] | None = None,
) -> DumpResult:
    """Run pg_dump in an exported snapshot, through the chain; see ``dump_database``.

    Raises besides what that does: KeyRefused, where the encryption failed.
    """
    started = monotonic()
    dumping = _Dumping(plan, client, environment, chain, snapshot_id, directory, report, redactor)
    log = ToolLog("pg_dump", redactor, on_log)
    try:
        if plan.format == "plain":
            await dumping.plain(log, on_started)
        else:
            await dumping.archive(log, on_started)
    except ToolFailed as error:
        if error.completed.program != "pg_dump":
            raise
        raise explain_failure(error, log, what="DUMP FAILED") from error
    except ToolDiskFull as error:
        raise disk_full(error, log, directory / plan.name) from error
    tell_warnings(log, report)
    return DumpResult(
        tuple(dumping.roles.items()),
        dumping.entries,
        tuple(log.warnings),
        monotonic() - started,
        dumping.rows,
        dumping.written,
        dumping.schema_sha256,
    )


class _Dumping:
    """One dump through a chain; ``roles`` and ``written`` are of the files made so far."""

    def __init__(
        self,
        plan: DumpPlan,
        client: ClientTools,
        environment: Mapping[str, str],
        chain: Chain,
        snapshot_id: str,
        directory: Path,
        report: Report | None,
        redactor: Redactor | None,
    ) -> None:
        self.roles: dict[str, ArtifactRole] = {}
        self.written: dict[str, Written] = {}
        self.rows: Mapping[int, int] = {}
        self.entries = 0
        self.schema_sha256: str | None = None
        self._plan = plan
        self._client = client
        self._environment = {**client.env, **environment, **DUMP_ENVIRONMENT}
        self._chain = chain
        self._snapshot = snapshot_id
        self._directory = directory
        self._report = report
        self._redactor = redactor

    async def plain(self, log: ToolLog, on_started: Callable[[RunningChild], None] | None) -> None:
        """Store SQL text, read as psql would while it passes by, and the schema beside it."""
        scanner = PlainScanner()
        await self._dump(log, on_started, scanner.feed)
        scan = scanner.finish()
        check_harmless(self._directory / self._plan.name, scan)
        self.entries, self.rows = len(scan.entries), scan.rows
        if self._plan.scope != "data":
            arguments = schema_arguments(self._plan, self._client, self._snapshot)
            await self._schema(Command(arguments, env=self._environment))

    async def archive(
        self, log: ToolLog, on_started: Callable[[RunningChild], None] | None
    ) -> None:
        """Store an archive, and what pg_restore reads of the table of contents at its head."""
        listing, schema = Channel("writes"), Channel("writes")
        copies = _Copies([listing, schema] if self._plan.scope != "data" else [listing])
        restore = self._client.tool("pg_restore")
        reading: list[Coroutine[Any, Any, None]] = [
            self._list(Command((restore, "--list"), env=self._client.env, stdin=listing))
        ]
        if self._plan.scope != "data":
            command = (restore, "--schema-only", "--file=-")
            reading.append(self._schema(Command(command, env=self._client.env, stdin=schema)))

        async def dump() -> None:
            try:
                await self._dump(log, on_started, copies.write)
            finally:
                copies.finish()

        try:
            await _all_of([dump(), *reading], copies.stop)
        finally:
            listing.close()
            schema.close()

    async def _dump(
        self,
        log: ToolLog,
        on_started: Callable[[RunningChild], None] | None,
        inspect: Callable[[bytes], None],
    ) -> None:
        plan, name = self._plan, self._plan.name
        arguments = dump_arguments(plan, self._client, self._snapshot, None)
        written = await write_from_command(
            self._directory / name,
            self._chain,
            Command(tuple(arguments), env=self._environment),
            report=self._report,
            redactor=self._redactor,
            on_stderr_line=log.add,
            inspect=inspect,
            on_started=on_started,
        )
        if not written.plain_bytes:
            raise ToolError(
                f"DUMP EMPTY: pg_dump ended well, but {name} holds nothing.",
                why="pg_dump is not what it seems.",
                fix="Run the tool by hand (its command line is in the job's log).",
            )
        self._keep(name, "dump", written)

    async def _list(self, command: Command) -> None:
        lines: list[str] = []
        log = ToolLog("pg_restore", self._redactor)
        try:
            await run(
                command,
                redactor=self._redactor,
                on_stdout_line=lines.append,
                on_stderr_line=log.add,
            )
        except ToolFailed as error:
            raise explain_failure(error, log, what="DUMP NOT LISTED") from error
        text = "\n".join(line.rstrip("\n") for line in lines) + "\n"
        self.entries = len(parse_toc(text))
        name = f"restore.list{self._chain.suffix}"
        content = text.encode("utf-8", errors="surrogateescape")
        written = await write_artifact(
            self._directory / name, self._chain, lambda sink: void(sink.write(content))
        )
        self._keep(name, "list", written)

    async def _schema(self, command: Command) -> None:
        name = f"schema.sql{self._chain.suffix}"
        digest = SchemaDigest()
        log = ToolLog(Path(command.argv[0]).name, self._redactor)
        try:
            written = await write_from_command(
                self._directory / name,
                self._chain,
                command,
                report=self._report,
                redactor=self._redactor,
                on_stderr_line=log.add,
                inspect=digest.feed,
            )
        except ToolFailed as error:
            raise explain_failure(error, log, what="SCHEMA NOT WRITTEN") from error
        self.schema_sha256 = digest.finish()
        self._keep(name, "schema", written)

    def _keep(self, name: str, role: ArtifactRole, written: Written) -> None:
        self.roles[name] = role
        self.written[name] = written


class _Copies:
    """Gives what passes by to readers, each of which may leave when it has enough."""

    def __init__(self, readers: Sequence[Channel]) -> None:
        self._readers = list(readers)
        self._reading = list(readers)

    def write(self, block: bytes) -> None:
        """Give a block to all that still read."""
        for reader in list(self._reading):
            try:
                reader.write(block)
            except (BrokenPipeError, ChannelStopped):
                self._reading.remove(reader)

    def finish(self) -> None:
        """Tell the readers that nothing comes after."""
        for reader in self._readers:
            reader.finish()

    def stop(self) -> None:
        """Let nobody wait for a reader any more."""
        for reader in self._readers:
            reader.stop()


async def _all_of(work: Sequence[Coroutine[Any, Any, None]], stop: Callable[[], None]) -> None:
    """Do all of it; the first error ends the rest, and is raised as it is."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task in done:
                task.result()
    finally:
        if not all(task.done() for task in tasks):
            stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def dump_globals_encrypted(
    client: ClientTools,
    environment: Mapping[str, str],
    *,
    chain: Chain,
    database: str,
    directory: Path,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> tuple[tuple[str, Written] | None, str]:
    """Write roles and tablespaces through the chain; returns (name and content, why not).

    With the hashes of the roles' passwords where they may be read, so that a lost server needs no
    new ones; in plain nothing writes them. Without a key in the chain they are left out.
    """
    name, reason = f"globals.sql{chain.suffix}", ""
    for passwords in (True, False) if chain.key is not None else (False,):
        log = ToolLog("pg_dumpall", redactor)
        arguments = globals_arguments(client, database, passwords=passwords)
        try:
            written = await write_from_command(
                directory / name,
                chain,
                Command(arguments, env={**client.env, **environment}),
                report=report,
                redactor=redactor,
                on_stderr_line=log.add,
            )
        except ToolFailed as error:
            if error.completed.program != "pg_dumpall":
                raise
            reason = log.reason()
            continue
        if not passwords and chain.key is not None and report is not None:
            report(Log(f"Roles are captured without their passwords: {reason}"))
        return (name, written), ""
    return None, f"roles and tablespaces were not captured: {reason}"


def void(_result: object) -> None:
    """Return nothing, whatever was returned."""
