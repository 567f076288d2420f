"""The public keys that gpg is to encrypt to: found, and found usable, before anything is written.

The fields are those of ``--with-colons`` (GnuPG's doc/DETAILS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsbackup_tui.domain.errors import KeyRefused, ToolError, ToolMissing
from fsbackup_tui.engines.encryption.gpg import home_option, variables
from fsbackup_tui.engines.encryption.gpg_stream import no_gpg
from fsbackup_tui.engines.process import Command, run

_UNUSABLE = {"e": "expired", "r": "revoked", "d": "disabled", "i": "invalid"}


@dataclass
class PublicKey:
    """A public key: its fingerprint, its first user id, why it can't be used, when it ends."""

    fingerprint: str = ""
    user: str = ""
    validity: str = ""
    ends: datetime | None = None
    encrypts: list[tuple[str, datetime | None]] = field(default_factory=list)
    signs: list[tuple[str, datetime | None]] = field(default_factory=list)

    def objection(self, now: datetime) -> str:
        """Return why nothing can be encrypted to it, empty where it can."""
        if self.validity in _UNUSABLE:
            return f"is {_UNUSABLE[self.validity]}"
        if self.ends is not None and self.ends <= now:
            return f"expired on {self.ends:%Y-%m-%d}"
        if not self.encrypts:
            return "can only sign: it has no key for encryption"
        alive = [
            ends
            for validity, ends in self.encrypts
            if validity not in _UNUSABLE and (ends is None or ends > now)
        ]
        return "" if alive else "has no key for encryption that is still valid"

    def last_day(self) -> datetime | None:
        """Return when it can't be encrypted to any more; None: never."""
        return self._last_of(self.encrypts)

    def last_signing_day(self) -> datetime | None:
        """Return when it can't sign any more; None: never."""
        return self._last_of(self.signs)

    def _last_of(self, able: list[tuple[str, datetime | None]]) -> datetime | None:
        ends = [ends for validity, ends in able if validity not in _UNUSABLE]
        last = None if None in ends or not ends else max(end for end in ends if end)
        known = [end for end in (self.ends, last) if end is not None]
        return min(known) if known else None


async def find_public_keys(
    names: Sequence[str],
    *,
    environ: Mapping[str, str],
    keyring: Path | None,
    work: Path,
    now: datetime,
) -> list[PublicKey]:
    """Return each recipient's key, usable now.

    Raises:
        KeyRefused: no gpg; a key is missing, ambiguous, expired, revoked or can't encrypt.
    """
    return [await _find(name, environ, keyring, work, now) for name in names]


async def _find(
    name: str, environ: Mapping[str, str], keyring: Path | None, work: Path, now: datetime
) -> PublicKey:
    keys = parse_keys(await _list("--list-keys", name, environ, keyring, work))
    where = str(keyring) if keyring is not None else "the keyring of this user"
    if not keys:
        raise KeyRefused(
            f"KEY MISSING: {name} is not in {where}.",
            why="Nothing can be encrypted to it, and nothing is written unencrypted instead.",
            fix="Import it: gpg --import FILE, or correct encryption: recipients:",
        )
    usable = [key for key in keys if not key.objection(now)]
    if not usable:
        raise KeyRefused(
            f"KEY NOT USABLE: {name} {keys[0].objection(now)}.",
            why=f"It is {keys[0].fingerprint} ({keys[0].user}).",
            fix="Have its owner prolong it (gpg --quick-set-expire) and import it again, or name "
            "another in encryption: recipients:",
        )
    if len(usable) > 1:
        raise KeyRefused(
            f"WHICH KEY? {name} means {len(usable)} keys.",
            why="\n".join(f"{key.fingerprint} {key.user}" for key in usable),
            fix="Write the fingerprint of the right one in encryption: recipients:",
        )
    return usable[0]


async def list_public_keys(
    name: str, *, environ: Mapping[str, str], keyring: Path | None, work: Path
) -> list[PublicKey]:
    """Return the keys that a name means, usable or not; none where it is not in the keyring.

    Raises:
        KeyRefused: no gpg, or its keyring can't be read.
    """
    return parse_keys(await _list("--list-keys", name, environ, keyring, work))


async def has_private_key(
    fingerprint: str,
    *,
    environ: Mapping[str, str],
    keyring: Path | None,
    work: Path,
    cards: bool = True,
) -> bool:
    """Whether the keyring has what decrypts for this key; ``cards``: a smartcard's counts."""
    text = await _list("--list-secret-keys", fingerprint, environ, keyring, work)
    rows = [line.split(":") for line in text.splitlines()]
    return any(
        row[0] in ("sec", "ssb")
        and len(row) > 14
        and (row[14] != "#" if cards else row[14] == "+")
        and "e" in row[11]
        for row in rows
    )


async def _list(
    what: str, name: str, environ: Mapping[str, str], keyring: Path | None, work: Path
) -> str:
    home = home_option(environ, keyring, work)
    options = ("--batch", "--no-tty", "--no-auto-key-locate", "--with-colons", "--fixed-list-mode")
    command = Command(("gpg", *options, *home, what, "--", name), env=variables(environ))
    try:
        completed = await run(command, check=False)
    except ToolMissing as error:
        raise no_gpg() from error
    except ToolError as error:
        raise KeyRefused(
            "KEYS NOT LISTED: gpg could not look into its keyring.", why=error.why, fix=error.fix
        ) from error
    return completed.stdout.decode("utf-8", errors="replace")


def parse_keys(text: str) -> list[PublicKey]:
    """Return the public keys of a listing with colons."""
    keys: list[PublicKey] = []
    for line in text.splitlines():
        row = line.split(":")
        if row[0] == "pub":
            keys.append(PublicKey(validity=row[1], ends=_moment(row[6])))
        if not keys:
            continue
        key = keys[-1]
        if row[0] in ("pub", "sub") and "e" in row[11]:
            key.encrypts.append((row[1], _moment(row[6])))
        if row[0] in ("pub", "sub") and "s" in row[11]:
            key.signs.append((row[1], _moment(row[6])))
        if row[0] == "fpr" and not key.fingerprint:
            key.fingerprint = row[9]
        elif row[0] == "uid" and not key.user:
            key.user = row[9]
    return keys


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    if text.isdigit():
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(text))
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
