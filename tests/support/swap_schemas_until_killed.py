"""A schema swap that waits, when only the commit is left, until its process is killed."""

from __future__ import annotations

import asyncio
import sys

from fsbackup_tui.engines.postgres.schema_pairs import SchemaPair, SchemaSwap
from fsbackup_tui.engines.postgres.schema_swap import swap_schemas
from tests.support.schemas import open_session


async def _swap(url: str, pair: SchemaPair) -> None:
    async def wait() -> None:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    swap = SchemaSwap((pair,), "before", "2026-11-22T02:00:00Z", "job")
    await swap_schemas(lambda: open_session(url), swap, on_ready=wait)


if __name__ == "__main__":
    _url, _schema, _live, _coming, _oid, _kept = sys.argv[1:]
    asyncio.run(_swap(_url, SchemaPair(_schema, int(_live), _coming, int(_oid), _kept)))
