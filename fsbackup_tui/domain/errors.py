"""The exceptions of fsbackup.

Every error that a user can meet is one of these, says what failed, why, and what to do next,
and knows its exit code (design §9) and its stable ``kind`` for scripts:

    FsbackupError                      1   failed
    ├── UsageError                     2   usage
    │   ├── ConfigError                2   config (all problems at once)
    │   ├── PointNotFound              2   point-not-found
    │   └── JobNotFound                2   job-not-found
    ├── SafetyRefusal                  3   refused
    │   ├── LockHeld                   3   locked
    │   ├── IdentityMismatch           3   wrong-target
    │   ├── StaleLeader                3   stale-leader
    │   └── WriterRetired              3   writer-retired
    ├── ConfirmationNeeded             4   confirmation-needed
    ├── Interrupted                  130   interrupted
    ├── SecretUnavailable              1   secret-unavailable
    ├── FilesUnreadable                1   files-unreadable
    ├── NotDecryptable                 1   not-decryptable
    │   └── KeyUnavailable             1   key-unavailable
    ├── KeyRefused                     1   key-refused
    │   └── PassphraseNeeded           1   passphrase-needed
    ├── ToolError                      1   tool-failed
    │   └── ToolMissing                1   tool-missing
    ├── PostgresError                  1   postgres
    │   ├── ServerUnreachable          1   server-unreachable
    │   ├── AuthenticationFailed       1   authentication-failed
    │   ├── DatabaseMissing            1   database-missing
    │   ├── RightsMissing              1   rights-missing
    │   ├── ClientUnsuitable           1   client-unsuitable
    │   ├── TableLocked                1   table-locked
    │   ├── StagingLost                1   staging-lost
    │   ├── ScratchUnavailable         1   scratch-unavailable
    │   ├── NotProven                  1   not-proven
    │   ├── SpareNotKept               1   spare-not-kept
    │   └── RestoreIncomplete          1   restore-incomplete
    ├── RepositoryError                1   repository
    │   ├── RepositoryMissing          1   repository-missing
    │   ├── RepositoryNewer            1   repository-newer
    │   ├── RepositoryUnwritable       1   repository-unwritable
    │   ├── PointDamaged               1   point-damaged
    │   └── DiskFull                   1   disk-full
    ├── ReplicaError                   1   replica
    │   ├── ReplicaUnreachable         1   replica-unreachable
    │   ├── ReplicaRefused             1   replica-refused
    │   ├── ReplicaFull                1   replica-full
    │   └── ReplicaLacks               1   replica-lacks
    └── JobError                       1   job-failed
        └── JobLost                    1   job-lost
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fsbackup_tui.domain.key_question import KeyQuestion


class FsbackupError(Exception):
    """Something failed; says what, why, and what to do next."""

    kind: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def problem(self) -> Problem:
        """Return the error as the value that journals and JSON documents carry."""
        return Problem(self.kind, self.what, self.why, self.fix, self.exit_code)

    def __str__(self) -> str:
        return self.problem().text()


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a value: what failed, why, what to do next, and the exit code it means."""

    kind: str
    what: str
    why: str = ""
    fix: str = ""
    exit_code: int = 1

    def document(self) -> dict[str, str]:
        """Return the ``error`` object of a JSON document (design §9)."""
        return {"kind": self.kind, "what": self.what, "why": self.why, "fix": self.fix}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object]) -> Problem:
        """Return the problem a journal line carries; unknown fields are ignored."""
        exit_code = mapping.get("exit_code", 1)
        return cls(
            str(mapping.get("kind", "failed")),
            str(mapping.get("what", "")),
            str(mapping.get("why", "")),
            str(mapping.get("fix", "")),
            exit_code if isinstance(exit_code, int) else 1,
        )

    def text(self) -> str:
        """Return the message in the three-line form of design §8, without wrapping."""
        lines = [self.what]
        if self.why:
            lines.append(_labelled("Why", self.why))
        if self.fix:
            lines.append(_labelled("Next", self.fix))
        return "\n".join(lines)


