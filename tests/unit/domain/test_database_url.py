"""Database addresses as people have them, and what must never be misread or shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import Conninfo, version

from fsbackup_tui.domain.conninfo import KEYWORDS
from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import UsageError


def refused(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_database_url(text)
    assert caught.value.what.split(":")[0].isupper()
    return caught.value


def libpq_major() -> int:
    return version() // 10_000


def password_of(address: DatabaseAddress) -> str | None:
    return None if address.password is None else address.password.reveal()


@pytest.mark.parametrize(
    ("text", "host", "port", "database", "user", "password"),
    [
        ("postgresql://ana:pw@db1:5433/shop", "db1", 5433, "shop", "ana", "pw"),
        ("postgres://ana@DB1/shop", "db1", 5432, "shop", "ana", None),
        ("postgresql://db1/shop", "db1", 5432, "shop", None, None),
        ("postgresql:///shop", "", 5432, "shop", None, None),
        ("postgresql://ana:p%40w%2Fx@db1/na%C3%AFve", "db1", 5432, "naïve", "ana", "p@w/x"),
        ("postgresql://jörg:ß@db1/naïve", "db1", 5432, "naïve", "jörg", "ß"),
        ("postgresql://ana:a:b@db1/shop", "db1", 5432, "shop", "ana", "a:b"),
        ("postgresql://ana:@db1/shop", "db1", 5432, "shop", "ana", None),
        ("postgresql://ana:pw@[2001:db8::1]:5433/shop", "2001:db8::1", 5433, "shop", "ana", "pw"),
        ("postgresql://[::1]/shop", "::1", 5432, "shop", None, None),
        ("postgresql:///shop?host=/run/postgresql", "/run/postgresql", 5432, "shop", None, None),
        ("postgresql://%2Frun%2Fpg/shop", "/run/pg", 5432, "shop", None, None),
        ("postgresql://ana@x/shop?host=y&port=6&user=bob", "y", 6, "shop", "bob", None),
        ("postgresql://h/we%22ird%3B%20db", "h", 5432, 'we"ird; db', None, None),
        ("host=db1 dbname=shop user=ana password=pw", "db1", 5432, "shop", "ana", "pw"),
        (r"host=/tmp dbname = 'a b' password='it\'s \\'", "/tmp", 5432, "a b", None, "it's \\"),
        ("jdbc:postgresql://h:5/d?user=ana&password=pw", "h", 5, "d", "ana", "pw"),
        ("postgresql+psycopg2://ana:pw@h/d", "h", 5432, "d", "ana", "pw"),
        ('"postgresql://ana:pw@h/d"', "h", 5432, "d", "ana", "pw"),
        ("  postgresql://ana:pw@h/d\n", "h", 5432, "d", "ana", "pw"),
    ],
)
def test_forms_of_an_address(
    text: str, host: str, port: int, database: str, user: str | None, password: str | None
) -> None:
    address = parse_database_url(text)
    assert (address.host, address.port, address.database) == (host, port, database)
    assert (address.user, password_of(address)) == (user, password)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ana:pw@db1/shop", "ana@db1:5432/shop"),
        ("postgresql://[::1]:1/shop", "[::1]:1/shop"),
        ("postgresql:///shop", "[local]:5432/shop"),
        ("postgresql:///shop?host=/run/pg", "/run/pg:5432/shop"),
    ],
)
def test_display(text: str, shown: str) -> None:
    assert parse_database_url(text).display() == shown


def test_another_database_on_the_same_server() -> None:
    address = parse_database_url("postgresql://ana:pw@db1:5433/shop?sslmode=require")
    other = address.with_database("postgres")
    assert other.display() == "ana@db1:5433/postgres"
    assert other.password == address.password
    assert other.parameters == {"sslmode": "require"}


@given(password=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_any_encoded_password_round_trips_and_is_never_shown(password: str) -> None:
    address = parse_database_url(f"postgresql://ana:{quote(password, safe='')}@db1:5432/shop")
    assert password_of(address) == password
    assert address.display() == "ana@db1:5432/shop"
    blank = parse_database_url("postgresql://ana:x@db1:5432/shop")
    notes = "".join(address.notes)
    assert notes in ("", "the password stands in [ ]: take them off if they are the template's")
    assert repr(address).replace(repr(address.notes), "()") == repr(blank)


@given(password=st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_a_raw_password_is_taken_as_it_is_or_refused_without_showing_it(password: str) -> None:
    marked = f"Q7zX{password}Q7zX"
    try:
        address = parse_database_url(f"postgresql://ana:{marked}@db1:5432/shop")
    except UsageError as error:
        message = str(error)
    else:
        message = repr(address) + address.display()
        assert (address.host, address.database, address.user) == ("db1", "shop", "ana")
    assert "Q7zX" not in message


@pytest.mark.parametrize(
    ("text", "character", "code"),
    [
        ("postgresql://u:pZ@ss@h:5432/db", "@", "%40"),
        ("postgresql://u:pZ/ss@h:5432/db", "/", "%2F"),
        ("postgresql://u:12/ss@h:5432/db", "/", "%2F"),
        ("postgresql://u:pZ@s/s@h:5432/db", "/", "%2F"),
        ("postgresql://u:pZ?ss@h:5432/db", "?", "%3F"),
        ("postgresql://u:12?ss@h:5432/db", "?", "%3F"),
        ("postgresql://u:pZ#ss@h:5432/db", "#", "%23"),
        ("postgresql://u:100%Zure@h:5432/db", "%", "%25"),
    ],
)
def test_unescaped_characters_name_the_character_and_its_code(
    text: str, character: str, code: str
) -> None:
    error = refused(text)
    assert error.what.startswith("PASSWORD NOT ESCAPED:")
    assert f" a {character} " in error.what
    assert f"Write {code} for each {character}" in error.fix
    for piece in ("pZ", "Zure", "ss@"):
        assert piece not in str(error)


@pytest.mark.parametrize(
    "password",
    [
        "[YOUR-PASSWORD]",
        "[YOUR_PASSWORD]",
        "[PASSWORD]",
        "<password>",
        "%5BYOUR-PASSWORD%5D",
        "[your-db-password]",
        "YOUR_PASSWORD",
    ],
)
def test_a_placeholder_is_no_password(password: str) -> None:
    error = refused(f"postgresql://postgres:{password}@db.abc.supabase.co:5432/postgres")
    assert error.what.startswith("PASSWORD NOT FILLED IN:")


def test_a_password_left_in_the_templates_brackets_is_noted() -> None:
    address = parse_database_url("postgresql://ana:[hunter2]@h/d")
    assert password_of(address) == "[hunter2]"
    assert any("[ ]" in note for note in address.notes)
    assert "hunter2" not in repr(address)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("prisma://accelerate.prisma-data.net/?api_key=Zs", "NOT A DATABASE SERVER: prisma://"),
        ("prisma+postgres://localhost:51213/?api_key=Zs", "NOT A DATABASE SERVER: prisma+postgres"),
        ("mysql://u:Zs@h/d", "NOT POSTGRESQL: mysql://"),
        ("mongodb+srv://u:Zs@h/d", "NOT POSTGRESQL: mongodb+srv://"),
        ("file:./dev.db", "NOT POSTGRESQL: file://"),
        ("https://abc.supabase.co", "NOT A DATABASE URL: https:// is a web address (SUPABASE_URL"),
        ("", "DATABASE ADDRESS EMPTY"),
        ("  ", "DATABASE ADDRESS EMPTY"),
        ("db1:5432/shop", "DATABASE ADDRESS NOT UNDERSTOOD"),
        ("host=db1 Zs", "DATABASE ADDRESS NOT UNDERSTOOD"),
        ("host=db1 dbname=d password='Zs", "DATABASE ADDRESS NOT UNDERSTOOD"),
        ("host=a host=b dbname=d", "DATABASE ADDRESS NOT UNDERSTOOD"),
        ("postgresql://u:Zs@a,b/d", "ONE SERVER, PLEASE"),
        ("postgresql://u:Zs@a:1,b:2/d", "ONE SERVER, PLEASE"),
        ("host=a,b dbname=d", "ONE SERVER, PLEASE"),
        ("postgresql://u:Zs@h:99999/d", "PORT NOT USABLE"),
        ("postgresql://u:Zs@h:0/d", "PORT NOT USABLE"),
        ("postgresql://u:Zs", "PORT NOT USABLE"),
        ("postgresql://h", "NO DATABASE NAMED"),
        ("postgresql://u:Zs@h/d/e", "PASSWORD NOT ESCAPED"),
        ("postgresql://u:Zs@2001:db8::1/d", "DATABASE URL NOT UNDERSTOOD"),
        ("postgresql://u:Zs@[2001:db8::1/d", "DATABASE URL NOT UNDERSTOOD"),
        ("postgresql://u:Zs@h/d?x", "DATABASE URL NOT UNDERSTOOD"),
        ("postgresql://u:Zs@h/d e", "DATABASE URL NOT USABLE"),
        ("postgresql://u:Zs\n@h/d", "DATABASE ADDRESS NOT USABLE"),
        ("postgresql://u:%00Zs@h/d", "PASSWORD NOT USABLE"),
        ("postgresql://u:%FFZs@h/d", "PASSWORD NOT UNDERSTOOD"),
        ("postgresql://postgres.[REF]:Zs@db.[REF].supabase.co/postgres", "HOST NOT FILLED IN"),
        ("postgresql://postgres.[REF]:Zs@h/postgres", "USER NOT FILLED IN"),
        ("postgresql://u:Zs@<host>/d", "HOST NOT FILLED IN"),
        ("postgresql:///d?service=prod", "SERVICE NAMES NOT SUPPORTED"),
        ("postgresql://u:p@h/d?sslkey=k&sslpassword=Zs", "SSLPASSWORD NOT SUPPORTED"),
        ("postgresql://u:p@h/d?sslmode=maybe", "SSLMODE NOT KNOWN"),
    ],
)
def test_what_cannot_be_used_says_why_and_never_shows_the_secret(text: str, what: str) -> None:
    error = refused(text)
    assert error.what.startswith(what)
    assert "Zs" not in str(error)
    assert error.fix


def test_prisma_parameters_are_left_out_and_the_schema_kept() -> None:
    address = parse_database_url(
        "postgresql://u:p@h/d?schema=app&connection_limit=5&pool_timeout=0&socket_timeout=3"
        "&statement_cache_size=0&connect_timeout=10&foo=1&application_name=web&ssl=true"
    )
    assert address.schema == "app"
    assert address.parameters == {"connect_timeout": "10", "sslmode": "require"}
    notes = "\n".join(address.notes)
    assert "connection_limit, pool_timeout, socket_timeout, statement_cache_size" in notes
    assert "unknown to PostgreSQL's clients, not used: foo" in notes
    assert "application_name" not in notes


@pytest.mark.parametrize(
    "name",
    [
        "connection_limit",
        "pool_timeout",
        "pgbouncer",
        "socket_timeout",
        "statement_cache_size",
        "max_connection_lifetime",
        "max_idle_connection_lifetime",
        "single_use_connections",
        "sslidentity",
        "sslaccept",
        "uselibpqcompat",
        "supa",
        "workaround",
        "supavisor",
        "prepared_statements",
        "statement_timeout",
        "ssl",
        "anything_else",
    ],
)
def test_what_libpq_refuses_never_reaches_it(name: str) -> None:
    parameters = parse_database_url(f"postgresql://u:p@h/d?{name}=1").parameters
    assert parameters.keys() <= KEYWORDS.keys()
    assert name not in parameters


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sslmode=no-verify", {"sslmode": "require"}),
        ("sslmode=verify-full&sslrootcert=/ca.pem", {"sslmode": "verify-full"}),
        ("sslaccept=strict&sslcert=/ca.pem", {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}),
        ("sslaccept=strict", {"sslmode": "verify-full", "sslrootcert": "system"}),
        ("sslaccept=accept_invalid_certs", {}),
        ("schema=x&sslmode=require&sslcert=/ca.pem", {"sslmode": "require"}),
        ("sslcert=/c.pem&sslkey=/k.pem", {"sslcert": "/c.pem", "sslkey": "/k.pem"}),
        ("schema=x&sslcert=/c.pem&sslkey=/k.pem", {"sslcert": "/c.pem", "sslkey": "/k.pem"}),
        ("sslidentity=/i.p12&sslpassword=x", {}),
        ("options=-csearch_path%3Da", {"options": "-csearch_path=a"}),
    ],
)
def test_tls_parameters_are_translated(query: str, expected: dict[str, str]) -> None:
    parameters = parse_database_url(f"postgresql://u:p@h/d?{query}").parameters
    assert expected.items() <= parameters.items()
    if "schema=x&sslmode" in query:
        assert parameters["sslrootcert"] == "/ca.pem"
        assert "sslcert" not in parameters
    if not expected:
        assert parameters == {}


@pytest.mark.parametrize(
    ("text", "port", "supabase", "pooler", "note"),
    [
        ("postgres.ab:p@aws-0-eu.pooler.supabase.com:6543/postgres", 5432, True, "session", "6543"),
        ("postgres.ab:p@aws-0-eu.pooler.supabase.com:5432/postgres", 5432, True, "session", ""),
        (
            "postgres:p@aws-1-eu.pooler.supabase.com/postgres",
            5432,
            True,
            "session",
            "<project ref>",
        ),
        ("postgres:p@db.ab.supabase.co:6543/postgres", 5432, True, "none", "6543"),
        ("postgres:p@db.ab.supabase.co:5432/postgres", 5432, True, "none", ""),
        ("postgres:p@db.ab.supabase.com:5432/postgres", 5432, True, "none", ".supabase.co,"),
        ("u:p@pgb:6432/d?pgbouncer=true", 6432, False, "transaction", "one session"),
        ("u:p@ep-x-pooler.eu.aws.neon.tech/d", 5432, False, "transaction", "one session"),
        ("u:p@ep-x.eu.aws.neon.tech/d", 5432, False, "none", ""),
        ("u:p@h:6543/d", 6543, False, "none", ""),
        ("u:p@notsupabase.co/d", 5432, False, "none", ""),
    ],
)
def test_managed_hosts_and_poolers(
    text: str, port: int, supabase: bool, pooler: str, note: str
) -> None:
    address = parse_database_url(f"postgresql://{text}")
    assert (address.port, address.is_supabase, address.pooler) == (port, supabase, pooler)
    assert note in "\n".join(address.notes)
    if not note:
        assert address.notes == ()
    assert (address.parameters.get("sslmode") == "require") is supabase


def test_without_a_database_the_users_name_is_used_as_libpq_does() -> None:
    address = parse_database_url("postgresql://ana:pw@h")
    assert address.database == "ana"
    assert any("'ana'" in note for note in address.notes)


def test_every_parameter_that_may_stay_is_one_of_libpqs() -> None:
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    newer_than_this_libpq = {name for name, major in KEYWORDS.items() if major > libpq_major()}
    assert set(KEYWORDS) - newer_than_this_libpq <= known


@given(
    user=st.text("aZ0_-.ü%40", min_size=1, max_size=8),
    password=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12),
    host=st.sampled_from(["db1", "10.0.0.1", "[::1]", "%2Frun%2Fpg", "a-b.c.example"]),
    port=st.sampled_from(["", ":5433"]),
    database=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=8),
    query=st.sampled_from(
        ["", "?sslmode=require", "?connect_timeout=3&options=-ca%3Db", "?user=x"]
    ),
)
def test_what_is_accepted_means_the_same_to_libpq(
    user: str, password: str, host: str, port: str, database: str, query: str
) -> None:
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}"
    url = f"postgresql://{credentials}@{host}{port}/{quote(database, safe='')}{query}"
    address = parse_database_url(url)
    theirs = {
        option.keyword.decode(): option.val.decode()
        for option in Conninfo.parse(url.encode())
        if option.val is not None
    }
    ours = {
        "host": address.host,
        "port": str(address.port),
        "dbname": address.database,
        "user": address.user or "",
        "password": password_of(address) or "",
        **address.parameters,
    }
    assert {"password": "", "port": "5432"} | theirs == ours


@given(text=st.text("postgresql://@:?#[]%2F4&=ab1 ,'\\", max_size=40))
def test_no_text_whatever_breaks_the_parser(text: str) -> None:
    for prefix in ("", "postgresql://", "host=", "postgresql://u:Q7zX"):
        try:
            parse_database_url(prefix + text)
        except UsageError as error:
            message = str(error)
        else:
            message = ""
        assert "Q7zX" not in message


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ana:p%40ss%2Fw%3Frd@db.example:5433/shop%20one?sslmode=require",
        "postgresql://ana@localhost:5432/shop?host=%2Frun%2Fpg",
        "postgresql://[2001:db8::1]:5432/shop",
    ],
)
def test_an_address_written_as_a_url_is_read_as_the_same(text: str) -> None:
    address = parse_database_url(text)
    again = parse_database_url(address.url().reveal())
    assert again == address
    assert "p%40ss" not in repr(address.url())
