"""Where every key and value of a YAML text begins and ends, for edits in place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import yaml
from yaml import events

Kind = Literal["scalar", "map", "seq", "alias"]


@dataclass(slots=True)
class Place:
    """A value as it stands in the text: offsets in characters, from ``start`` to before ``end``.

    ``end`` is behind the last character that belongs to it, comments and blank lines left out.
    ``flow`` is ``{…}`` or ``[…]``; ``lines`` a scalar that is written by ``|`` or ``>``.
    ``entries`` are a mapping's keys and values, ``items`` a list's.
    """

    kind: Kind
    start: int
    end: int
    flow: bool = False
    lines: bool = False
    word: str = ""
    entries: list[tuple[Place, Place]] = field(default_factory=list)
    items: list[Place] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing is written there: ``keep:`` with nothing behind it."""
        return self.kind == "scalar" and self.start == self.end

    def entry(self, key: str) -> tuple[Place, Place] | None:
        """Return the places of a key and of its value, None where the mapping has no such key."""
        for name, value in self.entries:
            if name.kind == "scalar" and name.word == key:
                return name, value
        return None


def tree_of(text: str) -> Place | None:
    """Return the places of a text that is known to be good YAML; None for an empty one.

    Aliases are places of their own: they are not followed.
    """
    stream = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in stream:
        if isinstance(event, events.DocumentStartEvent):
            return _place(next(stream), stream, text)
    return None


def _place(event: events.Event, stream: Iterator[events.Event], text: str) -> Place:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, events.AliasEvent):
        return Place("alias", start, end)
    if isinstance(event, events.ScalarEvent):
        lines = event.style in ("|", ">")
        stop = _trimmed(text, start, end) if lines else end
        return Place("scalar", start, stop, lines=lines, word=event.value)
    if isinstance(event, events.SequenceStartEvent):
        return _sequence(event, stream, text)
    assert isinstance(event, events.MappingStartEvent)
    return _mapping(event, stream, text)


def _sequence(
    event: events.SequenceStartEvent, stream: Iterator[events.Event], text: str
) -> Place:
    place = Place("seq", event.start_mark.index, event.end_mark.index, flow=bool(event.flow_style))
    for inner in stream:
        if isinstance(inner, events.SequenceEndEvent):
            if place.flow:
                place.end = inner.end_mark.index
            break
        place.items.append(_place(inner, stream, text))
        place.end = max(place.end, place.items[-1].end)
    return place


def _mapping(event: events.MappingStartEvent, stream: Iterator[events.Event], text: str) -> Place:
    place = Place("map", event.start_mark.index, event.end_mark.index, flow=bool(event.flow_style))
    for inner in stream:
        if isinstance(inner, events.MappingEndEvent):
            if place.flow:
                place.end = inner.end_mark.index
            break
        key = _place(inner, stream, text)
        value = _place(next(stream), stream, text)
        place.entries.append((key, value))
        place.end = max(place.end, value.end)
    return place


def _trimmed(text: str, start: int, end: int) -> int:
    return start + len(text[start:end].rstrip())
