"""Tables of an extension that makes some of their rows itself: a dump holds only the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.point import ExtensionFacts
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.comparing import captured_and_restored, compare
from tests.support.servers import FreshServer, execute

SCRIPT = """
CREATE TABLE public.reference (id integer, own boolean DEFAULT false);
INSERT INTO public.reference SELECT n, true FROM generate_series(1, 100) AS n;
SELECT pg_extension_config_dump('public.reference', 'WHERE NOT reference.own');
CREATE TABLE public.settings (id integer);
SELECT pg_extension_config_dump('public.settings', '');
"""


def server_with_extension(fresh_server: FreshServer, directory: Path) -> ScratchServer:
    """A server (18: extension_control_path) with the extension ``geo`` to be had."""
    server = fresh_server(18)
    place = server.data_directory / "own" / "extension"
    place.mkdir(parents=True)
    (place / "geo.control").write_text("default_version = '1.0'\n")
    (place / "geo--1.0.sql").write_text(SCRIPT)
    execute(
        server.url(),
        f"ALTER SYSTEM SET extension_control_path = '{place.parent}:$system'",
        "SELECT pg_reload_conf()",
    )
    return server


async def test_only_the_site_s_own_rows_are_compared(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    server = server_with_extension(fresh_server, tmp_path)
    execute(server.url(), "CREATE DATABASE original TEMPLATE template0")
    execute(
        server.url("original"),
        "CREATE EXTENSION geo",
        "INSERT INTO reference VALUES (7, false), (8, false)",
        "INSERT INTO settings VALUES (1)",
    )
    dumped, accounting = await captured_and_restored(
        server.url("original"), server, "copy", tmp_path
    )
    assert accounting.problems() == []
    rows = {table.name: (table.rows, table.counted) for table in dumped.facts.tables}
    assert rows == {"reference": (2, True), "settings": (1, True)}
    digest = accounting.schema_sha256
    found = await compare(dumped.address, "copy", dumped.facts, schema_sha256=digest)
    assert found.not_equal == {}
    # What the extension made itself is its own matter.
    execute(server.url("copy"), "DELETE FROM reference WHERE id = 100")
    found = await compare(dumped.address, "copy", dumped.facts, schema_sha256=digest)
    assert found.not_equal == {}
    execute(server.url("copy"), "UPDATE reference SET id = 9 WHERE id = 8")
    found = await compare(dumped.address, "copy", dumped.facts, schema_sha256=digest)
    assert found.not_equal == {"public.reference": "different"}
    older = replace(dumped.facts, extensions=(ExtensionFacts("geo", "0.9", "public"),))
    found = await compare(dumped.address, "copy", older, schema_sha256=digest)
    assert found.not_equal == {"public.reference": "unknown"}
    assert "of the extension geo, 1.0 here, 0.9 at capture" in found.tables["public.reference"].note
