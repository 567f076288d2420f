"""libpq's connection keywords, and its ``key=value`` form of a database address.

The verdicts on single parameters were tried against libpq 15 and 18: an unknown one makes
libpq refuse the whole address, so whatever is not listed here has to be left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from fsbackup_tui.domain.errors import UsageError

KEYWORDS: Mapping[str, int] = {
    **dict.fromkeys(
        (
            "channel_binding",
            "connect_timeout",
            "gssencmode",
            "gsslib",
            "hostaddr",
            "keepalives",
            "keepalives_count",
            "keepalives_idle",
            "keepalives_interval",
            "krbsrvname",
            "options",
            "passfile",
            "requirepeer",
            "ssl_max_protocol_version",
            "ssl_min_protocol_version",
            "sslcert",
            "sslcompression",
            "sslcrl",
            "sslcrldir",
            "sslkey",
            "sslmode",
            "sslrootcert",
            "sslsni",
            "target_session_attrs",
            "tcp_user_timeout",
        ),
        14,
    ),
    **dict.fromkeys(("gssdelegation", "load_balance_hosts", "require_auth", "sslcertmode"), 16),
    "sslnegotiation": 17,
    **dict.fromkeys(("max_protocol_version", "min_protocol_version"), 18),
}
"""The parameters that may stay in an address, each with the first libpq that is sure to know it."""

ADDRESS_KEYWORDS = frozenset({"host", "port", "dbname", "user", "password"})
SET_BY_FSBACKUP = frozenset(
    {"application_name", "client_encoding", "fallback_application_name", "replication"}
)
CARRIES_A_SECRET = frozenset(
    {"oauth_client_secret", "scram_client_key", "scram_server_key", "sslpassword"}
)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse_conninfo(text: str) -> dict[str, str]:
    """Return the keywords of ``host=… dbname='…'`` as libpq reads them.

    Values may be quoted with ``'``, a backslash protects the next character. UsageError for a
    word without ``=``, an unclosed quote or a keyword given twice; no message holds a value.
    """
    found: dict[str, str] = {}
    position = 0
    while (position := _skip_spaces(text, position)) < len(text):
        start = position
        while position < len(text) and text[position] != "=" and not text[position].isspace():
            position += 1
        key = text[start:position]
        position = _skip_spaces(text, position)
        if not key or position >= len(text) or text[position] != "=":
            raise _broken("a word stands there without = behind it")
        if key in found:
            raise _broken(f"the keyword {key} is given twice" if key.isidentifier() else "")
        found[key], position = _value(text, _skip_spaces(text, position + 1))
    return found


def _value(text: str, position: int) -> tuple[str, int]:
    quoted = position < len(text) and text[position] == "'"
    if quoted:
        position += 1
    taken: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            position += 1
            character = text[position]
        elif quoted and character == "'":
            return "".join(taken), position + 1
        elif not quoted and character.isspace():
            break
        taken.append(character)
        position += 1
    if quoted:
        raise _broken("a quote is opened and never closed")
    return "".join(taken), position


def _skip_spaces(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _broken(why: str) -> UsageError:
    return UsageError(
        "DATABASE ADDRESS NOT UNDERSTOOD: it is neither a URL nor a key=value text.",
        why=why,
        fix="Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, or host=… dbname=… user=…\n"
        "with values that hold spaces in single quotes.",
    )
