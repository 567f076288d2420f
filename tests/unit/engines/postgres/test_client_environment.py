"""How stock clients are told where the database is: no password but in the environment."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fsbackup_tui.domain.database_url import parse_database_url
from fsbackup_tui.engines.postgres.connection import client_environment


def test_service_file_is_private_holds_no_password_and_goes_away(tmp_path: Path) -> None:
    address = parse_database_url("postgresql://app:s3cret@db1:6000/shop?sslmode=require")
    with client_environment(address, directory=tmp_path, application_name="fsbackup/j1") as found:
        path = Path(found["PGSERVICEFILE"])
        text = path.read_text(encoding="utf-8")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert {"host=db1", "port=6000", "dbname=shop", "user=app", "sslmode=require"} <= set(
            text.splitlines()
        )
        assert "s3cret" not in text
        assert found["PGPASSWORD"] == "s3cret"
        assert found["PGAPPNAME"] == "fsbackup/j1"
        assert (found["LC_ALL"], found["PGCLIENTENCODING"]) == ("C", "UTF8")
        assert text.splitlines()[0] == f"[{found['PGSERVICE']}]"
    assert list(tmp_path.iterdir()) == []


def test_the_file_goes_away_after_an_error_too(tmp_path: Path) -> None:
    address = parse_database_url("postgresql://app@db1/shop")

    def fail() -> None:
        with client_environment(address, directory=tmp_path, application_name="x") as found:
            assert "PGPASSWORD" not in found
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_names_a_service_file_can_t_hold_go_by_the_environment(tmp_path: Path) -> None:
    address = parse_database_url("postgresql://app@db1/shop").with_database("ends with a blank ")
    with client_environment(address, directory=tmp_path, application_name="x") as found:
        assert found["PGDATABASE"] == "ends with a blank "
        assert "dbname" not in Path(found["PGSERVICEFILE"]).read_text(encoding="utf-8")
