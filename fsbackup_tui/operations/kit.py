"""The recovery kit: what a person needs on a bare machine, in one directory or encrypted file."""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import shlex
import shutil
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from fsbackup_tui import __version__
from fsbackup_tui.config.load import LoadedConfig, SiteEnvironment
from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.config.secrets_named import named_secrets
from fsbackup_tui.config.values import SecretText
from fsbackup_tui.domain.errors import FsbackupError, KeyRefused, PointDamaged, UsageError
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.engines.encryption.age_passphrase import seal_file_with_passphrase
from fsbackup_tui.engines.encryption.gpg_stream import GpgKey, encryption_failed
from fsbackup_tui.engines.process import ToolFailed, run
from fsbackup_tui.engines.remote.programs import probe_rclone, probe_rsync
from fsbackup_tui.engines.remote.remote import open_remote
from fsbackup_tui.engines.wheelhouse import pack_python, pack_wheels, python_needed
from fsbackup_tui.operations.key_sources import KeySource
from fsbackup_tui.operations.private_work import private_work
from fsbackup_tui.repository.checksums import SUMS_NAME, format_sums
from fsbackup_tui.repository.files import (
    create_file,
    hash_file,
    list_files,
    make_directory,
    remove_tree,
    sync_tree,
    writing,
)
from fsbackup_tui.repository.keys import stored_keys
from fsbackup_tui.repository.kit import KitFact, remember_kit
from fsbackup_tui.repository.kit_text import KitContent, KitKey, KitReplica, kit_text
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.site_text import mask_config

KIT_NAME, CONFIG_NAME, KEY_NAME = "KIT.md", "site.yaml", "KEY.txt"
WHEELHOUSE, PYTHON_NAME = "wheelhouse", "python.tar.gz"
REPLICA_DIRECTORY = "kit"
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class KitWish:
    """What kit is wanted.

    ``passphrase`` makes it one encrypted file; ``with_key`` puts the key in, then alone.
    """

    site_state: Path
    operator: str
    now: datetime
    with_wheelhouse: bool = True
    with_key: bool = False
    passphrase: Secret | None = None


async def kit_words(
    loaded: LoadedConfig, repository: Repository | None, wish: KitWish, environ: Mapping[str, str]
) -> str:
    """Return the text of KIT.md, for a printer; nothing is written."""
    return kit_text(await _content(loaded, repository, wish, environ))


async def make_kit(
    loaded: LoadedConfig,
    repository: Repository | None,
    wish: KitWish,
    environ: Mapping[str, str],
    target: Path,
) -> KitFact:
    """Write the kit to ``target``: a new directory (0700), or a new encrypted file (0600).

    It is whole or not there. When it was made, and of what, is remembered in the state.

    Raises:
        UsageError: the target is there already; the key without encryption.
        FsbackupError: fsbackup can't be packed. SecretUnavailable, DiskFull, ToolMissing.
    """
    _refuse_taken(target)
    if wish.with_key and wish.passphrase is None:
        raise UsageError(
            "NOT IN PLAIN: the key goes into an encrypted kit alone.",
            fix="fsbackup kit --encrypt --with-key",
        )
    content = await _content(loaded, repository, wish, environ)
    partial = target.with_name(f"{_PARTIAL}{target.name}-{secrets.token_hex(4)}")
    try:
        with writing(target):
            make_directory(partial, exist_ok=False)
            await _fill(partial, content, loaded, wish, environ)
            sync_tree(partial)
            if wish.passphrase is None:
                partial.rename(target)
            else:
                await _encrypt(partial, target, wish.passphrase, environ)
    finally:
        if partial.exists():
            remove_tree(partial)
    fact = KitFact(
        wish.now,
        loaded.digest,
        __version__,
        str(target),
        tuple(key.id for key in content.keys),
        tuple(replica.name for replica in content.replicas),
        is_encrypted=wish.passphrase is not None,
        installs=wish.with_wheelhouse,
    )
    remember_kit(wish.site_state, fact)
    return fact


