"""Taking back what was put in place of a configuration: the kept file is live's again.

What is live now is kept in its turn, as ``.after-…-NAME~``: nothing is lost by going to and fro.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal, ToolError
from fsbackup_tui.domain.events import Log
from fsbackup_tui.engines.config_restore import (
    kept_path,
    make_private,
    state_of,
    work_path,
)
from fsbackup_tui.engines.trees.renaming import CannotExchange, exchange, rename_new
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
    configured = [str(plain_path(path)) for path in (*source.files, *source.optional)]
    modes = request.modes or ("",) * len(request.files)
    told = zip(request.kept, modes, strict=True)
    pairs = dict(zip(request.files, told, strict=True))
    for name in pairs:
        if name not in configured:
            raise SafetyRefusal(f"NOT TAKEN BACK: {name} is none of this site's files.")
    if request.tag:
        found = await asyncio.to_thread(_kept_under, request.tag, configured)
        pairs = {**found, **pairs}
    context.stage("take back")
    moment = f"{context.now().astimezone(UTC):%Y%m%dT%H%M%SZ}"
    done, left, relinked = [], [], []
    for name, (kept_as, mode) in pairs.items():
        try:
            if await asyncio.to_thread(_unlink_second, Path(name), kept_as):
                relinked.append({"file": name, "live": state_of(Path(name))})
                left.append(name)
                continue
            after = await asyncio.to_thread(_take_back, Path(name), kept_as, mode, moment)
        except OSError as error:
            raise ToolError(
                f"NOT ALL TAKEN BACK: {name}.",
                why=f"{error.filename}: {error.strerror}.",
                fix=f"By hand: mv {kept_as or name} …",
            ) from error
        if after is None:
            left.append(name)
            continue
        done.append({"file": name, "kept": after, "live": state_of(Path(name))})
        context.report(Log(f"Taken back: {name}; what was there is {after or 'nothing'}"))
    return {"ok": True, "taken_back": done, "as_it_was": left, "relinked": relinked}


def _kept_under(tag: str, names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return for each file where it is kept, by this tag alone, and the mode of what is live.

    What one that was killed had only begun to write is removed.
    """
    found = {}
    for name in names:
        work_path(name, tag).unlink(missing_ok=True)
        kept = kept_path(Path(os.path.realpath(name)), "before", tag)
        if kept.exists():
            found[name] = str(kept), _mode_of(Path(name))
    return found


def _mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}" if path.exists() else ""


def _unlink_second(path: Path, kept: str) -> bool:
    """Take the second name off a file whose place nothing had taken yet; False: it has none."""
    former = Path(kept) if kept else None
    if former is None or not former.exists() or not path.exists() or not former.samefile(path):
        return False
    former.unlink()
    return True


def _take_back(path: Path, kept: str, mode: str, moment: str) -> str | None:
    """Let the kept file be live; returns where what was live is, None where nothing was to do."""
    target = Path(os.path.realpath(path))
    former = Path(kept) if kept else None
    if former is not None and not former.exists():
        return None
    if former is None and not target.exists():
        return None
    after = kept_path(target, "after", moment)
    if after.exists():
        after = kept_path(target, "after", f"{moment}-{os.urandom(2).hex()}")
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if former is None:
            rename_new(directory, _name(target), directory, _name(after))
        else:
            if mode:
                former.chmod(int(mode, 8))
            _let_in(directory, target, former, after)
        if after.is_file():
            make_private(after)
        os.fsync(directory)
    finally:
        os.close(directory)
    return str(after) if after.exists() else ""


def _let_in(directory: int, target: Path, former: Path, after: Path) -> None:
    if not target.exists():
        rename_new(directory, _name(former), directory, _name(target))
        return
    try:
        # One step: there is no moment without the file.
        exchange(directory, _name(former), directory, _name(target))
        rename_new(directory, _name(former), directory, _name(after))
    except CannotExchange:
        after.hardlink_to(target)
        former.replace(target)


def _name(path: Path) -> bytes:
    return os.fsencode(path.name)
