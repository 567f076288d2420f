"""Database addresses as people have them: libpq URLs, ``key=value`` texts, Prisma style.

Prisma, node-postgres, SQLAlchemy and the hosting panels write parameters that libpq refuses,
and passwords that nobody escaped; both are recognised here, before any server is asked. No
message made here ever holds a piece of the password, nor of what may be one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, unquote

from fsbackup_tui.domain.conninfo import ADDRESS_KEYWORDS, parse_conninfo
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.domain.url_parameters import translate_parameters

Pooler = Literal["none", "session", "transaction"]

DEFAULT_PORT = 5432
_TRANSACTION_PORT = 6543
_POSTGRES_SCHEMES = frozenset({"postgres", "postgresql", "postgis"})
_SCHEME = re.compile(r"(?P<jdbc>jdbc:)?(?P<scheme>[A-Za-z][A-Za-z0-9.-]*)(?P<driver>\+[^:/]*)?://")
_OTHER_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:[\[<{(]+\s*)(?:(?:your|db|database|postgres|the|my)[-_ ]*)*password(?:\s*[\]>})]+)$"
    r"|^your[-_ ]?(?:db[-_ ]?|database[-_ ]?)?password$"
)
_TEMPLATE_PIECE = re.compile(r"\[[A-Za-z _-]+\]|<[A-Za-z _-]+>")
_HOST_CHARACTERS = re.compile(r"[\w.:%-]+")
_PATTERN = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is and who asks; printing one never shows the password.

    ``host`` is a name, an IP address without brackets, the absolute directory of a Unix socket,
    or empty for the client's default socket. ``user`` None means the operating system's user,
    as libpq does. ``parameters`` are libpq keywords only. ``schema`` is Prisma's ``schema=``.
    ``notes`` tell what was changed or left out, in words for the operator.
    """

    host: str
    port: int
    database: str
    user: str | None
    password: Secret | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    schema: str | None = None
    notes: tuple[str, ...] = ()
    is_supabase: bool = False
    pooler: Pooler = "none"

    @property
    def is_socket(self) -> bool:
        """Whether the server is reached through a Unix socket of this machine."""
        return not self.host or self.host[0] in "/@"

    def display(self) -> str:
        """Return ``user@host:port/database``, without any secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host or "[local]"
        user = "" if self.user is None else f"{self.user}@"
        return f"{user}{host}:{self.port}/{self.database}"

    def url(self) -> Secret:
        """Return the address as a URL with its password, for the environment of a child.

        A socket's directory stands in the query, behind a host that libpq and Prisma pass over.
        """
        login = "" if self.user is None else quote(self.user, safe="")
        if self.password is not None:
            login += ":" + quote(self.password.reveal(), safe="")
        parameters = dict(self.parameters)
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.is_socket:
            host = "localhost"
            if self.host:
                parameters["host"] = self.host
        place = f"{login}@{host}:{self.port}" if login else f"{host}:{self.port}"
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
        path = quote(self.database, safe="")
        return Secret(f"postgresql://{place}/{path}" + (f"?{query}" if query else ""))

    def with_database(self, name: str) -> DatabaseAddress:
        """Return the same server and role with another database."""
        return replace(self, database=name)


def parse_database_url(text: str) -> DatabaseAddress:
    """Return the address that a URL or a ``key=value`` text names, made fit for libpq.

    Parameters that only Prisma and its like know are translated or left out, and a note says
    so; Supabase's transaction pooler becomes its session pooler. UsageError for anything that
    libpq would misread, above all a password with unescaped characters.
    """
    text, notes = _unwrapped(text)
    match = _SCHEME.match(text)
    if match is not None:
        scheme = match["scheme"].lower()
        if scheme not in _POSTGRES_SCHEMES or (match["driver"] or "").lower() == "+postgres":
            raise _wrong_scheme(f"{scheme}{match['driver'] or ''}".lower(), text)
        if match["driver"] or match["jdbc"]:
            notes.append(f"read as postgresql:// ({match[0]} names a driver that is not needed)")
        given = _split_url(text[match.end() :])
    elif (other := _OTHER_SCHEME.match(text)) and other["scheme"].lower() in _OTHER_DATABASES:
        raise _wrong_scheme(other["scheme"].lower(), text)
    elif "=" in text:
        given = parse_conninfo(text)
    else:
        raise UsageError(
            "DATABASE ADDRESS NOT UNDERSTOOD: it is neither a URL nor a key=value text.",
            fix=f"Write {_PATTERN}",
        )
    return _address(given, notes)


def _unwrapped(text: str) -> tuple[str, list[str]]:
    text, notes = text.strip(), []
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
        notes.append("quotes around the address are left out")
    if not text:
        raise UsageError("DATABASE ADDRESS EMPTY: there is nothing in it.", fix=f"Write {_PATTERN}")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise UsageError(
            "DATABASE ADDRESS NOT USABLE: it holds a line break or another control character.",
            fix="Write it on one line, without anything before or behind it.",
        )
    return text, notes


def _split_url(rest: str) -> dict[str, str]:
    """Return what stands behind ``://`` as libpq keywords; the query overrides, as in libpq."""
    cut = next((index for index, character in enumerate(rest) if character in "/?#"), len(rest))
    authority, tail = rest[:cut], rest[cut:]
    _refuse_unescaped(authority, tail)
    credentials, has_credentials, hostport = authority.rpartition("@")
    path, _, query = tail.removeprefix("/").partition("?")
    given: dict[str, str] = {}
    if has_credentials:
        user, has_password, password = credentials.partition(":")
        given["user"] = _decoded(user, "user name")
        if has_password:
            given["password"] = _decoded(password, "password")
    given["host"], given["port"] = _host_and_port(hostport)
    given["dbname"] = _decoded(path, "database name")
    for item in filter(None, query.split("&")):
        name, has_value, value = item.partition("=")
        if not has_value or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise UsageError(
                "DATABASE URL NOT UNDERSTOOD: behind its ? stands something without a name=value.",
                why="A ? in the password, unescaped, also ends the address early.",
                fix="Write %3F for a ? in the password, and name=value for each parameter.",
            )
        given[name] = _decoded(value, f"parameter {name}")
    return {name: value for name, value in given.items() if value or name not in ADDRESS_KEYWORDS}


