"""A standby as the source: captured without touching the primary, and said to be one."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.repository.manifest import read_manifest
from tests.support.servers import FreshServer, execute, query
from tests.support.sites import make_site
from tests.support.standby import make_standby
from tests.support.waiting import wait_until

_ROWS = 5000


def test_a_standby_is_backed_up_with_its_replay_position(
    fresh_server: FreshServer, tmp_path: Path
) -> None:
    primary, standby = fresh_server(tcp=True), fresh_server()
    execute(
        primary.url(),
        "CREATE TABLE videos (id int PRIMARY KEY, path text)",
        f"INSERT INTO videos SELECT i, 'p' || i FROM generate_series(1, {_ROWS}) AS i",
    )
    make_standby(primary, standby, tmp_path)
    execute(primary.url(), "INSERT INTO videos VALUES (0, 'after the base backup')")
    wait_until(
        lambda: query(standby.url(), "SELECT count(*) FROM videos") == [(_ROWS + 1,)],
        what=standby.log.read_text()[-2000:],
    )

    site = make_site(tmp_path / "site", standby.url(), source={"admin": {"url": primary.url()}})
    done = site.run("backup", "daily", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    manifest = read_manifest(Path(done.document["path"]) / "manifest.json")
    facts = manifest.parts[0].postgres
    assert facts is not None
    assert facts.identity.standby is True
    assert facts.replay_at is not None
    assert facts.snapshot_lsn is not None
    counted = {table.qualified: table.rows for table in facts.tables if table.counted}
    assert counted == {"public.videos": _ROWS + 1}

    looked = site.run("verify", "--live", "--json")
    assert looked.exit_code == 0, looked.stdout + looked.stderr
    assert looked.document["tables"][0]["indexes"] == {"videos_pkey": _ROWS + 1}
    assert "damage on the primary" in [item["what"] for item in looked.document["not_seen"]]

    restored = site.run("restore", "latest", "--beside", "from_standby", "--json")
    assert restored.exit_code == 0, restored.stdout + restored.stderr
    assert query(primary.url("from_standby"), "SELECT count(*) FROM videos") == [(_ROWS + 1,)]
