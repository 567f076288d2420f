"""A parser of Prometheus' text format, as strict as the real one where files are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass
class Exposed:
    """The metrics of a text: by name and labels their values, and their HELP and TYPE."""

    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    help: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        """The one value of a metric that has at least these labels."""
        found = [
            value
            for (named, has), value in self.values.items()
            if named == name and set(labels.items()) <= set(has)
        ]
        assert len(found) == 1, (name, labels, found)
        return found[0]


def parse_exposition(text: str) -> Exposed:
    """Return what a text exposes; AssertionError where the collector would refuse the file."""
    assert text.endswith("\n"), "the last line needs its end"
    exposed = Exposed()
    seen: list[str] = []
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name, _, words = line.removeprefix("# HELP ").partition(" ")
            assert re.fullmatch(_NAME, name), line
            assert name not in exposed.help, f"HELP twice: {name}"
            exposed.help[name] = words
            continue
        if line.startswith("# TYPE "):
            name, _, kind = line.removeprefix("# TYPE ").partition(" ")
            assert name not in exposed.types, f"TYPE twice: {name}"
            assert kind in {"counter", "gauge", "histogram", "summary", "untyped"}, line
            assert name not in seen, f"TYPE after its values: {name}"
            exposed.types[name] = kind
            continue
        assert not line.startswith("#"), line
        match = _SAMPLE.fullmatch(line)
        assert match is not None, line
        name = match[1]
        assert name in exposed.types, f"no TYPE: {name}"
        assert seen.count(name) == 0 or seen[-1] == name, f"not in one group: {name}"
        if not seen or seen[-1] != name:
            seen.append(name)
        key = (name, _labels(match[2] or ""))
        assert key not in exposed.values, f"twice: {line}"
        exposed.values[key] = float(match[3])
    return exposed


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LABEL.match(text, at)
        assert match is not None, text
        assert match[1] not in labels, f"label twice: {text}"
        labels[match[1]] = re.sub(r"\\.", lambda found: _UNESCAPED[found[0]], match[2])
        at = match.end()
    return tuple(sorted(labels.items()))
