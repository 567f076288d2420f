"""What the first lines of a text tell: which program wrote it, from what, when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

_DUMP = b"-- PostgreSQL database dump\n"
_CLUSTER = b"-- PostgreSQL database cluster dump"
CLUSTER_TRAILER = b"-- PostgreSQL database cluster dump complete"
_SERVER = re.compile(rb"^-- Dumped from database version (.+?)\s*$", re.MULTILINE)
_CLIENT = re.compile(rb"^-- Dumped by pg_dump version (.+?)\s*$", re.MULTILINE)
_STARTED = re.compile(
    rb"^-- Started on (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?: ([A-Za-z]+))?\s*$", re.MULTILINE
)
_ENCODING = re.compile(rb"^SET client_encoding = '([A-Za-z0-9_]+)';", re.MULTILINE)
_STATEMENT = re.compile(
    rb"^\s*(?:SET|CREATE|INSERT\s+INTO|COPY|BEGIN|ALTER|SELECT|DROP|GRANT|RESET|\\connect|\\restrict)\b",
    re.MULTILINE | re.IGNORECASE,
)
_SUPABASE_DATA = b"SET session_replication_role = replica;"
_SUPABASE_SCHEMA = re.compile(
    rb'^(?:CREATE (?:SCHEMA|TABLE|SEQUENCE) IF NOT EXISTS|CREATE OR REPLACE) "?', re.MULTILINE
)
_ERROR = re.compile(
    rb"^(?:pg_dump(?:all)?|psql|g?zip|docker|sudo|supabase|(?:/bin/)?(?:ba|da|z)?sh|aws|curl|error"
    rb"|fatal)\b.*",
    re.IGNORECASE,
)
_ERROR_IN_TAIL = re.compile(rb"^pg_dump(?:all)?: (?:error|fatal|\[archiver).*$", re.MULTILINE)
_LONGEST_SHOWN = 120

TextKind = Literal["dump", "cluster", "supabase", "sql", "other"]


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What a text is; ``what`` names it in words where it is no dump of PostgreSQL."""

    kind: TextKind
    what: str = ""
    server_version: str = ""
    client_version: str = ""
    encoding: str = ""
    started: datetime | None = None


def text_facts(head: bytes) -> TextFacts:
    """Return what the beginning of a text tells of it."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = _kind(start, head)
    if kind == "other":
        return TextFacts("other", _describe(start))
    started = _STARTED.search(head)
    return TextFacts(
        kind,
        _other_maker(start) if kind == "sql" else "",
        _first(_SERVER, head),
        _first(_CLIENT, head),
        _first(_ENCODING, head),
        None if started is None else _moment(started[1].decode(), started[2]),
    )


def error_in_tail(tail: bytes) -> str | None:
    """Return the error message of pg_dump that the end of a dump holds, None for none."""
    match = _ERROR_IN_TAIL.search(tail)
    return None if match is None else _line(match[0])


def _kind(start: bytes, head: bytes) -> TextKind:
    if _CLUSTER in head[:4096]:
        return "cluster"
    if start.startswith(_SUPABASE_DATA):
        return "supabase"
    if _DUMP in head[:4096].replace(b"\r\n", b"\n"):
        return "dump"
    if _foreign_start(start) or _STATEMENT.search(head) is None:
        return "other"
    return "supabase" if _SUPABASE_SCHEMA.search(head) else "sql"


def _foreign_start(start: bytes) -> bool:
    return start[:1] in (b"<", b"{", b"[") or _is_error(start)


def _is_error(start: bytes) -> bool:
    line = start.split(b"\n", 1)[0]
    return _ERROR.match(line) is not None and not line.rstrip().endswith(b";")


def _describe(start: bytes) -> str:
    lowered = start[:200].lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if lowered.startswith(b"<"):
        return "an XML document"
    if lowered.startswith((b"{", b"[")):
        return "a JSON document"
    if _is_error(start):
        return f"an error message: {_line(start)}"
    if b"\0" in start[:4096]:
        return "binary data that no known tool wrote"
    return f"a text that is no SQL: {_line(start)}"


def _other_maker(start: bytes) -> str:
    for mark, name in (
        (b"-- MySQL dump", "SQL of MySQL"),
        (b"-- MariaDB dump", "SQL of MariaDB"),
        (b"/*M!", "SQL of MariaDB"),
        (b"PRAGMA foreign_keys", "SQL of SQLite"),
    ):
        if start.startswith(mark):
            return name
    return ""


def _line(text: bytes) -> str:
    line = text.strip().split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    shown = "".join(character if character.isprintable() else "?" for character in line)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _first(pattern: re.Pattern[bytes], text: bytes) -> str:
    match = pattern.search(text)
    return "" if match is None else match[1].decode("utf-8", "replace")


def _moment(text: str, zone: bytes | None) -> datetime | None:
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - as it is written
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if zone in (b"UTC", b"GMT") else moment
