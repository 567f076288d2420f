"""What differs between two configurations, by names alone: no value, and nothing of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fsbackup_tui.domain.site_parts import ConfigEntry, ConfigFacts, Origin

Change = Literal["added", "removed", "changed", "same", "unknown"]


@dataclass(frozen=True, slots=True)
class EntryChange:
    """One file, variable or command of two configurations, and its keys if it has some.

    ``unknown``: it is in both, but nothing here can tell whether they are equal.
    """

    origin: Origin
    name: str
    change: Change
    keys_added: tuple[str, ...] = ()
    keys_removed: tuple[str, ...] = ()
    keys_changed: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """Return it as JSON documents have it."""
        return {
            "origin": self.origin,
            "name": self.name,
            "change": self.change,
            "keys": {
                "added": list(self.keys_added),
                "removed": list(self.keys_removed),
                "changed": list(self.keys_changed),
            },
        }

    def words(self) -> str:
        """Return the change in words, with its keys: ``changed (+A, -B, ~C)``."""
        keys = [
            *(f"+{key}" for key in self.keys_added),
            *(f"-{key}" for key in self.keys_removed),
            *(f"~{key}" for key in self.keys_changed),
        ]
        return f"{self.change} ({', '.join(keys)})" if keys else self.change


def compare_config(before: ConfigFacts, now: ConfigFacts) -> tuple[EntryChange, ...]:
    """Return every entry of the two, in the order of ``now``, the removed ones behind.

    Values can be compared where both were digested with the same key; else names alone.
    """
    comparable = before.digest_key == now.digest_key
    former = {(entry.origin, entry.name): entry for entry in before.entries}
    found = [
        _entry_change(former.pop((entry.origin, entry.name), None), entry, comparable=comparable)
        for entry in now.entries
    ]
    found += [EntryChange(entry.origin, entry.name, "removed") for entry in former.values()]
    return tuple(found)


def differing(changes: tuple[EntryChange, ...]) -> tuple[EntryChange, ...]:
    """Return the entries that are not known to be the same."""
    return tuple(change for change in changes if change.change != "same")


def _entry_change(before: ConfigEntry | None, now: ConfigEntry, *, comparable: bool) -> EntryChange:
    if before is None:
        return EntryChange(now.origin, now.name, "added")
    old, new = dict(before.keys), dict(now.keys)
    added = tuple(key for key in new if key not in old)
    removed = tuple(key for key in old if key not in new)
    changed = _changed(old, new) if comparable else ()
    if comparable:
        change: Change = "same" if before.digest == now.digest else "changed"
    else:
        change = "changed" if added or removed else "unknown"
    if not (old and new):
        added = removed = changed = ()
    return EntryChange(now.origin, now.name, change, added, removed, changed)


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(key for key, digest in new.items() if old.get(key, digest) != digest)
