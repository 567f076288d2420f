"""The migration head of a database against the code's, and the commands that bring them together.

Never ``migrate dev`` or ``migrate reset``: both may empty the database. Nor ``migrate deploy`` by
itself: after a restore it would run the migration again that did the damage.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.git.migrations import read_migrations as migrations_in
from fsbackup_tui.engines.postgres.migrations import Migrations, read_migrations
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_code import code_trees
from fsbackup_tui.operations.live_server import find_live_server
from fsbackup_tui.operations.point_site import code_lines, live_code_lines, parts_of
from fsbackup_tui.operations.recovery_requests import MigrationRequest
from fsbackup_tui.operations.target import postgres_source

_SCRIPT = "migration.sql"
_PRISMA = ("npx", "prisma")


async def run(request: MigrationRequest, context: JobContext) -> dict[str, object]:
    """Read the database's migrations and compare them with the worktree's, where that is known.

    Raises:
        PostgresError: the database can't be reached or read.
    """
    context.stage("look")
    server = await find_live_server(request, context)
    async with server.in_live() as live:
        found = await read_migrations(live, schema=server.source.schema)
    there = worktree_migrations(context.loaded, request.part)
    pending = [name for name in there if name not in found.applied]
    head = found.applied[-1] if found.applied else ""
    parts, _ = (
        await asyncio.to_thread(parts_of, context, request.point) if request.point else ((), ())
    )
    code = [*code_lines(parts, request.part, head), *await live_code_lines(context, parts)]
    context.report(Log(f"Migration head: {head or 'none'}; the code's: {(there or ['-'])[-1]}"))
    return {
        "ok": True,
        "table": found.table,
        "head": head,
        "applied": list(found.applied),
        "failed": list(found.failed),
        "expected": there[-1] if there else "",
        "pending": pending if found.table else [],
        "unknown": [name for name in found.applied if name not in there] if there else [],
        "commands": _commands(found, pending),
        "code": code,
    }


def worktree_migrations(loaded: LoadedConfig, part: str) -> list[str]:
    """Return the migrations that the code has, oldest first; empty where it is not known.

    Looked for beside a ``schema.prisma`` that the source's ``also:`` names, in the work trees
    of code, and in the project whose directory the configuration lies in.
    """
    places = [
        path.parent / "migrations"
        for path in postgres_source(loaded, part).also
        if path.suffix == ".prisma"
    ]
    for directory in (*places, loaded.path.parent / "prisma" / "migrations"):
        try:
            found = [path.parent.name for path in directory.glob(f"*/{_SCRIPT}")]
        except OSError:
            continue
        if found:
            return sorted(found)
    for tree in code_trees(loaded):
        if names := migrations_in(tree):
            return list(names)
    return []


def _commands(found: Migrations, pending: Sequence[str]) -> list[dict[str, str]]:
    if not found.table:
        return []
    shown = [
        _command(("migrate", "status"), "tells what Prisma itself finds"),
        _command(("generate",), "the client again, where schema.prisma is not what it was"),
    ]
    for name in found.failed:
        resolve = ("migrate", "resolve", "--rolled-back", name)
        shown.append(_command(resolve, "it failed, and nothing of it is in the database"))
    for name in (*found.failed, *(name for name in pending if name not in found.failed)):
        resolve = ("migrate", "resolve", "--applied", name)
        shown.append(_command(resolve, "all that it does is in the database already"))
    return shown


def _command(arguments: Sequence[str], when: str) -> dict[str, str]:
    return {"command": shlex.join((*_PRISMA, *arguments)), "when": when}
