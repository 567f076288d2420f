"""Grants on the schema ``public`` that a restoring role may not make, and that change nothing.

Before PostgreSQL 15 ``public`` belongs to the first superuser in every new database, and everybody
may use it and create in it. A plain owner's GRANT there does nothing, and only warns (tried on 14):
what it would have given may be there all the same, as everybody has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import fetch_all

LABEL = "SCHEMA public"
_PUBLIC = "PUBLIC"
_ALL = frozenset({"USAGE", "CREATE"})
_STATEMENT = re.compile(
    r"(?P<verb>GRANT|REVOKE) (?P<what>ALL|USAGE|CREATE|USAGE, ?CREATE|CREATE, ?USAGE)"
    r" ON SCHEMA public (?:TO|FROM) (?P<role>[a-z_][a-z0-9_$]*|PUBLIC|\"(?:[^\"]|\"\")+\");"
)

Rights = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class PublicSchema:
    """The schema ``public`` of a database: whose it is, and who may do what, by quoted name.

    ``is_ours``: the session's role may grant there.
    """

    owner: str = ""
    is_ours: bool = True
    rights: Rights | None = None

    def has_already(self, definition: str) -> bool:
        """Whether all may do there what they could where these GRANTs were dumped, and no more.

        False where that can't be told: a statement of another form, or a right to pass on.
        """
        if self.is_ours or self.rights is None:
            return False
        after = _after(definition, self.rights)
        if after is None:
            return False
        # Its owner there and here may do all; that is not lost, or not to be had.
        return all(
            _effective(after, role) == _effective(self.rights, role)
            for role in {*after, *self.rights, _PUBLIC} - {self.owner}
        )


async def read_public(connection: Connection) -> PublicSchema:
    """Return the schema as it is now; nothing of it where there is none."""
    rows = await fetch_all(
        connection,
        "SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)),"
        " pg_catalog.pg_has_role(n.nspowner, 'USAGE'),"
        " CASE WHEN a.grantee = 0 THEN 'PUBLIC'"
        " ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,"
        " a.privilege_type FROM pg_catalog.pg_namespace AS n"
        " LEFT JOIN LATERAL pg_catalog.aclexplode("
        "coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a ON true"
        " WHERE n.nspname = 'public'",
    )
    rights: dict[str, frozenset[str]] = {}
    for _owner, _ours, role, privilege in rows:
        if privilege is not None:
            rights[role] = rights.get(role, frozenset()) | {str(privilege)}
    return PublicSchema(str(rows[0][0]), bool(rows[0][1]), rights) if rows else PublicSchema()


def _after(definition: str, rights: Rights) -> dict[str, frozenset[str]] | None:
    """Return who might do what where the statements were dumped; None: it can't be told."""
    after = dict(rights)
    told: set[str] = set()
    for line in filter(None, (line.strip() for line in definition.splitlines())):
        found = _STATEMENT.fullmatch(line)
        if found is None:
            return None
        role = found["role"]
        what = _ALL if found["what"] == "ALL" else frozenset(re.split(r", ?", found["what"]))
        if found["verb"] == "REVOKE":
            after[role] = after.get(role, frozenset()) - what
        elif role == _PUBLIC and role not in told:
            # A dump tells differences alone: everybody had nothing to begin with.
            after[role] = what
        else:
            after[role] = after.get(role, frozenset()) | what
        told.add(role)
    return after


def _effective(rights: Rights, role: str) -> frozenset[str]:
    return rights.get(role, frozenset()) | rights.get(_PUBLIC, frozenset())
