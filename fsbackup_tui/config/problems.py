"""Every mistake in a configuration as file, line, offending value and fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.shape import is_secret, section_at
from fsbackup_tui.config.yaml_reader import NodePath
from fsbackup_tui.domain.errors import ConfigProblem
from fsbackup_tui.domain.secret import REDACTED, Redactor

_LONGEST_SHOWN = 60
_SECRET_KEY = re.compile(r"(?i)url|passw|passphrase|secret|token|key|dsn")
_NAME_HINT = "letters, digits, - and _, beginning with a letter or digit, at most 40"
_PATTERN_HINTS = {
    "site": f"a name has {_NAME_HINT}",
    "compression": "write auto, none, gzip, gzip:1 to gzip:9, zstd, or zstd:1 to zstd:22",
}
_MISSING_EXAMPLES = {
    ("site",): "add site: NAME, the name of what is backed up",
    ("repository",): "add repository: /var/backups/NAME, where recovery points go",
    ("sources",): 'add sources: {db: {kind: postgres, url: "${DATABASE_URL}"}}',
    ("plans",): "add plans: {daily: {sources: [db]}}",
    ("url",): 'add url: "${DATABASE_URL}"',
    ("kind",): "add kind: postgres",
    ("what",): "add what: words of the blocker, as fsbackup show tells them",
    ("reason",): "add reason: why that need not be tried here",
}


@dataclass(frozen=True, slots=True)
class Places:
    """The file's name and the line of every place in it."""

    file: str
    lines: Mapping[NodePath, int]

    def line(self, path: NodePath) -> int | None:
        """Return the line of the nearest place at or above the path that the file has."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return line
        return None

    def problem(self, path: NodePath, what: str, fix: str = "") -> ConfigProblem:
        """Return the problem at that path, named with its dotted path."""
        name = dotted(path)
        return ConfigProblem(self.file, self.line(path), f"{name}: {what}" if name else what, fix)


def dotted(path: NodePath) -> str:
    """Return ``sources.db.exclude_tables[1]`` for a path."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def shown(value: object, path: NodePath, data: object) -> str:
    """Return the value as a message may show it: short, on one line, never a secret."""
    keys = [step for step in path if isinstance(step, str)]
    if any(_SECRET_KEY.search(key) for key in keys) or is_secret(SiteConfig, data, path):
        return REDACTED
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    text = Redactor().redact(" ".join(str(value).split()))
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "…"
    return f"'{text}'" if isinstance(value, str) else text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?``, or the words that there are."""
    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names) or 'none'}"


_TAG_ERRORS = ("union_tag_invalid", "union_tag_not_found")


def validation_problems(
    error: ValidationError, data: object, places: Places, *, skip: Collection[NodePath] = ()
) -> list[ConfigProblem]:
    """Return one problem per place that the schema refuses, but for those of ``skip``."""
    grouped: dict[NodePath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        grouped.setdefault(_real_path(details, data), []).append(details)
    return [
        _problem(path, details[0] if len(details) == 1 else _union_error(details), data, places)
        for path, details in grouped.items()
        if path not in skip
    ]


def _real_path(details: ErrorDetails, data: Any) -> NodePath:
    """Return the place in the file: pydantic's also names members of unions."""
    path: list[str | int] = []
    for number, step in enumerate(details["loc"]):
        if not _has(data, step):
            last = number == len(details["loc"]) - 1
            if details["type"] == "missing" and last:
                path.append(step)
            elif isinstance(data, Mapping) and data.get("kind") == step and not last:
                continue
            break
        data = data[step]
        path.append(step)
    if details["type"] in _TAG_ERRORS:
        path.append("kind")
    return tuple(path)


def _has(data: Any, step: str | int) -> bool:
    if isinstance(data, Mapping):
        return step in data
    return isinstance(data, list) and isinstance(step, int) and step < len(data)


def _union_error(details: list[ErrorDetails]) -> ErrorDetails:
    """Return the error of the alternative that fits best: out of range tells more than no type."""
    for error in details:
        if error["type"] in ("greater_than_equal", "less_than_equal", "value_error"):
            return error
    return details[0]


