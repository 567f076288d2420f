"""The tools' part in capturing a database: into files, or through an encrypted part's chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fsbackup_tui.domain.point import Artifact, ArtifactRole
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.dump import (
    DumpPlan,
    DumpResult,
    dump_database,
    dump_globals,
)
from fsbackup_tui.engines.postgres.dump_encrypted import dump_encrypted, dump_globals_encrypted
from fsbackup_tui.engines.process import RunningChild
from fsbackup_tui.operations.capture import CaptureRun


def stored_artifact(run: CaptureRun, dump: DumpResult, name: str, role: ArtifactRole) -> Artifact:
    """Return an artifact of a dump, as it lies; its stored hash is left for who commits it."""
    if name in dump.written:
        return dump.written[name].artifact(run.directory, name, role)
    return Artifact(name, role, (run.directory / name).stat().st_size, "")


async def run_dump(
    run: CaptureRun,
    client: ClientTools,
    snapshot_id: str,
    plan: DumpPlan,
    environment: Mapping[str, str],
    *,
    on_started: Callable[[RunningChild], None],
    on_log: Callable[[str], None],
) -> DumpResult:
    """Dump the database into the part's directory; encrypted where the part is."""
    context = run.context
    if run.chain.key is None:
        return await dump_database(
            plan,
            client,
            environment,
            snapshot_id=snapshot_id,
            directory=run.directory,
            report=context.report,
            redactor=context.redactor,
            on_started=on_started,
            on_log=on_log,
        )
    return await dump_encrypted(
        plan,
        client,
        environment,
        chain=run.chain,
        snapshot_id=snapshot_id,
        directory=run.directory,
        report=context.report,
        redactor=context.redactor,
        on_started=on_started,
        on_log=on_log,
    )


async def capture_globals(
    run: CaptureRun, client: ClientTools, database: str, environment: Mapping[str, str]
) -> tuple[Artifact | None, str | None]:
    """Return roles and tablespaces as an artifact, or why there is none."""
    context = run.context
    if run.chain.key is not None:
        made, problem = await dump_globals_encrypted(
            client,
            environment,
            chain=run.chain,
            database=database,
            directory=run.directory,
            report=context.report,
            redactor=context.redactor,
        )
        return (made[1].artifact(run.directory, made[0], "globals") if made else None), problem
    name, problem = await dump_globals(
        client,
        environment,
        database=database,
        directory=run.directory,
        report=context.report,
        redactor=context.redactor,
    )
    if name is None:
        return None, problem
    return Artifact(name, "globals", (run.directory / name).stat().st_size, ""), problem
