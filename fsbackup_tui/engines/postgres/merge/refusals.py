"""What the server says when it refuses a merge, in our own words."""

from __future__ import annotations

import psycopg

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, TableLocked

_NOTHING = "NOT MERGED. Nothing changed in live."


def refused(error: psycopg.Error, staging: str) -> PostgresError:
    """Return the error that says what the server refused, and that nothing was changed."""
    lines = str(error).strip().splitlines()
    why = "\n".join(lines[:2]) if lines else "The server did not say why."
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return TableLocked(
            "NOT MERGED: a table stayed locked by somebody else. Nothing changed.",
            why=why,
            fix="See who holds it: SELECT * FROM pg_stat_activity; then merge again.",
        )
    if isinstance(error, psycopg.errors.DeadlockDetected):
        return TableLocked(
            "NOT MERGED: another session and the merge waited for each other. Nothing changed.",
            why=why,
            fix="Merge again.",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RightsMissing(
            _NOTHING, why=why, fix="Use the role that owns the tables, or a superuser."
        )
    if isinstance(error, psycopg.errors.IntegrityError):
        return PostgresError(
            _NOTHING,
            why=why,
            fix="Leave the rows that it names out by a filter, or give the columns other values.",
        )
    if isinstance(error, psycopg.OperationalError):
        return PostgresError(
            "MERGE UNSURE: the server was lost while it merged.",
            why=why,
            fix=f"Nothing is half done: the schema {staging} has the undo if it was done.",
        )
    return PostgresError(_NOTHING, why=why, fix="Mend what the server names, then merge again.")