def _problem(path: NodePath, details: ErrorDetails, data: object, places: Places) -> ConfigProblem:
    kind = details["type"]
    context: Mapping[str, Any] = details.get("ctx", {})
    value = shown(details["input"], path, data)
    name = str(path[-1]) if path else ""
    if kind in ("missing", "union_tag_not_found"):
        return missing_problem(path, places)
    if kind == "union_tag_invalid":
        tag, words = str(context["tag"]), str(context["expected_tags"])
        return places.problem(
            path, f"{shown(tag, path, data)} is not known here", _words_hint(tag, words)
        )
    if kind == "extra_forbidden":
        section = section_at(SiteConfig, data, path[:-1])
        known = () if section is None else tuple(section.model_fields)
        above = dotted(path[:-1])
        what = f"unknown setting '{name}'" + (f" in {above}" if above else "")
        return ConfigProblem(places.file, places.line(path), what, did_you_mean(name, known))
    if details["input"] is None:
        return places.problem(path, "has no value", _type_hint(kind, context, name))
    if kind == "value_error":
        return places.problem(path, f"{value} can't be used", str(context.get("error", "")))
    range_hint = _range_hint(path, data)
    if kind in ("greater_than_equal", "less_than_equal"):
        size = "small" if kind == "greater_than_equal" else "large"
        return places.problem(path, f"{value} is too {size}", range_hint)
    if kind in ("too_short", "string_too_short"):
        return places.problem(path, "is empty", _type_hint(kind, context, name))
    if kind == "literal_error" and not range_hint:
        return places.problem(path, f"{value} is not known here", _literal_hint(details))
    hint = range_hint or _type_hint(kind, context, name) or details["msg"]
    return places.problem(path, f"{value} can't be used", hint)


def missing_problem(path: NodePath, places: Places) -> ConfigProblem:
    """Return the problem that a setting is not there."""
    name = str(path[-1]) if path else ""
    fix = _MISSING_EXAMPLES.get((name,), f"add {name}: …")
    above = dotted(path[:-1])
    what = f"'{name}' is missing" + (f" in {above}" if above else "")
    return ConfigProblem(places.file, places.line(path), what, fix)


def _literal_hint(details: ErrorDetails) -> str:
    return _words_hint(str(details["input"]), str(details.get("ctx", {}).get("expected", "")))


def _words_hint(value: str, expected: str) -> str:
    words = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(value.lower(), words, n=1)
    return f"did you mean {near[0]}?" if near else f"write one of: {', '.join(words)}"


def _range_hint(path: NodePath, data: object) -> str:
    """Return the range of a number, read from the schema."""
    section = section_at(SiteConfig, data, path[:-1]) if path else None
    info = section.model_fields.get(str(path[-1])) if section is not None else None
    if section is None or info is None:
        return ""
    name = info.alias or str(path[-1])
    choices = _schema_of(section)["properties"][name]
    for choice in choices.get("anyOf", [choices]):
        if "minimum" in choice and "maximum" in choice:
            whole = "a whole number" if choice.get("type") == "integer" else "a share"
            texts = [str(c["const"]) for c in choices.get("anyOf", []) if "const" in c]
            words = " or ".join([*texts, whole])
            return f"write {words} from {choice['minimum']} to {choice['maximum']}"
    return ""


def _schema_of(section: type[BaseModel]) -> dict[str, Any]:
    return section.model_json_schema()


def _type_hint(kind: str, context: Mapping[str, Any], name: str) -> str:
    if kind == "string_pattern_mismatch":
        return _PATTERN_HINTS.get(name, f"it has to match {context.get('pattern', '')}")
    if kind == "too_short":
        return "name at least one"
    hints = {
        "string_too_short": "write a text",
        "string_type": "write a text, in quotes if it looks like a number or true/false",
        "path_type": "write a path",
        "tuple_type": "write a list: [one, two]",
        "list_type": "write a list: [one, two]",
        "dict_type": "write a section: name: value lines, indented below it",
        "model_type": "write a section: name: value lines, indented below it",
        "model_attributes_type": "write a section: name: value lines, indented below it",
        "bool_type": "write true or false",
        "bool_parsing": "write true or false",
        "int_type": "write a whole number",
        "int_parsing": "write a whole number",
        "int_from_float": "write a whole number",
        "float_type": "write a number",
        "float_parsing": "write a number",
    }
    return hints.get(kind, "")