def _labelled(label: str, text: str) -> str:
    first, *rest = text.splitlines()
    return "\n".join([f"{label:<6}{first}", *(f"      {line}" for line in rest)])


class UsageError(FsbackupError):
    """The command, its arguments or the configuration are wrong."""

    kind = "usage"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake in a configuration file: where it is, what it is, and how to mend it."""

    file: str
    line: int | None
    what: str
    fix: str = ""

    def text(self) -> str:
        """Return ``file:line: what`` with the remedy behind it."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.what}" + (f"; {self.fix}" if self.fix else "")


class ConfigError(UsageError):
    """The configuration is wrong; carries every problem found, not the first alone."""

    kind = "config"

    def __init__(self, problems: Sequence[ConfigProblem], *, what: str = "") -> None:
        count = len(problems)
        why = "\n".join(problem.text() for problem in problems)
        fix = "Mend the lines named above, then run: fsbackup doctor"
        if all(problem.line is None and problem.fix for problem in problems):
            why = "\n".join(f"{problem.file}: {problem.what}" for problem in problems)
            fix = "\n".join(problem.fix for problem in problems)
        super().__init__(
            what or f"CONFIG NOT USABLE: {count} problem{'s' if count != 1 else ''}.",
            why=why,
            fix=fix,
        )
        self.problems = tuple(problems)


class PointNotFound(UsageError):
    """No recovery point, or more than one, answers to the name given."""

    kind = "point-not-found"


class JobNotFound(UsageError):
    """No job answers to the name given."""

    kind = "job-not-found"


class SafetyRefusal(FsbackupError):
    """Refused because it could do harm; nothing was changed."""

    kind = "refused"
    exit_code = 3


class LockHeld(SafetyRefusal):
    """Another job holds the lock that this one needs."""

    kind = "locked"


class IdentityMismatch(SafetyRefusal):
    """The server or database at hand is not the one that was confirmed."""

    kind = "wrong-target"


class StaleLeader(SafetyRefusal):
    """The request comes from somebody who no longer leads the incident."""

    kind = "stale-leader"


class WriterRetired(SafetyRefusal):
    """Another machine took this one's place: what it writes now would mix with the new one's."""

    kind = "writer-retired"


class ConfirmationNeeded(FsbackupError):
    """A destructive command was not confirmed by the typed name of its target."""

    kind = "confirmation-needed"
    exit_code = 4


class OutputLost(FsbackupError):
    """Standard output can't be written: what was to be told there is told nowhere."""


class Interrupted(FsbackupError):
    """The user or a signal ended the work before it was done."""

    kind = "interrupted"
    exit_code = 130


class SecretUnavailable(FsbackupError):
    """A variable, file or command that should give a secret gives none."""

    kind = "secret-unavailable"


class NotDecryptable(FsbackupError):
    """An encrypted backup can't be opened here, which says nothing of what is in it.

    ``reason`` says so in the middle of a sentence.
    """

    kind = "not-decryptable"

    def __init__(self, reason: str, *, what: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what or "NOT DECRYPTED.", why=why or f"It stays shut: {reason}.", fix=fix)
        self.reason = reason


class NotSigned(FsbackupError):
    """A point's signature can't be made: the key or its passphrase is not as it must be."""

    kind = "not-signed"


class FilesUnreadable(FsbackupError):
    """A tree of files, or something in it, can't be read: captured in part it is no backup."""

    kind = "files-unreadable"


class KeyUnavailable(NotDecryptable):
    """What decrypts a point is not here; the point may be as good as any."""

    kind = "key-unavailable"


class KeyRefused(FsbackupError):
    """A key can't be used to encrypt: wrong, missing, expired, revoked."""

    kind = "key-refused"


class PassphraseNeeded(KeyRefused):
    """Before a job is begun a person has to tell a passphrase; the words are for who does not."""

    kind = "passphrase-needed"

    def __init__(self, question: KeyQuestion, *, place: str, variable: str) -> None:
        setting, locked = "passphrase", f"What {question.site} keeps is encrypted with one."
        if question.private:
            setting = "identity_passphrase"
            locked = f"The private key that opens what {question.site} keeps is locked with one."
        super().__init__(
            "NOTHING STARTED: no passphrase was typed.",
            why=f"{locked}\n{place} names none, and {variable} is not set.",
            fix=f"Begin again and type it; or let {variable} hold it; or describe it: "
            f"encryption: {{{setting}: {{file: /etc/fsbackup/passphrase}}}}",
        )
        self.question = question


