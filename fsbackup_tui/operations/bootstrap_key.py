"""On a new machine: is the key the right one, and what does the configuration captured tell?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from fsbackup_tui.config.env_file import parse_env_text
from fsbackup_tui.config.load import LoadedConfig, SiteEnvironment
from fsbackup_tui.domain.errors import FsbackupError, KeyRefused, PointDamaged
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.operations.bring_here import bring_here
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import reading_keys
from fsbackup_tui.operations.verify_config import read_items
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

KeyState = Literal["right", "not needed"]


def bootstrap_context(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    work: Path,
    *,
    operator: str,
    now: Callable[[], datetime],
    report: Callable[[Event], None],
) -> JobContext:
    """Return what operations are given that run here and now, without a job."""
    return JobContext(
        job="bootstrap",
        loaded=loaded,
        environment=SiteEnvironment(loaded, environ),
        redactor=Redactor(),
        report=report,
        stage=lambda _name: None,
        work=work,
        operator=operator,
        host=os.uname().nodename,
        now=now,
    )


async def check_key(context: JobContext, repository: Repository, point: str) -> KeyState:
    """Return whether the point's parts open with what is told; nothing large is read.

    Raises:
        KeyRefused: they do not.
    """
    reader = PointReader(repository, point)
    wanted = {part.key for part in reader.parts() if part.key is not None}
    if not wanted:
        return "not needed"
    found = await reading_keys(context, reader)
    held = {"gpg": found.gpg, "age": found.age}
    if all(held[key.method] is not None for key in wanted):
        return "right"
    hint = next((key.hint for key in wanted if key.hint), "")
    raise KeyRefused(
        f"KEY NOT RIGHT: {point} {found.reason}.",
        why=f"Its hint: {hint}." if hint else "The kit says where the key is kept.",
        fix=found.fix or "Run it again with the right passphrase; what was fetched stays.",
    )


async def captured_variables(
    context: JobContext, repository: Repository, point: str, env_file: str
) -> dict[str, str]:
    """Return the variables that a point's own configuration holds; empty where it holds none.

    They are those of its file ``env_file``, and those that were captured by name.
    """
    found: dict[str, str] = {}
    for part in PointReader(repository, point).parts():
        if part.kind != "config":
            continue
        try:
            await bring_here(context, repository, point, part=part.source)
            reader = PointReader(repository, point)
            items = await read_items(reader, part, await reading_keys(context, reader))
        except (FsbackupError, PointDamaged):
            # It only saves typing; what is wrong with it is told when it is restored.
            continue
        for item in items:
            if item.origin == "variable":
                found.setdefault(item.name, item.data.decode("utf-8", "replace"))
            elif env_file and Path(item.name).parts[-len(Path(env_file).parts) :] == (
                Path(env_file).parts
            ):
                text = item.data.decode("utf-8", "replace")
                found |= parse_env_text(text, {}).values
    return found