def _refuse_taken(target: Path) -> None:
    if target.exists():
        raise UsageError(f"THERE IS ONE ALREADY: {target}.", fix="Name another place: --output")


async def send_kit(
    loaded: LoadedConfig, name: str, kit: Path, environment: Mapping[str, str]
) -> str:
    """Send a kit to a replica, beside its points; returns where it lies there.

    UsageError where there is no such replica; ReplicaError and its kinds.
    """
    replica = loaded.config.replicas.get(name)
    if replica is None:
        known = ", ".join(loaded.config.replicas) or "none"
        raise UsageError(f"NO SUCH REPLICA: {name}.", why=f"There are: {known}.")
    where = loaded.place("replicas", name)
    with private_work() as work:
        remote = await open_remote(name, replica, environment, Redactor(), work, where=where)
        root = work / "send"
        inside = Path(REPLICA_DIRECTORY) / kit.name
        _copy(kit, root / inside)
        # The list of hashes comes last: where it is, all of it is.
        names = [each for each in list_files(root) if not each.endswith(SUMS_NAME)]
        await remote.put(root, names)
        await remote.put(root, [each for each in list_files(root) if each.endswith(SUMS_NAME)])
    return f"{remote.describe}/{inside}"


def _copy(kit: Path, target: Path) -> None:
    target.parent.mkdir(parents=True)
    if kit.is_dir():
        shutil.copytree(kit, target)
    else:
        shutil.copyfile(kit, target)


async def _fill(
    directory: Path,
    content: KitContent,
    loaded: LoadedConfig,
    wish: KitWish,
    environ: Mapping[str, str],
) -> None:
    create_file(directory / KIT_NAME, kit_text(content).encode())
    create_file(directory / CONFIG_NAME, mask_config(loaded.text).encode())
    if wish.with_key:
        key = await _key_text(loaded, environ)
        create_file(directory / KEY_NAME, key.reveal().encode())
    if wish.with_wheelhouse:
        pack_wheels(make_directory(directory / WHEELHOUSE))
        pack_python(directory / PYTHON_NAME)
        for name, text in _installers():
            create_file(directory / name, text.encode())
    sums = {name: hash_file(directory / name)[0] for name in list_files(directory)}
    create_file(directory / SUMS_NAME, format_sums(sums))


def _installers() -> Iterator[tuple[str, str]]:
    place = resources.files("fsbackup_tui.engines") / "kit_files"
    script = (place / "install.sh").read_text(encoding="utf-8")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    yield "install.sh", script.replace("@VERSION@", version).replace("@PYTHON@", python_needed())
    name = "install_wheels.py"
    yield name, (place / name).read_text(encoding="utf-8")


async def _encrypt(
    directory: Path, target: Path, passphrase: Secret, environ: Mapping[str, str]
) -> None:
    packed = directory.with_name(f"{directory.name}.tar")
    fresh = target.with_name(f"{_PARTIAL}{target.name}-{secrets.token_hex(4)}")
    try:
        create_file(packed, b"")
        with tarfile.open(packed, "w") as archive:
            archive.add(directory, target.name.split(".tar")[0])
        if target.suffix == ".gpg":
            with private_work() as work:
                key = GpgKey(KeyFacts("gpg", "", "", ()), work, environ, passphrase=passphrase)
                try:
                    await run(replace(key.command(), stdin=packed, stdout=fresh))
                except ToolFailed as error:
                    raise encryption_failed(error) from error
        else:
            seal_file_with_passphrase(packed, fresh, passphrase)
        fresh.rename(target)
    finally:
        packed.unlink(missing_ok=True)
        fresh.unlink(missing_ok=True)


async def _key_text(loaded: LoadedConfig, environ: Mapping[str, str]) -> Secret:
    with private_work() as work:
        source = KeySource(
            loaded,
            SiteEnvironment(loaded, environ),
            Redactor(),
            work,
            lambda: datetime.now(UTC),
        )
        found = [*await source.passphrases(), *await source.identities()]
    if not found:
        raise KeyRefused(
            "NO KEY TO PUT IN: nothing here gives the passphrase or the private key.",
            why="Where it is asked for, or kept in gpg's keyring, only its holder has it.",
            fix="Make the kit without --with-key, and see that two people have the key.",
        )
    return Secret("\n".join(secret.reveal() for secret in found) + "\n")


