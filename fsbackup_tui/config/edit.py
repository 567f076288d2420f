"""Changing settings of a site's configuration file: seen before, written whole or not at all.

Everything that is not changed stays byte for byte: comments, order, quotes, line ends.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.ownership import user_name
from fsbackup_tui.config.shape import leaves
from fsbackup_tui.config.validate import validate
from fsbackup_tui.config.yaml_edit import (
    Change,
    NotEditable,
    changed_text,
    lines_by_hand,
    read_back,
)
from fsbackup_tui.config.yaml_reader import Document
from fsbackup_tui.domain.errors import Problem, SafetyRefusal

PREVIOUS_NAME = "config.previous.yaml"
_PRIVATE = 0o600
_HIDDEN = "…"


@dataclass(frozen=True, slots=True)
class ConfigEdit:
    """What would be written: the file, its SHA-256 as it was read, its new bytes.

    ``diff`` are the lines taken out and put in, ``-`` or ``+`` first, without secrets.
    """

    path: Path
    digest: str
    diff: tuple[str, ...]
    changes: tuple[Change, ...]
    data: bytes = field(repr=False)

    @property
    def changes_nothing(self) -> bool:
        """Whether the file says all of it already."""
        return not self.diff


def why_not_editable(loaded: LoadedConfig) -> Problem | None:
    """Return why the file can't be written by this user, None where it can."""
    if loaded.config.read_only:
        return Problem(
            "refused",
            "READ ONLY: this configuration changes nothing.",
            f"{loaded.place('read_only')} says so.",
            "Take read_only: out of it, by hand, where this machine shall change things.",
        )
    path = loaded.path.resolve()
    try:
        status = path.stat()
        directory = path.parent.stat()
    except OSError as error:
        return Problem(
            "refused", f"CONFIG NOT WRITABLE: {path}: {error.strerror}.", "", "fsbackup doctor"
        )
    # Its owner has to stay the same, and only root can give a file away.
    owners = status.st_uid == os.geteuid() or os.geteuid() == 0
    if not owners or not os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK):
        owner = user_name(status.st_uid)
        if not owners or owner == user_name(os.geteuid()):
            owner = user_name(directory.st_uid) if directory.st_uid != status.st_uid else owner
        return Problem(
            "refused",
            f"CONFIG NOT WRITABLE: {path} is not this user's to write.",
            f"It belongs to {user_name(status.st_uid)},"
            f" its directory to {user_name(directory.st_uid)}.",
            f"sudo -u {owner} fsbackup --config {path}",
        )
    if status.st_nlink > 1:
        return Problem(
            "refused",
            f"CONFIG NOT WRITABLE: {path} has {status.st_nlink} names (hard links).",
            "Written anew it would be one file no more.",
            "Write the lines by hand.",
        )
    return None


def prepare_edit(
    loaded: LoadedConfig, changes: Sequence[Change], environ: Mapping[str, str]
) -> ConfigEdit:
    """Return what the changes would make of the file; nothing is written.

    Raises:
        SafetyRefusal: the file is not this user's to write, or is another than was read, or can't
            be changed in place without touching more; it says which lines to write by hand.
        ConfigError: the configuration would not be good with it.
    """
    refusal = why_not_editable(loaded)
    if refusal is not None:
        raise _refused(refusal.what, refusal.why, refusal.fix, changes)
    data = _unchanged(loaded.path, loaded.digest, changes)
    text = data.decode("utf-8")
    try:
        after = changed_text(text, changes)
    except NotEditable as error:
        raise _refused(
            f"NOT EDITED: {loaded.path} is written in a way that can't be changed in place.",
            f"{str(error)[:1].upper()}{str(error)[1:]}.",
            "",
            changes,
        ) from error
    document = read_back(after)
    validate(document, loaded.path, environ)
    before = _masked(text, read_back(text)).splitlines()
    diff = _diff(before, _masked(after, document).splitlines())
    return ConfigEdit(loaded.path, loaded.digest, diff, tuple(changes), after.encode("utf-8"))


def write_edit(edit: ConfigEdit, state: Path) -> Path | None:
    """Write it, durably and whole, with the owner and the mode that the file has.

    Returns where the version before lies now, in the state directory; None where it could not be
    kept there.

    Raises:
        SafetyRefusal: the file changed meanwhile, or can't be written; it is as it was then.
    """
    before = _unchanged(edit.path, edit.digest, edit.changes)
    kept = _keep(before, state)
    target = edit.path.resolve()
    temporary = ""
    try:
        status = target.stat()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(edit.data)
            stream.flush()
            _take_after(stream.fileno(), target, status)
            os.fsync(stream.fileno())
        _unchanged(edit.path, edit.digest, edit.changes)
        Path(temporary).replace(target)
        temporary = ""
        _settle(target.parent)
    except OSError as error:
        raise _refused(
            f"NOT WRITTEN: {target}: {error.strerror or error}.",
            "It is as it was.",
            "Run as its owner, or as root.",
            edit.changes,
        ) from error
    finally:
        if temporary:
            with suppress(OSError):
                Path(temporary).unlink()
    return kept


def _take_after(descriptor: int, target: Path, status: os.stat_result) -> None:
    """Give the new file what the old one has: owner, mode, access lists, labels."""
    os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    if not hasattr(os, "listxattr"):
        return
    # A file system without them has none to keep; labels of the system's own come by themselves.
    with suppress(OSError):
        for name in os.listxattr(target):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(target, name))


def _settle(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(data: bytes, state: Path) -> Path | None:
    """Keep the version before for its owner alone: it may hold secrets."""
    target = state / PREVIOUS_NAME
    temporary = state / f".{PREVIOUS_NAME}.{os.getpid()}"
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, _PRIVATE), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return None
    return target


def _unchanged(path: Path, digest: str, changes: Sequence[Change]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refused(
            f"NOT EDITED: {path}: {error.strerror or error}.", "", "fsbackup doctor", changes
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise SafetyRefusal(
            f"NOT EDITED: {path} was changed by somebody else meanwhile.",
            why="What you saw was reckoned from the file as it was before.",
            fix="Look at it again, then change it once more: it was read anew.",
        )
    return data


def _refused(what: str, why: str, fix: str, changes: Sequence[Change]) -> SafetyRefusal:
    by_hand = "\n".join(lines_by_hand(change) for change in changes)
    return SafetyRefusal(what, why=why, fix=f"{fix}\nBy hand:\n{by_hand}".strip())


def _diff(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return tuple(row for row in list(lines)[2:] if not row.startswith("@@"))


def _masked(text: str, document: Document) -> str:
    """Return the text without its secrets: one may stand in a line that is shown."""
    spans = [
        document.spans[leaf.path]
        for leaf in leaves(SiteConfig, document.value)
        if leaf.role == "secret" and leaf.path in document.spans
    ]
    shift = 1 if text.startswith("\ufeff") else 0
    for span in sorted(set(spans), key=lambda one: one.start, reverse=True):
        text = text[: span.start + shift] + _HIDDEN + text[span.end + shift :]
    return text