def _refuse_unescaped(authority: str, tail: str) -> None:
    """Refuse what a raw ``@``, ``/``, ``?`` or ``#`` in the password makes of the address."""
    path, _, query = tail.partition("?")
    if authority.count("@") > 1:
        raise _unescaped("@", "%40")
    if "#" in tail:
        raise _unescaped("#", "%23")
    if "@" in path:
        raise _unescaped("/", "%2F", also="A database name with an @ is written with %40.")
    if "/" in path[1:]:
        raise _unescaped("/", "%2F", also="A database name with a / is written with %2F.")
    port = authority.rpartition(":")[2] if "@" not in authority else ""
    if "@" in query and (tail.startswith("?") or not port.isdigit()) and "@" not in authority:
        raise _unescaped("?", "%3F")
    if any(character.isspace() for character in authority + path):
        raise UsageError(
            "DATABASE URL NOT USABLE: there is a space in it.",
            fix="Write %20 for a space that belongs to the password or to a name.",
        )


def _unescaped(character: str, code: str, *, also: str = "") -> UsageError:
    return UsageError(
        f"PASSWORD NOT ESCAPED: the URL has a {character} where none can be.",
        why=f"A {character} in the password ends it early, and the rest is taken for another\n"
        "server or database." + (f" {also}" if also else ""),
        fix=f"Write {code} for each {character} in the password (also %40 for @, %2F for /, %3A\n"
        "for :, %23 for #, %3F for ?, %25 for %), or set a password of letters and digits.",
    )


