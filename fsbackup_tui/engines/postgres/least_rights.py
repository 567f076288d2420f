"""The rights each verb needs, as SQL that an administrator pastes."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from fsbackup_tui.engines.postgres.managed import SUPABASE

DUMP_ROLE = "fsbackup_dump"
ADMIN_ROLE = "fsbackup_admin"

_LARGE_OBJECTS = """\
DO $$ DECLARE number oid; BEGIN
  FOR number IN SELECT oid FROM pg_catalog.pg_largeobject_metadata LOOP
    EXECUTE pg_catalog.format('GRANT SELECT ON LARGE OBJECT %s TO {role}', number);
  END LOOP;
END $$;"""


@dataclass(frozen=True, slots=True)
class RightsScript:
    """What one verb needs: its name, why, and the statements."""

    verb: str
    why: str
    statements: tuple[str, ...]

    def text(self) -> str:
        """Return the script as it is pasted into psql."""
        lines = [f"-- {self.verb}", *(f"--   {line}" for line in self.why.splitlines())]
        return "\n".join([*lines, *self.statements])


def least_rights(
    database: str, owner: str | None, owner_is_superuser: bool, platform: str = ""
) -> tuple[RightsScript, ...]:
    """Return the scripts for one database of PostgreSQL 14 or newer; ``owner`` None is unknown.

    They are run in that database by a superuser, or by whoever the host lets create such roles.
    Membership in a superuser is never granted: it would be everything.
    """
    if platform == SUPABASE:
        return _ON_SUPABASE
    dump, admin = sql.Identifier(DUMP_ROLE), sql.Identifier(ADMIN_ROLE)
    name = sql.Identifier(database)
    if owner is None:
        owners = ("-- and: GRANT the database's owner TO fsbackup_admin;",)
    elif owner_is_superuser:
        owners = (
            f"-- The owner of the database is a superuser; a swap by less needs another one:"
            f" ALTER DATABASE … OWNER TO …; GRANT that owner TO {ADMIN_ROLE};",
        )
    else:
        owners = (_text(sql.SQL("GRANT {} TO {};").format(sql.Identifier(owner), admin)),)
    return (
        RightsScript(
            "dump (the source's url:)",
            "BYPASSRLS: row-level security would hide rows, and a dump must have them all.\n"
            "Large objects are granted one by one: run the block again when there are new ones.\n"
            f"Set the password in psql, where no history keeps it: \\password {DUMP_ROLE}",
            (
                _text(sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS;").format(dump)),
                _text(sql.SQL("GRANT pg_read_all_data TO {};").format(dump)),
                _text(sql.SQL("GRANT CONNECT ON DATABASE {} TO {};").format(name, dump)),
                _LARGE_OBJECTS.format(role=DUMP_ROLE),
            ),
        ),
        RightsScript(
            "restore beside, prove (admin.url:)",
            "Creates databases beside the live one; the owner's objects are given back to it.\n"
            "Extensions that are not trusted need a superuser to create them.\n"
            f"Set the password in psql, where no history keeps it: \\password {ADMIN_ROLE}",
            (_text(sql.SQL("CREATE ROLE {} LOGIN CREATEDB;").format(admin)), *owners),
        ),
        RightsScript(
            "swap (admin.url:, on top of the above)",
            "Renames both databases, which takes their owner, and ends the sessions in them.\n"
            "Sessions of superusers can be ended by a superuser only.",
            (_text(sql.SQL("GRANT pg_signal_backend TO {};").format(admin)),),
        ),
    )


_ON_SUPABASE = (
    RightsScript(
        "dump (the source's url:)",
        "Supabase: the project's own role postgres may read all of the site's rows, those of\n"
        "auth and storage too, past row-level security. There is nothing to run; give its\n"
        "connection string (direct, or the session pooler's on port 5432) as url:.",
        (),
    ),
    RightsScript(
        "restore beside, prove (admin.url:)",
        "Supabase: nothing to run. Trial restores need no rights there: they run on a server of\n"
        "their own on this machine. The role postgres may also create databases beside the\n"
        "project's, in which it owns everything.",
        (),
    ),
    RightsScript(
        "swap (admin.url:, on top of the above)",
        "Supabase: not to be had. The services are connected to the project's database by its\n"
        "name at all times, so that it is never renamed.",
        (),
    ),
)


def _text(statement: sql.Composed) -> str:
    return statement.as_string(None)
