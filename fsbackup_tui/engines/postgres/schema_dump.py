"""Dumping some schemas of a side database, and telling two such dumps' definitions apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.postgres.archive import list_archive
from fsbackup_tui.engines.postgres.catalogue import ObjectKey, entry_key
from fsbackup_tui.engines.postgres.clients import ClientTools
from fsbackup_tui.engines.postgres.judge import BENIGN_KINDS
from fsbackup_tui.engines.postgres.patterns import exactly
from fsbackup_tui.engines.postgres.schema import DUMP_ENVIRONMENT, canonical_schema
from fsbackup_tui.engines.postgres.tool_output import ToolLog, explain_failure
from fsbackup_tui.engines.process import Command, ToolFailed, run


async def dump_schemas(
    client: ClientTools,
    environment: Mapping[str, str],
    schemas: Sequence[str],
    target: Path,
    *,
    jobs: int = 1,
    definitions_only: bool = False,
    report: Report | None = None,
    redactor: Redactor | None = None,
) -> Path:
    """Write an archive of the schemas alone: a directory with several jobs, else one file.

    Extensions, publications and subscriptions are none of it. Raises PostgresError or ToolError,
    as pg_dump's words tell.
    """
    argv = [
        client.tool("pg_dump"),
        "--no-password",
        "--no-sync",
        "--no-publications",
        "--no-subscriptions",
        "--compress=1",
        f"--file={target}",
        *(f"--schema={exactly(schema)}" for schema in schemas),
    ]
    if definitions_only:
        argv += ["--format=custom", "--schema-only"]
    elif jobs > 1:
        argv += ["--format=directory", f"--jobs={jobs}"]
    else:
        argv += ["--format=custom"]
    log = ToolLog("pg_dump", redactor)
    command = Command(tuple(argv), env={**client.env, **environment, **DUMP_ENVIRONMENT})
    try:
        await run(command, report=report, redactor=redactor, on_stderr_line=log.add)
    except ToolFailed as error:
        raise explain_failure(error, log, what="SCHEMA NOT DUMPED") from error
    return target


async def differing_definitions(
    client: ClientTools,
    one: Path,
    another: Path,
    *,
    without: Collection[ObjectKey],
) -> list[str]:
    """Return the labels of what two archives define differently, or one of them alone.

    Entry by entry: their order depends on what other schemas' objects hold on to. Left out are
    the schemas themselves and the entries of ``without``.
    """
    first, second = [await _definitions(client, path, without) for path in (one, another)]
    return sorted(
        f"{kind} {schema}.{name}"
        for kind, schema, name in {*first, *second}
        if first.get((kind, schema, name)) != second.get((kind, schema, name))
    )


async def _definitions(
    client: ClientTools, archive: Path, without: Collection[ObjectKey]
) -> dict[ObjectKey, list[tuple[str, bytes]]]:
    _text, entries = await list_archive(client, archive)
    found: defaultdict[ObjectKey, list[tuple[str, bytes]]] = defaultdict(list)
    for entry in entries:
        of_the_schema = entry.schema is None and entry.name.startswith("SCHEMA ")
        left_out = entry.kind == "SCHEMA" or of_the_schema or entry_key(entry) in without
        if entry.holds_data or entry.kind in BENIGN_KINDS or left_out:
            continue
        lines = entry.definition.encode("utf-8", "surrogateescape").splitlines(keepends=True)
        found[entry_key(entry)].append((entry.owner, b"".join(canonical_schema(lines))))
    return {key: sorted(items) for key, items in found.items()}
