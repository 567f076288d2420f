"""What brings to life by hand what no copy may have, once the copy is live. Pure."""

from __future__ import annotations

_PRINT_SUBSCRIPTION = (
    "SELECT format('CREATE SUBSCRIPTION %I CONNECTION %L PUBLICATION %s"
    " WITH (create_slot = false, copy_data = false, slot_name = %L);', subname, subconninfo,"
    " (SELECT string_agg(quote_ident(p), ', ') FROM unnest(subpublications) AS p),"
    " coalesce(subslotname, subname)) FROM pg_subscription WHERE subname = "
)
_PRINT_JOBS = (
    "SELECT format('SELECT cron.schedule(%s%L, %L);', quote_literal(jobname) || ', ', schedule,"
    " command) FROM cron.job WHERE active;"
)


def subscription_lines(name: str, live: str, kept: str) -> tuple[str, ...]:
    """Return the SQL that moves a subscription, each line led by the database where it runs."""
    identifier = '"' + name.replace('"', '""') + '"'
    literal = "'" + name.replace("'", "''") + "'"
    return (
        f"  {kept}: {_PRINT_SUBSCRIPTION}{literal};",
        f"  {kept}: ALTER SUBSCRIPTION {identifier} DISABLE;",
        f"  {kept}: ALTER SUBSCRIPTION {identifier} SET (slot_name = NONE);",
        f"  {live}: what the first of them printed",
    )


def cron_lines(live: str, kept: str) -> tuple[str, ...]:
    """Return what brings pg_cron and its jobs back, each line led by where it runs."""
    make = f"  {live}: CREATE EXTENSION pg_cron;"
    if not kept:
        return (make, f"  {live}: SELECT cron.schedule('NAME', 'SCHEDULE', 'COMMAND'); per job")
    return (make, f"  {kept}: {_PRINT_JOBS}", f"  {live}: what that printed")
