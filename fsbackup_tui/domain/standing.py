"""What stands on the server at one moment: which databases, who is connected, who gets hurt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fsbackup_tui.domain.point import ServerIdentity

DatabaseKind = Literal[
    "live",
    "before",
    "after",
    "restore",
    "evidence",
    "drill",
    "spare",
    "unfinished",
    "other",
]


@dataclass(frozen=True, slots=True)
class StandingDatabase:
    """One database: what it is to the live one, its size in bytes (None: may not be seen).

    ``open`` tells whether it lets sessions in.
    """

    name: str
    oid: int
    kind: DatabaseKind
    open: bool
    size_bytes: int | None = None
    sessions: int = 0
    comment: str = ""


@dataclass(frozen=True, slots=True)
class ClientSession:
    """Somebody who is connected to the live database; ``writes`` where it has a transaction id."""

    pid: int
    role: str
    application: str
    client: str
    state: str
    since: datetime | None
    writes: bool
    can_be_ended: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """One look: the server, the live database by its name (None: there is none of that name).

    ``server`` is the identity seen through the maintenance database; ``environment`` is what the
    connection itself says of it (production, staging …), empty where it says nothing, with
    ``environment_from`` telling by what. ``standbys`` follow this server. ``merged`` is what the
    merges noted that are in force (operations/merge_documents.py), where it was asked for.
    """

    at: datetime
    server: ServerIdentity
    live_name: str
    live: StandingDatabase | None
    databases: tuple[StandingDatabase, ...] = ()
    sessions: tuple[ClientSession, ...] = ()
    sessions_more: int = 0
    prepared: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    standbys: tuple[str, ...] = ()
    environment: str = ""
    environment_from: str = ""
    can_rename: bool = True
    merged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def database(self, name: str, oid: int = 0) -> StandingDatabase | None:
        """Return the database of that name, and of that OID where one is given."""
        every = (*((self.live,) if self.live else ()), *self.databases)
        return next((db for db in every if db.name == name and oid in (0, db.oid)), None)


_WORDS: Mapping[str, str] = {
    "prod": "production",
    "production": "production",
    "staging": "staging",
    "stage": "staging",
    "test": "test",
    "dev": "development",
}
_GRAVEST = ("production", "staging", "test", "development")


def environment_named(host: str, database: str) -> tuple[str, str]:
    """Return the environment that host and database are named after, and by which word of which.

    Both empty where no word tells it; the gravest, where several do. A socket's directory is no
    name.
    """
    found: dict[str, str] = {}
    for what, name in (("host", "" if host.startswith("/") else host), ("database", database)):
        for word in re.split(r"[\W\d_]+", name.lower()):
            if word in _WORDS:
                found.setdefault(_WORDS[word], f"the word {word} in the {what}'s name, {name}")
    gravest = next((name for name in _GRAVEST if name in found), "")
    return gravest, found.get(gravest, "")
