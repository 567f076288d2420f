"""A site made anew on a bare machine, from a replica: its configuration, and all that is known.

What is small comes first (manifests, records, keys); the artifacts come when they are used
(``bring_here``). It may be stopped at any moment and run again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.env_file import env_text, parse_env_text
from fsbackup_tui.config.load import LoadedConfig, load_config, state_directory
from fsbackup_tui.config.rebuild import OriginReplica, Rebuilt, rebuild_config
from fsbackup_tui.config.secrets_named import named_secrets
from fsbackup_tui.domain.errors import (
    FsbackupError,
    PointDamaged,
    ReplicaError,
    RepositoryNewer,
    UsageError,
)
from fsbackup_tui.domain.point import Manifest
from fsbackup_tui.engines.remote.remote import Remote, RemoteFile
from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.files import (
    create_whole,
    is_plain_path,
    make_directory,
    remove_tree,
    replace_file,
    writing,
)
from fsbackup_tui.repository.keys import KEYS
from fsbackup_tui.repository.layout import RECOVER_NAME, SITE_NAME, Repository, open_repository
from fsbackup_tui.repository.manifest import (
    MANIFEST_NAME,
    PART_NAME,
    parse_manifest,
    read_manifest,
)
from fsbackup_tui.repository.not_here import mark_not_here
from fsbackup_tui.repository.whereabouts import REPOSITORY_FORMAT, REPOSITORY_NAME
from fsbackup_tui.repository.writers import (
    DIRECTORY as WRITERS,
)
from fsbackup_tui.repository.writers import (
    Retirement,
    Writer,
    retire,
    retirements,
    this_writer,
    writers,
)

_STAGING = ".fetched-first"
_SMALL = {PART_NAME, SUMS_NAME}
_POINT_FILE = re.compile(r"points/(?P<point>[^/]+)/(?P<rest>.+)")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which repository it is that lies there."""

    id: str
    site: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at the replica: which repository, its files, and its whole points in order."""

    identity: Identity
    files: tuple[RemoteFile, ...]
    points: tuple[str, ...]
    incomplete: tuple[str, ...]


@dataclass
class Place:
    """Where the site is made: ``config`` and ``env_file`` are files, ``repository`` a directory."""

    config: Path
    env_file: Path
    repository: Path | None = None
    notes: list[str] = field(default_factory=list)


async def look(remote: Remote) -> Found:
    """Return what lies at the replica.

    Raises:
        UsageError: no repository of fsbackup lies there, or no whole point.
        RepositoryNewer: a newer fsbackup wrote it. ReplicaError and its kinds.
    """
    await remote.probe()
    try:
        content = await remote.read(REPOSITORY_NAME)
    except ReplicaError as error:
        if await remote.exists(REPOSITORY_NAME):
            raise
        raise UsageError(
            f"NO REPOSITORY THERE: {remote.describe}.",
            why=f"It has no {REPOSITORY_NAME}: it was never replicated to, or lies deeper.",
            fix="Give the address as the kit has it, with the prefix: s3://BUCKET/PREFIX",
        ) from error
    identity = _identity(content, remote.describe)
    files = tuple(await remote.list())
    if strange := next((file.path for file in files if not is_plain_path(file.path)), None):
        raise UsageError(
            f"NOT FETCHED: {remote.describe} lists {strange!r}, which leads elsewhere.",
            why="A replica holds plain paths only; somebody altered it.",
            fix="Take another copy.",
        )
    whole, seen = [], set()
    for file in files:
        match = _POINT_FILE.fullmatch(file.path)
        if match is not None:
            seen.add(match["point"])
            if match["rest"] == MANIFEST_NAME:
                whole.append(match["point"])
    if not whole:
        raise UsageError(
            f"NO WHOLE POINT THERE: {remote.describe}.",
            why=f"{len(seen)} were begun, and none has its manifest.",
            fix="Name another copy.",
        )
    return Found(identity, files, tuple(sorted(whole)), tuple(sorted(seen - set(whole))))


def _identity(content: bytes, where: str) -> Identity:
    try:
        document = json.loads(content)
        found, identifier, site = document["format"], document["id"], document["site"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"NOT READABLE: {REPOSITORY_NAME} of {where}.", why="It is no file of fsbackup's."
        ) from error
    if not isinstance(found, int) or found > REPOSITORY_FORMAT:
        raise RepositoryNewer(
            f"REPOSITORY TOO NEW: {where} has format {found}.",
            why=f"This fsbackup reads format {REPOSITORY_FORMAT}.",
            fix="Install the one that the kit has, or a newer one.",
        )
    if not str(identifier).isalnum():
        raise UsageError(f"NOT READABLE: {REPOSITORY_NAME} of {where} has no id.")
    return Identity(str(identifier), str(site), content)


async def newest_config(remote: Remote, found: Found) -> tuple[str, Manifest]:
    """Return the configuration in force at the newest point, masked, and its manifest.

    A point whose manifest can't be read is passed over.
    """
    problem: FsbackupError | None = None
    for point in _newest_first(found.points):
        try:
            text = await remote.read(f"points/{point}/{SITE_NAME}")
            content = await remote.read(f"points/{point}/{MANIFEST_NAME}")
            return text.decode("utf-8-sig"), parse_manifest(Path(point) / MANIFEST_NAME, content)
        except (FsbackupError, UnicodeDecodeError) as error:
            problem = error if isinstance(error, FsbackupError) else None
    raise problem or UsageError("NO CONFIGURATION: no point has a site.yaml that can be read.")


def _newest_first(points: Iterable[str]) -> list[str]:
    return sorted(points, reverse=True)


def write_config(
    place: Place,
    text: str,
    origin: OriginReplica | None,
    given: Mapping[str, str],
    environ: Mapping[str, str],
) -> tuple[LoadedConfig, Rebuilt]:
    """Write the configuration and the file of its variables; both 0600.

    ``given`` are the secrets of the replica, by what they are. A configuration that is there
    already is taken as it is: whoever corrected it runs this again.

    Raises:
        ConfigError: what was rebuilt can't be used as it is; the file is left to be corrected.
        UsageError: the directory can't be made or written.
    """
    rebuilt = rebuild_config(
        text, repository=place.repository, env_file=place.env_file, origin=origin
    )
    with writing(place.config):
        for directory in (place.config.parent, place.env_file.parent):
            for path in reversed([directory, *directory.parents]):
                if not path.exists():
                    make_directory(path)
        if not place.config.exists():
            create_whole(place.config, rebuilt.text.encode())
        told = {
            variable: given[what]
            for what, variable in rebuilt.origin_variables.items()
            if given.get(what)
        }
        if not place.env_file.exists():
            replace_file(place.env_file, env_text(told).encode())
    return load_config(place.config, environ), rebuilt


@dataclass(frozen=True, slots=True)
class Need:
    """A variable that the site needs: which setting, and whether its value is known now."""

    name: str
    setting: str
    known: bool


def fill_variables(
    loaded: LoadedConfig,
    rebuilt: Rebuilt,
    place: Place,
    environ: Mapping[str, str],
    captured: Mapping[str, str],
) -> list[Need]:
    """Write the variables that are known into the env file, and name those that are not.

    What the environment has wins over what the point has captured. The passphrase of the points
    is written nowhere.
    """
    present = dict(_read(place.env_file))
    wanted: dict[str, str] = {}
    for secret in named_secrets(loaded):
        if secret.setting.startswith("encryption."):
            continue
        for name in secret.variables:
            wanted.setdefault(name, secret.setting)
    for name, setting in rebuilt.masked.items():
        wanted.setdefault(name, f"{setting}, masked in the point")
    values = dict(present)
    for name in wanted:
        value = environ.get(name) or present.get(name) or captured.get(name) or ""
        if value:
            values[name] = value
    lines = [
        f"# Variables of {loaded.config.site}, made by fsbackup bootstrap. Private: 0600.",
    ]
    if rebuilt.former_env_file:
        lines.append(f"# On the old machine they were in {rebuilt.former_env_file}.")
    text = "\n".join(lines) + "\n" + env_text(values)
    missing = [name for name in wanted if name not in values]
    text += "".join(f"# NEEDED for {wanted[name]}:\n# {name}=\n" for name in missing)
    with writing(place.env_file):
        replace_file(place.env_file, text.encode())
    return [Need(name, setting, name in values) for name, setting in wanted.items()]


def _read(path: Path) -> Mapping[str, str]:
    try:
        return parse_env_text(path.read_text(), {}).values
    except (OSError, ValueError):
        return {}


async def fetch_first(
    remote: Remote, found: Found, repository: Path, report: Callable[[int, int], None]
) -> Repository:
    """Bring all that is small, and make the directory a repository of the replica's id.

    Raises:
        UsageError: the directory holds something else. RepositoryUnwritable, DiskFull.
    """
    refuse_foreign(repository, found.identity)
    with writing(repository):
        for path in reversed([repository, *repository.parents]):
            if not path.exists():
                make_directory(path)
        for name in ("points", "records", "holds", "trash", "locks"):
            make_directory(repository / name)
        with suppress(FileExistsError):
            create_whole(repository / REPOSITORY_NAME, found.identity.content)
    wanted = [file for file in found.files if _is_small(file.path, set(found.points))]
    # A point is one by its manifest: it comes when all that is small of it is there.
    firsts = [file for file in wanted if not file.path.endswith(f"/{MANIFEST_NAME}")]
    lasts = [file for file in wanted if file.path.endswith(f"/{MANIFEST_NAME}")]
    done = 0
    for group in (firsts, lasts):
        await _fetch_group(remote, repository, group)
        done += len(group)
        report(done, len(wanted))
    return open_repository(repository)


def refuse_foreign(repository: Path, identity: Identity) -> None:
    """Raise UsageError where a directory is taken: by another repository, or by anything else."""
    if not repository.exists() or (repository.is_dir() and not any(repository.iterdir())):
        return
    try:
        known = open_repository(repository)
    except FsbackupError as error:
        raise UsageError(
            f"DIRECTORY NOT EMPTY: {repository}.",
            why="A repository has its directory for itself.",
            fix="Name another one: --to DIR",
        ) from error
    if known.id != identity.id:
        raise UsageError(
            f"ANOTHER REPOSITORY IS THERE: {repository}, of {known.site}.",
            fix="Name another directory: --to DIR",
        )


def _is_small(path: str, whole: set[str]) -> bool:
    match = _POINT_FILE.fullmatch(path)
    if match is not None:
        rest = match["rest"].split("/")
        return match["point"] in whole and (
            len(rest) == 1 or (len(rest) == 2 and rest[1] in _SMALL)
        )
    return path == RECOVER_NAME or path.split("/")[0] in {"records", KEYS, WRITERS}


async def _fetch_group(remote: Remote, repository: Path, files: Sequence[RemoteFile]) -> None:
    """Bring files whole: into a directory beside first, then each to its place."""
    staging = repository / _STAGING
    missing = [file for file in files if not (repository / file.path).exists()]
    with writing(repository):
        make_directory(staging)
        await remote.fetch_all([file.path for file in missing], staging)
        for file in missing:
            fetched, target = staging / file.path, repository / file.path
            if not fetched.is_file() or fetched.stat().st_size != file.bytes:
                raise ReplicaError(
                    f"NOT FETCHED: {file.path} of {remote.describe}.",
                    why="It was listed, and did not come whole.",
                    fix="Run it again: what has come is not fetched twice.",
                )
            for directory in reversed(target.relative_to(repository).parents):
                make_directory(repository / directory)
            fetched.chmod(0o600)
            fetched.rename(target)
        remove_tree(staging)


def mark_parts(repository: Repository, found: Found, origin: str) -> list[str]:
    """Remember which parts are elsewhere; returns the points whose manifest can't be read."""
    damaged = []
    for point in found.points:
        try:
            manifest = read_manifest(repository.point_directory(point) / MANIFEST_NAME)
        except PointDamaged:
            damaged.append(point)
            continue
        absent = [
            part.source
            for part in manifest.parts
            if not all(
                (repository.point_directory(point) / part.source / artifact.path).exists()
                for artifact in part.artifacts
            )
        ]
        if absent:
            mark_not_here(repository, point, origin, absent)
    return damaged