def _decoded(text: str, what: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise UsageError(
            f"{what.upper()} NOT ESCAPED: it has a % without two hexadecimal digits behind it.",
            why="In a URL a % starts a code for another character.",
            fix="Write %25 for each % that stands for itself.",
        )
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise UsageError(
            f"{what.upper()} NOT UNDERSTOOD: its %-codes are not UTF-8.",
            fix="Encode it again: a character outside ASCII is two or more codes, ü is %C3%BC.",
        ) from None
    if "\0" in decoded:
        raise UsageError(
            f"{what.upper()} NOT USABLE: %00 can't be part of it.", fix="Take the %00 out."
        )
    return decoded


def _host_and_port(text: str) -> tuple[str, str]:
    if "," in text:
        raise _several_hosts()
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")) or "." in host.partition("%")[0][:1]:
            raise UsageError(
                "DATABASE URL NOT UNDERSTOOD: an IPv6 address stands in [ ], the port behind it.",
                fix="Write postgresql://USER:PASSWORD@[2001:db8::1]:5432/DATABASE",
            )
        return _decoded(host, "host"), port[1:]
    host, _, port = text.partition(":")
    if ":" in port:
        raise UsageError(
            "DATABASE URL NOT UNDERSTOOD: there are several : where host and port stand.",
            why="An IPv6 address needs brackets; a password needs an @ behind it.",
            fix=f"Write {_PATTERN}, or @[2001:db8::1]:5432 for IPv6.",
        )
    return _decoded(host, "host"), port


def _address(given: Mapping[str, str], notes: list[str]) -> DatabaseAddress:
    given = {name: value for name, value in given.items() if value or name not in ADDRESS_KEYWORDS}
    host = _checked_host(given.get("host", ""))
    port = _checked_port(given.get("port", ""))
    user, database = given.get("user"), given.get("dbname", "")
    if user is not None and _TEMPLATE_PIECE.search(user):
        raise _not_filled_in("USER")
    password = _checked_password(given.get("password"), notes)
    parameters, schema, pooled = translate_parameters(
        {name: value for name, value in given.items() if name not in ADDRESS_KEYWORDS}, notes
    )
    if not database:
        database = _default_database(user, notes)
    host_facts = _managed_host(host, port, user, pooled, parameters, notes)
    return DatabaseAddress(
        host,
        host_facts[0],
        database,
        user,
        password,
        parameters,
        schema,
        tuple(notes),
        is_supabase=host_facts[1],
        pooler=host_facts[2],
    )


def _default_database(user: str | None, notes: list[str]) -> str:
    if user is None:
        raise UsageError(
            "NO DATABASE NAMED: the address has neither a database nor a user.",
            why="Which database is backed up must not depend on who runs the command.",
            fix=f"Write {_PATTERN}",
        )
    notes.append(f"no database in the address: '{user}', the user's name, as libpq does")
    return user


def _checked_host(host: str) -> str:
    if host[:1] in ("/", "@"):
        return host
    if "," in host:
        raise _several_hosts()
    if host and not _HOST_CHARACTERS.fullmatch(host):
        if any(character in host for character in "[]<>{}"):
            raise _not_filled_in("HOST")
        raise UsageError(
            "HOST NOT USABLE: it holds a character that no host name has.",
            why="Often a piece of an unescaped password was taken for the host.",
            fix=f"Write {_PATTERN}, with %-codes in the password.",
        )
    return host.lower() if host.isascii() else host


def _not_filled_in(what: str) -> UsageError:
    return UsageError(
        f"{what} NOT FILLED IN: it still holds the brackets of a template.",
        fix="Replace what stands in the brackets, and the brackets, by your project's own.",
    )


def _several_hosts() -> UsageError:
    return UsageError(
        "ONE SERVER, PLEASE: the address names several hosts.",
        why="A backup says which server it came from; with several it would be chance.",
        fix="Name the one to back up from (the primary, or a standby on purpose).",
    )


def _checked_port(port: str) -> int:
    if not port:
        return DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise UsageError(
            "PORT NOT USABLE: what stands behind the host's : is no number from 1 to 65535.",
            why="In a URL without an @, a password is taken for the port.",
            fix=f"Write {_PATTERN}",
        )
    return int(port)


def _checked_password(password: str | None, notes: list[str]) -> Secret | None:
    if password is None:
        return None
    if _PLACEHOLDER.match(password):
        raise UsageError(
            "PASSWORD NOT FILLED IN: the template's placeholder is still in its place.",
            why="Copied from the hosting panel, which does not know your password.",
            fix="Replace it, with its brackets, by the database's password (%-coded).",
        )
    if len(password) > 2 and password[0] == "[" and password[-1] == "]":
        notes.append("the password stands in [ ]: take them off if they are the template's")
    return Secret(password)


def _managed_host(
    host: str,
    port: int,
    user: str | None,
    pooled: bool,
    parameters: dict[str, str],
    notes: list[str],
) -> tuple[int, bool, Pooler]:
    """Return (port, is Supabase, kind of pooler), with what the providers' hosts imply."""
    name = host.rstrip(".")
    is_pooler = name.endswith(".pooler.supabase.com")
    is_supabase = is_pooler or name.endswith((".supabase.co", ".supabase.com", ".supabase.in"))
    pooler: Pooler = "session" if is_pooler else "none"
    if is_supabase:
        parameters.setdefault("sslmode", "require")
        if port == _TRANSACTION_PORT:
            port = DEFAULT_PORT
            kind = "the session pooler" if is_pooler else "the server itself"
            notes.append(f"port 6543 is a transaction pooler; {kind} on port 5432 is used")
        if is_pooler and user is not None and "." not in user:
            notes.append(f"the pooler expects the user '{user}.<project ref>', not '{user}'")
        if name.startswith("db.") and name.endswith(".supabase.com"):
            notes.append("the direct host of a project ends in .supabase.co, not .supabase.com")
    elif pooled or ("-pooler." in name and name.endswith(".neon.tech")):
        pooler = "transaction"
        notes.append(
            "this is a transaction pooler's address; a dump needs one session: "
            "give the server's own address (DIRECT_URL)"
        )
    return port, is_supabase, pooler


_OTHER_DATABASES = frozenset(
    {"file", "http", "https", "mongodb", "mongodb+srv", "mysql", "mariadb", "prisma", "redis"}
    | {"sqlite", "sqlserver", "cockroachdb", "prisma+postgres", "libsql"}
)


def _wrong_scheme(scheme: str, text: str) -> UsageError:
    if scheme in ("prisma", "prisma+postgres"):
        return UsageError(
            f"NOT A DATABASE SERVER: {scheme}:// is the address of Prisma's proxy.",
            why="Only Prisma can speak to it; pg_dump needs the PostgreSQL server itself.",
            fix="Give the direct URL, postgresql://…, from the database's own console\n"
            "(usually DIRECT_URL or DIRECT_DATABASE_URL).",
        )
    if scheme in ("http", "https"):
        return UsageError(
            f"NOT A DATABASE URL: {scheme}:// is a web address"
            + (" (SUPABASE_URL is the project's API)." if ".supabase.co" in text else "."),
            fix="Take the connection string of the database (Supabase: Connect > Direct\n"
            f"connection): {_PATTERN}",
        )
    return UsageError(
        f"NOT POSTGRESQL: {scheme}:// is another kind of database.",
        why="fsbackup captures PostgreSQL.",
        fix=f"Write {_PATTERN}",
    )
