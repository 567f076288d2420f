"""From the values of a YAML file to a checked ``SiteConfig``, with every mistake at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fsbackup_tui.config.env_file import EnvFile, read_env_file
from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.places import repository_objection
from fsbackup_tui.config.problems import (
    Places,
    did_you_mean,
    missing_problem,
    shown,
    validation_problems,
)
from fsbackup_tui.config.replicas import replica_problems
from fsbackup_tui.config.shape import Leaf, leaves
from fsbackup_tui.config.template import BadTemplate, MissingVariable, expand, variables
from fsbackup_tui.config.yaml_reader import Document, NodePath
from fsbackup_tui.domain.errors import ConfigError, ConfigProblem


@dataclass(frozen=True, slots=True)
class Validated:
    """The configuration, and remarks that do not stop its use."""

    config: SiteConfig
    notes: tuple[str, ...]


def validate(document: Document, path: Path, environ: Mapping[str, str]) -> Validated:
    """Return the checked configuration of a document that was read from ``path``; ConfigError."""
    places = Places(str(path), document.lines)
    _check_is_section(document, places)
    checker = _Checker(document.value, places, path.parent, environ)
    problems = [*document.problems, *checker.prepare()]
    config: SiteConfig | None = None
    try:
        config = SiteConfig.model_validate(checker.data)
    except ValidationError as error:
        problems += validation_problems(error, checker.data, places, skip=checker.unusable)
    problems += checker.cross_checks()
    if problems or config is None:
        raise ConfigError(sorted(dict.fromkeys(problems), key=lambda p: p.line or 0))
    return Validated(config, tuple(checker.notes))


def home_directory(environ: Mapping[str, str]) -> Path:
    """Return the caller's home: ``$HOME``, else the user database's."""
    home = environ.get("HOME", "")
    return Path(home) if home.startswith("/") else Path.home()


def _check_is_section(document: Document, places: Places) -> None:
    if isinstance(document.value, Mapping) and document.value:
        return
    kind = "is empty" if not document.value else "holds no name: value lines"
    raise ConfigError(
        [
            *document.problems,
            ConfigProblem(
                places.file,
                None if document.value is None else places.line(()),
                f"the file {kind}",
                "see config.example.yaml, or write a new one: fsbackup init --output FILE",
            ),
        ]
    )


class _Checker:
    """Expands texts and paths in a copy of the data, and looks across settings."""

    def __init__(
        self, value: Any, places: Places, directory: Path, environ: Mapping[str, str]
    ) -> None:
        self.data: Any = copy.deepcopy(value)
        self.places = places
        self.directory = directory
        self.environ = environ
        self.notes: list[str] = []
        self.problems: list[ConfigProblem] = []
        self.unusable: set[NodePath] = set()
        self.env_file_unread = ""

    def prepare(self) -> list[ConfigProblem]:
        """Expand what can be expanded now; return what could not."""
        env_leaf = Leaf(("env_file",), "path", self.data.get("env_file"))
        if isinstance(env_leaf.value, str):
            self._expand_leaf(env_leaf)
        self._read_env_file()
        for leaf in list(leaves(SiteConfig, self.data)):
            if leaf.role == "empty":
                del _container(self.data, leaf.path)[leaf.path[-1]]
            elif leaf.role == "secret":
                self._check_secret(leaf)
            elif leaf.path != ("env_file",):
                self._expand_leaf(leaf)
        return self.problems

    def cross_checks(self) -> list[ConfigProblem]:
        """Return what is wrong between settings that are each right."""
        return [
            *self._section_problems(),
            *self._plan_problems(),
            *self._link_problems(),
            *self._ping_problems(),
            *replica_problems(self.data, self.places),
            *self._repository_problems(),
            *self._unprotected(),
        ]

    def _expand_leaf(self, leaf: Leaf) -> None:
        try:
            value = expand(leaf.value, self.environ)
        except MissingVariable as missing:
            self._unusable(leaf, _not_set(missing.names), self._how_to_set())
            return
        except BadTemplate as bad:
            self._unusable(
                leaf, f"{shown(leaf.value, leaf.path, self.data)} can't be used", f"{bad}"
            )
            return
        if leaf.role == "path":
            names_a_user = value.startswith("~") and value[1:2] not in ("", "/")
            if names_a_user or not value.strip():
                self._unusable(leaf, f"'{value}' can't be used", "write the path in full")
                return
            value = str(self._absolute(value))
        _container(self.data, leaf.path)[leaf.path[-1]] = value

    def _absolute(self, text: str) -> Path:
        """Return the path; a relative one counts from the configuration's directory."""
        if text == "~" or text.startswith("~/"):
            return home_directory(self.environ) / text[2:]
        return self.directory / text

    def _check_secret(self, leaf: Leaf) -> None:
        """Look at the form of a secret's description; nothing is read, no variable needed."""
        value = leaf.value
        if isinstance(value, dict) and isinstance(value.get("file"), str):
            if not value["file"].startswith(("/", "$")) and value["file"].strip():
                value["file"] = str(self._absolute(value["file"]))
            texts = [value["file"]]
        elif isinstance(value, Mapping) and isinstance(value.get("command"), list):
            texts = [word for word in value["command"] if isinstance(word, str)]
        else:
            texts = [value] if isinstance(value, str) else []
        for text in texts:
            try:
                variables(text)
            except BadTemplate as bad:
                self._unusable(leaf, "can't be used", str(bad))

    def _read_env_file(self) -> None:
        name = self.data.get("env_file")
        if not isinstance(name, str) or ("env_file",) in self.unusable:
            return
        try:
            env: EnvFile = read_env_file(Path(name), self.environ)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            place = f"{self.places.file}:{self.places.line(('env_file',))}"
            self.env_file_unread = f"env_file {name} can't be read ({reason})"
            self.notes.append(f"{place}: {self.env_file_unread}")
            return
        self.notes.extend(env.notes)
        self.environ = {**self.environ, **env.values}

    def _how_to_set(self) -> str:
        if self.env_file_unread:
            return f"mend this first: {self.env_file_unread}"
        where = "in the env_file, or " if self.data.get("env_file") else ""
        return f"set it {where}in the environment, or write ${{NAME:-default}}"

    def _unusable(self, leaf: Leaf, what: str, fix: str) -> None:
        self.unusable.add(leaf.path)
        self.problems.append(self.places.problem(leaf.path, what, fix))

    def _section_problems(self) -> list[ConfigProblem]:
        """Return which sections are missing; with ``adopt`` others' backups can be watched."""
        if self.data.get("adopt"):
            return []
        found = []
        for name in ("sources", "plans"):
            content = self.data.get(name)
            if content is None:
                found.append(missing_problem((name,), self.places))
            elif content == {}:
                found.append(self.places.problem((name,), "is empty", "name at least one"))
        return found

    def _plan_problems(self) -> list[ConfigProblem]:
        sources, plans = self.data.get("sources"), self.data.get("plans")
        sources = {} if sources is None and self.data.get("adopt") else sources
        if not isinstance(sources, Mapping) or not isinstance(plans, Mapping):
            return []
        found = []
        for plan, content in plans.items():
            listed = content.get("sources") if isinstance(content, Mapping) else None
            names = listed if isinstance(listed, list) else []
            for index, name in enumerate(names):
                path: NodePath = ("plans", plan, "sources", index)
                if isinstance(name, str) and name not in sources:
                    what = f"there is no source '{name}'"
                    found.append(self.places.problem(path, what, did_you_mean(name, sources)))
                elif name in names[:index]:
                    what = f"the source '{name}' is named twice"
                    found.append(self.places.problem(path, what, "name it once"))
        return found

    def _link_problems(self) -> list[ConfigProblem]:
        """Links name a files source that there is, and the database, where there are several."""
        sources, links = self.data.get("sources"), self.data.get("links")
        if not isinstance(sources, Mapping) or not isinstance(links, list):
            return []
        kinds = {
            name: content.get("kind") if isinstance(content, Mapping) else None
            for name, content in sources.items()
        }
        databases = [
            name
            for name, content in sources.items()
            if kinds[name] == "postgres" and content.get("scope") != "schema"
        ]
        found = []
        for index, link in enumerate(links):
            if not isinstance(link, Mapping):
                continue
            for key, kind in (("files", "files"), ("source", "postgres")):
                name = link.get(key)
                fitting = [each for each, its in kinds.items() if its == kind]
                if isinstance(name, str) and name not in fitting:
                    what = f"'{name}' is no source of kind {kind}"
                    fix = did_you_mean(name, fitting)
                    found.append(self.places.problem(("links", index, key), what, fix))
            if link.get("source") is None and len(databases) != 1:
                fix = f"write source: {databases[0]}" if databases else "add a source of rows"
                what = "does not say which database has its table"
                found.append(self.places.problem(("links", index), what, fix))
        return found

    def _ping_problems(self) -> list[ConfigProblem]:
        """What is pinged is a plan, or check."""
        notify, plans = self.data.get("notify"), self.data.get("plans")
        pings = notify.get("ping") if isinstance(notify, Mapping) else None
        if not isinstance(pings, Mapping) or not isinstance(plans, Mapping):
            return []
        known = [*plans, "check"]
        return [
            self.places.problem(
                ("notify", "ping", name), f"there is no plan '{name}'", did_you_mean(name, known)
            )
            for name in pings
            if name not in known
        ]

    def _unprotected(self) -> list[ConfigProblem]:
        """Return the configuration sources that would lie in plain without anybody's saying so."""
        sources = self.data.get("sources")
        if self.data.get("encryption") is not None or not isinstance(sources, Mapping):
            return []
        return [
            self.places.problem(
                ("sources", name),
                "holds secrets, and nothing encrypts them",
                "add encryption: {method: age} (or gpg), or write plaintext: true for this source",
            )
            for name, source in sources.items()
            if isinstance(source, Mapping)
            and source.get("kind") == "config"
            and source.get("plaintext") is not True
        ]

    def _repository_problems(self) -> list[ConfigProblem]:
        path: NodePath = ("repository",)
        repository = self.data.get("repository")
        if not isinstance(repository, str) or path in self.unusable:
            return []
        try:
            objection = repository_objection(Path(repository))
        except (OSError, ValueError, RuntimeError) as error:
            return [self.places.problem(path, f"can't be used: {error}", "write another path")]
        if objection is None:
            return []
        what, fix = objection
        return [self.places.problem(path, f"'{repository}' {what}", fix)]


def _container(data: Any, path: NodePath) -> Any:
    for step in path[:-1]:
        data = data[step]
    return data


def _not_set(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"the variable {names[0]} is not set"
    return f"none of the variables {', '.join(names)} is set"