class ToolError(FsbackupError):
    """An external program failed."""

    kind = "tool-failed"


class ToolMissing(ToolError):
    """An external program that is needed is not there, or does not run."""

    kind = "tool-missing"


class PostgresError(FsbackupError):
    """The database server refused or failed."""

    kind = "postgres"


class ServerUnreachable(PostgresError):
    """No server answers at the address given."""

    kind = "server-unreachable"


class AuthenticationFailed(PostgresError):
    """The server refuses the role or its password."""

    kind = "authentication-failed"


class DatabaseMissing(PostgresError):
    """The server has no database of that name."""

    kind = "database-missing"


class RightsMissing(PostgresError):
    """The role lacks a right that the work needs."""

    kind = "rights-missing"


class ClientUnsuitable(PostgresError):
    """No PostgreSQL client on this machine fits the server."""

    kind = "client-unsuitable"


class TableLocked(PostgresError):
    """A table stayed locked by somebody else for longer than allowed."""

    kind = "table-locked"


class StagingLost(PostgresError):
    """What was staged to be merged is gone: a crash of the server empties unlogged tables."""

    kind = "staging-lost"


class ScratchUnavailable(PostgresError):
    """There is no server on which a trial restore could run; says what each one lacks."""

    kind = "scratch-unavailable"

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", lacks: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(what, why=why, fix=fix)
        self.lacks = tuple(lacks)


class NotProven(PostgresError):
    """A point could not be shown good as far as was asked; it stays as it is."""

    kind = "not-proven"


class SpareNotKept(PostgresError):
    """A proven copy could not be kept as the spare; the former one stands as it did."""

    kind = "spare-not-kept"


class RestoreIncomplete(PostgresError):
    """A restore ended with entries of the archive lost; the copy is not usable."""

    kind = "restore-incomplete"


class RepositoryError(FsbackupError):
    """The repository can't be used as it is."""

    kind = "repository"


class RepositoryMissing(RepositoryError):
    """There is no repository at the path, or its mount is absent."""

    kind = "repository-missing"


class RepositoryNewer(RepositoryError):
    """The repository was written in a format newer than this program knows."""

    kind = "repository-newer"


class RepositoryUnreadable(RepositoryError):
    """The repository, or a part of it, can't be read by this process; its bytes may be good."""

    kind = "repository-unreadable"


class RepositoryUnwritable(RepositoryError):
    """The repository can be read but not written."""

    kind = "repository-unwritable"


class PointDamaged(RepositoryError):
    """Something in a stored recovery point is missing or altered."""

    kind = "point-damaged"


class DiskFull(RepositoryError):
    """There is not enough free space for the work."""

    kind = "disk-full"


class ReplicaError(FsbackupError):
    """A copy elsewhere can't be made, read or trusted as it is."""

    kind = "replica"


class ReplicaUnreachable(ReplicaError):
    """Nothing answers where the replica should be, or not in time."""

    kind = "replica-unreachable"


class ReplicaRefused(ReplicaError):
    """The far side answers and does not let us do it."""

    kind = "replica-refused"


class ReplicaFull(ReplicaError):
    """The far side has no space left."""

    kind = "replica-full"


class ReplicaLacks(ReplicaError):
    """The replica has no such file."""

    kind = "replica-lacks"


class JobError(FsbackupError):
    """A job ended in failure; carries the problem that its journal tells."""

    kind = "job-failed"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what, why=problem.why, fix=problem.fix)
        self._problem = problem

    def problem(self) -> Problem:
        """Return the problem of the job itself, with its own kind and exit code."""
        return self._problem


class JobLost(JobError):
    """The worker of a job vanished without a last word."""

    kind = "job-lost"
