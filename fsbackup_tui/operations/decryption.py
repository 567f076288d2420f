"""Opening encrypted backups of other scripts; their plain content lies in a private directory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, site_environment
from fsbackup_tui.domain.errors import (
    DiskFull,
    NotDecryptable,
    PointDamaged,
    SecretUnavailable,
)
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.encryption.gpg import decrypt
from fsbackup_tui.engines.foreign.examine import examine
from fsbackup_tui.engines.foreign.model import Examination, ForeignFile
from fsbackup_tui.engines.postgres.guards import free_bytes
from fsbackup_tui.engines.secrets import expands_to_nothing, read_secret
from fsbackup_tui.operations.foreign_refusals import decrypt_hint
from fsbackup_tui.operations.guard import guarded

VARIABLE = "FSBACKUP_GPG_PASSPHRASE"
_ENDINGS = (".gpg", ".pgp", ".asc")
_LEAST_FREE_BYTES = 64 * 10**6
_WATCH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the passphrase of backups is found: the configuration, else the environment."""

    loaded: LoadedConfig | None
    environ: Mapping[str, str]
    redactor: Redactor

    async def passphrase(self) -> Secret | None:
        """Return the passphrase, None where nobody names one; SecretUnavailable."""
        variables, description = self.environ, None
        if self.loaded is not None:
            variables = site_environment(self.loaded, self.environ)
            description = self.loaded.config.adopt_passphrase
        if description is None or expands_to_nothing(description, variables):
            value = variables.get(VARIABLE, "")
            return self.redactor.add(Secret(value)) if value else None
        return await read_secret(
            description,
            variables,
            self.redactor,
            what="backups' passphrase",
            where=self.loaded.place("adopt_passphrase") if self.loaded is not None else "",
        )


async def open_encrypted(
    examination: Examination,
    keys: Keys,
    *,
    zone: tzinfo,
    work: Path,
    report: Report,
    on_bytes: Callable[[int], None] | None = None,
) -> Examination:
    """Return what is in an encrypted file, read to its end; any other file as it is.

    The plain content is written into ``work``, a private directory that the caller removes.

    Raises:
        NotDecryptable: it can't be opened here; nothing was learned of it.
        PointDamaged: it opened, and what is in it is altered or torn.
        DiskFull: there is no room for the plain content.
    """
    file = examination.file
    if file.form != "encrypted" or file.problems:
        return examination
    if "gpg" not in file.what:
        raise _not_opened(file, "without its key it can't be read", decrypt_hint(file))
    if file.compression is not None:
        raise _not_opened(file, "it was packed after it was encrypted", "Unpack it, then try that")
    place = work / "plain"
    place.mkdir(mode=0o700)
    plain = place / _plain_name(file.path)
    await _decrypt(file, plain, keys, place=place, report=report)
    # What else tells no time of its own was made when the encrypted file was.
    os.utime(plain, (file.modified.timestamp(), file.modified.timestamp()))
    inner = await asyncio.to_thread(examine, plain, zone, on_bytes=on_bytes)
    if inner.file.form == "encrypted":
        plain.unlink()
        raise _not_opened(file, f"in it is another file that is {inner.file.what}", "")
    opened = replace(
        inner.file,
        path=file.path,
        content=plain,
        bytes=file.bytes,
        what=f"{inner.file.what}, {file.what}",
    )
    return replace(inner, file=opened)


async def _decrypt(
    file: ForeignFile, plain: Path, keys: Keys, *, place: Path, report: Report
) -> None:
    def check_space(needed: int) -> None:
        free = free_bytes(place) - _floor(place)
        if free < needed:
            raise DiskFull(
                f"NOT ENOUGH SPACE to decrypt {file.path.name}.",
                why=f"Its content takes at least {needed // 10**6} MB; {place} has "
                f"{max(0, free) // 10**6} MB to spare.",
                fix="Free some, or let TMPDIR or state: name a roomier place.",
            )

    before = file.path.stat()
    try:
        # What gpg packed is larger in plain; that size is known, and checked, a moment later.
        check_space(file.bytes)
        await guarded(
            decrypt(
                file.path,
                plain,
                passphrase=await keys.passphrase(),
                environ=keys.environ,
                work=place,
                check_space=check_space,
                report=report,
            ),
            _watch_space(place, file),
        )
        after = file.path.stat()
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise PointDamaged(
                f"NOT READABLE: {file.path} can't be read to its end.",
                why="it was written to while it was read",
            )
    except BaseException as error:
        _remove(plain)
        if isinstance(error, NotDecryptable):
            raise _not_opened(file, error.reason, error.fix) from error
        if isinstance(error, SecretUnavailable):
            said = error.what.partition(": ")[2].rstrip(".")
            first, *_ = error.fix.splitlines() or [""]
            raise _not_opened(file, f"its passphrase is not known here: {said}", first) from error
        raise


def _remove(plain: Path) -> None:
    plain.unlink(missing_ok=True)


def _floor(place: Path) -> int:
    return min(_LEAST_FREE_BYTES, free_bytes(place) // 4)


async def _watch_space(place: Path, file: ForeignFile) -> None:
    floor = _floor(place)
    while True:
        if free_bytes(place) < floor:
            raise DiskFull(
                f"DISK NEARLY FULL: the decryption of {file.path.name} was stopped.",
                why=f"{place} has {free_bytes(place) // 10**6} MB left.",
                fix="Free some, or let TMPDIR or state: name a roomier place.",
            )
        await asyncio.sleep(_WATCH_SECONDS)


def _plain_name(path: Path) -> str:
    """Return the name without what encryption put behind it."""
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.name[: -len(ending)]
    return path.name


def _not_opened(file: ForeignFile, reason: str, fix: str) -> NotDecryptable:
    by_hand = f"{decrypt_hint(file)}   and use that"
    return NotDecryptable(
        f"it is {file.what}: {reason}",
        why=f"{reason[:1].upper()}{reason[1:]}.",
        what=f"NOT DECRYPTED: {file.path.name} is {file.what}.",
        fix="\n".join(dict.fromkeys(filter(None, (fix or by_hand, by_hand)))),
    )
