"""Everything that would make a backup or a restore fail, tried, with what mends it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fsbackup_tui.config.load import LoadedConfig, site_environment, state_directory
from fsbackup_tui.domain.errors import FsbackupError, RepositoryError, RepositoryMissing
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations.permissions import (
    Open,
    mend,
    open_repository_paths,
    open_secret_files,
    open_state_paths,
    shown,
)
from fsbackup_tui.operations.watch_only import takes_no_backups
from fsbackup_tui.operations.wording import size_text
from fsbackup_tui.repository.files import owner_name
from fsbackup_tui.repository.foreign import walk
from fsbackup_tui.repository.layout import site_state

if TYPE_CHECKING:
    from fsbackup_tui.engines.postgres.least_rights import RightsScript
    from fsbackup_tui.repository.layout import Repository

Severity = Literal["ok", "warning", "error"]

_LEAST_FREE_BYTES = 100_000_000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried; ``id`` is stable for scripts."""

    id: str
    severity: Severity
    what: str
    why: str = ""
    fix: str = ""

    def document(self) -> dict[str, str]:
        """Return the finding as JSON has it."""
        return asdict(self)


def failure(identifier: str, error: FsbackupError, *, severity: Severity = "error") -> Finding:
    """Return the finding that an error of ours is."""
    problem = error.problem()
    return Finding(identifier, severity, problem.what, problem.why, problem.fix)


async def diagnose(
    loaded: LoadedConfig, environ: Mapping[str, str], *, fix: bool = False
) -> list[Finding]:
    """Return what was found, in the order of looking; what is down or missing is a finding.

    ``fix`` also closes repository, state and files with secrets to other users, gives back what
    is somebody else's, and puts back the file that names the repository where it is lost.
    """
    from fsbackup_tui.operations.doctor_database import check_clients, check_source
    from fsbackup_tui.operations.doctor_keys import check_encryption
    from fsbackup_tui.operations.doctor_replicas import check_replicas
    from fsbackup_tui.operations.doctor_signing import check_signing
    from fsbackup_tui.operations.doctor_site import check_site_sources
    from fsbackup_tui.operations.status import site_repository_or_none

    findings = [Finding("config", "ok", f"config {loaded.path}: site {loaded.config.site}")]
    try:
        environment = site_environment(loaded, environ)
    except FsbackupError as error:
        findings.append(failure("env-file", error))
        environment = dict(environ)
    findings += _check_state(loaded, environ)
    clients, found = await check_clients(loaded)
    if loaded.config.databases or loaded.config.adopt:
        findings += found
    redactor = Redactor()
    sizes: list[int] = []
    if takes_no_backups(loaded):
        findings.append(_watching(loaded))
        findings = [_milder(finding) for finding in findings]
    for name in loaded.config.databases:
        checked = await check_source(loaded, environment, redactor, name, clients)
        findings += checked.findings
        if checked.size_bytes is not None:
            sizes.append(checked.size_bytes)
    findings[1:1] = [
        *_check_repository(loaded, environ, sum(sizes), fix=fix),
        *_check_adopt(loaded),
    ]
    findings += await check_site_sources(loaded, environment)
    findings += await check_encryption(
        loaded, environment, redactor, site_repository_or_none(loaded, environ)
    )
    findings += await check_signing(loaded, environment, redactor)
    findings += await check_replicas(
        loaded, environment, redactor, site_repository_or_none(loaded, environ)
    )
    _keep_rights(loaded, environ, findings)
    return [_redacted(finding, redactor) for finding in findings]


def _watching(loaded: LoadedConfig) -> Finding:
    return Finding(
        "plans", "ok", f"no plan in {loaded.path}: it takes no backups, it only watches others'"
    )


def _milder(finding: Finding) -> Finding:
    """Return a finding as it counts for a site that takes no backups: plain SQL needs no client."""
    if (finding.id, finding.severity) == ("clients", "error"):
        return replace(finding, severity="warning", why="Without it archives can't be read.")
    return finding


def _check_adopt(loaded: LoadedConfig) -> list[Finding]:
    """Look into the directories of other scripts' backups."""
    findings = []
    for directory in loaded.config.adopt:
        looked = walk([directory])
        what = f"adopt {directory}: {len(looked.found)} backups seen"
        if looked.problems:
            findings.append(
                Finding(
                    "adopt",
                    "warning",
                    f"NOT ALL SEEN in {directory}.",
                    "\n".join(looked.problems[:5]),
                    "Mend what is named, or run it as a user who may read there.",
                )
            )
        else:
            findings.append(Finding("adopt", "ok", what))
    return findings


def _keep_rights(
    loaded: LoadedConfig, environ: Mapping[str, str], findings: Sequence[Finding]
) -> None:
    """Keep for the answer line whether a restore was shown to be allowed."""
    from fsbackup_tui.operations.restore_rights import note_restore_rights, rights_found
    from fsbackup_tui.operations.status import open_site_repository
    from fsbackup_tui.repository.layout import site_state

    if loaded.config.read_only:
        return  # then it was not tried
    restored = [name for name, one in loaded.config.databases.items() if one.scope != "schema"]
    if not restored:
        return
    rights = rights_found(restored, {finding.id: finding.severity for finding in findings})
    with suppress(RepositoryError, OSError):
        repository = open_site_repository(loaded, environ)
        state = site_state(loaded, environ, repository)
        note_restore_rights(state, loaded.digest, rights, datetime.now(UTC))


def _redacted(finding: Finding, redactor: Redactor) -> Finding:
    return Finding(
        finding.id,
        finding.severity,
        redactor.redact(finding.what),
        redactor.redact(finding.why),
        redactor.redact(finding.fix),
    )


