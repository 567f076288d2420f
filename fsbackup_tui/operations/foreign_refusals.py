"""Backups of other scripts that no restore could use, refused with what to do instead."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Literal

from fsbackup_tui.domain.errors import PointDamaged, SafetyRefusal
from fsbackup_tui.engines.foreign.model import Examination, ForeignFile

Use = Literal["ADOPTED", "RESTORED"]


def refuse_damaged(name: str, use: Use, problems: Iterable[str]) -> None:
    """Raise PointDamaged where there is anything wrong with a file."""
    why = "\n".join(map(_sentence, dict.fromkeys(problems)))
    if not why:
        return
    verb = "Adopt" if use == "ADOPTED" else "Restore"
    raise PointDamaged(
        f"NOT {use}: {name} is no whole backup. Nothing was created.",
        why=why,
        fix=f"{verb} another one: fsbackup adopt lists them.",
    )


def _sentence(problem: str) -> str:
    named = problem.startswith("pg_")
    text = problem if named else f"{problem[:1].upper()}{problem[1:]}"
    return text if text.endswith(".") else f"{text}."


def refuse_unusable(examination: Examination, use: Use) -> None:
    """Raise for what is no whole backup, or is one that a restore can't use."""
    file = examination.file
    name = file.path.name
    refuse_damaged(name, use, file.problems)
    if file.form == "cluster":
        raise SafetyRefusal(
            f"NOT {use}: {name} holds {file.what}.",
            why="A point, and a restore beside, is of one database.",
            fix="Restore it by hand with psql into an empty server, then back that up.",
        )
    if examination.commands:
        raise SafetyRefusal(
            f"NOT {use}: {name} holds commands for psql itself.",
            why=f"Outside the rows it says {examination.commands[0]!r}; such a command can run "
            "programs, and no restore of fsbackup carries it out.",
            fix="Take one that pg_dump wrote without --create; or, if you trust the file, look at "
            "those lines and restore it by hand with psql.",
        )


def decrypt_hint(file: ForeignFile) -> str:
    """Return how a person decrypts a file."""
    name = shlex.quote(str(file.path))
    if "gpg" in file.what:
        plain = file.path.name.removesuffix(".gpg").removesuffix(".asc").removesuffix(".pgp")
        plain = plain if plain != file.path.name else f"{plain}.decrypted"
        return f"gpg --decrypt {name} > {shlex.quote(plain)}"
    return f"decrypt {name}"
