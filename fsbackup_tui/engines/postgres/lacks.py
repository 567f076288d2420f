"""What a scratch server lacks, told apart from what a backup has lost.

An entry of the archive that did not come back is laid at the scratch server's door only where
the server itself said so (an extension that is not available, a feature that was not built in,
a locale that the system lacks), or where the entry depends, by the archive's own list, on one
such entry and is missing for no other reason. All else is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from fsbackup_tui.domain.point import PostgresFacts
from fsbackup_tui.domain.proof import Blocker
from fsbackup_tui.engines.postgres.accounting import Accounting
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.managed import is_managed_extension
from fsbackup_tui.engines.postgres.restore import SINGLE_DATABASE_EXTENSIONS
from fsbackup_tui.engines.postgres.toc import TocEntry

_BUILT_WITHOUT = (
    "Prove on a server that was built with it (the distribution's or PGDG's packages are): "
    "scratch: url or clients: in the config"
)


@dataclass(frozen=True, slots=True)
class _Lack:
    """A message of the server's that tells what it lacks; the pattern's groups fill the texts."""

    pattern: re.Pattern[str]
    what: str
    fix: str


def _lack(pattern: str, what: str, fix: str = _BUILT_WITHOUT) -> _Lack:
    return _Lack(re.compile(pattern), what, fix)


_EXTENSION_FIX = (
    "Install the package that has it on the scratch server, or prove on a server that has it "
    "(scratch: url in the config)"
)
_LOCALE_FIX = "Generate it on that machine (locale-gen), or prove on a server that has it"
# The messages are PostgreSQL's own, 14 to 18, in English; see speak_english.
_LACKS = (
    _lack(
        r'extension "(?P<name>[^"]+)" is not available',
        "extension {name} is missing on the scratch server",
        _EXTENSION_FIX,
    ),
    _lack(
        r'could not open extension control file "[^"]*/(?P<name>[^"/]+)\.control"',
        "extension {name} is missing on the scratch server",
        _EXTENSION_FIX,
    ),
    _lack(
        r'extension "(?P<name>[^"]+)" has no installation script nor update path',
        "extension {name} is on the scratch server in another version only",
        _EXTENSION_FIX,
    ),
    _lack(
        r'could not (?:access|load) (?:file|library) "(?P<name>[^"]+)"',
        "the library {name} is missing on the scratch server",
        _EXTENSION_FIX,
    ),
    _lack(
        r"(?P<name>\w+) must be (?:pre)?loaded via shared_preload_libraries",
        "{name} is not in shared_preload_libraries of the scratch server",
        "Prove on a server that loads it (scratch: url in the config)",
    ),
    _lack(r"unsupported XML feature", "xml is not supported by the scratch server"),
    _lack(
        r"ICU is not supported in this build|ICU locale \S+ .*not supported",
        "ICU collations are not supported by the scratch server",
    ),
    _lack(
        r"compression method (?P<name>\w+) not supported",
        "{name} compression is not supported by the scratch server",
    ),
    _lack(
        r'invalid value for parameter "default_toast_compression": "(?P<name>\w+)"',
        "{name} compression is not supported by the scratch server",
    ),
    _lack(
        r'could not create locale "(?P<name>[^"]*)"',
        "locale {name} is missing on the scratch server's system",
        _LOCALE_FIX,
    ),
    _lack(
        r'invalid (?:LC_COLLATE|LC_CTYPE|locale) (?:locale )?name: "(?P<name>[^"]*)"',
        "locale {name} is missing on the scratch server's system",
        _LOCALE_FIX,
    ),
    _lack(
        r'could not open collator for locale "(?P<name>[^"]*)"',
        "ICU locale {name} is missing on the scratch server",
        _LOCALE_FIX,
    ),
    _lack(
        r'tablespace "(?P<name>[^"]+)" does not exist|'
        r'could not set "?default_tablespace"? to "?(?P<other>[^":]+)"?:',
        "tablespace {name} is missing on the scratch server",
        "Create it there, or accept that what lies in it is proven elsewhere",
    ),
)
_NOBODY_REACHED = re.compile(r"could not establish connection|could not connect to server")
_MISSING = "is not in the copy"
_SAID = "; the tool said: "
_CONSEQUENCE = re.compile(
    r"does not exist|is not installed|there is no unique constraint matching given keys"
)


def lack_in(text: str) -> Blocker | None:
    """Return what the scratch server lacks by its own words; None where they say no such thing."""
    for lack in _LACKS:
        match = lack.pattern.search(text)
        if match is not None:
            groups = match.groupdict()
            name = groups.get("name") or groups.get("other") or ""
            return Blocker(lack.what.format(name=name.strip()), lack.fix)
    return None


def blocked_entries(
    accounting: Accounting, *, entries: Sequence[TocEntry] = (), offline: bool = False
) -> dict[int, Blocker]:
    """Return the lost entries that the scratch server is to blame for, by dump id.

    ``entries`` is the archive's whole list, through which dependencies are followed (the lost
    entries alone where it is not given); ``offline``: the server had no network.
    """
    lost = {entry.dump_id: (entry, why) for entry, why in accounting.lost}
    blocked: dict[int, Blocker] = {}
    for number, (entry, why) in lost.items():
        found = _told(entry, why, offline)
        if found is not None:
            blocked[number] = found
    every = {entry.dump_id: entry for entry in (*entries, *(entry for entry, _ in lost.values()))}
    causes = blocked | {
        # A platform's own extension may be missing; what depends on it can't be shown without.
        entry.dump_id: missing_extension(entry.name)
        for entry, _why in accounting.benign
        if entry.kind == "EXTENSION"
    }
    for number, (entry, why) in lost.items():
        if number not in blocked and _is_consequence(why):
            cause = _cause(entry, every, causes)
            if cause is not None:
                blocked[number] = cause
    return blocked


def _is_consequence(why: str) -> bool:
    """Whether an entry is missing for nothing but that something else is."""
    found, _, said = why.partition(_SAID)
    return bool(_CONSEQUENCE.search(said)) if said else _MISSING in found


def _told(entry: TocEntry, why: str, offline: bool) -> Blocker | None:
    found = lack_in(why)
    if found is not None and not (found.what.startswith("tablespace ") and _MISSING in why):
        return found  # an entry goes to the default tablespace: its absence has another cause
    if offline and entry.kind == "MATERIALIZED VIEW DATA" and _NOBODY_REACHED.search(why):
        return outside_blocker(entry)
    return None


def outside_blocker(entry: TocEntry) -> Blocker:
    """Return what is said of a view that reads from another server, which no trial contacts."""
    return Blocker(
        f"{entry.label} reads from another server, which a trial restore never contacts",
        "Accept it: the view is refreshed after a real restore",
    )


def _cause(
    entry: TocEntry, every: Mapping[int, TocEntry], blocked: Mapping[int, Blocker]
) -> Blocker | None:
    """Return the block that the entry depends on, over any number of other entries."""
    pending, seen = list(entry.dependencies), set[int]()
    while pending:
        number = pending.pop()
        if number in blocked:
            return blocked[number]
        if number not in seen and number in every:
            seen.add(number)
            pending.extend(every[number].dependencies)
    return None


def sort_accounting(
    accounting: Accounting, *, entries: Sequence[TocEntry] = (), offline: bool = False
) -> tuple[tuple[Blocker, ...], tuple[str, ...]]:
    """Return what the scratch server lacked, and in one line each what is really lost."""
    blocked = blocked_entries(accounting, entries=entries, offline=offline)
    lost = [
        f"{entry.label}: {why}" for entry, why in accounting.lost if entry.dump_id not in blocked
    ]
    found = list(blocked.values())
    for text in accounting.unexplained:
        lack = lack_in(text)
        if lack is None:
            lost.append(text)
        else:
            found.append(lack)
    return distinct(found), tuple(lost)


def distinct(blockers: Iterable[Blocker]) -> tuple[Blocker, ...]:
    """Return the blockers, each once, in their order."""
    return tuple({blocker.what: blocker for blocker in blockers}.values())


async def speak_english(admin: Connection) -> bool:
    """Have the server's messages to this session in English; False where the role may not."""
    try:
        await admin.execute("SET lc_messages TO 'C'")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


