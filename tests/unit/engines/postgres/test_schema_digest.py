"""Two dumps of one schema have one digest; another schema has another."""

from __future__ import annotations

from fsbackup_tui.domain.point import DatabaseSetting
from fsbackup_tui.engines.postgres.schema import canonical_schema, writing_options

SCHEMA = """--
-- PostgreSQL database dump
--

\\restrict {key}

-- Dumped from database version {version}
-- Dumped by pg_dump version {version}

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

SET default_tablespace = '';

--
-- Name: t; Type: TABLE; Schema: public; Owner: me
--

CREATE TABLE public.t (
    a character varying(3),
    CONSTRAINT c CHECK ({check})
);
{more}

--
-- PostgreSQL database dump complete
--
\\unrestrict {key}
"""
FIRST = "((a)::text = ANY ((ARRAY['x'::character varying, 'it''s, y'::character varying])::text[]))"
COPIED = "((a)::text = ANY (ARRAY[('x'::character varying)::text, ('it''s, y'::character varying)::text]))"  # noqa: E501
SUBSCRIPTION = """
--
-- Name: s; Type: SUBSCRIPTION; Schema: -; Owner: me
--

CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;
"""


def canonical(key: str = "a", version: str = "18.6", check: str = FIRST, more: str = "") -> bytes:
    text = SCHEMA.format(key=key, version=version, check=check, more=more)
    return b"".join(canonical_schema(text.encode().splitlines(keepends=True)))


def test_keys_versions_and_session_settings_make_no_difference() -> None:
    assert canonical("a", "18.5") == canonical("b", "18.6")


def test_a_list_of_texts_reads_the_same_in_a_copy() -> None:
    assert canonical(check=FIRST) == canonical(check=COPIED)
    assert canonical(check=FIRST) != canonical(check=FIRST.replace("y", "z"))


def test_what_a_copy_never_gets_makes_no_difference() -> None:
    assert canonical(more=SUBSCRIPTION) == canonical()


def test_tablespaces_and_definitions_do() -> None:
    assert canonical(more="SET default_tablespace = 'fast';") != canonical()
    assert b"CREATE TABLE public.t" in canonical()


POLICY = """
CREATE POLICY "a TO b" ON app."odd ""one" AS RESTRICTIVE TO {roles} USING (b = 'TO x, a;');
"""


def test_the_order_of_a_policys_roles_makes_no_difference() -> None:
    """It is that in which the server's table of roles has them: another on every server."""
    here = canonical(more=POLICY.format(roles='anon, "we; ird, one", authenticated'))
    assert here == canonical(more=POLICY.format(roles='"we; ird, one", authenticated, anon'))
    assert here != canonical(more=POLICY.format(roles='"we; ird, one", authenticated'))
    assert b"USING (b = 'TO x, a;');" in here
    assert canonical(more=POLICY.format(roles="b, a").replace("USING", "WITH CHECK")) != here


def test_what_changes_the_writing_of_definitions_is_set_for_the_copy_too() -> None:
    settings = [
        DatabaseSetting("app", "bytea_output", "hex"),
        DatabaseSetting(None, "quote_all_identifiers", "on"),
        DatabaseSetting(None, "bytea_output", "escape"),
        DatabaseSetting("other", "quote_all_identifiers", "off"),
        DatabaseSetting(None, "work_mem", "9MB"),
    ]
    assert writing_options(settings, "app") == {
        "PGOPTIONS": "-c bytea_output=hex -c quote_all_identifiers=on"
    }
    assert writing_options(settings[-1:], "app") == {}
    odd = DatabaseSetting(None, "bytea_output", "hex -c shared_preload_libraries=x")
    assert writing_options([odd], "app") == {}
