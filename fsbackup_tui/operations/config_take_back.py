"""Taking back what was put in place of a configuration: the kept file is live's again.

What is live now is kept in its turn, as ``.after-…-NAME~``: nothing is lost by going to and fro.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal, ToolError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.config_restore import (
    find_kept,
    keep_as,
    kept_path,
    remove_temporaries,
    state_of,
)
from fsbackup_tui.engines.trees.renaming import rename_new
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.live_config import config_source, plain_path
from fsbackup_tui.operations.place_requests import ConfigTakeBackRequest
from fsbackup_tui.operations.read_only import refuse_if_read_only


async def run(request: ConfigTakeBackRequest, context: JobContext) -> dict[str, object]:
    """Undo what was put in place; a file that is taken back already is left as it is.

    Raises:
        SafetyRefusal: a file is none of the configuration's. ToolError: the system refuses.
    """
    refuse_if_read_only(context.loaded, "puts nothing in place")
    context.stage("check")
    source = config_source(context.loaded, request.part)
    configured = {str(plain_path(path)) for path in (*source.files, *source.optional)}
    pairs = list(zip(request.files, request.kept, strict=True))
    for name, _ in pairs:
        if name not in configured:
            raise SafetyRefusal(f"NOT TAKEN BACK: {name} is none of this site's files.")
    context.stage("take back")
    moment = f"{context.now().astimezone(UTC):%Y%m%dT%H%M%SZ}"
    done: list[dict[str, str]] = []
    left: list[str] = []
    for name, kept in pairs:
        try:
            after = await asyncio.to_thread(_take_back, Path(name), kept, moment)
        except OSError as error:
            raise ToolError(
                f"NOT ALL TAKEN BACK: {name}.",
                why=f"{error.filename}: {error.strerror}.",
                fix=f"By hand: mv {kept or name} …",
            ) from error
        if after is None:
            left.append(name)
            continue
        done.append({"file": name, "kept": after})
        context.report(Log(f"Taken back: {name}; what was there is {after or 'nothing'}"))
    live = {name: state_of(Path(name)) for name, _ in pairs}
    return {"ok": True, "taken_back": done, "as_it_was": left, "live": live}


def _take_back(path: Path, kept: str, moment: str) -> str | None:
    """Let the kept file be live; returns where what was live is, None where nothing was to do."""
    target = Path(os.path.realpath(path))
    remove_temporaries(target)
    former = Path(kept) if kept else None
    if former is not None and not former.exists():
        return None
    if former is None and not target.exists():
        return None
    if former is not None and target.exists() and former.samefile(target):
        former.unlink()  # a second name is all that a killed attempt came to
        return None
    after = _known_after(target)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if former is None:
            after = after or _free_path(target, moment)
            rename_new(directory, _name(target), directory, _name(after))
        else:
            after = _let_in(directory, target, former, after, moment)
        os.fsync(directory)
    finally:
        os.close(directory)
    return str(after) if after is not None else ""


def _free_path(target: Path, moment: str) -> Path:
    after = kept_path(target, "after", moment)
    return (
        after
        if not after.exists()
        else kept_path(target, "after", f"{moment}-{os.urandom(2).hex()}")
    )


def _known_after(target: Path) -> Path | None:
    """Return the second name of the live file that a killed attempt gave it."""
    if not target.exists():
        return None
    return next((path for path in find_kept(target, "after") if path.samefile(target)), None)


def _let_in(
    directory: int, target: Path, former: Path, after: Path | None, moment: str
) -> Path | None:
    if not target.exists():
        rename_new(directory, _name(former), directory, _name(target))
        return after
    # What is live is kept first, and never under the former one's name: done again after a kill,
    # each would take the other's place once more.
    kept = after or keep_as(target, "after", moment)
    former.replace(target)
    return kept


def _name(path: Path) -> bytes:
    return os.fsencode(path.name)
