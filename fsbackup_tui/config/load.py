"""Finding, checking and reading a site's configuration file (design §5 and §9)."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.config.env_file import read_env_file
from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.ownership import check_ownership, user_name
from fsbackup_tui.config.validate import home_directory, validate
from fsbackup_tui.config.yaml_reader import NodePath, Span, YamlSyntaxError, read_yaml
from fsbackup_tui.domain.errors import ConfigError, ConfigProblem, SecretUnavailable, UsageError

CONFIG_VARIABLE = "FSBACKUP_CONFIG"
READ_ONLY_VARIABLE = "FSBACKUP_READ_ONLY"
LOCAL_NAME = "fsbackup.yaml"
SYSTEM_DIRECTORY = Path("/etc/fsbackup")
SYSTEM_STATE = Path("/var/lib/fsbackup")
_LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A site's configuration with the text it was read from.

    ``lines`` and ``spans`` say where each node stands (``("sources", "db", "url")``), so that a
    setting can be named, and later edited, in place. ``digest`` is the SHA-256 of the file.
    ``notes`` are things that do not stop the loading. ``text`` may hold secrets.
    ``asked_read_only``: whoever called asked for it, the file does not.
    """

    path: Path
    config: SiteConfig
    digest: str
    text: str = field(repr=False)
    lines: Mapping[NodePath, int] = field(repr=False)
    notes: tuple[str, ...] = ()
    spans: Mapping[NodePath, Span] = field(default_factory=dict, repr=False)
    asked_read_only: bool = False

    def place(self, *path: str | int) -> str:
        """Return ``file:line`` of a setting, of the nearest section above it if it is not there."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.path}:{self.lines[path[:length]]}"
        return str(self.path)

    def read_only_words(self) -> str:
        """Return what says that nothing is to be changed, as a part of a sentence."""
        if self.asked_read_only:
            return "--read-only was given"
        return f"{self.place('read_only')} says read_only: true"


def find_config(
    *, explicit: Path | None, site: str | None, environ: Mapping[str, str], cwd: Path
) -> Path:
    """Return the configuration file in use, by the order of design §9; UsageError if none.

    ``./fsbackup.yaml`` of somebody else is passed over: a directory one happens to stand in
    must not choose what is backed up.
    """
    if explicit is not None and site is not None:
        raise UsageError(
            "TWO CONFIGURATIONS NAMED: --config and --site.", fix="Give one of the two."
        )
    if explicit is not None:
        return _named(cwd / explicit, "--config")
    if site is not None:
        return _site_file(site)
    if environ.get(CONFIG_VARIABLE):
        return _named(cwd / environ[CONFIG_VARIABLE], f"${CONFIG_VARIABLE}")
    looked: list[str] = []
    for candidate in (
        cwd / LOCAL_NAME,
        user_config_path(environ),
        SYSTEM_DIRECTORY / "config.yaml",
    ):
        status = _status(candidate)
        if status is None:
            looked.append(str(candidate))
        elif candidate.parent == cwd and status.st_uid != os.geteuid():
            looked.append(f"{candidate} (not used: it belongs to {user_name(status.st_uid)})")
        else:
            return candidate
    raise UsageError(
        "NO CONFIGURATION FOUND.",
        why="Looked for\n" + "\n".join(looked),
        fix="fsbackup init   writes one from DATABASE_URL, .env or a Prisma project\n"
        "fsbackup demo   shows everything on a sample site, nothing needed",
    )


def load_config(path: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Return the checked configuration; ConfigError with every mistake, UsageError if unreadable.

    Texts are expanded with the site's env_file over ``environ``; secrets keep their ``${…}``
    until they are used, so that nothing but their use depends on them. With FSBACKUP_READ_ONLY
    in ``environ`` (``--read-only``) it is a configuration that says ``read_only: true``.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - links in the path are to be kept
    data = _read_trusted(path)
    text = _decoded(data, path)
    try:
        document = read_yaml(text, str(path))
    except YamlSyntaxError as error:
        raise ConfigError([error.problem], what="CONFIG NOT READABLE: it is not YAML.") from None
    valid = validate(document, path, environ)
    asked = bool(environ.get(READ_ONLY_VARIABLE)) and not valid.config.read_only
    return LoadedConfig(
        path,
        valid.config.model_copy(update={"read_only": True}) if asked else valid.config,
        hashlib.sha256(data).hexdigest(),
        text,
        document.lines,
        valid.notes,
        document.spans,
        asked,
    )


def site_environment(loaded: LoadedConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for secrets: the site's env_file over the process environment.

    The file wins, so that a stale variable of a shell can't point a restore elsewhere at 3 am.
    SecretUnavailable when the file is named and can't be read.
    """
    env_file = loaded.config.env_file
    if env_file is None:
        return dict(environ)
    try:
        values = read_env_file(env_file, environ).values
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise SecretUnavailable(
            f"ENV FILE NOT READ: {env_file}: {reason}.",
            why=f"{loaded.place('env_file')} names it for the site's variables.",
            fix=_env_file_remedy(env_file, error),
        ) from None
    return {**environ, **values}


