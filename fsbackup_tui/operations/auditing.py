"""Acts without a job, as the audit log has them: without secrets, and from where they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, site_environment
from fsbackup_tui.domain.audit import Result
from fsbackup_tui.domain.errors import (
    ConfirmationNeeded,
    FsbackupError,
    JobError,
    SafetyRefusal,
)
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.secrets import remember_named_secrets
from fsbackup_tui.repository.audit import append_audit
from fsbackup_tui.repository.origin import acting_operator, acting_origin


def audit_act(
    state: Path,
    action: str,
    *,
    environ: Mapping[str, str],
    loaded: LoadedConfig | None,
    subject: str = "",
    arguments: Mapping[str, object] | None = None,
    result: Result,
    detail: str = "",
    now: datetime,
) -> str:
    """Write an act of this process into the log; return why it could not be, empty where it was."""
    redactor = Redactor()
    remember_named_secrets(environ, redactor)
    if loaded is not None:
        with suppress(FsbackupError):
            remember_named_secrets(site_environment(loaded, environ), redactor)
    return append_audit(
        state,
        action,
        operator=acting_operator(),
        origin=acting_origin(),
        result=result,
        now=now,
        subject=subject,
        arguments=arguments,
        detail=detail,
        redactor=redactor,
        keeps_head=loaded is None or not loaded.config.read_only,
    )


@contextmanager
def audited(
    state: Path,
    action: str,
    *,
    environ: Mapping[str, str],
    loaded: LoadedConfig,
    subject: str = "",
    arguments: Mapping[str, object] | None = None,
) -> Iterator[None]:
    """Write what is done in the block into the log, however it ends: for acts of the screens.

    What a job ended with (JobError) stands there already.
    """
    result: Result = "ok"
    detail = ""
    try:
        yield
    except FsbackupError as error:
        refused = isinstance(error, SafetyRefusal | ConfirmationNeeded)
        result, detail = ("refused" if refused else "failed"), f"{error.what} {error.why}".strip()
        if isinstance(error, JobError):
            result = "started"
        raise
    finally:
        if result != "started":
            audit_act(
                state,
                action,
                environ=environ,
                loaded=loaded,
                subject=subject,
                arguments=arguments,
                result=result,
                detail=detail,
                now=datetime.now(UTC),
            )
