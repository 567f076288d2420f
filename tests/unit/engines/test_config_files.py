"""A configuration as one tar in memory: what goes in comes out, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import SafetyRefusal, ToolError, UsageError
from fsbackup_tui.engines.config_digest import DigestKey, config_facts
from fsbackup_tui.engines.config_files import (
    LARGEST_BYTES,
    ConfigItem,
    ConfigTarDamaged,
    build_tar,
    chosen,
    read_file,
    read_tar,
)
from fsbackup_tui.engines.config_restore import find_kept, put_in_place, state_of, write_beside

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def some(directory: Path) -> list[ConfigItem]:
    env = directory / ".env"
    env.write_bytes(b"PIN=one-of-nine\n\xff")
    env.chmod(0o640)
    os.utime(env, (1_700_000_000.25, 1_700_000_000.25))
    return [
        read_file(env),
        ConfigItem("variable", "NODE_ENV", b"it's \\ production\r\n"),
        ConfigItem("variable", "EMPTY", b""),
        ConfigItem("command", "crontab", b"* * * * * x\n"),
    ]


def test_everything_comes_out_as_it_went_in(tmp_path: Path) -> None:
    items = some(tmp_path)
    back = {(i.origin, i.name): i for i in read_tar(io.BytesIO(build_tar(items, NOW)))}
    assert {key: item.data for key, item in back.items()} == {
        (item.origin, item.name): item.data for item in items
    }
    env = back["file", str(tmp_path / ".env")]
    assert env == items[0]
    assert (env.mode, env.mtime) == (0o640, 1_700_000_000.25)


def test_the_stock_tar_lists_the_names_that_are_promised(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(build_tar(some(tmp_path), NOW))) as tar:
        names = tar.getnames()
    assert names == [f"files{tmp_path}/.env", "commands/crontab", "variables.env"]


def test_no_value_can_be_tried_against_what_a_manifest_tells(tmp_path: Path) -> None:
    items = some(tmp_path)
    first, second = build_tar(items, NOW), build_tar(items, NOW)
    assert hashlib.sha256(first).digest() != hashlib.sha256(second).digest()
    key = DigestKey.new()
    told = json.dumps(asdict(config_facts(items, key)))
    for item in items[1:]:
        for value in (item.data, b"one-of-nine"):
            assert hashlib.sha256(value).hexdigest() not in told
    assert key.secret.hex() not in told + repr(key)
    assert "one-of-nine" not in told + repr(items)
    assert asdict(config_facts(items[1:2], key))["entries"][0]["bytes"] is None


def test_equal_values_of_two_names_do_not_show(tmp_path: Path) -> None:
    key = DigestKey.new()
    items = [ConfigItem("variable", name, b"same") for name in ("A", "B")]
    digests = {entry.digest for entry in config_facts(items, key).entries}
    assert len(digests) == 2
    assert config_facts(items, key) == config_facts(items, key)


def hostile(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info, io.BytesIO(b""))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        hostile("/etc/passwd"),
        hostile("files/../../etc/passwd"),
        hostile("files/etc/x", tarfile.SYMTYPE, "/etc/passwd"),
        hostile("files/etc/x", tarfile.LNKTYPE, "files/etc/y"),
        hostile("files/dev", tarfile.CHRTYPE),
        hostile("files/etc", tarfile.DIRTYPE),
        hostile("elsewhere"),
        hostile("files/a")[:512] + hostile("files/a"),
        hostile("files/a")[:300],
        b"no tar at all" * 100,
    ],
)
def test_what_we_do_not_write_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigTarDamaged):
        read_tar(io.BytesIO(content))


def test_what_is_no_file_or_too_large_is_not_captured(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", LARGEST_BYTES + 1)
    for name, what in (("pipe", "no file"), (".", "no file"), ("large", "TOO LARGE")):
        with pytest.raises(ToolError, match=what):
            read_file(tmp_path / name)
    half = ConfigItem("command", "a", bytes(LARGEST_BYTES // 2 + 1))
    with pytest.raises(ToolError, match="TOO LARGE"):
        build_tar([half, ConfigItem("command", "b", half.data)], NOW)


def test_patterns_choose_by_name_path_and_last_component(tmp_path: Path) -> None:
    items = [ConfigItem("file", n, b"") for n in ("/srv/.env", "/etc/nginx/a.conf", "/etc/b")]
    names = [[i.name for i in chosen(items, p)] for p in ((".env",), ("/etc/*",), ("*.conf", "b"))]
    assert names == [
        ["/srv/.env"],
        ["/etc/nginx/a.conf", "/etc/b"],
        ["/etc/nginx/a.conf", "/etc/b"],
    ]
    assert len(chosen(items, ())) == 3


def test_beside_everything_is_private_and_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "beside"
    names = write_beside(some(tmp_path), target)
    assert sorted(names) == ["commands/crontab", f"files{tmp_path}/.env", "variables.env"]
    modes = {path.stat().st_mode & 0o777 for path in target.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {p.stat().st_mode & 0o777 for p in [target, *target.rglob("*")] if p.is_dir()} == {0o700}
    with pytest.raises(UsageError, match="EXISTS ALREADY"):
        write_beside(some(tmp_path), target)


def test_in_place_keeps_the_present_file_and_follows_links(tmp_path: Path) -> None:
    (item,) = some(tmp_path)[:1]
    live = tmp_path / ".env"
    real = tmp_path / "shared.env"
    live.rename(real)
    live.symlink_to(real)
    real.write_text("PIN=1\n")
    real.chmod(0o604)
    before = state_of(live)
    (placed,) = put_in_place([item], NOW, "fsbackup restore …")
    kept = Path(placed.kept)
    # No glob that loads configuration takes it: *.env, .env*, *.conf, sites-enabled/*, cron.d.
    assert kept == tmp_path / ".before-20261122T020000Z-shared.env~"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("PIN=1\n", 0o604)
    assert live.is_symlink()
    assert (real.read_bytes(), real.stat().st_mode & 0o777) == (item.data, 0o640)
    assert state_of(live) != before
    (again,) = put_in_place([item], NOW, "")
    assert again.kept != placed.kept
    assert find_kept(real) == sorted([Path(again.kept), kept])
    assert find_kept(tmp_path / "env") == find_kept(tmp_path / "gone" / "x") == []
    other_name = tmp_path / "another-name.env"
    other_name.hardlink_to(real)
    (third,) = put_in_place([replace(item, data=b"PIN=3\n")], NOW, "")
    assert other_name.stat().st_mode & 0o777 == 0o640
    assert (Path(third.kept).read_bytes(), Path(third.kept).stat().st_mode & 0o777) == (
        item.data,
        0o640,
    )
    other_name.unlink()
    missing = ConfigItem("file", str(tmp_path / "gone" / "x"), b"")
    with pytest.raises(SafetyRefusal, match="Nothing was changed"):
        put_in_place([item, missing], NOW, "")
    assert sorted(path.name[:10] for path in tmp_path.iterdir() if path.is_file()) == [
        *([".before-20"] * 3), ".env", "shared.env",
    ]  # fmt: skip