class SiteEnvironment(Mapping[str, str]):
    """What ``site_environment`` returns, read when the first variable is asked for.

    So an env_file that can't be read stops only what needs a secret; asking then raises
    SecretUnavailable.
    """

    def __init__(self, loaded: LoadedConfig, environ: Mapping[str, str]) -> None:
        self._loaded = loaded
        self._environ = environ
        self._values: Mapping[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> Mapping[str, str]:
        if self._values is None:
            self._values = site_environment(self._loaded, self._environ)
        return self._values


def state_directory(loaded: LoadedConfig, environ: Mapping[str, str]) -> Path:
    """Return the root of the state directory (design §3); it is not made here."""
    if loaded.config.state is not None:
        return loaded.config.state
    state_home = environ.get("XDG_STATE_HOME", "")
    if state_home.startswith("/"):
        return Path(state_home) / "fsbackup"
    if os.geteuid() == 0 or loaded.path.is_relative_to("/etc"):
        return SYSTEM_STATE
    return home_directory(environ) / ".local" / "state" / "fsbackup"


def _env_file_remedy(env_file: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        owner = _status(env_file)
        name = user_name(owner.st_uid) if owner is not None else "its owner"
        return f"Run as {name} or root, or let this user read it. Inventory and verify work now."
    return "Put it back or correct env_file: in the config. Inventory and verify work now."


def _named(path: Path, how: str) -> Path:
    if _status(path) is None:
        raise UsageError(
            f"CONFIG NOT FOUND: {path} does not exist or can't be reached.",
            why=f"{how} names it.",
            fix="Correct the path, or write the file: fsbackup init --output FILE",
        )
    return path


def _site_file(site: str) -> Path:
    path = SYSTEM_DIRECTORY / "sites" / f"{site}.yaml"
    if "/" in site or site.startswith(".") or _status(path) is None:
        known = sorted(file.stem for file in (SYSTEM_DIRECTORY / "sites").glob("*.yaml"))
        raise UsageError(
            f"SITE NOT KNOWN: there is no {path}.",
            why=f"Sites there are: {', '.join(known)}." if known else "No site is set up there.",
            fix=f"{'Name one of them, or give its' if known else 'Give the'} file: --config FILE",
        )
    return path


def user_config_path(environ: Mapping[str, str]) -> Path:
    """Return the place of a user's own configuration."""
    config_home = environ.get("XDG_CONFIG_HOME", "")
    base = Path(config_home) if config_home.startswith("/") else home_directory(environ) / ".config"
    return base / "fsbackup" / "config.yaml"


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _read_trusted(path: Path) -> bytes:
    """Return the file's bytes, its ownership checked on what was opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - opened above, without waiting
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            check_ownership(path, status, uid=os.geteuid())
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(
            f"CONFIG NOT READABLE: {path}: {error.strerror or error}.",
            fix=_unreadable_remedy(path, error),
        ) from None
    if len(data) > _LARGEST:
        raise UsageError(f"CONFIG NOT READABLE: {path} is larger than 1 MB.")
    return data


def _unreadable_remedy(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "Correct the path, or write the file: fsbackup init --output FILE"
    if isinstance(error, PermissionError):
        status = _status(path)
        owner = user_name(status.st_uid) if status is not None else "its owner"
        return f"It belongs to {owner}; run: sudo -u {owner} fsbackup"
    return "Name the configuration file itself."


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = ConfigProblem(
            str(path),
            line,
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            "save the file as UTF-8",
        )
        raise ConfigError([problem], what="CONFIG NOT READABLE: it is not UTF-8 text.") from None
