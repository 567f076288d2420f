"""A site's configuration made anew from the ``site.yaml`` of a point, for another machine.

Its text and its comments stay; changed are where the repository and the variables lie, what was
masked of secrets, which becomes a variable, and the replica that it was fetched from, if it
names none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsbackup_tui.config.template import escape
from fsbackup_tui.config.yaml_reader import Span, read_yaml
from fsbackup_tui.domain.secret import REDACTED

ORIGIN = "origin"
"""What the replica is called that no replica of the configuration is."""

_ORIGIN_VARIABLES = {
    "access_key": "FSBACKUP_ORIGIN_ACCESS_KEY",
    "secret_key": "FSBACKUP_ORIGIN_SECRET_KEY",
    "password": "FSBACKUP_ORIGIN_PASSWORD",
}
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-[^}]*)?\}")


@dataclass(frozen=True, slots=True)
class OriginReplica:
    """The replica that is fetched from; ``settings`` as ``replicas:`` has them, without secrets.

    ``secrets`` are those it was given: ``access_key``, ``secret_key``, ``password``.
    """

    url: str
    settings: Mapping[str, str]
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The new text; ``masked`` names the variables that hold what was masked, by setting.

    ``origin`` is the replica's name in it, ``origin_variables`` which variable has which secret.
    """

    text: str
    masked: Mapping[str, str]
    former_env_file: str
    former_repository: str
    origin: str
    origin_variables: Mapping[str, str]


def rebuild_config(
    text: str, *, repository: Path | None, env_file: Path, origin: OriginReplica | None
) -> Rebuilt:
    """Return the configuration for this machine; YamlSyntaxError where it can't be read.

    ``repository`` None leaves it where it was. ``origin`` None: it was fetched from a directory.
    """
    document = read_yaml(text, "site.yaml")
    value: Mapping[str, Any] = document.value if isinstance(document.value, Mapping) else {}
    changes: list[tuple[int, int, str]] = []
    news: dict[str, object] = {"env_file": escape(str(env_file))}
    if repository is not None:
        news["repository"] = escape(str(repository))
    name, variables = _origin_in(value, origin)
    if origin is not None and not name:
        name, variables = ORIGIN, {each: _ORIGIN_VARIABLES[each] for each in origin.secrets}
        entry: dict[str, object] = {"url": origin.url, **origin.settings}
        entry |= {each: {"env": variable} for each, variable in variables.items()}
        replicas = document.spans.get(("replicas",))
        if replicas is None or not value.get("replicas"):
            news["replicas"] = {ORIGIN: entry}
        else:
            changes.append(_inserted(text, replicas, ORIGIN, entry))
    root = document.spans.get(())
    for key, new in news.items():
        span = document.spans.get((key,))
        if span is not None:
            changes.append((span.start, span.end, _json(new)))
        elif root is not None:
            changes.append(_inserted(text, root, key, new))
    masked: dict[str, str] = {}
    changed = {(start, end) for start, end, _ in changes}
    for path, found in _masked(value, ()):
        span = document.spans.get(path)
        if span is None or (span.start, span.end) in changed:
            continue
        variable = _variable_for(path)
        masked[variable] = ".".join(map(str, path))
        plain = found.replace(f":-{REDACTED}}}", "}")
        plain = plain.replace(REDACTED, f"${{{variable}}}")
        if plain.count("${" + variable + "}") == 0:
            masked.pop(variable)
        changes.append((span.start, span.end, _json(plain)))
    return Rebuilt(
        _applied(text, changes),
        masked,
        str(value.get("env_file") or ""),
        str(value.get("repository") or ""),
        name,
        variables,
    )


def _origin_in(
    value: Mapping[str, Any], origin: OriginReplica | None
) -> tuple[str, dict[str, str]]:
    """Return the replica of the configuration that is fetched from, and its secrets' variables."""
    replicas = value.get("replicas")
    if origin is None or not isinstance(replicas, Mapping):
        return "", {}
    for name, settings in replicas.items():
        if not isinstance(settings, Mapping) or settings.get("url") != origin.url:
            continue
        if any(settings.get(each) != told for each, told in origin.settings.items()):
            continue
        variables = {
            each: _variable(settings.get(each), ("replicas", name, each)) for each in origin.secrets
        }
        if all(variables.values()):
            return str(name), variables
    return "", {}


def _variable_for(path: tuple[str | int, ...]) -> str:
    """Return what the variable is called that takes the place of what was masked there."""
    return "_".join(re.sub(r"\W", "_", str(step)) for step in path).upper()


def _variable(description: object, path: tuple[str | int, ...]) -> str:
    """Return the variable that alone holds a secret; empty where it lies elsewhere."""
    if isinstance(description, Mapping):
        if description.get("text") is None:
            return str(description.get("env") or "")
        description, path = description["text"], (*path, "text")
    if description == REDACTED:
        return _variable_for(path)
    match = _REFERENCE.fullmatch(str(description))
    return "" if match is None else match[1]


def _masked(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[Any, str]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _masked(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _masked(each, (*path, number))
    elif isinstance(value, str) and REDACTED in value:
        yield path, value


def _inserted(text: str, span: Span, key: str, value: object) -> tuple[int, int, str]:
    """Return the change that puts a first entry into a mapping, written in either style."""
    entry = f"{_json(key)}: {_json(value)}"
    if text[span.start : span.start + 1] == "{":
        empty = not text[span.start + 1 : span.end - 1].strip()
        return span.start + 1, span.start + 1, entry if empty else f"{entry}, "
    return span.start, span.start, f"{entry}\n{' ' * (span.column - 1)}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _applied(text: str, changes: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(changes, key=lambda change: change[:2], reverse=True):
        # A block scalar's span holds its last newline.
        tail = "\n" if text[start:end].endswith("\n") else ""
        text = text[:start] + new + tail + text[end:]
    return text
