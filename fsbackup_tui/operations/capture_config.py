"""Capturing a configuration: one tar, encrypted, of which the manifest tells names alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fsbackup_tui.config.sources import ConfigSource
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.events import Log, Warned
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.engines.chain import Chain, Sink, write_artifact
from fsbackup_tui.engines.config_digest import config_facts
from fsbackup_tui.engines.config_files import TAR_NAME, build_tar
from fsbackup_tui.operations.capture import CaptureRun
from fsbackup_tui.operations.digest_key import digest_key
from fsbackup_tui.operations.live_config import config_source, read_config

# What every machine can unpack: it is the first thing one needs on a bare one.
_COMPRESSION = "gzip:6"


async def capture_config(run: CaptureRun) -> PartManifest:
    """Read the source's files, variables and commands into one stored tar; not yet hashed.

    No plain content of it touches a disk, unless the configuration says ``plaintext: true``.

    Raises:
        UsageError: it would lie there in plain, and nothing says that it may.
        ToolError: something of it can't be read.
    """
    context = run.context
    started = context.now()
    source = config_source(context.loaded, run.source)
    chain = _chain(run, source)
    with run.phase("read"):
        live = await read_config(context, source)
        key, note = await asyncio.to_thread(digest_key, context, run.repository)
        if note:
            context.report(Warned(note))
        facts = config_facts(live.items, key, live.absent)
        content = build_tar(live.items, started)
    context.report(Log(f"{run.source}: {len(facts.entries)} entries, {len(live.absent)} absent"))
    name = f"{TAR_NAME}{chain.suffix}"

    def produce(sink: Sink) -> None:
        sink.write(content)

    with run.phase("write"):
        written = await write_artifact(
            run.directory / name, chain, produce, report=context.report, redactor=context.redactor
        )
    return PartManifest(
        source=run.source,
        kind="config",
        started=started,
        finished=context.now(),
        artifacts=(written.artifact(run.directory, name, "archive"),),
        restore_commands=(),
        phases=dict(run.phases),
        warnings=(note,) if note else (),
        config=facts,
        key=None if chain.key is None else chain.key.facts,
    )


def _chain(run: CaptureRun, source: ConfigSource) -> Chain:
    key = None if source.plaintext else run.chain.key
    if key is None and not source.plaintext:
        raise UsageError(
            f"NOT ENCRYPTED: {run.source} holds secrets, and nothing says how to encrypt them.",
            why=f"{run.context.loaded.path} has no encryption: for it.",
            fix="Add encryption: to the configuration; or write plaintext: true at the source: "
            "then everybody who reads the repository, or a copy of it, reads your secrets.",
        )
    return replace(run.chain, compression=_COMPRESSION, key=key)
