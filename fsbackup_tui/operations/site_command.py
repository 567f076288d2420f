"""The site's own check (``commands.verify_integrity``), run against a restored copy."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from fsbackup_tui.domain.database_url import DatabaseAddress, parse_database_url
from fsbackup_tui.domain.errors import SecretUnavailable, ToolError, UsageError
from fsbackup_tui.domain.proof import ProofCheck
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.engines.secrets import remember_named_secrets
from fsbackup_tui.operations.context import JobContext

_ALWAYS = ("DATABASE_URL", "DIRECT_URL")
_URL_BEGINNINGS = ("postgres://", "postgresql://")
# What libpq would take a part of an address from, or let override one.
_LIBPQ = (
    *("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE"),
    *("PGSERVICE", "PGSERVICEFILE", "PGSSLMODE", "PGREQUIRESSL", "PGTARGETSESSIONATTRS"),
)
_SHOWN_LINES = 5
_SHOWN_LENGTH = 1000


async def check_by_command(
    context: JobContext, argv: tuple[str, ...], copy: DatabaseAddress, *, live_database: str
) -> ProofCheck:
    """Run the site's check with the copy's address in its environment; its exit status decides.

    ``live_database`` is the name of the captured database: every variable that leads to it leads
    to the copy instead. A program that can't be run is blocked.
    """
    try:
        environment = copy_environment(context.environment, copy, live_database)
    except SecretUnavailable as error:
        return ProofCheck("command", argv[0], "blocked", error.what)
    remember_named_secrets(environment, context.redactor)
    printed: deque[str] = deque(maxlen=_SHOWN_LINES)  # all of it may be endless
    try:
        completed = await run(
            Command(argv, env=environment, cwd=context.loaded.path.parent),
            report=context.report,
            redactor=context.redactor,
            check=False,
            on_stdout_line=printed.append,
        )
    except ToolError as error:
        note = " ".join(piece for piece in (error.what, error.why) if piece)
        return ProofCheck("command", argv[0], "blocked", note)
    if completed.exit_status == 0:
        return ProofCheck("command", argv[0], "equal")
    said = completed.last_lines() or context.redactor.redact("\n".join(printed))
    words = " ".join(said.split())[:_SHOWN_LENGTH] or "it printed nothing"
    return ProofCheck(
        "command", argv[0], "different", f"it ended with {completed.ended()}: {words}"
    )


def copy_environment(
    environment: Mapping[str, str], copy: DatabaseAddress, live_database: str
) -> dict[str, str]:
    """Return the environment in which whatever led to the live database leads to the copy.

    A check that reads another variable than DATABASE_URL would else look at the live database,
    and its verdict be taken for the copy's.
    """
    url = copy.url().reveal()
    changed = {name: value for name, value in environment.items() if name not in _LIBPQ}
    for name, value in changed.items():
        if _leads_to(value, live_database):
            changed[name] = url
    changed |= dict.fromkeys(_ALWAYS, url)
    changed |= {"PGHOST": copy.host, "PGPORT": str(copy.port), "PGDATABASE": copy.database}
    if copy.user is not None:
        changed["PGUSER"] = copy.user
    if copy.password is not None:
        changed["PGPASSWORD"] = copy.password.reveal()
    if "sslmode" in copy.parameters:
        changed["PGSSLMODE"] = copy.parameters["sslmode"]
    return changed


def _leads_to(value: str, database: str) -> bool:
    if not value.strip().lower().startswith(_URL_BEGINNINGS):
        return False
    try:
        return parse_database_url(value).database == database
    except UsageError:
        return False
