"""What pg_dump, pg_restore and psql say on stderr: kept, divided, and put into our errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fsbackup_tui.domain.errors import (
    AuthenticationFailed,
    ClientUnsuitable,
    DatabaseMissing,
    DiskFull,
    FsbackupError,
    PostgresError,
    RightsMissing,
    ServerUnreachable,
    TableLocked,
)
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.process import ToolFailed

_MOST_MESSAGES = 200
_MOST_LINES = 12
_WORKER_DIED = "a worker process died unexpectedly"
_MESSAGE = re.compile(
    r"(?P<tool>pg_dump|pg_restore|pg_dumpall|psql)(?::[^:]*:\d+)?: "
    r"(?P<kind>error|warning|fatal|hint|detail)?:?\s*(?P<text>.*)",
    re.IGNORECASE,
)
# pg_restore's last word, said by its leader when all other processes have ended.
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
# A function's name brings parentheses of its own; in odder names some of it may be left behind.
_ENTRY = re.compile(r" ?\(from TOC entry (?P<dump>\d+);(?:(?:[^()]|\([^()]*\))*|[^)]*)\)")


def split_entry(error: str) -> tuple[str, int]:
    """Return an error of pg_restore without the entry it names, and that entry's dump id or 0."""
    match = _ENTRY.search(error)
    if match is None:
        return error.strip(), 0
    return f"{error[: match.start()]}{error[match.end() :]}".strip(), int(match["dump"])


@dataclass(slots=True)
class Message:
    """One error or warning with the lines that belong to it."""

    kind: str
    lines: list[str]

    @property
    def text(self) -> str:
        """The message in one line: what it says first, without the tool's name."""
        return " ".join(line.strip() for line in self.lines if line.strip())


class ToolLog:
    """Collects a tool's errors and warnings out of its (verbose) log, within bounds.

    ``on_line`` gets every line, redacted. ``errors_ignored`` is how many errors pg_restore says
    it passed over, None where it did not say so.
    """

    def __init__(
        self,
        tool: str,
        redactor: Redactor | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.tool = tool
        self.messages: list[Message] = []
        self.dropped = 0
        self.errors_ignored: int | None = None
        self._redactor = redactor or Redactor()
        self._on_line = on_line
        self._open: Message | None = None
        self._context = ""

    def add(self, line: str) -> None:
        """Take one line of stderr."""
        line = self._redactor.redact(line.rstrip("\r\n"))
        if self._on_line is not None:
            self._on_line(line)
        match = _MESSAGE.fullmatch(line)
        if match is None:
            self._continue(line)
            return
        if ignored := _IGNORED.match(match["text"]):
            self.errors_ignored = int(ignored[1])
        kind = (match["kind"] or "").lower()
        if kind in {"error", "warning", "fatal"}:
            self._begin("warning" if kind == "warning" else "error", match["text"])
        elif kind in {"hint", "detail"} and self._open is not None:
            self._continue(f"{kind.upper()}:  {match['text']}")
        elif match["text"].startswith("from TOC entry"):
            # pg_restore names the entry in a line of its own before the error.
            self._context = match["text"]
            self._open = None
        else:
            self._open = None

    def _begin(self, kind: str, text: str) -> None:
        if len(self.messages) >= _MOST_MESSAGES:
            self.dropped += 1
            self._open = None
            return
        self._open = Message(kind, [text])
        if self._context:
            # Said once for all errors of an entry that come one after another.
            self._open.lines.append(f"({self._context})")
        self.messages.append(self._open)

    def _continue(self, line: str) -> None:
        if self._open is not None and len(self._open.lines) < _MOST_LINES:
            self._open.lines.append(line)

    @property
    def warnings(self) -> list[str]:
        """The warnings, one line each."""
        return [message.text for message in self.messages if message.kind == "warning"]

    @property
    def errors(self) -> list[str]:
        """The errors, one line each."""
        return [message.text for message in self.messages if message.kind == "error"]

    def reason(self) -> str:
        """Return the first error, else the last warning, else that nothing was said.

        That a parallel worker died is no reason: what it died of may be told before or behind.
        """
        causes = [error for error in self.errors if _WORKER_DIED not in error]
        return (causes or self.errors or self.warnings[-1:] or ["it gave no reason"])[0]


_RULES: tuple[tuple[re.Pattern[str], type[FsbackupError], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), error, what, fix)
    for pattern, error, what, fix in (
        (
            r"No space left on device|Disk quota exceeded",
            DiskFull,
            "DISK FULL",
            "Free space where the repository lies (fsbackup list shows sizes), then try again.",
        ),
        (
            # --lock-wait-timeout of pg_dump is a statement time-out around its LOCK TABLE.
            r"lock timeout|could not obtain lock|due to statement timeout.*LOCK TABLE",
            TableLocked,
            "TABLE LOCKED",
            "Let the migration that holds it end, then try again; lock_timeout is in the config.",
        ),
        (
            r"query would be affected by row-level security",
            RightsMissing,
            "ROWS HIDDEN",
            "Dump as a role that sees every row (BYPASSRLS, or the owner without FORCE).",
        ),
        (
            r"permission denied|must be owner|must be superuser",
            RightsMissing,
            "RIGHTS MISSING",
            "Run: fsbackup doctor   (it prints the rights to grant, as SQL)",
        ),
        (
            r"server version mismatch",
            ClientUnsuitable,
            "CLIENT TOO OLD",
            "Install the client of the server's own major version (postgresql-client-N).",
        ),
        (
            r"password authentication failed|no password supplied|pg_hba\.conf",
            AuthenticationFailed,
            "NOT LET IN",
            "Check user and password in the source's URL.",
        ),
        (
            r"database \".*\" does not exist",
            DatabaseMissing,
            "DATABASE MISSING",
            "Check the database's name in the source's URL.",
        ),
        (
            r"server closed the connection|terminating connection|connection to server|"
            r"could not connect|SSL SYSCALL|could not receive data|the database system is|"
            r"no connection to the server|connection not open",
            ServerUnreachable,
            "SERVER LOST",
            "See whether the server runs (pg_isready), then start the job again.",
        ),
    )
)


def explain_failure(error: ToolFailed, log: ToolLog, *, what: str) -> FsbackupError:
    """Return our error for a tool that failed, by the words of its first telling message."""
    messages = (
        log.errors or [line for line in error.completed.stderr.splitlines() if line.strip()][-3:]
    )
    status = error.completed.exit_status
    ended = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
    for pattern, kind, label, fix in _RULES:
        for message in messages:
            if pattern.search(message):
                return kind(f"{label}: {log.tool} {ended}.", why=_short(message), fix=fix)
    why = _short(messages[0]) if messages else "It gave no reason."
    return PostgresError(
        f"{what}: {log.tool} {ended}.",
        why=why,
        fix="Its log is in the job (fsbackup attach JOB); mend what it names, then try again.",
    )


def _short(text: str) -> str:
    return text if len(text) <= 600 else f"{text[:600]}…"
