"""The sample site: a face-swap application's database and uploads, the same bytes every time."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.engines.process import Command, run

SITE_NAME = "face-swap"
DATABASE = "face_swap"
APPLICATION_ROLE = "face_swap"
DEFAULT_SIZE = 50_000_000
_HERE = Path(__file__).parent
# Measured with pg_database_size on PostgreSQL 15 and 18: an empty database, and what one user
# brings along (sessions, videos, likes, events and their indexes).
_EMPTY_BYTES = 7_700_000
_BYTES_PER_USER = 9_150
_SAMPLES = 60
_LOGO = '<svg xmlns="http://www.w3.org/2000/svg"><circle r="4" cx="4" cy="4"/></svg>\n'
_SCHEMA_PRISMA = """\
datasource db {
  provider  = "postgresql"
  url       = env("DATABASE_URL")
}

generator client {
  provider = "prisma-client-js"
}
"""


@dataclass(frozen=True, slots=True)
class SampleSite:
    """Where the sample site's files lie, and how large its database is meant to be (bytes)."""

    directory: Path
    size_bytes: int

    @property
    def storage(self) -> Path:
        """The uploads that rows name by ``file_path`` and ``output_path``."""
        return self.directory / "storage"

    @property
    def public(self) -> Path:
        """What the site shows everybody: its logo, robots.txt."""
        return self.directory / "public"

    @property
    def environment_file(self) -> Path:
        """The application's ``.env``, with its DATABASE_URL."""
        return self.directory / ".env"


def users_for(size_bytes: int) -> int:
    """Return how many users make a database of about this size; UsageError when too small."""
    users = (size_bytes - _EMPTY_BYTES) // _BYTES_PER_USER
    if users < 12:
        raise UsageError(
            f"SIZE TOO SMALL: {size_bytes / 1e6:g} MB.",
            why="An empty PostgreSQL database takes 8 MB by itself.",
            fix="Ask for 10MB or more, e.g. --size 50MB",
        )
    return users


async def seed_database(
    size_bytes: int, *, psql: str, superuser_url: str, application_url: str, env: Mapping[str, str]
) -> None:
    """Create the application's role and database on a fresh server, and fill it.

    ``superuser_url`` leads to the database ``postgres``, ``application_url`` to the sample
    database; both must let their role in without a password. ToolFailed when psql fails.
    """
    users = users_for(size_bytes)
    quiet = (psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
    create = (
        f"CREATE ROLE {APPLICATION_ROLE} LOGIN;\n"
        f"CREATE DATABASE {DATABASE} OWNER {APPLICATION_ROLE} TEMPLATE template0;\n"
        f"COMMENT ON DATABASE {DATABASE} IS 'the sample site of fsbackup demo';\n"
        f"ALTER DATABASE {DATABASE} SET statement_timeout = '15min';\n"
    )
    await run(
        Command((*quiet, f"--dbname={superuser_url}"), env=env, stdin=create.encode()),
    )
    in_database = (*quiet, f"--dbname={application_url}", "--output=/dev/null")
    numbers = (f"--set=users={users}", f"--set=samples={_SAMPLES}")
    for script in ("sample_schema.sql", "sample_data.sql"):
        await run(Command((*in_database, *numbers), env=env, stdin=_HERE / script))


def write_files(site: SampleSite, database_url: str) -> int:
    """Write the site's files, ``.env`` (0600) among them; returns the uploads' bytes."""
    total = 0
    for folder, kind, suffix in (
        ("face-sources", "face file", ".jpg"),
        ("generated-outputs", "output file", ".mp4"),
    ):
        target = site.storage / folder
        target.mkdir(parents=True)
        for number in range(_SAMPLES):
            content = _content(f"{kind} {number}")
            (target / f"{_sql_uuid(f'{kind} {number}')}{suffix}").write_bytes(content)
            total += len(content)
    public = site.directory / "public"
    public.mkdir()
    (public / "robots.txt").write_text("User-agent: *\nAllow: /\n")
    (public / "logo.svg").write_text(_LOGO)
    (site.directory / "prisma").mkdir()
    (site.directory / "prisma" / "schema.prisma").write_text(_SCHEMA_PRISMA)
    site.environment_file.touch(mode=0o600)
    site.environment_file.write_text(f'DATABASE_URL="{database_url}"\nNODE_ENV="production"\n')
    return total


def _sql_uuid(text: str) -> uuid.UUID:
    """Return what ``md5(text)::uuid`` is in the database, so that files and rows agree."""
    return uuid.UUID(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())


def _content(name: str) -> bytes:
    """Return 2 to 18 kB of bytes that follow from the name and do not compress, like a picture."""
    length = 2_000 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % 16_000
    return hashlib.shake_256(name.encode()).digest(length)
