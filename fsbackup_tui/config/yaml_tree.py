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
    start, end = _ends(event)
    if isinstance(event, events.AliasEvent):
        return Place("alias", start, end)
    if isinstance(event, events.ScalarEvent):
        lines = event.style in ("|", ">")
        stop = start + len(text[start:end].rstrip()) if lines else end
        return Place("scalar", start, stop, lines=lines, word=event.value)
    if isinstance(event, events.SequenceStartEvent):
        place = Place("seq", start, end, flow=bool(event.flow_style))
        for inner in _inside(place, stream):
            place.items.append(_place(inner, stream, text))
            place.end = max(place.end, place.items[-1].end)
        return place
    place = Place("map", start, end, flow=bool(getattr(event, "flow_style", False)))
    for inner in _inside(place, stream):
        key = _place(inner, stream, text)
        value = _place(next(stream), stream, text)
        place.entries.append((key, value))
        place.end = max(place.end, value.end)
    return place


def _inside(place: Place, stream: Iterator[events.Event]) -> Iterator[events.Event]:
    """Yield what begins in a collection up to its end, which brackets and braces tell."""
    for event in stream:
        if isinstance(event, events.CollectionEndEvent):
            if place.flow:
                place.end = _ends(event)[1]
            return
        yield event


def _ends(event: events.Event) -> tuple[int, int]:
    start, end = event.start_mark, event.end_mark
    return (start.index if start is not None else 0, end.index if end is not None else 0)
