"""What a PostgreSQL server or libpq says when it refuses, told apart and put into plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fsbackup_tui.domain.errors import (
    AuthenticationFailed,
    DatabaseMissing,
    PostgresError,
    RightsMissing,
    ServerUnreachable,
    TableLocked,
)

_PREFIX = re.compile(
    r"^(?:connection (?:failed|is bad)(?:: |, ))?"
    r"(?:connection to server (?:at|on socket) .*? failed: )?"
    r"(?:(?:FATAL|ERROR|PANIC):\s+)?",
    re.DOTALL,
)
_ALL_FAILURES = re.compile(r"\s*Multiple connection attempts failed\..*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is known of a refusal: the server's words and where they came from."""

    text: str
    detail: str
    hint: str
    display: str
    place: str
    database: str
    user: str | None

    @property
    def why(self) -> str:
        """The server's own words, one after the other."""
        lines = [*self.text.splitlines(), *self.detail.splitlines()]
        return "\n".join(line.strip() for line in lines if line.strip())


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of refusal: its SQLSTATEs, or the words of it where libpq hides the state."""

    states: tuple[str, ...]
    pattern: str
    error: type[PostgresError]
    what: Callable[[Refusal], str]
    fix: Callable[[Refusal], str]

    def matches(self, sqlstate: str | None, text: str) -> bool:
        """Whether this is the kind; without a SQLSTATE the words decide."""
        if sqlstate is not None:
            return any(sqlstate.startswith(state) for state in self.states)
        return bool(self.pattern) and re.search(self.pattern, text, re.IGNORECASE) is not None


def _role(refusal: Refusal) -> str:
    return f"'{refusal.user}'" if refusal.user else "of this Unix user"


# The first that matches counts. SQLSTATEs: PostgreSQL manual, appendix A. While connecting libpq
# gives none, only the server's words; a server that speaks another language than English then
# ends in the last, general one, with its words.
_RULES: tuple[_Rule, ...] = (
    _Rule(
        ("53300",),
        r"too many (clients|connections)|remaining connection slots|max clients|EMAXCONN"
        r"|no more connections allowed",
        ServerUnreachable,
        lambda it: f"NO FREE CONNECTION: {it.place} has all its connections in use.",
        lambda it: "Wait or end idle sessions; fewer `jobs:` in the config need fewer connections.",
    ),
    _Rule(
        ("3D000",),
        r'database ".*" does not exist',
        DatabaseMissing,
        lambda it: f"DATABASE MISSING: {it.place} has no database '{it.database}'.",
        lambda it: "Check the name in the URL; `psql -l` lists the server's databases.",
    ),
    _Rule(
        ("28",),
        r"password authentication failed|no password supplied|authentication failed"
        r'|role ".*" does not exist|no pg_hba\.conf entry|pg_hba\.conf rejects'
        r"|is not permitted to log in|SCRAM|SASL|Tenant or user not found|GSSAPI",
        AuthenticationFailed,
        lambda it: f"LOGIN REFUSED: {it.place} refused the role {_role(it)}.",
        lambda it: "Check user and password in the URL, and the server's pg_hba.conf.",
    ),
    _Rule(
        (),
        r"\bSSL\b|\bTLS\b|certificate",
        ServerUnreachable,
        lambda it: f"NO SECURE CONNECTION: TLS with {it.place} failed.",
        lambda it: (
            "Check sslmode and sslrootcert in the URL; the server may have no TLS (sslmode=prefer"
            " tries without)."
        ),
    ),
    _Rule(
        ("57P01", "57P02"),
        r"terminating connection due to|the database system is shutting down",
        ServerUnreachable,
        lambda it: f"SERVER SHUTTING DOWN: {it.place} ended the session.",
        lambda it: "Wait until the server is up again, then run the command again.",
    ),
    _Rule(
        ("57P03",),
        r"the database system is (starting up|in recovery mode|not yet accepting)",
        ServerUnreachable,
        lambda it: f"SERVER STARTING: {it.place} does not accept connections yet.",
        lambda it: "Wait until the server is up, then run the command again.",
    ),
    _Rule(
        ("57P05", "25P03", "25P04"),
        "",
        PostgresError,
        lambda it: f"SESSION ENDED: {it.place} ended it by a time-out.",
        lambda it: "Look for a pooler between fsbackup and the server, and use the direct port.",
    ),
    _Rule(
        (),
        r"is not currently accepting connections",
        ServerUnreachable,
        lambda it: f"DATABASE CLOSED: '{it.database}' on {it.place} takes no connections.",
        lambda it: "If nobody else is recovering it: ALTER DATABASE … ALLOW_CONNECTIONS true;",
    ),
    _Rule(
        ("42501",),
        r"permission denied",
        RightsMissing,
        lambda it: f"RIGHTS MISSING: the role {_role(it)} on {it.place} may not do this.",
        lambda it: "fsbackup doctor --sql prints the rights each command needs.",
    ),
    _Rule(
        ("55P03",),
        "",
        TableLocked,
        lambda it: f"TABLE LOCKED: somebody on {it.place} holds a lock for too long.",
        lambda it: "Wait for the migration to end, then run the command again.",
    ),
    _Rule(
        ("53100",),
        "",
        PostgresError,
        lambda it: f"SERVER'S DISK FULL: {it.place} has no space left.",
        lambda it: "Free space on the server's disk, then run the command again.",
    ),
    _Rule(
        ("57014",),
        "",
        PostgresError,
        lambda it: f"STATEMENT CANCELLED: {it.place} cancelled it.",
        lambda it: "Somebody called pg_cancel_backend; run the command again.",
    ),
    _Rule(
        ("40001",),
        "",
        PostgresError,
        lambda it: f"STANDBY CANCELLED IT: {it.place} had to replay what the snapshot still needs.",
        lambda it: "Set hot_standby_feedback = on there, or raise max_standby_streaming_delay.",
    ),
    _Rule(
        ("08",),
        r"could not translate host name|failed to resolve|name or service not known"
        r"|connection refused|no such file or directory|timeout expired|timed? ?out"
        r"|no route to host|network is unreachable|could not connect|could not receive data"
        r"|server closed the connection|connection reset|consuming input failed",
        ServerUnreachable,
        lambda it: f"SERVER NOT REACHED: {it.place} {_unreachable(it.text)}.",
        lambda it: f"Check that the server runs and that the address is right: {it.display}",
    ),
)
_UNREACHABLE_WORDS: tuple[tuple[str, str], ...] = (
    (
        r"translate host name|failed to resolve|name or service",
        "is no host that this machine knows",
    ),
    (r"connection refused", "refused the connection"),
    (r"no such file", "has no socket: no server runs there"),
    (r"timed? ?out|timeout", "did not answer in time"),
    (r"no route|network is unreachable", "can't be routed to from here"),
)


def _unreachable(text: str) -> str:
    for pattern, words in _UNREACHABLE_WORDS:
        if re.search(pattern, text, re.IGNORECASE):
            return words
    return "ended the connection"


def explain(
    sqlstate: str | None,
    text: str,
    *,
    detail: str,
    hint: str,
    display: str,
    place: str,
    database: str,
    user: str | None,
) -> PostgresError:
    """Return the error for a refusal; ``text`` is what the server or libpq said, no password."""
    plain = _ALL_FAILURES.sub("", text)
    refusal = Refusal(
        _PREFIX.sub("", plain, count=1).strip(), detail, hint, display, place, database, user
    )
    if sqlstate is None and re.search(r"socket .* failed: Permission denied", plain):
        return ServerUnreachable(
            f"SERVER NOT REACHED: this Unix user may not open {place}.",
            why=refusal.why,
            fix="Run fsbackup as a user that may, or connect by TCP.",
        )
    for rule in _RULES:
        if rule.matches(sqlstate, plain):
            return rule.error(rule.what(refusal), why=refusal.why, fix=rule.fix(refusal))
    if sqlstate is None:
        return ServerUnreachable(
            f"SERVER NOT REACHED: {place} ended the connection.",
            why=refusal.why,
            fix=f"Check that the server runs and that the address is right: {display}",
        )
    return PostgresError(
        f"SERVER REFUSED: {place} answered with an error ({sqlstate}).",
        why=refusal.why,
        fix=hint or "The server's log may say more.",
    )
