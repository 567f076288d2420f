"""From a replica's name to an open replica that is known to be this repository's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.domain.errors import ReplicaRefused, UsageError
from fsbackup_tui.domain.replica_address import parse_address
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.remote.remote import open_remote
from fsbackup_tui.operations.replica_send import Far, Listing
from fsbackup_tui.repository.layout import RECOVER_NAME, Repository
from fsbackup_tui.repository.replica_layout import check_identity, write_root_texts
from fsbackup_tui.repository.whereabouts import REPOSITORY_NAME


async def open_far(
    loaded: LoadedConfig,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    name: str,
) -> Far:
    """Return the replica of that name; UsageError for an unknown one, and see ``open_remote``."""
    settings = replica_settings(loaded, name)
    where = loaded.place("replicas", name)
    remote = await open_remote(name, settings, environment, redactor, work, where=where)
    return Far(name, settings, remote)


def replica_settings(loaded: LoadedConfig, name: str) -> Replica:
    """Return what the configuration says of a replica; UsageError for one it does not name."""
    settings = loaded.config.replicas.get(name)
    if settings is None:
        known = ", ".join(loaded.config.replicas) or "none"
        raise UsageError(
            f"NO SUCH REPLICA: {name}.",
            why=f"In {loaded.path} there are: {known}.",
            fix="Name one of them, or add it below replicas: in the config.",
        )
    return settings


async def meet(home: Repository, far: Far, listing: Listing, work: Path) -> list[str]:
    """See that the replica is this repository's, and put there what names it; returns notes.

    Raises:
        SafetyRefusal: it is another repository's, or of a newer format.
        ReplicaError: the far side failed.
    """
    directory = work / f"root-{far.name}"
    directory.mkdir(mode=0o700, exist_ok=True)
    fetch = "\n".join(fetch_commands(far.settings))
    write_root_texts(home, far.remote.describe, fetch, directory)
    if REPOSITORY_NAME in listing:
        check_identity(await far.remote.read(REPOSITORY_NAME), home, far.name, far.remote.describe)
    lacking = [name for name in (REPOSITORY_NAME, RECOVER_NAME) if name not in listing]
    await far.remote.put(directory, lacking)
    text = (directory / RECOVER_NAME).read_bytes()
    if RECOVER_NAME in listing and listing[RECOVER_NAME].bytes != len(text):
        try:
            await far.remote.put(directory, [RECOVER_NAME], replace=True)
        except ReplicaRefused:
            return [
                f"{RECOVER_NAME} on {far.name} is an older one, which may not be replaced there"
            ]
    return []


def fetch_commands(settings: Replica) -> list[str]:
    """Return stock commands that bring a whole replica into the current directory."""
    if settings.rsync is not None:
        shell = f" -e 'ssh -p {settings.port}'" if settings.port else ""
        return [f"rsync -a{shell} {shlex.quote(settings.rsync.rstrip('/') + '/')} ."]
    if settings.rclone is not None:
        return [f"rclone copy {shlex.quote(settings.rclone)} ."]
    address = parse_address(settings.url or "")
    if address.scheme == "s3":
        server = f" --endpoint-url {shlex.quote(settings.endpoint)}" if settings.endpoint else ""
        region = f" --region {shlex.quote(settings.region)}" if settings.region else ""
        return [f"aws s3 cp --recursive{server}{region} {shlex.quote(address.text())} ."]
    user = f"{address.user}@" if address.user else ""
    port = f" -P {address.port}" if address.port else ""
    return [f"sftp -r{port} {shlex.quote(f'{user}{address.host}:{address.place}')} ."]
