"""What init finds in a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.config.discover import (
    env_file_with,
    find_candidates,
    is_project,
    suggest_site,
    variable_names,
)

URL = "postgresql://ana:pw@db1/shop"
POOLED = "postgresql://postgres.ab:pw@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true"
DIRECT = "postgresql://postgres:pw@db.ab.supabase.co:5432/postgres"


def test_nothing_there(tmp_path: Path) -> None:
    assert find_candidates(tmp_path, {}) == []


def test_the_environment(tmp_path: Path) -> None:
    (found,) = find_candidates(tmp_path, {"DATABASE_URL": URL})
    assert (found.template, found.env_file) == ("${DATABASE_URL}", None)
    assert found.address is not None
    assert found.address.display() == "ana@db1:5432/shop"


def test_the_direct_address_is_preferred(tmp_path: Path) -> None:
    (found,) = find_candidates(tmp_path, {"DATABASE_URL": POOLED, "DIRECT_URL": DIRECT})
    assert found.template == "${DIRECT_URL:-${DATABASE_URL}}"
    assert found.address is not None
    assert found.address.host == "db.ab.supabase.co"


def test_a_proxys_address_is_passed_over_for_the_direct_one(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "prisma://x/?api_key=1", "DIRECT_URL": DIRECT}
    (found,) = find_candidates(tmp_path, environ)
    assert found.template == "${DIRECT_URL:-${DATABASE_URL}}"
    (swapped,) = find_candidates(tmp_path, {"DIRECT_URL": "prisma://x", "DATABASE_URL": URL})
    assert swapped.template == "${DATABASE_URL}"
    (none,) = find_candidates(tmp_path, {"DATABASE_URL": "prisma://x"})
    assert none.address is None
    assert none.problem is not None
    assert "NOT A DATABASE SERVER" in none.problem.what


def test_env_files_and_which_one_is_meant(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f'DATABASE_URL="{URL}"\n')
    (tmp_path / ".env.production").write_text("DATABASE_URL=postgresql://ana:pw@prod/shop\n")
    names = [found.origin for found in find_candidates(tmp_path, {})]
    assert names == [".env.production", ".env"]
    same = find_candidates(tmp_path, {"DATABASE_URL": URL})
    assert [found.origin for found in same] == [".env", ".env.production"]
    assert same[0].env_file == tmp_path / ".env"
    other = find_candidates(tmp_path, {"DATABASE_URL": "postgresql://ana:pw@stage/shop"})
    assert [found.origin for found in other] == ["the environment", ".env.production", ".env"]
    password = find_candidates(tmp_path, {"DATABASE_URL": URL.replace("pw", "new")})
    assert password[0].origin == "the environment"


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        (
            "prisma/schema.prisma",
            'generator client { provider = "x" }\ndatasource db {\n  provider = "postgresql"\n'
            '  url = env("POOL_URL") // url = env("OLD")\n  directUrl = env("MIGRATE_URL")\n}\n',
            ("MIGRATE_URL", "DIRECT_URL", "POOL_URL", "DATABASE_URL"),
        ),
        (
            "prisma.config.ts",
            "import { env } from 'prisma/config'\nexport default defineConfig({\n"
            "  schema: 'prisma/schema.prisma',\n  datasource: { url: env('SHOP_URL') },\n})\n",
            ("DIRECT_URL", "SHOP_URL", "DATABASE_URL"),
        ),
        (
            "prisma.config.ts",
            "export default { datasource: { url: process.env.DIRECT_URL } }",
            ("DIRECT_URL", "DATABASE_URL"),
        ),
        (
            "prisma.config.mjs",
            'export default { datasource: { url: process.env["SHOP_URL"] } }',
            ("DIRECT_URL", "SHOP_URL", "DATABASE_URL"),
        ),
        (
            "prisma/schema/base.prisma",
            'datasource db { url = env("SPLIT_URL") }',
            ("DIRECT_URL", "SPLIT_URL", "DATABASE_URL"),
        ),
        ("other.txt", 'datasource db { url = env("NO") }', ("DIRECT_URL", "DATABASE_URL")),
    ],
)
def test_the_names_a_prisma_project_uses(
    tmp_path: Path, file: str, text: str, names: tuple[str, ...]
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert variable_names(tmp_path) == names


def test_a_schema_that_package_json_names(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "s.prisma").write_text('datasource db { url = env("PKG_URL") }')
    (tmp_path / "package.json").write_text(
        '{"name": "@me/My Shop!", "prisma": {"schema": "db/s.prisma"}}'
    )
    assert variable_names(tmp_path) == ("DIRECT_URL", "PKG_URL", "DATABASE_URL")
    assert suggest_site(tmp_path) == "My-Shop"
    (tmp_path / ".env").write_text(f"PKG_URL={URL}\n")
    (found,) = find_candidates(tmp_path, {})
    assert found.template == "${PKG_URL}"
    assert env_file_with(tmp_path, "PKG_URL", {}) == tmp_path / ".env"
    assert env_file_with(tmp_path, "OTHER", {}) is None


def test_the_site_is_called_like_its_directory(tmp_path: Path) -> None:
    directory = tmp_path / "naïve shop.example"
    directory.mkdir()
    assert suggest_site(directory) == "na-ve-shop-example"
    (directory / "package.json").write_text("not json")
    assert suggest_site(directory) == "na-ve-shop-example"


def test_a_home_directory_is_no_project(tmp_path: Path) -> None:
    assert not is_project(tmp_path, {})
    (tmp_path / ".env").touch()
    assert is_project(tmp_path, {})
    assert not is_project(tmp_path, {"HOME": str(tmp_path)})
