"""What ``doctor`` finds out about replicas: the program, the credentials, the place."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.programs import probe_rclone, probe_rsync
from fsbackup_tui.operations.doctor import Finding, failure
from fsbackup_tui.operations.replica_open import open_far
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.replica_layout import check_identity
from fsbackup_tui.repository.whereabouts import REPOSITORY_NAME


async def check_replicas(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    home: Repository | None,
) -> list[Finding]:
    """Call every replica as a run would, sending nothing; each gives one finding."""
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="fsbackup-") as work:
        for name in loaded.config.replicas:
            findings.append(await _check(loaded, environment, redactor, home, Path(work), name))
    return findings


async def _check(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    home: Repository | None,
    work: Path,
    name: str,
) -> Finding:
    identifier = f"replica-{name}"
    try:
        far = await open_far(loaded, environment, redactor, work, name)
        await far.remote.probe()
        begun = await far.remote.exists(REPOSITORY_NAME)
        if begun and home is not None:
            content = await far.remote.read(REPOSITORY_NAME)
            check_identity(content, home, name, far.remote.describe)
        program = await (probe_rsync() if far.settings.rsync is not None else probe_rclone())
    except FsbackupError as error:
        return failure(identifier, error)
    state = "holds copies" if begun else "answers, and is empty yet"
    what = f"replica {name}: {far.remote.describe} {state}; {program.text()}"
    if not any(name in plan.replicas for plan in loaded.config.plans.values()):
        return Finding(
            identifier,
            "warning",
            f"REPLICA {name} NOT USED: no plan names it.",
            f"{far.remote.describe} {state}.",
            f"Add replicas: [{name}] to a plan in {loaded.path}.",
        )
    return Finding(identifier, "ok", what)
