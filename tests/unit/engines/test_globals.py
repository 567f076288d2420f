"""Roles out of a globals.sql: read, never run, whatever is quoted in it."""

from __future__ import annotations

from fsbackup_tui.engines.postgres.globals import (
    GlobalRole,
    Membership,
    parse_globals,
    split_statements,
)

# As pg_dumpall 17 writes it, with every kind of quoting that a name or a comment can need.
DUMPED = r"""--
-- PostgreSQL database cluster dump
--

\restrict MHy6CZQ3iUQaBDf76VYf6Vc430m1PjLfABGgp0eXYqY6WiYCr6hEDUSARDmsokl

SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';

CREATE ROLE b;
ALTER ROLE b WITH SUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 3;
COMMENT ON ROLE b IS E'it''s; \\restrict
\\foo; CREATE ROLE evil;
';
CREATE ROLE "we""ird;
\role";
ALTER ROLE "we""ird;
\role" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:Gc''==;x' VALID UNTIL '2030-01-01 00:00:00+00';

ALTER ROLE b SET search_path TO 'a;b';
ALTER ROLE b SET "app.login" TO 'SUPERUSER';

GRANT b TO "we""ird;
\role" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres;
GRANT pg_read_all_data TO b GRANTED BY "admin to";
GRANT CREATE ON TABLESPACE fast TO b;
GRANT SET ON PARAMETER work_mem TO b;

CREATE TABLESPACE fast OWNER postgres LOCATION '/srv/fast;disk';
  \unrestrict MHy6CZQ3iUQaBDf76VYf6Vc430m1PjLfABGgp0eXYqY6WiYCr6hEDUSARDmsokl
CREATE ROLE After
"""  # noqa: E501

WEIRD = 'we"ird;\n\\role'


def test_roles_memberships_and_tablespaces_are_read() -> None:
    told = parse_globals(DUMPED)
    assert [role.name for role in told.roles] == ["b", WEIRD, "after"]
    b, weird, _after = told.roles
    assert b.connection_limit == 3
    assert {flag for flag, is_set in b.flags.items() if is_set} == {"SUPERUSER", "INHERIT"}
    assert weird.flags["LOGIN"]
    assert not weird.flags["SUPERUSER"]
    assert weird.valid_until == "2030-01-01 00:00:00+00"
    assert told.memberships == (
        Membership("b", WEIRD, {"ADMIN": True, "INHERIT": False}),
        Membership("pg_read_all_data", "b", {}),
    )
    assert told.tablespaces == ("fast",)


def test_no_password_is_kept() -> None:
    assert "SCRAM" not in repr(parse_globals(DUMPED))


def test_settings_are_no_attributes() -> None:
    told = parse_globals("ALTER ROLE a SET x TO 'LOGIN'; ALTER ROLE a IN DATABASE d RESET ALL;")
    assert told.roles == (GlobalRole("a"),)


def test_statements_end_where_the_server_would_end_them() -> None:
    text = "a 'x;''y' $q$;$$;$q$ -- ; none\n;;\\psql; here\nb e'\\';';"
    statements = list(split_statements(text))
    assert [[token.text for token in statement] for statement in statements] == [
        ["a", "x;'y", "$q$;$$;$q$"],
        ["b", "e'\\';'"],
    ]


def test_what_is_torn_is_read_as_far_as_it_goes() -> None:
    told = parse_globals('CREATE ROLE a;\nCREATE ROLE "b')
    assert [role.name for role in told.roles][:1] == ["a"]
    assert parse_globals("").roles == ()
