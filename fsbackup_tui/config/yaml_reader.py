"""YAML as people mean it: 1.2 scalars, no key twice, every value with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from fsbackup_tui.domain.errors import ConfigProblem

NodePath = tuple[str | int, ...]

_CORE = "tag:yaml.org,2002:"
_MOST_NODES = 50_000


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands in the text: offsets in characters, lines and columns from 1."""

    start: int
    end: int
    line: int
    column: int


@dataclass(slots=True)
class Document:
    """What a YAML text holds: plain values, and the line and the span of each node's path.

    ``lines`` tells for a mapping's entry the line of its key. ``problems`` are mistakes that do
    not stop the reading: keys given twice, unknown tags.
    """

    value: Any
    lines: dict[NodePath, int] = field(default_factory=dict)
    spans: dict[NodePath, Span] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)


class YamlSyntaxError(Exception):
    """The text is no YAML; ``problem`` says where and what to do."""

    def __init__(self, problem: ConfigProblem) -> None:
        super().__init__(problem.what)
        self.problem = problem


class _CoreResolver(BaseResolver):
    """The core schema of YAML 1.2: ``yes``, ``no``, ``on`` and ``12:30`` are text."""


def _add(tag: str, pattern: str, first: str) -> None:
    _CoreResolver.add_implicit_resolver(_CORE + tag, re.compile(pattern), list(first))


