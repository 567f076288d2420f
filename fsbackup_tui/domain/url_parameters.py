"""The parameters behind a database URL's ``?``: what libpq takes, what others mean by theirs."""

from __future__ import annotations

from collections.abc import Mapping

from fsbackup_tui.domain.conninfo import (
    CARRIES_A_SECRET,
    KEYWORDS,
    SET_BY_FSBACKUP,
    SSL_MODES,
)
from fsbackup_tui.domain.errors import UsageError

_FOR_OTHERS = frozenset(
    {
        "connection_limit",
        "max_connection_lifetime",
        "max_idle_connection_lifetime",
        "pgbouncer",
        "pool_timeout",
        "prepared_statements",
        "single_use_connections",
        "socket_timeout",
        "statement_cache_size",
        "statement_timeout",
        "supa",
        "supavisor",
        "uselibpqcompat",
        "workaround",
    }
)
_PRISMA_ONLY = frozenset(
    {"connection_limit", "pgbouncer", "pool_timeout", "schema", "sslaccept", "sslidentity"}
    | {"socket_timeout", "statement_cache_size"}
)
_TRUE = frozenset({"1", "on", "require", "true", "yes"})


def translate_parameters(
    given: Mapping[str, str], notes: list[str]
) -> tuple[dict[str, str], str | None, bool]:
    """Return (libpq's parameters, Prisma's schema, whether a transaction pooler is hinted at).

    What was changed or left out is added to ``notes``. UsageError for what can't be done without
    changing whom or how safely we ask: a service name, an encrypted client key, a wrong sslmode.
    """
    _refuse(given)
    values = dict(given)
    schema = values.pop("schema", "") or None
    pooled = values.get("pgbouncer", "").lower() in _TRUE
    _translate_tls(values, is_prisma=bool(_PRISMA_ONLY & given.keys()), notes=notes)
    kept = {name: value for name, value in values.items() if name in KEYWORDS and value}
    for_others = sorted(name for name in values if name in _FOR_OTHERS)
    unknown = sorted(
        name
        for name in values
        if name not in KEYWORDS and name not in _FOR_OTHERS and name not in SET_BY_FSBACKUP
    )
    if for_others:
        notes.append(f"meant for the application, not used here: {', '.join(for_others)}")
    if unknown:
        notes.append(f"unknown to PostgreSQL's clients, not used: {', '.join(unknown)}")
    if not kept.get("connect_timeout", "0").isdigit():
        del kept["connect_timeout"]
        notes.append("connect_timeout is no whole number of seconds, not used")
    return kept, schema, pooled


def _refuse(given: Mapping[str, str]) -> None:
    if given.get("service") or given.get("servicefile"):
        raise UsageError(
            "SERVICE NAMES NOT SUPPORTED: the address names a libpq service.",
            why="A service file of this user may say something else for the user of cron.",
            fix="Write what the service file says: host, port, database and user.",
        )
    secret = sorted(CARRIES_A_SECRET & given.keys())
    if secret and "sslidentity" not in given:
        raise UsageError(
            f"{secret[0].upper()} NOT SUPPORTED: a second secret in the address.",
            why="Only the password has a way to the clients that nobody else can read.",
            fix="Use a client key without a passphrase, readable by its owner alone.",
        )


def _translate_tls(values: dict[str, str], *, is_prisma: bool, notes: list[str]) -> None:
    ssl = values.pop("ssl", "").lower()
    if ssl in _TRUE:
        values.setdefault("sslmode", "require")
    if values.get("sslmode", "").lower() == "no-verify":
        values["sslmode"] = "require"
        notes.append("sslmode=no-verify is sslmode=require here")
    if is_prisma and "sslcert" in values and not {"sslkey", "sslrootcert"} & values.keys():
        values["sslrootcert"] = values.pop("sslcert")
        notes.append("Prisma's sslcert is the authority's certificate: used as sslrootcert")
    if values.pop("sslidentity", ""):
        values.pop("sslpassword", None)
        notes.append(
            "sslidentity (PKCS 12) is unknown to PostgreSQL's clients, not used: "
            "give sslcert and sslkey in PEM form"
        )
    if values.pop("sslaccept", "").lower() == "strict":
        values["sslmode"] = "verify-full"
        values.setdefault("sslrootcert", "system")
        notes.append("sslaccept=strict is sslmode=verify-full here")
    mode = values.get("sslmode")
    if mode is not None and mode.lower() not in SSL_MODES:
        raise UsageError(
            "SSLMODE NOT KNOWN: the address asks for one that PostgreSQL does not have.",
            fix=f"Write one of {', '.join(SSL_MODES)}.",
        )
    if mode is not None:
        values["sslmode"] = mode.lower()
