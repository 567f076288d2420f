"""What ``fsbackup init`` says it did, and the repository of a configuration that is there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.config.new_config import NewSite
    from fsbackup_tui.domain.database_url import DatabaseAddress


def report(
    context: CliContext,
    address: DatabaseAddress | None,
    said_notes: Sequence[str],
    new: NewSite,
    output: Path,
    *,
    made: bool,
    written: bool,
) -> None:
    """Say what was written and the next two commands."""
    from fsbackup_tui.config.new_config import PLAN, SOURCE

    option = _config_option(context, Path.cwd(), output)
    backs_up = new.url is not None
    following = [f"fsbackup {option}doctor", f"fsbackup {option}backup {PLAN}"]
    if new.adopt:
        following = [f"fsbackup {option}list", *(following if backs_up else following[:1])]
    database = address.display() if address is not None else None
    notes = [*said_notes, *(address.notes if address is not None else ())]
    document = {
        "ok": True,
        "config": str(output),
        "written": written,
        "site": new.site,
        "repository": str(new.repository),
        "created": made,
        "env_file": None if new.env_file is None else str(new.env_file),
        "database": database,
        "source": SOURCE if backs_up else None,
        "plan": PLAN if backs_up else None,
        "adopt": [str(place) for place in new.adopt],
        "notes": notes,
        "next": following,
    }

    def human() -> None:
        said = "written, private" if written else "as it was"
        found = "made" if made else "as it was"
        context.say_text(f"{output}   {said}", first="Configuration  ")
        context.say_text(f"{new.repository}   {found}", first="Repository     ")
        for place in new.adopt:
            context.say_text(f"{place}   only read", first="Watched        ")
        if backs_up:
            said = database or "its address is not set here yet"
            context.say_text(said, first="Database       ")
        for note in notes:
            context.say_text(note, first="Note           ")
        context.say("Next")
        for command in following:
            context.say(f"  {command}")

    context.emit(document, human)


def make_repository(context: CliContext, config: Path) -> int:
    """Make the repository that a configuration names; one that is there stays as it is."""
    from fsbackup_tui.config.load import load_config
    from fsbackup_tui.repository.new_site import check_repository_place, prepare_repository

    loaded = load_config(config, context.environ).config
    check_repository_place(loaded.repository, [])
    _, made = prepare_repository(loaded.repository, loaded.site, context.now())
    document = {
        "ok": True,
        "config": str(config),
        "written": False,
        "site": loaded.site,
        "repository": str(loaded.repository),
        "created": made,
    }

    def human() -> None:
        context.say_text(f"{config}   as it was", first="Configuration  ")
        said = "made" if made else "as it was"
        context.say_text(f"{loaded.repository}   {said}", first="Repository     ")

    context.emit(document, human)
    return 0


def _config_option(context: CliContext, directory: Path, output: Path) -> str:
    """Return ``--config FILE `` unless the file is the one that is found without it."""
    from fsbackup_tui.config.load import find_config
    from fsbackup_tui.domain.errors import UsageError

    try:
        found = find_config(explicit=None, site=None, environ=context.environ, cwd=directory)
    except UsageError:
        found = None
    return "" if found == output else f"--config {shlex.quote(str(output))} "