async def rights_scripts(
    loaded: LoadedConfig, environ: Mapping[str, str]
) -> dict[str, tuple[RightsScript, ...]]:
    """Return for each source the SQL that gives each verb its least rights.

    Where the server can't be reached the owner of the database is left for the reader to fill.
    """
    from fsbackup_tui.engines.postgres.least_rights import least_rights
    from fsbackup_tui.operations.doctor_database import owner_of
    from fsbackup_tui.operations.target import source_address

    environment = site_environment(loaded, environ)
    scripts: dict[str, tuple[RightsScript, ...]] = {}
    for name in loaded.config.databases:
        address = await source_address(loaded, environment, Redactor(), name)
        scripts[name] = least_rights(address.database, *await owner_of(address))
    return scripts


def _check_repository(
    loaded: LoadedConfig, environ: Mapping[str, str], needed: int, *, fix: bool
) -> list[Finding]:
    from fsbackup_tui.operations.status import open_site_repository
    from fsbackup_tui.repository.layout import restore_identity
    from fsbackup_tui.repository.whereabouts import REPOSITORY_NAME

    root = loaded.config.repository
    findings: list[Finding] = []
    try:
        if fix and restore_identity(root, state_directory(loaded, environ)) is not None:
            what = f"put back with the id it had: {root / REPOSITORY_NAME}"
            findings.append(Finding("repository-identity", "ok", what))
        repository = open_site_repository(loaded, environ)
    except FsbackupError as error:
        missing = isinstance(error, RepositoryMissing) and takes_no_backups(loaded)
        severity: Severity = "warning" if missing else "error"
        return [*findings, failure("repository", error, severity=severity)]
    written = _write_problem(repository.root)
    if written is not None:
        findings.append(written)
    findings += _check_modes(loaded, environ, repository, fix=fix)
    findings += _check_space(repository.root, needed)
    if all(finding.severity == "ok" for finding in findings):
        free = size_text(shutil.disk_usage(root).free)
        findings.append(Finding("repository", "ok", f"repository {root}: writable, {free} free"))
    return findings


def _write_problem(root: Path) -> Finding | None:
    try:
        with tempfile.NamedTemporaryFile(dir=root / "points", prefix=".fsbackup-doctor-") as file:
            file.write(b"fsbackup")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(
            "repository-write",
            "error",
            f"REPOSITORY NOT WRITABLE: {root}/points.",
            f"{error.strerror or error}.",
            "Let this user write there (it should own the repository), or mount it read-write.",
        )
    return None


def _check_modes(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository, *, fix: bool
) -> list[Finding]:
    """Look who may read and write what is kept, all of it, and close it under ``fix``."""
    state = site_state(loaded, environ, repository)
    kinds = (
        ("repository-modes", "REPOSITORY", open_repository_paths(repository, None)),
        ("state-modes", "STATE DIRECTORY", open_state_paths(state)),
        ("secret-modes", "FILE WITH SECRETS", open_secret_files(loaded)),
    )
    findings = []
    for identifier, what, listed in kinds:
        found = list(listed)
        if found:
            findings.append(_mended(identifier, what, found) if fix else _open(identifier, found))
    return findings


_OPEN_WORDS = {
    "repository-modes": "REPOSITORY OPEN TO OTHERS: other users of this machine can look into it.",
    "state-modes": "STATE DIRECTORY OPEN TO OTHERS: jobs, incidents and the audit lie there.",
    "secret-modes": "SECRETS OPEN TO OTHERS: every user of this machine can read or change them.",
}


def _open(identifier: str, found: Sequence[Open]) -> Finding:
    more = "" if len(found) <= _SHOWN else f"\nand {len(found) - _SHOWN} more"
    fix = "Close it (chmod 700, files 600): fsbackup doctor --fix"
    return Finding(identifier, "warning", _OPEN_WORDS[identifier], shown(found, _SHOWN) + more, fix)


def _mended(identifier: str, what: str, found: Sequence[Open]) -> Finding:
    mended, failed = mend(found)
    if failed:
        first, error = failed[0]
        return Finding(
            identifier,
            "error",
            f"{what} OPEN TO OTHERS: {first.path} could not be closed.",
            f"{first.words}; {error.strerror or error}.",
            f"Run fsbackup doctor --fix as its owner, or as root: {first.command()}",
        )
    where = mended[0] if len(mended) == 1 else f"{len(mended)} paths, {mended[0]} first"
    return Finding(identifier, "ok", f"closed to other users: {where}")


def _check_space(root: Path, needed: int) -> list[Finding]:
    free = shutil.disk_usage(root).free
    if free >= max(needed, _LEAST_FREE_BYTES):
        return []
    severity: Severity = "error" if free < _LEAST_FREE_BYTES else "warning"
    return [
        Finding(
            "repository-space",
            severity,
            f"LITTLE SPACE: {size_text(free)} free in {root}.",
            f"The databases have {size_text(needed)}; their dumps are smaller, often by far.",
            "Free space there, or move the repository.",
        )
    ]


def _check_state(loaded: LoadedConfig, environ: Mapping[str, str]) -> list[Finding]:
    directory = state_directory(loaded, environ)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return [Finding("state", "ok", f"state directory {directory}")]
    return [
        Finding(
            "state",
            "error",
            f"STATE DIRECTORY NOT WRITABLE: {directory}.",
            f"{existing} belongs to {owner_name(existing)}; jobs keep their journals there.",
            "Run as its owner, or name another one as state: in the config.",
        )
    ]
