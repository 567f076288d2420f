"""A double of a Supabase project's database on a real PostgreSQL server.

Its server has extensions that no other has (stand-ins for Supabase's own, which nobody packages),
so that a scratch server of the same version lacks them, as any server outside Supabase does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer, start_scratch_server
from tests.support.servers import binaries, execute
from tests.support.stand_ins import with_stand_ins

SUPERUSER = "supabase_admin"
_SQL = Path(__file__).with_suffix(".sql")
_STAND_INS = {
    "supabase_vault": (
        "0.3.1",
        "CREATE TABLE secrets (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text,"
        " secret text);"
        "CREATE VIEW decrypted_secrets AS SELECT id, name, secret AS decrypted_secret FROM secrets;"
        "SELECT pg_catalog.pg_extension_config_dump('secrets', '');",
    ),
    "pg_graphql": (
        "1.5.11",
        "CREATE FUNCTION resolve(query text) RETURNS jsonb LANGUAGE sql"
        " AS 'SELECT jsonb_build_object(''data'', query)';",
    ),
    "uuid-ossp": (
        "1.1",
        "CREATE FUNCTION uuid_generate_v4() RETURNS uuid LANGUAGE sql"
        " AS 'SELECT gen_random_uuid()';",
    ),
    "pgcrypto": (
        "1.3",
        "CREATE FUNCTION gen_salt(kind text) RETURNS text LANGUAGE sql AS 'SELECT kind';",
    ),
}
# uuid-ossp needs a library of the system that few machines have.
_REAL_WHERE_PRESENT = frozenset({"pgcrypto"})


@dataclass
class SupabaseDouble:
    """The double's server; ``url`` is what the project's owner has."""

    server: ScratchServer

    @property
    def url(self) -> str:
        """The database as the project's administrator, who is no superuser."""
        return self.server.url("postgres", user="postgres")

    @property
    def platform_url(self) -> str:
        """The database as Supabase's superuser."""
        return self.server.url("postgres", user=SUPERUSER)

    def url_of(self, role: str) -> str:
        """The database as any other role."""
        return self.server.url("postgres", user=role)

    def as_platform(self, *statements: str) -> None:
        """Run statements as Supabase's superuser."""
        execute(self.platform_url, *statements)


def start_supabase_double(directory: Path, major: int) -> SupabaseDouble:
    """Start the double of a project on its own server of that major; ``remove`` its server."""
    directory.mkdir(parents=True, exist_ok=True)
    server = start_scratch_server(
        directory / "server",
        bin_directory=with_stand_ins(
            binaries(major), directory / "programs", _STAND_INS, _REAL_WHERE_PRESENT
        ),
        initdb_options=[f"--username={SUPERUSER}"],
    )
    double = SupabaseDouble(server)
    double.as_platform(_SQL.read_text())
    return double
