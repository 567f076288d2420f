"""Capturing a git work tree: everything needed to have it again as it was, and to deploy it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.sources import CodeSource
from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.engines.git.capture import Wanted, capture_work_tree
from fsbackup_tui.engines.git.program import find_git
from fsbackup_tui.operations.capture import CaptureRun
from fsbackup_tui.operations.files_ground import own_places
from fsbackup_tui.operations.left_below import left_below

_COMPRESSION = "zstd:3"


async def capture_code(run: CaptureRun) -> PartManifest:
    """Store a work tree's commits, changes, files and submodules; not yet hashed.

    Raises:
        ToolMissing: no git that fits.
        ToolError: it is no work tree, or something of it can't be read.
    """
    context = run.context
    started = context.now()
    source = code_source(context.loaded, run.source)
    wanted = Wanted(
        tuple(map(Path, source.artifacts)),
        source.deployed,
        (
            *own_places(source.worktree, context.loaded),
            *left_below(source.worktree, context.loaded),
        ),
    )
    key = None if source.plaintext else run.chain.key
    chain = replace(run.chain, compression=_COMPRESSION, key=key)
    with run.phase("code"):
        git = await find_git(context.work, report=context.report, redactor=context.redactor)
        captured = await capture_work_tree(git, source.worktree, run.directory, chain, wanted)
    context.report(Log(f"{run.source}: {code_words(captured.facts)}"))
    for warning in captured.warnings:
        context.report(Warned(f"{run.source}: {warning}"))
    return PartManifest(
        source=run.source,
        kind="code",
        started=started,
        finished=context.now(),
        artifacts=tuple(captured.artifacts),
        restore_commands=(),
        phases=dict(run.phases),
        warnings=tuple(captured.warnings),
        code=captured.facts,
        key=None if key is None else key.facts,
    )


def code_source(loaded: LoadedConfig, name: str) -> CodeSource:
    """Return the configured code source of that name; UsageError where it is none."""
    source = loaded.config.sources.get(name)
    if not isinstance(source, CodeSource):
        raise UsageError(f"NOT CODE: {name} is no source of kind code in {loaded.path}.")
    return source
