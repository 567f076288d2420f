"""A Supabase project's own schemas swapped by its administrator, who is no superuser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.schemas import Shop, definitions_of
from tests.support.servers import binaries, execute, majors, query
from tests.support.sites import make_site
from tests.support.supabase_double import SupabaseDouble, start_supabase_double

# Supabase had 13 and 14, has 15 and 17.
_MAJORS = [major for major in majors() if major >= 15]
_OWN = ("public", "supabase_migrations")
_HERS = "00000000-0000-4000-8000-000000000007"


@pytest.fixture(params=_MAJORS, ids=lambda major: f"pg{major}")
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SupabaseDouble]:
    started = start_supabase_double(tmp_path / "double", request.param)
    yield started
    started.server.remove()


def restored(project: SupabaseDouble, directory: Path) -> Shop:
    """Back the project up and restore it into a side database, as its administrator can."""
    major = project.server.version_num // 10_000
    site = make_site(directory / "site", project.url, settings={"clients": [str(binaries(major))]})
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    # Several jobs may write the benign errors of a managed project over each other: then it is
    # restored once more by one.
    beside = site.run("restore", "latest", "--beside", "recovered", "--jobs", "4", "--json")
    assert beside.exit_code == 0, beside.stdout + beside.stderr
    return Shop(project.server, site, "postgres", "recovered", owner="postgres")


def rows_of(project: SupabaseDouble) -> dict[str, int]:
    return {
        table: int(str(query(project.platform_url, f"SELECT count(*) FROM {table}")[0][0]))
        for table in ("public.profiles", "public.face_sources", "public.generated_videos")
    }


async def test_the_sites_own_come_back_beside_users_and_files_that_stay(
    project: SupabaseDouble, tmp_path: Path
) -> None:
    shop = restored(project, tmp_path)
    execute(
        project.url,
        "DELETE FROM public.generated_videos",
        "DELETE FROM public.face_sources WHERE id > 3",
        # A user left since, and one came: the trigger on auth.users made her profile.
        f"DELETE FROM public.face_sources WHERE user_id = '{_HERS}'",
        f"DELETE FROM auth.identities WHERE user_id = '{_HERS}'",
        f"DELETE FROM auth.users WHERE id = '{_HERS}'",
        "INSERT INTO auth.users (id, email, raw_user_meta_data)"
        " VALUES (gen_random_uuid(), 'new@example.org', '{\"name\": \"New\"}')",
    )
    damaged = rows_of(project)
    definitions = definitions_of(project.platform_url, shop.major)
    point = shop.site.points()[0]["id"]
    copied = await shop.run_copy(point=point)
    assert tuple(item["schema"] for item in copied["schemas"]) == _OWN
    assert "trigger on_auth_user_created on auth.users" in copied["repoints"]
    assert definitions_of(project.platform_url, shop.major) == definitions

    with psycopg.connect(project.platform_url, autocommit=True) as listener:
        listener.execute("LISTEN pgrst")
        swapped = await shop.run_swap(copied)
        heard = next(listener.notifies(timeout=30, stop_after=1))
    assert (heard.channel, heard.payload) == ("pgrst", "reload schema")
    assert swapped["notified"] is True
    assert swapped["grants"] == []
    assert rows_of(project) == {
        "public.profiles": 120,
        "public.face_sources": 120,
        "public.generated_videos": 120,
    }
    # One profile is of a user who is gone: said, and left to a person.
    (text,) = swapped["unchecked"]
    assert text.startswith("profiles_id_fkey on public.profiles holds for new rows only")
    assert _HERS in text
    assert query(project.platform_url, _PUBLISHED) == [("public", "generated_videos")]
    execute(
        project.url,
        "INSERT INTO auth.users (id, email, raw_user_meta_data)"
        " VALUES (gen_random_uuid(), 'later@example.org', '{\"name\": \"Later\"}')",
    )
    assert rows_of(project)["public.profiles"] == 121
    as_anybody = project.url_of("authenticator")
    with psycopg.connect(as_anybody) as api:
        api.execute("SET ROLE anon")
        assert api.execute("SELECT count(*) FROM public.generated_videos").fetchone() == (120,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("SELECT count(*) FROM public.profiles")

    await shop.run_back(swapped)
    assert rows_of(project) == damaged
    assert definitions_of(project.platform_url, shop.major) == definitions


_PUBLISHED = """
SELECT schemaname::text, tablename::text FROM pg_publication_tables
WHERE pubname = 'supabase_realtime'
"""
