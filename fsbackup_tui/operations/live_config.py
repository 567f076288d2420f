"""A config source as it is on this machine now: its files, variables, outputs of commands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import ConfigCommand, ConfigSource
from fsbackup_tui.domain.errors import FsbackupError, ToolError, UsageError
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.config_digest import assignments_of
from fsbackup_tui.engines.config_files import ConfigItem, read_file
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.operations.context import JobContext

COMMAND_SECONDS = 60.0
_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """What there is of a configuration; ``absent`` are files that are not there.

    ``problems`` say what could not be read, where that was not to fail.
    """

    items: tuple[ConfigItem, ...]
    absent: tuple[str, ...]
    problems: tuple[str, ...] = ()


def config_source(loaded: LoadedConfig, name: str) -> ConfigSource:
    """Return the configured config source of that name; UsageError where it is none."""
    source = loaded.config.sources.get(name)
    if not isinstance(source, ConfigSource):
        kinds = [n for n, s in loaded.config.sources.items() if isinstance(s, ConfigSource)]
        raise UsageError(
            f"NO SUCH CONFIGURATION: {name} is no source of kind config in {loaded.path}.",
            why=f"It has: {', '.join(kinds) or 'none of that kind'}.",
            fix="Restore it beside with --to DIR; only what is configured is put in place.",
        )
    return source


async def read_config(
    context: JobContext, source: ConfigSource, *, strict: bool = True
) -> LiveConfig:
    """Read a config source; with ``strict`` whatever is missing fails, else it is told.

    Raises:
        ToolError: a file, variable or output of a command that must be there is not.
    """
    items: list[ConfigItem] = []
    absent: list[str] = []
    problems: list[str] = []

    def failed(error: FsbackupError) -> None:
        if strict:
            raise error
        problems.append(error.what)

    for path in (*source.files, *source.optional):
        plain = plain_path(path)
        try:
            items.append(read_file(plain))
        except FileNotFoundError:
            absent.append(str(plain))
            if path in source.files:
                failed(_missing(context, plain))
        except ToolError as error:
            failed(error)
    for name in source.variables:
        value = context.environment.get(name)
        if value is None:
            failed(_unset(context, name))
        else:
            data = value.encode("utf-8", "surrogateescape")
            items.append(ConfigItem("variable", name, data))
    for command in source.commands:
        try:
            items.append(await _output(context, command, _with_values(context, items)))
        except FsbackupError as error:
            failed(error)
    unique = {(item.origin, item.name): item for item in items}
    return LiveConfig(tuple(unique.values()), tuple(absent), tuple(problems))


def plain_path(path: Path) -> Path:
    """Return a path without ``.`` and ``..``: as the tar and the manifest name it."""
    return Path(os.path.normpath(path))


def _missing(context: JobContext, path: Path) -> ToolError:
    return ToolError(
        f"FILE NOT THERE: {path} is part of the configuration.",
        why=f"{context.loaded.path} names it under files.",
        fix="If it need not be there, name it under optional.",
    )


def _unset(context: JobContext, name: str) -> ToolError:
    file = context.loaded.config.env_file
    where = f"neither in {file} nor" if file is not None else "not"
    return ToolError(
        f"VARIABLE NOT SET: {name} is part of the configuration.",
        why=f"It is {where} in the environment of this process.",
        fix=f"Set it there, or take it out of variables in {context.loaded.path}.",
    )


def _with_values(context: JobContext, items: list[ConfigItem]) -> Callable[[str], str]:
    """Return what takes secrets out of a command's words: it may print what it is configured by."""
    own = Redactor()
    for item in items:
        values = [item.data.decode("utf-8", "replace")] if item.origin == "variable" else []
        for value in [*values, *assignments_of(item).values()]:
            if len(value.strip("\"'")) >= _SHORTEST_SECRET:
                own.add(Secret(value.strip("\"'")))
    return lambda text: own.redact(context.redactor.redact(text))


async def _output(
    context: JobContext, command: ConfigCommand, redact: Callable[[str], str]
) -> ConfigItem:
    try:
        completed = await run(
            Command(command.command, cwd=context.loaded.path.parent),
            report=context.report,
            redactor=context.redactor,
            timeout=COMMAND_SECONDS,
        )
    except ToolError as error:
        raise ToolError(
            f"NOT CAPTURED: the output of {command.name}. {error.what}",
            why=redact(error.why),
            fix="Mend the command, or take it out of commands.",
        ) from None
    return ConfigItem("command", command.name, completed.stdout, mtime=time.time())
