"""Configuration as a part of a point: encrypted, compared by names, written beside, put back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyrage
import pytest

from fsbackup_tui.domain.errors import KeyUnavailable, SafetyRefusal, ToolError
from fsbackup_tui.engines.config_restore import find_kept
from fsbackup_tui.operations import config_take_back
from fsbackup_tui.operations.backup import back_up
from fsbackup_tui.operations.doctor_site import check_site_sources
from fsbackup_tui.operations.place_requests import ConfigTakeBackRequest
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.operations.restore_config import run, seen_token
from fsbackup_tui.operations.site_requests import RestoreConfigRequest
from fsbackup_tui.repository.layout import open_repository
from tests.support.contexts import context_of
from tests.support.sites import CommandResult, Site, make_site

SECRETS = ("correct-horse-9", "sk_live_51HbQ", "battery-staple-7", "printed-by-a-command-3")
IDENTITY = pyrage.x25519.Identity.generate()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    place = tmp_path / "srv"
    place.mkdir()
    env = place / ".env"
    env.write_text(f"DATABASE_PASSWORD={SECRETS[0]}\nAPI_KEY='{SECRETS[1]}'\nMODE=on\n")
    env.chmod(0o640)
    (place / "app.conf").write_text("listen 80;\n")
    (tmp_path / "print").write_text(f"#!/bin/sh\necho {SECRETS[3]}\n")
    (tmp_path / "print").chmod(0o755)
    sources: dict[str, Any] = {
        "env": {
            "kind": "config",
            "files": [str(env), str(place / "app.conf")],
            "optional": [str(place / "extra.conf")],
            "variables": ["SESSION_SECRET"],
            "commands": [{"name": "printed", "command": [str(tmp_path / "print")]}],
        }
    }
    made = make_site(
        tmp_path / "site",
        "-",
        settings={
            "sources": sources,
            "plans": {"daily": {"sources": ["env"], "verify": "proven"}},
            "encryption": {
                "method": "age",
                "recipients": [str(IDENTITY.to_public())],
                "identity": {"env": "THE_IDENTITY"},
            },
        },
    )
    made.environment |= {"SESSION_SECRET": SECRETS[2], "THE_IDENTITY": str(IDENTITY)}
    return made


def good(done: CommandResult) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr + done.stdout
    return done.document


def take(site: Site) -> str:
    done = good(site.run("backup", "daily", "--json"))
    assert done["trust"] in ("readable", "proven"), done
    return str(done["point"])


def test_its_way_from_capture_to_being_put_back(site: Site, tmp_path: Path) -> None:
    env = tmp_path / "srv" / ".env"
    first = take(site)  # and takes it to its top rung

    env.write_text(f"DATABASE_PASSWORD=another-one\nMODE=on\nNEW='{SECRETS[1]}'\n")
    (tmp_path / "srv" / "extra.conf").write_text("x\n")
    second = take(site)
    shown = good(site.run("show", second, "--json"))["changes"]["env"]
    assert shown["since"] == first
    changed = {entry["name"]: entry for entry in shown["entries"]}
    assert changed.keys() == {str(env), str(tmp_path / "srv" / "extra.conf")}
    assert changed[str(env)]["keys"] == {
        "added": ["NEW"], "removed": ["API_KEY"], "changed": ["DATABASE_PASSWORD"]
    }  # fmt: skip

    diff = good(site.run("restore", first, "--part", "env", "--diff", "--json"))["entries"]
    assert {entry["name"]: entry["change"] for entry in diff}[str(env)] == "changed"
    beside = tmp_path / "beside"
    good(site.run("restore", first, "--part", "env", "--to", str(beside), "--files", ".env,printed",
                  "--json"))  # fmt: skip
    assert sorted(str(p.relative_to(beside)) for p in beside.rglob("*") if p.is_file()) == [
        "commands/printed", f"files{env}",
    ]  # fmt: skip
    assert SECRETS[0] in (beside / "files" / str(env)[1:]).read_text()

    words = ("restore", first, "--part", "env", "--in-place", "--files", ".env")
    refused = site.run(*words, "--json")
    assert (refused.exit_code, refused.error["kind"]) == (4, "confirmation-needed")
    present = env.read_bytes()
    done = good(site.run(*words, "--confirm", "face-swap", "--json"))
    (placed,) = done["placed"]
    assert placed["file"] == str(env)
    kept = Path(placed["kept"])
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (present, 0o640)
    (note,) = [each for each in good(site.run("leftovers", "--json"))["notes"] if str(kept) in each]
    assert "remove it" in note
    assert SECRETS[0] in env.read_text()
    assert env.stat().st_mode & 0o777 == 0o640
    env.chmod(0o644)
    request = ConfigTakeBackRequest("env", (str(env),), (str(kept),))
    undone = asyncio.run(config_take_back.run(request, context_of(site, lambda _event: None)))
    assert (env.read_bytes(), env.stat().st_mode & 0o777) == (present, 0o640)
    (after,) = find_kept(env)
    assert undone["taken_back"][0]["kept"] == str(after)  # type: ignore[index]
    assert (SECRETS[0] in after.read_text(), after.stat().st_mode & 0o777) == (True, 0o644)


def test_why_an_env_file_is_not_compared_by_names_is_told(site: Site, tmp_path: Path) -> None:
    env = tmp_path / "srv" / ".env"
    first = take(site)
    env.write_text(f"MODE=on\nKEY={SECRETS[1]}\n{SECRETS[0]}=\nno-assignment-{SECRETS[2]}\n")
    said = good(site.run("restore", first, "--part", "env", "--diff", "--json"))
    (entry,) = (each for each in said["entries"] if each["change"] == "changed")
    assert entry["keys"] == {"added": [], "removed": [], "changed": []}
    assert said["notes"] == [f"{env} is compared as a whole: line 4: no NAME=value"]


def test_no_value_lies_anywhere(site: Site, tmp_path: Path) -> None:
    point = take(site)
    said = [site.run("show", point), site.run("show", point, "--json")]
    said.append(site.run("restore", point, "--part", "env", "--diff"))
    told = "".join(done.stdout + done.stderr for done in said).encode()
    stored = {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()}
    for secret in (*SECRETS, str(IDENTITY)):
        assert secret.encode() not in told
        assert [path for path, data in stored.items() if secret.encode() in data] == []
    (key,) = [path for path in stored if path.name == "config-digest.key"]
    assert key.stat().st_mode & 0o777 == 0o600
    manifest = stored[site.repository / "points" / point / "manifest.json"]
    assert b"SESSION_SECRET" in manifest
    assert b"API_KEY" in manifest


async def capture(site: Site) -> str:
    """Take a point within this process."""
    context = context_of(site, lambda _event: None)
    manifest, _ = await back_up(
        BackupRequest(plan="daily"), context, open_repository(site.repository)
    )
    return manifest.id


async def test_what_is_missing_fails_the_part_and_names_it(site: Site, tmp_path: Path) -> None:
    (tmp_path / "srv" / "app.conf").unlink()
    with pytest.raises(ToolError, match=r"app\.conf"):
        await capture(site)
    context = context_of(site, lambda _event: None)
    (found,) = await check_site_sources(context.loaded, context.environment)
    assert (found.severity, "app.conf is not there" in found.why) == ("error", True)
    (tmp_path / "srv" / "app.conf").write_text("")
    (tmp_path / "print").write_text(f"#!/bin/sh\necho {SECRETS[0]} >&2; exit 3\n")
    with pytest.raises(ToolError, match="printed") as raised:
        await capture(site)
    assert SECRETS[0] not in str(raised.value)
    (tmp_path / "print").write_text("#!/bin/sh\n")
    del site.environment["SESSION_SECRET"]
    with pytest.raises(ToolError, match="SESSION_SECRET"):
        await capture(site)
    assert list((site.repository / "points").iterdir()) == []


async def test_only_what_the_configuration_names_is_put_in_place(
    site: Site, tmp_path: Path
) -> None:
    point = await capture(site)
    env = tmp_path / "srv" / ".env"
    source = {**site.settings["sources"]["env"], "files": [str(tmp_path / "srv" / "app.conf")]}  # type: ignore[index]
    site.settings = {**site.settings, "sources": {"env": source}}
    site.write_config()
    before = env.read_bytes(), sorted(env.parent.iterdir())
    context = context_of(site, lambda _event: None)
    with pytest.raises(SafetyRefusal, match="is none of this site's files"):
        await run(RestoreConfigRequest(point, "env", "in-place", ("*",)), context)
    conf = ("app.conf",)
    seen = (seen_token(str(tmp_path / "srv" / "app.conf"), "another state"),)
    with pytest.raises(SafetyRefusal, match="was written to since"):
        await run(RestoreConfigRequest(point, "env", "in-place", conf, seen=seen), context)
    del site.environment["THE_IDENTITY"]
    context = context_of(site, lambda _event: None)
    beside = str(tmp_path / "b")
    with pytest.raises(KeyUnavailable):
        await run(RestoreConfigRequest(point, "env", "beside", to=beside), context)
    # By the machine's own digests it can be compared without the key.
    diff = await run(RestoreConfigRequest(point, "env", "diff", conf), context)
    entries: Any = diff["entries"]
    assert [entry["change"] for entry in entries] == ["same"]
    assert (env.read_bytes(), sorted(env.parent.iterdir())) == before
    assert not (tmp_path / "b").exists()
