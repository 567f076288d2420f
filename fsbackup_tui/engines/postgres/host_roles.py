"""The roles of a lost server, made on the new one: with what they may, and one's password."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.globals import Globals
from fsbackup_tui.engines.postgres.trial_roles import make_roles


@dataclass(frozen=True, slots=True)
class MadeRoles:
    """Which roles were made, which were there, and what did not work."""

    made: tuple[str, ...]
    there: tuple[str, ...]
    notes: tuple[str, ...]


async def make_host_roles(
    admin: Connection, names: Collection[str], told: Globals, login: tuple[str, Secret] | None
) -> MadeRoles:
    """Make the roles that are named or told and missing, with every attribute.

    None that is there is changed. ``login`` is whom the application connects as, with its
    password: where that role was made now, it gets it, hashed here. The others have none, since
    no backup without encryption holds any.
    """
    made, notes = await make_roles(admin, names, told, own=True)
    wanted = {*names, *(role.name for role in told.roles)}
    if login is not None and login[0] in made:
        name, password = login
        hashed = admin.pgconn.encrypt_password(
            password.reveal().encode(), name.encode(), b"scram-sha-256"
        )
        await admin.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(hashed.decode())
            )
        )
    without = [
        role.name
        for role in told.roles
        if role.name in made
        and role.flags.get("LOGIN")
        and (login is None or role.name != login[0])
    ]
    if without:
        notes.append(f"They have no password yet: {', '.join(sorted(without))}.")
    return MadeRoles(tuple(made), tuple(sorted(wanted - set(made))), tuple(notes))
