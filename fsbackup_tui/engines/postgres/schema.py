"""A schema's canonical form and its digest: what makes two schemas the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fsbackup_tui.domain.point import DatabaseSetting

DUMP_ENVIRONMENT: Mapping[str, str] = {"PGTZ": "UTC"}
"""What pg_dump does not set itself: a partition's bound is written in the session's time zone.

libpq sends it as a parameter of its own, which poolers know.
"""

# What else changes how the server writes a definition down: the copy has to be asked with it too,
# before it has these settings of the database itself.
_WRITTEN_BY = frozenset({"quote_all_identifiers", "bytea_output"})


def writing_options(settings: Iterable[DatabaseSetting], role: str) -> dict[str, str]:
    """Return the environment in which a copy's definitions are written as the captured ones were.

    ``role`` is the one that captured: its own settings in the database come before those of all.
    """
    found: dict[str, str] = {}
    for setting in sorted(settings, key=lambda setting: setting.role is not None):
        if setting.role in (None, role) and setting.name.lower() in _WRITTEN_BY:
            found[setting.name.lower()] = setting.value
    words = [f"-c {name}={value}" for name, value in sorted(found.items()) if value.isalnum()]
    return {"PGOPTIONS": " ".join(words)} if words else {}


def schema_digest(path: Path) -> str:
    """Return the SHA-256 of a schema's canonical form, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for line in canonical_schema(stream):
            digest.update(line)
    return digest.hexdigest()


# What a client writes of itself and for its own session; nothing of it is in the database.
_OF_THE_CLIENT = re.compile(
    rb"\\(un)?restrict |-- (Dumped (from|by)|Started on|Completed on|PostgreSQL database dump)|"
    rb"SET (statement_timeout|lock_timeout|idle_in_transaction_session_timeout|"
    rb"transaction_timeout|client_encoding|standard_conforming_strings|check_function_bodies|"
    rb"xmloption|client_min_messages|row_security) = |"
    rb"SELECT pg_catalog\.set_config\('search_path', '', false\);"
)
_LEFT_OUT = re.compile(
    rb"-- Name: (SUBSCRIPTION .*; Type: COMMENT;|.*; Type: SUBSCRIPTION( TABLE)?;"
    rb"|.*; Type: MATERIALIZED VIEW DATA;"
    rb"|(EXTENSION )?pg_cron; Type: (EXTENSION|COMMENT);"
    rb"|cron; Type: SCHEMA;|SCHEMA cron; Type: |.*; Schema: cron;)"
)
_TEXT_LITERAL = rb"'(?:[^']|'')*'::character varying(?:\(\d+\))?"
_VARCHAR_LIST = re.compile(
    rb"\(ARRAY\[(" + _TEXT_LITERAL + rb"(?:, " + _TEXT_LITERAL + rb")*)\]\)::text\[\]"
)
_NAME = rb'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
# pg_dump lists a policy's roles as it happens to find them in the server's table of roles.
_POLICY = re.compile(
    rb"(?P<head>CREATE POLICY " + _NAME + rb" ON " + _NAME + rb"\." + _NAME + rb" ?[A-Z ]* TO )"
    rb"(?P<roles>" + _NAME + rb"(?:, " + _NAME + rb")+)(?P<tail>(?: USING \(| WITH CHECK \(|;).*)",
    re.DOTALL,
)


def canonical_schema(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a schema dump that describe the database, in a form that lasts.

    Left out: the random ``\\restrict`` keys, versions, the dump's own session settings, empty
    lines and plain comment bars. ``varchar_column IN ('a', 'b')`` in a check is written one way
    by the database it was first made in and another way by every restored copy (tried on 15, 17
    and 18); both become the copy's way. A policy's roles, which each server lists in an order of
    its own, are sorted. What a copy never gets (``deferred_entries``) and the REFRESH that
    ``pg_restore --schema-only`` adds are left out too, so that the digests of a copy and of its
    original are equal.
    """
    canonical = _Canonical()
    for line in lines:
        if (kept := canonical.line(line)) is not None:
            yield kept


class _Canonical:
    def __init__(self) -> None:
        self._skipping = False

    def line(self, line: bytes) -> bytes | None:
        """Return a line's canonical form, None where it is left out."""
        if line.startswith(b"-- Name: "):
            self._skipping = _LEFT_OUT.match(line) is not None
        if self._skipping or line in {b"\n", b"--\n"} or _OF_THE_CLIENT.match(line):
            return None
        return _VARCHAR_LIST.sub(_each_as_text, _with_sorted_roles(line))


class SchemaDigest:
    """What ``schema_digest`` returns, of a dump that passes by in blocks."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._canonical = _Canonical()
        self._rest = b""

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the dump."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            self._digest.update(self._canonical.line(line + b"\n") or b"")

    def finish(self) -> str:
        """Return the digest, in hexadecimal."""
        if self._rest:
            self._digest.update(self._canonical.line(self._rest) or b"")
            self._rest = b""
        return self._digest.hexdigest()


def _with_sorted_roles(line: bytes) -> bytes:
    policy = _POLICY.fullmatch(line) if line.startswith(b"CREATE POLICY ") else None
    if policy is None:
        return line
    roles = sorted(re.findall(_NAME, policy["roles"]))
    return policy["head"] + b", ".join(roles) + policy["tail"]


def _each_as_text(match: re.Match[bytes]) -> bytes:
    members = re.findall(_TEXT_LITERAL, match[1])
    return b"ARRAY[" + b", ".join(b"(" + member + b")::text" for member in members) + b"]"
