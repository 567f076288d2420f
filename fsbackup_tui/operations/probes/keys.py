"""Whether keys can be had by what runs at night, and how long they are good. Nobody is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsbackup_tui.config.load import site_environment
from fsbackup_tui.domain.errors import FsbackupError, KeyRefused, PointDamaged, PointNotFound
from fsbackup_tui.domain.events import format_time, parse_time
from fsbackup_tui.domain.finding import Finding, Severity
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.encryption.gpg_recipients import find_public_keys, list_public_keys
from fsbackup_tui.operations.key_sources import KeySource
from fsbackup_tui.operations.keys import fits, passphrase_missing
from fsbackup_tui.operations.private_work import private_work
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.repository.files import replace_file, state_file_mode
from fsbackup_tui.repository.reader import PointReader

_SOON = timedelta(days=30)
_NAME = "key-tried.json"
_GOOD_FOR = timedelta(days=1)
_VALID_BEFORE = re.compile(r'valid-before="?(\d{8})(\d{4}(?:\d{2})?)?Z?"?')


async def encryption(ground: Ground) -> list[Finding]:
    """Return whether the key that new points are encrypted with can be had, and until when."""
    settings = ground.loaded.config.encryption
    if settings is None:
        return []
    environment = site_environment(ground.loaded, ground.environ)
    with private_work() as work:
        source = KeySource(ground.loaded, environment, Redactor(), work, lambda: ground.now)
        try:
            if settings.recipients:
                return await _recipients(ground, source)
            return await _passphrase(ground, source)
        except FsbackupError as error:
            return [_failed("key", error)]


def _failed(identifier: str, error: FsbackupError, severity: Severity = "critical") -> Finding:
    why = error.why or "Backups fail without it."
    return Finding(identifier, severity, None, error.what, why, error.fix or "fsbackup doctor")


async def _recipients(ground: Ground, source: KeySource) -> list[Finding]:
    settings = source.settings
    if settings is None or settings.method != "gpg":
        return []
    keys = await find_public_keys(
        settings.recipients,
        environ=source.environ,
        keyring=settings.keyring,
        work=source.work,
        now=ground.now,
    )
    found = []
    for key in keys:
        ends = key.last_day()
        if ends is not None:
            left = (ends - ground.now).total_seconds()
            ground.number("fsbackup_key_expires_seconds", left, key=key.fingerprint)
            found += _ending(ground, f"key-expires:{key.fingerprint}", key.user, ends)
    return found


def _ending(ground: Ground, identifier: str, user: str, ends: datetime) -> list[Finding]:
    left = ends - ground.now
    if left > _SOON:
        return []
    word = "EXPIRED" if left <= timedelta() else "EXPIRES SOON"
    return [
        Finding(
            identifier,
            "critical" if left < timedelta(days=7) else "warning",
            None,
            f"KEY {word}: {user or identifier.partition(':')[2]}, on {ends:%Y-%m-%d}.",
            "From that day on backups fail, or stay unsigned.",
            "Have its owner prolong it (gpg --quick-set-expire) and import it again.",
            subject=identifier.partition(":")[2],
        )
    ]


async def _passphrase(ground: Ground, source: KeySource) -> list[Finding]:
    passphrase = await source.passphrase()
    if passphrase is None:
        error = passphrase_missing(source)
        return [_failed("key", error)]
    repository = ground.repository
    if repository is None or _tried_lately(ground):
        return []
    if await fits(source, repository, passphrase) is False:
        wrong = KeyRefused(
            "KEY WRONG: the passphrase does not open the repository's key.",
            why=f"It is {await source.passphrase_origin()}. Backups fail, and so do restores.",
            fix="Correct it. If it was changed on purpose: fsbackup rekey --all",
        )
        return [_failed("key", wrong)]
    _note_tried(ground)
    return []


def _stamp(ground: Ground) -> list[object]:
    """Return what tells that the passphrase may be another one since it was tried."""
    env_file = ground.loaded.config.env_file
    stamp: list[object] = [ground.loaded.digest]
    with suppress(OSError):
        if env_file is not None:
            stamp.append(env_file.stat().st_mtime_ns)
    return stamp


def _tried_lately(ground: Ground) -> bool:
    """Whether it opened the key within a day: to try takes as long as a guess is to cost."""
    try:
        document = json.loads((ground.state / _NAME).read_bytes())
        age = ground.now - parse_time(str(document["at"]))
        return document["of"] == _stamp(ground) and timedelta() <= age < _GOOD_FOR
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _note_tried(ground: Ground) -> None:
    if ground.loaded.config.read_only:
        return
    document = {"format": 1, "at": format_time(ground.now), "of": _stamp(ground)}
    path = ground.state / _NAME
    with suppress(OSError):
        replace_file(path, json.dumps(document).encode(), mode=state_file_mode(path))


def in_plain(ground: Ground) -> Iterator[Finding]:
    """Yield each plan whose newest point lies in plain although the configuration encrypts."""
    config = ground.loaded.config
    if config.encryption is None or ground.repository is None:
        return
    for plan in config.plans:
        newest = next((point for point in ground.points(plan) if point.whole), None)
        if newest is None:
            continue
        try:
            manifest = PointReader(ground.repository, newest.id).manifest
        except (PointDamaged, PointNotFound):
            continue  # told as damaged
        parts = () if manifest is None else manifest.parts
        meant = {name for name, source in config.sources.items() if source.plaintext}
        plain = [part.source for part in parts if part.key is None and part.source not in meant]
        if plain:
            yield Finding(
                f"plain:{plan}",
                "critical",
                newest.created,
                f"NOT ENCRYPTED: {', '.join(plain)} of {newest.id}.",
                "encryption: in the configuration promises that it is; whoever has a copy reads "
                "all of it.",
                f"fsbackup backup {plan}   makes an encrypted one",
                subject=plan,
            )


async def signing(ground: Ground) -> list[Finding]:
    """Return whether the key that signs new points is there, and how long it counts."""
    settings = ground.loaded.config.signing
    if settings is None:
        return []
    found: list[Finding] = []
    if settings.method == "ssh":
        if settings.key is not None:
            found += _ssh_key(ground, ground.loaded.path.absolute().parent, settings.key)
        if settings.allowed_signers is not None:
            found += _ssh_ends(ground, settings.allowed_signers)
        return found
    if settings.key is None:
        return []
    with private_work() as work:
        source = KeySource(ground.loaded, ground.environ, Redactor(), work, lambda: ground.now)
        keys = await list_public_keys(
            settings.key, environ=source.environ, keyring=settings.keyring, work=work
        )
    for key in keys:
        ends = key.last_signing_day()
        if ends is not None:
            found += _ending(ground, f"signing-expires:{key.fingerprint}", key.user, ends)
    if not keys:
        found.append(_no_signing_key(settings.key, "It is not in the keyring."))
    return found


def _no_signing_key(key: str, why: str) -> Finding:
    return Finding(
        "signing-key",
        "critical",
        None,
        f"SIGNING KEY NOT THERE: {key}.",
        f"{why} New points stay unsigned, or backups fail.",
        "Put it back, or correct signing: key: in the configuration",
        subject=key,
    )


def _ssh_key(ground: Ground, base: Path, key: str) -> Sequence[Finding]:
    path = base / Path(key).expanduser()
    try:
        path.open("rb").close()
    except OSError as error:
        return [_no_signing_key(str(path), f"{error.strerror}.")]
    return []


def _ssh_ends(ground: Ground, allowed: Path) -> Iterator[Finding]:
    """Yield whose signatures will not count soon, by ``valid-before`` of allowed signers."""
    try:
        lines = allowed.read_text(errors="replace").splitlines()
    except OSError as error:
        yield _no_signing_key(str(allowed), f"{error.strerror}.")
        return
    live = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    ends = [(line.split()[0], _valid_before(line, ground)) for line in live]
    # One that was replaced may well have ended.
    last = [(who, end) for who, end in ends if end is not None]
    if last and len(last) == len(ends):
        who, end = max(last, key=lambda item: item[1])
        yield from _ending(ground, f"signing-expires:{who}", who, end)


def _valid_before(line: str, ground: Ground) -> datetime | None:
    match = _VALID_BEFORE.search(line)
    if match is None:
        return None
    moment = datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC)
    clock = match[2] or "0000"
    return moment + timedelta(hours=int(clock[:2]), minutes=int(clock[2:4]))
