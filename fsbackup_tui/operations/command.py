"""Running one of the site's own programs, as it is configured, without a shell."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.process import Command
from fsbackup_tui.engines.process import run as run_program
from fsbackup_tui.engines.secrets import remember_named_secrets
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.read_only import refuse_if_read_only
from fsbackup_tui.operations.recovery_requests import CommandRequest
from fsbackup_tui.operations.site_command import copy_environment
from fsbackup_tui.operations.site_commands import (
    ABOUT_LIVE_ALONE,
    command_of,
    literal_secrets,
    shown,
)
from fsbackup_tui.operations.target import source_address

_JOURNALED_LINES = 400
_LONGEST_LINE = 500
_SHOWN_LINES = 6
_PRINTED_LINES = 40


class _Output:
    """What the program prints: the first lines go into the journal, the last ones are kept."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._count = 0
        self._last: deque[str] = deque(maxlen=_PRINTED_LINES)

    def take(self, line: str) -> None:
        """Take one line of either stream."""
        text = self._context.redactor.redact(line.rstrip())[:_LONGEST_LINE]
        if not text:
            return
        self._last.append(text)
        self._count += 1
        if self._count <= _JOURNALED_LINES:
            self._context.report(Log(text))
        elif self._count == _JOURNALED_LINES + 1:
            self._context.report(Log("It prints more than is kept; its last lines follow."))

    def last(self, lines: int) -> list[str]:
        """Return the last lines."""
        return list(self._last)[-lines:]

    def finish(self) -> None:
        """Journal the last lines of an output that was too long for all of it."""
        left = min(self._count - _JOURNALED_LINES, _PRINTED_LINES)
        if left > 0:
            for text in self.last(left):
                self._context.report(Log(text))


async def run(request: CommandRequest, context: JobContext) -> dict[str, object]:
    """Run the command in the configuration's directory with the site's environment.

    On a drill's copy only what looks at a database is run, with an environment that leads to the
    copy; everything else is ``skipped``.

    Raises:
        UsageError: it is not configured.
        ToolMissing: the program is not there.
        FsbackupError: it ended with another status than 0.
    """
    refuse_if_read_only(context.loaded, "runs no commands")
    context.stage("run")
    argv = command_of(context.loaded, request.command)
    if request.database and not _may_run_in_a_drill(context, request.command):
        context.report(Log(f"Not run, this is a drill: {shown(argv, context.redactor)}"))
        return {
            "ok": True,
            "exit_status": None,
            "seconds": 0.0,
            "printed": "",
            "skipped": "a drill",
        }
    environment = await _environment(request, context)
    remember_named_secrets(environment, context.redactor)
    for value in literal_secrets(argv):
        context.redactor.add(Secret(value))
    output = _Output(context)
    completed = await run_program(
        Command(
            argv,
            env=environment,
            cwd=context.loaded.path.parent,
            stdin=request.message.encode() if request.message else None,
        ),
        report=context.report,
        redactor=context.redactor,
        check=False,
        on_stdout_line=output.take,
        on_stderr_line=output.take,
    )
    output.finish()
    if completed.exit_status != 0:
        raise FsbackupError(
            f"COMMAND FAILED: {request.command} ended with {completed.ended()}.",
            why="\n".join(output.last(_SHOWN_LINES)) or "It printed nothing.",
            fix=f"Try it by hand in {context.loaded.path.parent}: {shown(argv, context.redactor)}",
        )
    return {
        "ok": True,
        "exit_status": completed.exit_status,
        "seconds": round(completed.seconds, 3),
        "printed": "\n".join(output.last(_PRINTED_LINES)),
    }


def _may_run_in_a_drill(context: JobContext, name: str) -> bool:
    """Whether it only looks at the database; a step that the site added may do anything."""
    configured = type(context.loaded.config.commands).model_fields
    return name in configured and name not in ABOUT_LIVE_ALONE


async def _environment(request: CommandRequest, context: JobContext) -> Mapping[str, str]:
    if not request.database:
        return dict(context.environment)
    arguments = (context.loaded, context.environment, context.redactor, request.part)
    live = await source_address(*arguments)
    copy = await source_address(*arguments, database=request.database)
    return copy_environment(context.environment, copy, live.database)
