"""Where a project keeps its database address: the environment, env files, Prisma."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.env_file import read_env_file
from fsbackup_tui.config.template import BadTemplate, MissingVariable, expand
from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import UsageError

ENV_FILES = (".env.production", ".env")
DIRECT_NAME = "DIRECT_URL"
POOLED_NAME = "DATABASE_URL"
_PROJECT_MARKS = (*ENV_FILES, ".git", "package.json", "prisma", "prisma.config.ts")
_LARGEST = 200_000
_LINE_COMMENT = re.compile(r"(?m)(?<![:\"'])//.*$")
_DATASOURCE = re.compile(r"\bdatasource\b[^{]*\{(?P<body>.*?)\}", re.DOTALL)
_SETTING = re.compile(
    r"\b(?P<key>directUrl|url)\s*[=:]\s*(?:env\(\s*[\"'](?P<env>\w+)[\"']\s*\)"
    r"|process\.env(?:\.(?P<dot>\w+)|\[\s*[\"'](?P<item>\w+)[\"']\s*\]))"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place that gives a database address.

    ``template`` is what the configuration says (``${DIRECT_URL:-${DATABASE_URL}}``), ``env_file``
    the file to name beside it; ``problem`` is set where the address can't be used as it is.
    """

    origin: str
    template: str
    env_file: Path | None
    address: DatabaseAddress | None
    problem: UsageError | None = None


def find_candidates(directory: Path, environ: Mapping[str, str]) -> list[Candidate]:
    """Return the usable and unusable addresses of a project directory, the best first.

    An env file comes before the environment only where it says the same: it is then what cron
    will find too. Otherwise a variable that was set for this very call is meant.
    """
    names = variable_names(directory)
    in_files: list[Candidate] = []
    for name in ENV_FILES:
        try:
            values = read_env_file(directory / name, environ).values
        except (OSError, ValueError):
            continue
        candidate = _candidate(name, names, values, directory / name)
        if candidate is not None:
            in_files.append(candidate)
    in_shell = _candidate("the environment", names, environ, None)
    if in_shell is None:
        return sorted(in_files, key=lambda found: found.address is None)
    same = [found for found in in_files if _same_database(in_shell, found)]
    others = [found for found in in_files if found not in same]
    return sorted([*(same or [in_shell]), *others], key=lambda found: found.address is None)


def variable_names(directory: Path) -> tuple[str, ...]:
    """Return the names that may hold the address, direct ones first; Prisma's own before ours."""
    direct: list[str] = []
    pooled: list[str] = []
    for text in _prisma_texts(directory):
        for source in _DATASOURCE.finditer(_LINE_COMMENT.sub("", text)):
            for setting in _SETTING.finditer(source["body"]):
                name = setting["env"] or setting["dot"] or setting["item"]
                (direct if setting["key"] == "directUrl" else pooled).append(name)
    if DIRECT_NAME in pooled:
        pooled.remove(DIRECT_NAME)
    return tuple(dict.fromkeys([*direct, DIRECT_NAME, *pooled, POOLED_NAME]))


def env_file_with(directory: Path, name: str, environ: Mapping[str, str]) -> Path | None:
    """Return the project's env file that sets the variable, or None."""
    for file in ENV_FILES:
        try:
            if read_env_file(directory / file, environ).values.get(name):
                return directory / file
        except (OSError, ValueError):
            continue
    return None


def is_project(directory: Path, environ: Mapping[str, str]) -> bool:
    """Whether the directory looks like the application itself (a home directory never does)."""
    if str(directory) in ("/", environ.get("HOME")):
        return False
    return any((directory / mark).exists() for mark in _PROJECT_MARKS)


def suggest_site(directory: Path) -> str:
    """Return a name for the site: the package's, else the directory's, in allowed characters."""
    name = directory.name
    try:
        package = json.loads((directory / "package.json").read_text(encoding="utf-8"))
        name = str(package["name"]).rpartition("/")[2] or name
    except (OSError, ValueError, KeyError, TypeError):
        pass
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:40]
    return plain or "site"


def _candidate(
    origin: str, names: tuple[str, ...], values: Mapping[str, str], env_file: Path | None
) -> Candidate | None:
    """Return what the variables give; a name whose address can't be used is left out if another
    one can.
    """
    present = [name for name in names if values.get(name, "").strip()]
    problem: UsageError | None = None
    for position, name in enumerate(present):
        others = present[position + 1 :]
        template = f"${{{name}}}"
        if position == 0 and others:
            template = f"${{{name}:-${{{others[0]}}}}}"
        try:
            address = parse_database_url(values[name])
        except UsageError as error:
            problem = problem or error
            continue
        return Candidate(origin, template, env_file, address)
    if not present:
        return None
    return Candidate(origin, f"${{{present[0]}}}", env_file, None, problem)


def _same_database(one: Candidate, other: Candidate) -> bool:
    if one.address is None or other.address is None:
        return False
    return one.address.display() == other.address.display() and (
        one.address.password == other.address.password
    )


def _prisma_texts(directory: Path) -> Iterator[str]:
    for path in _prisma_files(directory):
        try:
            with path.open(encoding="utf-8", errors="replace") as stream:
                yield stream.read(_LARGEST)
        except OSError:
            continue


def _prisma_files(directory: Path) -> Iterator[Path]:
    yield from (directory / f"prisma.config.{kind}" for kind in ("ts", "mts", "js", "mjs"))
    yield directory / "prisma" / "schema.prisma"
    yield directory / "schema.prisma"
    yield from sorted((directory / "prisma" / "schema").glob("*.prisma"))
    try:
        package = json.loads((directory / "package.json").read_text(encoding="utf-8"))
        yield directory / str(package["prisma"]["schema"])
    except (OSError, ValueError, KeyError, TypeError):
        return


def address_of(template: str, environment: Mapping[str, str]) -> DatabaseAddress | None:
    """Return the address a template gives in an environment, None where it is not set there.

    UsageError for one that can't be used.
    """
    try:
        text = expand(template, environment)
    except (MissingVariable, BadTemplate):
        return None
    return parse_database_url(text) if text.strip() else None
