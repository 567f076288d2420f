"""The machine's secret by which configurations are compared without their values being told."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.engines.config_digest import SECRET_BYTES, DigestKey
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.repository.files import create_whole
from fsbackup_tui.repository.layout import Repository, site_state

_NAME = "config-digest.key"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def digest_key(context: JobContext, repository: Repository) -> tuple[DigestKey, str]:
    """Return the site's digest key on this machine, made at the first use, and a note or "".

    It lies in the site's state directory, for its owner alone whomever that is shared with. One
    that can't be read or written is replaced by one for this once: what it digests can be
    compared with nothing later.
    """
    path = site_state(context.loaded, os.environ, repository) / _NAME
    try:
        found = _read(path)
        if found is None:
            with suppress(FileExistsError):
                create_whole(path, DigestKey.new().secret)
            found = _read(path)
    except OSError as error:
        return DigestKey.new(), _once(f"{path}: {error.strerror}")
    if found is None:
        return DigestKey.new(), _once(f"{path} is not as it was written")
    return found, ""


def known_digest_key(context: JobContext, repository: Repository) -> DigestKey | None:
    """Return the site's digest key where this machine has one that we may read; never makes one."""
    try:
        return _read(site_state(context.loaded, os.environ, repository) / _NAME)
    except OSError:
        return None


def _read(path: Path) -> DigestKey | None:
    """Return the key, None where there is none; another length is no key of ours."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if facts.st_mode & _OTHERS and facts.st_uid == os.geteuid():
            os.fchmod(descriptor, stat.S_IMODE(facts.st_mode) & ~_OTHERS)
        secret = file.read(SECRET_BYTES + 1)
    return DigestKey(secret) if len(secret) == SECRET_BYTES else None


def _once(why: str) -> str:
    return f"what differs from other points can't be told by key: {why}"
