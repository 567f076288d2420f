"""What tells two configurations apart without telling anything of their values.

Every digest is keyed (HMAC-SHA256) with a random secret of the machine that captured it: who has
the manifest alone can't try passwords against it. The name is part of what is digested, so that
equal values under different names don't show either.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fsbackup_tui.config.env_file import not_an_assignment, raw_assignments
from fsbackup_tui.domain.site_parts import ConfigEntry, ConfigFacts
from fsbackup_tui.engines.config_files import ConfigItem

SECRET_BYTES = 32
_LARGEST_ENV_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class DigestKey:
    """A random secret of a machine; ``id`` names it and tells nothing of it."""

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> DigestKey:
        """Return a new one."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @property
    def id(self) -> str:
        """The name of the key in manifests."""
        return self._mac(b"the name of this key")[:16]

    def digest(self, path: Sequence[str], value: bytes) -> str:
        """Return the keyed digest of a value under its name."""
        return self._mac(json.dumps(list(path)).encode() + b"\0" + value)

    def _mac(self, message: bytes) -> str:
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()


def config_facts(
    items: Iterable[ConfigItem], key: DigestKey, absent: Sequence[str] = ()
) -> ConfigFacts:
    """Return what a manifest tells of a configuration: names, and keyed digests."""
    return ConfigFacts(
        tuple(_entry(item, key) for item in items), digest_key=key.id, absent=tuple(absent)
    )


def _entry(item: ConfigItem, key: DigestKey) -> ConfigEntry:
    path = (item.origin, item.name)
    keys = tuple(
        (name, key.digest((*path, name), value.encode("utf-8", "surrogateescape")))
        for name, value in assignments_of(item).items()
    )
    size = None if item.origin == "variable" else len(item.data)
    return ConfigEntry(item.origin, item.name, size, key.digest(path, item.data), keys)


def assignments_of(item: ConfigItem) -> dict[str, str]:
    """Return the ``NAME=value`` of a file that has nothing else in it; {} for any other."""
    if item.origin != "file" or len(item.data) > _LARGEST_ENV_FILE:
        return {}
    try:
        found = raw_assignments(item.data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return {}
    return dict(found or {})


def why_whole(item: ConfigItem) -> str:
    """Return why an env file is compared as a whole; empty for one of names, and any other file.

    A line that is no assignment may be one of a secret that goes over several, and what stands in
    it before a ``=`` no name.
    """
    name = item.name.rpartition("/")[2]
    is_env = name.startswith(".env") or name.endswith(".env")
    if item.origin != "file" or not is_env or assignments_of(item):
        return ""
    return not_an_assignment(item.data.decode("utf-8-sig", errors="replace"))
