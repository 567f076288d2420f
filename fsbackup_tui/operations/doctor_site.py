"""What would make the capture of files, configuration or code fail, tried without storing any."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import CodeSource, ConfigSource, FilesSource
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.engines.config_files import read_file
from fsbackup_tui.engines.config_restore import find_temporaries
from fsbackup_tui.engines.git.program import find_git
from fsbackup_tui.engines.git.repository import object_format, open_work_tree
from fsbackup_tui.engines.process_group import find_program
from fsbackup_tui.operations.capture_code import code_source
from fsbackup_tui.operations.doctor import Finding, failure
from fsbackup_tui.operations.doctor_files import check_files_source
from fsbackup_tui.operations.live_config import config_source, plain_path

_SHOWN = 5
_YOUNG_SECONDS = 60.0


async def check_site_sources(loaded: LoadedConfig, environment: Mapping[str, str]) -> list[Finding]:
    """Return what was found of each source of kind files, config and code."""
    findings = []
    for name, source in loaded.config.sources.items():
        if isinstance(source, ConfigSource):
            findings.append(_check_config(loaded, environment, name))
            findings += _left_beside(loaded, name)
        elif isinstance(source, FilesSource):
            findings.append(await check_files_source(loaded, name, source))
        elif isinstance(source, CodeSource):
            findings.append(await _check_code(loaded, name))
    return findings


def _check_config(loaded: LoadedConfig, environment: Mapping[str, str], name: str) -> Finding:
    """See whether everything that must be there can be read; no command of it is run."""
    source = config_source(loaded, name)
    problems: list[str] = []
    for path in (*source.files, *source.optional):
        try:
            read_file(plain_path(path))
        except FileNotFoundError:
            if path in source.files:
                problems.append(f"{path} is not there")
        except FsbackupError as error:
            problems.append(f"{path}: {error.why or error.what}")
    problems += [f"{name} is not set" for name in source.variables if name not in environment]
    for command in source.commands:
        try:
            find_program(command.command[0], os.environ, loaded.path.parent)
        except FsbackupError as error:
            problems.append(f"{command.name}: {error.what}")
    if not problems:
        count = len(source.files) + len(source.variables) + len(source.commands)
        return Finding(f"source-{name}", "ok", f"config {name}: {count} entries can be read")
    return Finding(
        f"source-{name}",
        "error",
        f"CONFIGURATION NOT WHOLE: {name} can't be captured.",
        "\n".join(problems[:_SHOWN]),
        "Mend what is named; what need not be there belongs under optional.",
    )


def _left_beside(loaded: LoadedConfig, name: str) -> list[Finding]:
    """Return what a killed restore in place left: secrets under a name that nobody looks at."""
    source = config_source(loaded, name)
    found: set[Path] = set()
    for path in (*source.files, *source.optional):
        with suppress(OSError):
            for left in find_temporaries(Path(os.path.realpath(plain_path(path)))):
                # One that is being written is no leftover.
                if time.time() - left.lstat().st_mtime > _YOUNG_SECONDS:
                    found.add(left)
    return [
        Finding(
            f"source-{name}",
            "warning",
            f"LEFT BY A KILLED RESTORE: {left}.",
            "It holds what was to be put in place; the next restore of that file removes it, too.",
            f"rm -- {shlex.quote(str(left))}",
        )
        for left in sorted(found)
    ]


async def _check_code(loaded: LoadedConfig, name: str) -> Finding:
    source = code_source(loaded, name)
    identifier = f"source-{name}"
    with tempfile.TemporaryDirectory(prefix="fsbackup-") as work:
        try:
            git = await find_git(Path(work))
            repository = await open_work_tree(git, source.worktree)
            await object_format(git, repository.place)
        except FsbackupError as error:
            return failure(identifier, error)
    lacking = [str(path) for path in source.artifacts if not (source.worktree / path).exists()]
    what = f"code {name}: {source.worktree}, git {git.version}"
    if lacking:
        why = f"{', '.join(lacking[:_SHOWN])} is not there."
        fix = "Build it, or take it out of artifacts."
        return Finding(identifier, "warning", f"NOT ALL BUILT: {name}.", why, fix)
    return Finding(identifier, "ok", what)
