"""A database's own properties: a new one made with them, and what pg_restore leaves out replayed.

pg_dump keeps settings, grants, comment and connection limit of the database itself only for
``--create``, which fixes the name; so they come from the manifest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg import errors, sql

from fsbackup_tui.domain.errors import PostgresError, RightsMissing, SafetyRefusal, UsageError
from fsbackup_tui.domain.point import DatabaseSetting, PostgresFacts
from fsbackup_tui.engines.postgres.connection import Connection
from fsbackup_tui.engines.postgres.inspect_objects import DatabaseProperties

LONGEST_NAME_BYTES = 63
UNFINISHED_SUFFIX = "__unfinished"
_NAME_IN_LIST = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<bare>[^,"]*?))\s*(?:,|$)')
_ACL_ITEM = re.compile(
    r'(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<bare>[^="]*))=(?P<privileges>[A-Za-z*]*)/.*', re.DOTALL
)
_DATABASE_PRIVILEGES = {"C": "CREATE", "c": "CONNECT", "T": "TEMPORARY"}

# Only for the copy while it is being filled, and no setting that takes memory from the live
# server beside it: maintenance_work_mem up to 1 GB gained nothing that could be measured. The
# commit that renames the copy is synchronous and so makes everything before it durable.
FILLING_SETTINGS: tuple[tuple[str, str], ...] = (("synchronous_commit", "off"),)


@dataclass(frozen=True, slots=True)
class Properties:
    """What of a database itself is replayed on a copy; ``grants`` are aclitems as text."""

    owner: str
    comment: str | None
    connection_limit: int
    settings: tuple[DatabaseSetting, ...]
    grants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreatedDatabase:
    """The database made for a restore: its name for now, and what could not be as it was."""

    name: str
    oid: int
    notes: tuple[str, ...]


def check_name(name: str) -> None:
    """Raise UsageError for what PostgreSQL would not take, or would cut, as a database's name."""
    if not name or "\0" in name:
        raise UsageError(
            "NO NAME: a database needs one.", fix="Give the new database's name: --beside NAME"
        )
    if len(name.encode()) > LONGEST_NAME_BYTES:
        raise UsageError(
            f"NAME TOO LONG: {name} has {len(name.encode())} bytes.",
            why=f"PostgreSQL would cut it to {LONGEST_NAME_BYTES}, and perhaps to another's name.",
            fix="Choose a shorter name.",
        )


def unfinished_name(name: str) -> str:
    """Return the name that marks a copy unfinished; ``name`` is shortened, never the mark."""
    room = LONGEST_NAME_BYTES - len(UNFINISHED_SUFFIX)
    return name.encode()[:room].decode("utf-8", "ignore") + UNFINISHED_SUFFIX


async def create_database(
    admin: Connection,
    name: str,
    facts: PostgresFacts | DatabaseProperties,
    *,
    comment: str,
    connection_limit: int = 20,
    filling_settings: tuple[tuple[str, str], ...] = FILLING_SETTINGS,
) -> CreatedDatabase:
    """Make an empty database as the captured one was, closed to everybody else.

    ``name`` is the one it has until it is finished; ``comment`` says whose it is. It comes from
    template0 with the captured encoding, locale and provider, owner and tablespace where those
    exist here (else a note), CONNECT revoked from PUBLIC. ``admin`` is in another database.

    Raises UsageError, SafetyRefusal when the name can't be or is taken, RightsMissing,
    PostgresError when the server lacks the locale.
    """
    check_name(name)
    notes: list[str] = []
    statement = sql.SQL("CREATE DATABASE {} WITH TEMPLATE template0 CONNECTION LIMIT {}").format(
        sql.Identifier(name), sql.Literal(connection_limit)
    )
    options = [statement, *_locale_options(facts, admin.info.server_version)]
    if await _can_own(admin, facts.owner):
        options.append(sql.SQL("OWNER {}").format(sql.Identifier(facts.owner)))
    elif facts.owner:
        notes.append(f"owner {facts.owner} is not to be had here; the restoring role owns it")
    if facts.tablespace != "pg_default":
        if await _exists(admin, "pg_tablespace", "spcname", facts.tablespace):
            options.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(facts.tablespace)))
        else:
            notes.append(f"tablespace {facts.tablespace} does not exist here")
    try:
        await admin.execute(sql.SQL(" ").join(options))
    except psycopg.Error as error:
        raise _not_created(error, name, facts) from error
    database = sql.Identifier(name)
    await admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    await admin.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(comment))
    )
    for setting, value in filling_settings:
        await admin.execute(
            sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
                database, sql.Identifier(setting), sql.Literal(value)
            )
        )
    oid = await _database_oid(admin, name)
    return CreatedDatabase(name, oid, tuple(notes))