async def _content(
    loaded: LoadedConfig, repository: Repository | None, wish: KitWish, environ: Mapping[str, str]
) -> KitContent:
    config = loaded.config
    keys = stored_keys(repository) if repository is not None else []
    return KitContent(
        site=config.site,
        environment=config.environment,
        made=wish.now,
        by=f"{wish.operator} on {os.uname().nodename}",
        config=str(loaded.path),
        config_digest=loaded.digest,
        replicas=[_replica(name, each) for name, each in config.replicas.items()],
        keys=[KitKey(key.id, key.method, key.kind, key.hint) for key in keys],
        secrets=[(each.setting, each.where) for each in named_secrets(loaded)],
        versions=[each async for each in _versions(loaded, repository)],
        installs=wish.with_wheelhouse,
        holds_key=wish.with_key,
        is_encrypted_by_config=config.encryption is not None,
    )


def _replica(name: str, replica: Replica) -> KitReplica:
    options = [
        word
        for option, value in (("--endpoint", replica.endpoint), ("--region", replica.region))
        if value
        for word in (option, value)
    ]
    credentials = []
    for what in ("access_key", "secret_key", "password"):
        described = getattr(replica, what)
        if described is not None:
            is_here = isinstance(described, SecretText) and "${" not in described.text
            place = "in the configuration" if is_here else "as section 4 says"
            credentials.append(f"{what.replace('_', ' ')} ({place})")
    if replica.key_file is not None:
        credentials.append(f"a private key like {replica.key_file}")
        if replica.url is not None:
            options += ["--key-file", "FILE"]
    if replica.url is not None:
        return KitReplica(name, replica.url, replica.url, tuple(options), tuple(credentials))
    if replica.rclone is not None:
        credentials.append(f"rclone's own configuration: {replica.rclone_config or 'rclone.conf'}")
        by_hand = f"rclone copy {shlex.quote(replica.rclone)} ./copy"
        return KitReplica(name, replica.rclone, "", (), tuple(credentials), by_hand)
    place = replica.rsync or ""
    port = f" -e 'ssh -p {replica.port}'" if replica.port else ""
    by_hand = f"rsync -a{port} {shlex.quote(place.rstrip('/') + '/')} ./copy"
    return KitReplica(name, place, "", (), tuple(credentials), by_hand)


async def _versions(
    loaded: LoadedConfig, repository: Repository | None
) -> AsyncIterator[tuple[str, str]]:
    yield "fsbackup", __version__
    yield "Python", python_needed()
    for source, version in _servers(repository):
        yield f"PostgreSQL ({source})", f"{version}: server and clients of that major"
    method = loaded.config.encryption.method if loaded.config.encryption is not None else ""
    if method == "gpg":
        yield "gpg", "any 2.x"
    elif method == "age":
        with suppress(importlib.metadata.PackageNotFoundError):
            yield "age", f"in fsbackup (pyrage {importlib.metadata.version('pyrage')}), or any age"
    replicas = loaded.config.replicas.values()
    for name, needed, probe in (
        ("rclone", any(each.rsync is None for each in replicas), probe_rclone),
        ("rsync", any(each.rsync is not None for each in replicas), probe_rsync),
    ):
        if needed:
            try:
                yield name, ".".join(map(str, (await probe()).version))
            except FsbackupError:
                yield name, "not found on this machine"


def _servers(repository: Repository | None) -> Iterator[tuple[str, str]]:
    """Return each database's server version, by the newest point that has it."""
    if repository is None:
        return
    seen = set()
    whole = sorted(repository.points.glob(f"*/{MANIFEST_NAME}"), reverse=True)
    for path in whole[:20]:
        with suppress(PointDamaged, UsageError):
            for part in PointReader(repository, path.parent.name).parts():
                if part.postgres is not None and part.source not in seen:
                    seen.add(part.source)
                    yield part.source, part.postgres.identity.server_version