def become_writer(repository: Repository, loaded: LoadedConfig, host: str, now: datetime) -> Writer:
    """Give this machine its own id as a writer of the repository."""
    state = state_directory(loaded, os.environ) / repository.id
    with writing(state):
        for path in reversed([state, *state.parents]):
            if not path.exists():
                make_directory(path)
    return this_writer(repository, state, host, now, rebuilt=True)


def to_retire(repository: Repository, own: Writer, last_host: str) -> list[tuple[str, str]]:
    """Return who else may still write, as (id, host); a host without an id has an empty one."""
    gone = {each.id for each in retirements(repository)}
    known = [each for each in writers(repository) if each.id != own.id]
    open_ones = [(each.id, each.host) for each in known if each.id not in gone]
    unnamed = {each.host for each in retirements(repository) if not each.id}
    if not known and last_host and last_host not in unnamed:
        return [("", last_host)]
    return open_ones


async def retire_writers(
    repository: Repository,
    remote: Remote,
    own: Writer,
    others: Sequence[tuple[str, str]],
    *,
    by: str,
    now: datetime,
) -> str:
    """Retire those who wrote before, here and at the replica; returns why that failed there.

    Empty: it was written there as well, and their next ``replicate`` is refused.
    """
    why = f"{own.host} took its place"
    paths = [
        retire(repository, Retirement(identifier, host, by, now, why))
        for identifier, host in others
    ]
    names = [f"{WRITERS}/{own.id}.json", *(f"{WRITERS}/{path.name}" for path in paths)]
    try:
        await remote.put(repository.root, names)
    except FsbackupError as error:
        return error.what
    return ""