async def look_for_lacks(admin: Connection, facts: PostgresFacts) -> tuple[Blocker, ...]:
    """Return what the server lacks of what the captured database is known to need."""
    return distinct([*await _missing_extensions(admin, facts), *await missing_locale(admin, facts)])


async def _missing_extensions(admin: Connection, facts: PostgresFacts) -> list[Blocker]:
    cursor = await admin.execute("SELECT name::text FROM pg_catalog.pg_available_extensions")
    here = {row[0] for row in await cursor.fetchall()}
    return [
        missing_extension(item.name)
        for item in facts.extensions
        if item.name not in here
        and item.name not in SINGLE_DATABASE_EXTENSIONS
        and not is_managed_extension(item.name, facts)
    ]


def missing_extension(name: str) -> Blocker:
    """Return what is said of an extension that the scratch server doesn't have."""
    return Blocker(f"extension {name} is missing on the scratch server", _EXTENSION_FIX)


async def missing_locale(admin: Connection, facts: PostgresFacts) -> tuple[Blocker, ...]:
    """Return what keeps the server from making a database with the captured locale, by trying.

    A collation of that kind is made in a transaction that is rolled back.
    """
    options = [
        sql.SQL("provider = libc, lc_collate = {}, lc_ctype = {}").format(
            sql.Literal(facts.collate), sql.Literal(facts.ctype)
        )
    ]
    if facts.locale_provider != "libc":
        options.append(
            sql.SQL("provider = {}, locale = {}").format(
                sql.SQL(facts.locale_provider), sql.Literal(facts.locale or "")
            )
        )
    found = []
    for option in options:
        try:
            async with admin.transaction(force_rollback=True):
                await admin.execute(
                    sql.SQL("CREATE COLLATION pg_temp.fsbackup_trial ({})").format(option)
                )
        except psycopg.Error as error:
            lack = lack_in(str(error))
            if lack is not None:
                found.append(lack)
    return tuple(found)
