"""The sample site on a real server: the same bytes every time, and files that rows name."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.demo.compare import compare_databases
from fsbackup_tui.demo.sample_site import (
    APPLICATION_ROLE,
    DATABASE,
    SampleSite,
    seed_database,
    write_files,
)
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.servers import FreshServer, query

SIZE = 20_000_000


async def _seeded(server: ScratchServer) -> str:
    url = server.url(DATABASE, user=APPLICATION_ROLE)
    await seed_database(
        SIZE,
        psql=str(server.bin_directory / "psql"),
        superuser_url=server.url(),
        application_url=url,
        env={},
    )
    return url


async def test_two_seedings_of_the_same_size_are_the_same_database(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    servers = [fresh_server(18), fresh_server(18)]
    urls = [await _seeded(server) for server in servers]
    pg_dump = str(servers[0].bin_directory / "pg_dump")
    comparison = await compare_databases(*urls, pg_dump=pg_dump, work=tmp_path, env={})
    assert comparison.difference is None
    assert comparison.lines > 50_000


async def test_size_is_as_asked_for_and_rows_name_the_files_on_disk(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    url = await _seeded(fresh_server(17))
    ((size,),) = query(url, "SELECT pg_database_size(current_database())")
    assert isinstance(size, int)
    assert abs(size - SIZE) < SIZE * 0.15
    site = SampleSite(tmp_path, SIZE)
    write_files(site, url)
    on_disk = {
        str(path.relative_to(site.storage)) for path in site.storage.rglob("*") if path.is_file()
    }
    named = query(
        url,
        "SELECT file_path FROM face_sources UNION "
        "SELECT output_path FROM generated_videos WHERE output_path IS NOT NULL",
    )
    assert {path for (path,) in named} == on_disk


async def test_the_database_has_what_real_ones_have(fresh_server: FreshServer) -> None:
    url = await _seeded(fresh_server(18))
    ((migration,),) = query(
        url, "SELECT migration_name FROM _prisma_migrations ORDER BY started_at DESC LIMIT 1"
    )
    assert migration == "20260105113000_partition_events"
    kinds = query(
        url,
        "SELECT DISTINCT relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    )
    assert {kind for (kind,) in kinds} == {"r", "p", "i", "I", "S", "v", "m"}
    constraints = query(url, "SELECT DISTINCT contype::text FROM pg_constraint")
    assert {"p", "f", "c"} <= {kind for (kind,) in constraints}
    ((liked,),) = query(url, "SELECT sum(likes) FROM video_feed")
    assert liked