_add("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_add("null", r"^(?:~|null|Null|NULL)$", "~nN")
_CoreResolver.add_implicit_resolver(_CORE + "null", re.compile(r"^$"), [""])
_add("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789")
_add(
    "float",
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    "-+.0123456789",
)
_add("merge", r"^<<$", "<")


class _Loader(Reader, Scanner, Parser, Composer, _CoreResolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _CoreResolver.__init__(self)


def read_yaml(text: str, file: str) -> Document:
    """Return the document of the text; ``value`` is None for an empty one. YamlSyntaxError."""
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise YamlSyntaxError(_syntax_problem(error, text, file)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{ord(text[error.position]):04X} can't be part of a YAML file"
        raise YamlSyntaxError(
            ConfigProblem(file, line, what, "take it out, or write it as \\x.. in double quotes")
        ) from None
    except RecursionError:
        raise YamlSyntaxError(ConfigProblem(file, None, "it is nested too deeply")) from None
    document = Document(None)
    if root is not None:
        document.value = _Builder(document, file).build(root, ())
        document.lines.setdefault((), root.start_mark.line + 1)
    return document


class _Builder:
    """Turns nodes into values and keeps where each stands."""

    def __init__(self, document: Document, file: str) -> None:
        self.document = document
        self.file = file
        self._open: list[Node] = []
        self._built = 0

    def build(self, node: Node, path: NodePath) -> Any:
        self._built += 1
        if self._built > _MOST_NODES or any(node is above for above in self._open):
            what = "aliases (*name) lead back to themselves or unfold to far too much"
            raise YamlSyntaxError(ConfigProblem(self.file, _line(node), what, "write it out"))
        mark, end = node.start_mark, node.end_mark
        self.document.spans[path] = Span(mark.index, end.index, mark.line + 1, mark.column + 1)
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return self._sequence(node, path)
            return self._scalar(node)
        finally:
            self._open.pop()

    def _sequence(self, node: SequenceNode, path: NodePath) -> list[Any]:
        self._check_tag(node, "seq")
        values = []
        for index, item in enumerate(node.value):
            self.document.lines[(*path, index)] = _line(item)
            values.append(self.build(item, (*path, index)))
        return values

    def _mapping(self, node: MappingNode, path: NodePath) -> dict[str, Any]:
        self._check_tag(node, "map")
        own: dict[str, int] = {}
        merged: list[tuple[Node, Node]] = []
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                merged.extend(self._merged_pairs(value_node))
                continue
            key = self._key(key_node)
            if key is None:
                continue
            line = _line(key_node)
            if key in own:
                self._problem(
                    key_node,
                    f"the key '{key}' is given twice, in lines {own[key]} and {line}",
                    "keep one of them",
                )
                continue
            own[key] = line
            self.document.lines[(*path, key)] = line
            values[key] = self.build(value_node, (*path, key))
        for key_node, value_node in merged:
            key = self._key(key_node)
            if key is not None and key not in values:
                self.document.lines[(*path, key)] = _line(key_node)
                values[key] = self.build(value_node, (*path, key))
        return values

    def _merged_pairs(self, node: Node) -> list[tuple[Node, Node]]:
        """Return the pairs that ``<<: *name`` or ``<<: [*one, *two]`` brings in, first wins."""
        if isinstance(node, SequenceNode):
            return [pair for item in node.value for pair in self._merged_pairs(item)]
        if not isinstance(node, MappingNode) or any(node is above for above in self._open):
            self._problem(node, "<< takes a mapping", "write <<: *name")
            return []
        own: list[tuple[Node, Node]] = []
        deeper: list[tuple[Node, Node]] = []
        self._open.append(node)
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                deeper.extend(self._merged_pairs(value_node))
            else:
                own.append((key_node, value_node))
        self._open.pop()
        return own + deeper

    def _key(self, node: Node) -> str | None:
        if isinstance(node, ScalarNode):
            return str(node.value)
        self._problem(node, "a key has to be a plain word", "write name: value")
        return None

    def _scalar(self, node: Node) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(_CORE)
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0 if text[:2] in ("0o", "0x") else 10)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
                case "str":
                    return text
        except ValueError:
            pass
        self._check_tag(node, "str")
        return text

    def _check_tag(self, node: Node, expected: str) -> None:
        if node.tag != _CORE + expected:
            shown = node.tag.replace(_CORE, "!!")
            self._problem(node, f"the tag {shown} is not used in this file", "take it out")

    def _problem(self, node: Node, what: str, fix: str) -> None:
        self.document.problems.append(ConfigProblem(self.file, _line(node), what, fix))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> ConfigProblem:
    """Return what the parser found in words that name the usual cause and its remedy."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else None
    lines = text.splitlines()
    here = lines[line - 1] if line is not None and line <= len(lines) else ""
    found = (error.problem or error.context or "it can't be read").replace("'\\t'", "a tab")
    # The name may be a piece of a password that begins with *.
    found = re.sub(r"(undefined alias) '.*'", r"\1", found, flags=re.DOTALL)
    if "\t" in here[: len(here) - len(here.lstrip())] or "a tab" in found:
        return ConfigProblem(file, line, "a tab is used to indent", "indent with spaces")
    begun = error.context_mark.line + 1 if error.context_mark is not None else line
    since = f" (begun in line {begun})" if begun is not None and begun != line else ""
    fix = next((fix for start, fix in _REMEDIES if start in found), "")
    if not fix:
        fix = "check the indentation and the quotes of this line and of the one before"
    return ConfigProblem(file, line, f"not YAML: {found}{since}", fix)


_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        "mapping values are not allowed",
        "put a value that has ': ' in it in quotes, or mend the indentation",
    ),
    ("found character '%'", "put a value that begins with % in quotes"),
    ("found character '@'", "put a value that begins with @ in quotes"),
    ("found character '`'", "put a value that begins with ` in quotes"),
    ("found undefined alias", "put a value that begins with * in quotes"),
    ("could not find expected ':'", "write name: value, with a space behind the colon"),
    ("unexpected end of stream", "a quote is opened and never closed"),
    ("found unexpected document separator", "a quote is opened and never closed"),
    ("but found another document", "one file holds one site: take the --- line out"),
    ("found unknown escape character", "use single quotes, or write \\\\ for each \\"),
    ("expected ',' or ']'", "close the list with ], items parted by commas"),
    ("expected ',' or '}'", "close the { with }, entries parted by commas"),
)