def _locale_options(
    facts: PostgresFacts | DatabaseProperties, server_version: int
) -> list[sql.Composable]:
    if not facts.collate:
        # A plain dump of another script does not tell: the server's own serves as well as any.
        return [sql.SQL("ENCODING {}").format(sql.Literal(facts.encoding))]
    options: list[sql.Composable] = [
        sql.SQL("ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
            sql.Literal(facts.encoding), sql.Literal(facts.collate), sql.Literal(facts.ctype)
        )
    ]
    if server_version < 150000 or facts.locale_provider == "libc":
        if server_version >= 150000:
            options.append(sql.SQL("LOCALE_PROVIDER libc"))
        return options
    keyword = {"icu": "ICU_LOCALE", "builtin": "BUILTIN_LOCALE"}[facts.locale_provider]
    options.append(
        sql.SQL("LOCALE_PROVIDER {} {} {}").format(
            sql.SQL(facts.locale_provider), sql.SQL(keyword), sql.Literal(facts.locale or "")
        )
    )
    if facts.icu_rules and server_version >= 160000:
        options.append(sql.SQL("ICU_RULES {}").format(sql.Literal(facts.icu_rules)))
    return options


def _not_created(
    error: psycopg.Error, name: str, facts: PostgresFacts | DatabaseProperties
) -> Exception:
    why = str(error).strip().splitlines()[0]
    if isinstance(error, errors.DuplicateDatabase):
        return SafetyRefusal(
            f"NAME TAKEN: a database {name} exists already.",
            why="A restore never writes into a database that is there.",
            fix="Choose another name, or drop that one yourself if it is a left-over.",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return RightsMissing(
            f"DATABASE NOT CREATED: {name}.",
            why=why,
            fix="Give 'admin: url' in the config a role with CREATEDB. Then: fsbackup doctor",
        )
    if re.search(r"locale|collat|encoding|ICU", why, re.IGNORECASE):
        wanted = f"{facts.encoding}, {facts.locale or facts.collate} ({facts.locale_provider})"
        return PostgresError(
            f"LOCALE MISSING: this server can't make a database like the captured one: {wanted}.",
            why=why,
            fix="Install that locale on the server (locale-gen; restart it), or restore into a "
            "server that has it.",
        )
    return PostgresError(
        f"DATABASE NOT CREATED: {name}.", why=why, fix="Mend what the server names, try again."
    )


async def _exists(connection: Connection, catalogue: str, column: str, name: str) -> bool:
    cursor = await connection.execute(
        sql.SQL("SELECT 1 FROM pg_catalog.{} WHERE {} = {}").format(
            sql.Identifier(catalogue), sql.Identifier(column), sql.Literal(name)
        )
    )
    return await cursor.fetchone() is not None


async def _can_own(connection: Connection, role: str) -> bool:
    cursor = await connection.execute(
        "SELECT pg_catalog.pg_has_role(oid, 'MEMBER') FROM pg_catalog.pg_roles WHERE rolname = %s",
        (role,),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def unreachable_roles(
    connection: Connection, roles: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of the roles don't exist here, and which exist but can't be made owners."""
    cursor = await connection.execute(
        "SELECT rolname::text, pg_catalog.pg_has_role(oid, 'MEMBER') FROM pg_catalog.pg_roles"
    )
    here = {name: bool(usable) for name, usable in await cursor.fetchall()}
    missing = tuple(sorted(role for role in roles if role not in here))
    closed = tuple(sorted(role for role in roles if here.get(role) is False))
    return missing, closed


async def _database_oid(connection: Connection, name: str) -> int:
    cursor = await connection.execute(
        "SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database WHERE datname = %s", (name,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise PostgresError(f"DATABASE MISSING: {name} vanished while it was being made.")
    return int(row[0])


async def finish_database(
    admin: Connection, unfinished: str, name: str, facts: PostgresFacts | Properties
) -> tuple[str, ...]:
    """Give the copy the captured properties and its final name, in one transaction.

    Returns what could not be replayed, one text each; the rename itself raises: SafetyRefusal
    when the name was taken meanwhile, PostgresError when sessions are in the copy.
    """
    problems: list[str] = []
    database = sql.Identifier(unfinished)
    try:
        async with admin.transaction():
            await admin.execute("SET LOCAL synchronous_commit TO on")
            problems += await replay_properties(admin, unfinished, facts)
            await admin.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(database, sql.Identifier(name))
            )
    except errors.DuplicateDatabase as error:
        raise SafetyRefusal(
            f"NAME TAKEN: a database {name} came into being meanwhile.",
            why=f"The copy is complete and is called {unfinished}.",
            fix=f'Rename it yourself: ALTER DATABASE "{unfinished}" RENAME TO …',
        ) from error
    except psycopg.Error as error:
        raise PostgresError(
            f"COPY NOT RENAMED: {unfinished} is complete but keeps its name.",
            why=str(error).strip().splitlines()[0],
            fix="End the sessions in it, then rename it with ALTER DATABASE … RENAME TO.",
        ) from error
    return tuple(problems)


async def replay_properties(
    admin: Connection, name: str, facts: PostgresFacts | Properties
) -> list[str]:
    """Give a database the captured settings, grants, comment and limit, in the open transaction.

    Returns what could not be replayed, one text each.
    """
    problems: list[str] = []
    database = sql.Identifier(name)
    await admin.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(database))
    # Whoever may in and is not among the grants would else be let in where live is frozen.
    statements = [
        *(("former grants", each) for each in await _former_grants_off(admin, name)),
        *_property_statements(database, facts),
    ]
    for what, statement in statements:
        try:
            async with admin.transaction():
                await admin.execute(statement)
        except psycopg.Error as error:
            problems.append(f"{what}: {str(error).strip().splitlines()[0]}")
    return problems


async def _former_grants_off(admin: Connection, name: str) -> list[sql.Composed]:
    """Return the statements that leave the owner alone with rights to a database, all of them."""
    cursor = await admin.execute(
        "SELECT pg_catalog.pg_get_userbyid(d.datdba)::text, array(SELECT DISTINCT"
        " CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END"
        " FROM pg_catalog.aclexplode(coalesce(d.datacl,"
        " pg_catalog.acldefault('d', d.datdba))) AS a WHERE a.grantee <> d.datdba)"
        " FROM pg_catalog.pg_database AS d WHERE d.datname = %s",
        [name],
    )
    database = sql.Identifier(name)
    statements: list[sql.Composed] = []
    for owner, grantees in await cursor.fetchall():
        statements += [
            sql.SQL("REVOKE ALL ON DATABASE {} FROM {} CASCADE").format(
                database, sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
            )
            for grantee in grantees
        ]
        statements.append(
            sql.SQL("GRANT ALL ON DATABASE {} TO {}").format(database, sql.Identifier(owner))
        )
    return statements


def _property_statements(
    database: sql.Identifier, facts: PostgresFacts | Properties
) -> list[tuple[str, sql.Composed]]:
    statements: list[tuple[str, sql.Composed]] = [
        (
            "comment",
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(facts.comment)),
        ),
        (
            "connection limit",
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
                database, sql.Literal(facts.connection_limit)
            ),
        ),
    ]
    statements.extend(
        (f"setting {setting.name}", setting_statement(database, setting))
        for setting in facts.settings
    )
    statements.extend(_grant_statements(database, facts))
    return statements


def setting_statement(database: sql.Identifier, setting: DatabaseSetting) -> sql.Composed:
    """Return the statement that sets what pg_db_role_setting held, lists of names as lists."""
    # Quoted as one text, a list of names would become one name.
    if setting.lists_names:
        value: sql.Composable = sql.SQL(", ").join(
            sql.Literal(name) for name in split_name_list(setting.value)
        )
    else:
        value = sql.Literal(setting.value)
    name = sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split("."))
    if setting.role is None:
        return sql.SQL("ALTER DATABASE {} SET {} TO {}").format(database, name, value)
    return sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
        sql.Identifier(setting.role), database, name, value
    )


def split_name_list(text: str) -> list[str]:
    """Return the names in a list such as ``"$user", public``; an empty list is one empty name."""
    names, position = [], 0
    while position < len(text):
        match = _NAME_IN_LIST.match(text, position)
        if match is None or match.end() == position:
            return [text]
        quoted = match["quoted"]
        names.append(match["bare"] if quoted is None else quoted.replace('""', '"'))
        position = match.end()
    return names or [""]


def parse_database_grant(item: str) -> tuple[str, dict[str, bool]] | None:
    """Return an aclitem's grantee ("" is PUBLIC) and privileges (name: with grant option)."""
    match = _ACL_ITEM.fullmatch(item)
    if match is None:
        return None
    quoted = match["quoted"]
    grantee = match["bare"] if quoted is None else quoted.replace('""', '"')
    privileges: dict[str, bool] = {}
    letters = match["privileges"]
    for index, letter in enumerate(letters):
        if letter in _DATABASE_PRIVILEGES:
            privileges[_DATABASE_PRIVILEGES[letter]] = letters[index + 1 : index + 2] == "*"
    return grantee, privileges


def connect_grant(role: str, owner: str, *, everything: bool = False) -> str:
    """Return the right to connect as an aclitem, as ``parse_database_grant`` reads it."""
    grantee, grantor = ('"{}"'.format(name.replace('"', '""')) for name in (role, owner))
    return f"{grantee}={'CTc' if everything else 'c'}/{grantor}"


def _grant_statements(
    database: sql.Identifier, facts: PostgresFacts | Properties
) -> list[tuple[str, sql.Composed]]:
    if not facts.grants:
        return [
            (
                "grant to PUBLIC",
                sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(database),
            )
        ]
    statements: list[tuple[str, sql.Composed]] = []
    for item in facts.grants:
        parsed = parse_database_grant(item)
        if parsed is None:
            continue
        grantee, privileges = parsed
        who = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
        if grantee == facts.owner:
            for missing in sorted(set(_DATABASE_PRIVILEGES.values()) - set(privileges)):
                statements.append(
                    (
                        f"revoke from {grantee}",
                        sql.SQL("REVOKE {} ON DATABASE {} FROM {}").format(
                            sql.SQL(missing), database, who
                        ),
                    )
                )
            continue
        for privilege, with_option in privileges.items():
            option = sql.SQL(" WITH GRANT OPTION" if with_option else "")
            statements.append(
                (
                    f"grant to {grantee or 'PUBLIC'}",
                    sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                        sql.SQL(privilege), database, who, option
                    ),
                )
            )
    return statements
