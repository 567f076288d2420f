"""What a drill of a lost machine plays in: a directory and a database's name, both its own."""

from __future__ import annotations

import os
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal, UsageError
from fsbackup_tui.domain.kept_name import kept_name
from fsbackup_tui.engines.postgres.connection import connect, plain_errors
from fsbackup_tui.engines.postgres.leftovers import drop_database
from fsbackup_tui.engines.postgres.standing import list_standing
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.host_requests import HostStageRequest, HostUnstageRequest
from fsbackup_tui.operations.status import site_repository_or_none
from fsbackup_tui.operations.target import admin_address, source_address
from fsbackup_tui.repository.files import make_state_directory, remove_tree, writing
from fsbackup_tui.repository.layout import site_state

DIRECTORY = "host-drills"


async def run(request: HostStageRequest, context: JobContext) -> dict[str, object]:
    """Make the drill's directory and name its database; nothing of the site is touched.

    Raises:
        UsageError: a tag that no name can have. SecretUnavailable, DiskFull.
    """
    if not request.tag.replace("_", "").isalnum():
        raise UsageError(f"NOT A TAG: {request.tag!r}.")
    live = await source_address(context.loaded, context.environment, context.redactor, request.part)
    stage = _place(context) / request.tag
    with writing(stage):
        make_state_directory(stage.parent)
        make_state_directory(stage)
    return {
        "ok": True,
        "stage": str(stage),
        "database": kept_name(live.database, "drill", request.tag),
    }


async def run_drop(request: HostUnstageRequest, context: JobContext) -> dict[str, object]:
    """Drop the drill's database and directory, and nothing else.

    Raises:
        SafetyRefusal: what was named is none of a drill's. PostgresError.
    """
    stage = Path(request.stage)
    live = await source_address(context.loaded, context.environment, context.redactor, request.part)
    own = kept_name(live.database, "drill", stage.name)
    if stage.parent != _place(context) or request.database != own:
        raise SafetyRefusal(
            f"NOT DROPPED: {request.stage} and {request.database} are none of a drill's."
        )
    dropped = []
    address = await admin_address(
        context.loaded, context.environment, context.redactor, request.part
    )
    with plain_errors(address):
        admin = await connect(address, application_name=context.application_name)
        async with admin:
            here, _others = await list_standing(admin, request.database)
            if here is not None:
                await drop_database(admin, request.database, here.oid, force=True)
                dropped.append(request.database)
    if _remove(stage):
        dropped.append(request.stage)
    return {"ok": True, "dropped": dropped}


def _remove(stage: Path) -> bool:
    if not stage.is_dir():
        return False
    with writing(stage):
        remove_tree(stage)
    return True


def _place(context: JobContext) -> Path:
    repository = site_repository_or_none(context.loaded, os.environ)
    return site_state(context.loaded, os.environ, repository) / DIRECTORY
