"""Files as a part of a point, by the real command line: captured, shared, proven, restored."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from fsbackup_tui.config.load import load_config
from fsbackup_tui.domain.errors import ToolError
from fsbackup_tui.domain.site_parts import TreeChanges
from fsbackup_tui.operations import run_plan, verify
from fsbackup_tui.operations.doctor_site import check_site_sources
from fsbackup_tui.operations.requests import BackupRequest, VerifyRequest
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.reader import PointReader
from tests.support.contexts import context_of
from tests.support.odd_trees import make_odd_tree, tree_state
from tests.support.resealing import reseal
from tests.support.signing_keys import make_ssh_keys
from tests.support.sites import Site, make_site
from tests.support.waiting import wait_until


def files_site(directory: Path, source: dict[str, object], **settings: object) -> Site:
    root = directory / "tree"
    if not root.exists():
        root.mkdir(parents=True)
        for number in range(40):
            path = root / f"d{number % 4}" / f"file-{number}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"content {number}\n" * 50)
    plan = {"sources": ["uploads"], "verify": "proven", "link_unchanged": True}
    return make_site(
        directory / "site",
        "",
        settings={
            "sources": {"uploads": {"kind": "files", "root": str(root), **source}},
            "plans": {"daily": plan},
            **settings,
        },
    )


async def backed_up(site: Site) -> dict[str, Any]:
    """Take a backup as a worker does, and return what there is to know of its point."""
    context = context_of(site, lambda _event: None, job="20261122T020000Z-backup-k3f9")
    document = await run_plan.run(BackupRequest("daily"), context)
    point = str(document["point"])
    manifest = PointReader(open_site_repository(context.loaded, site.environ()), point).manifest
    assert manifest is not None
    (part,) = manifest.parts
    assert part.files is not None
    return {"id": point, "trust": document["trust"], "part": part, "facts": part.files}


async def verified(site: Site, point: str) -> dict[str, Any]:
    context = context_of(site, lambda _event: None, job="20261122T020000Z-verify-k3f9")
    return await verify.run(VerifyRequest(point, "proven"), context)


def archive_of(site: Site, shown: dict[str, Any]) -> Path:
    path: Path
    (path,) = (site.repository / "points" / shown["id"] / "uploads").glob("files.tar*")
    return path


def names_in(archive: Path) -> list[str]:
    listing = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True)
    return listing.stdout.splitlines()


def settle(root: Path) -> None:
    """Wait until the newest file is older than a file system's clock is coarse."""
    newest = max(path.lstat().st_ctime_ns for path in (root, *root.rglob("*")))
    wait_until(lambda: time.time_ns() - newest > 60_000_000, timeout=10)


async def test_a_tree_is_shared_while_nothing_changes_and_suspect_when_it_falls(
    tmp_path: Path,
) -> None:
    told = tmp_path / "told"
    hooks = {
        name: ["/bin/sh", "-c", f"echo {name} >> {told}; test ! -e {tmp_path}/fail-{name}"]
        for name in ("before", "after")
    }
    site = files_site(tmp_path, {**hooks, "exclude": ["*.tmp"]})
    root = tmp_path / "tree"
    (root / "left.tmp").touch()
    settle(root)
    first = await backed_up(site)
    assert (first["trust"], first["facts"].files) == ("proven", 40)
    assert told.read_text() == "before\nafter\n"

    second = await backed_up(site)
    assert second["facts"].linked_to == first["id"]
    assert second["facts"].changes == TreeChanges(first["id"], 0, 0, 0)
    assert archive_of(site, second).stat().st_ino == archive_of(site, first).stat().st_ino
    assert second["trust"] == "proven"

    # What is shared is read against its seal first: where it is damaged, the tree is read anew.
    damaged = archive_of(site, second)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    third = await backed_up(site)
    assert third["facts"].linked_to is None
    assert third["trust"] == "proven"
    document = await verified(site, first["id"])
    assert document["trust"] == "damaged"
    assert document["problems"][0]["artifact"] == "files.tar.zst"

    (root / "d0" / "file-0").write_text("other\n")
    (root / "d1" / "file-1").unlink()
    (root / "d2" / "new").write_text("new\n")
    settle(root)
    fourth = await backed_up(site)
    assert fourth["facts"].changes == TreeChanges(third["id"], added=1, removed=1, changed=1)
    assert fourth["part"].suspect == ()
    listed = site.run("list").stdout
    heading = next(line for line in listed.splitlines() if line.startswith("POINT"))
    assert heading.split()[-3:] == ["FILES", "Δ", "TRUST"]
    assert "RESTORE TO" in listed
    assert "1 added, 1 changed, 1 removed since" in site.run("show", fourth["id"]).stdout

    for number in range(2, 40):
        for path in root.rglob(f"file-{number}"):
            path.unlink()
    (tmp_path / "fail-after").touch()
    fifth = await backed_up(site)
    assert fifth["part"].suspect == ("uploads 40 to 2 files",)
    (warning,) = fifth["part"].warnings
    assert "'AFTER' OF uploads FAILED" in warning
    assert "Do it by hand" in warning

    (tmp_path / "fail-before").touch()
    before = told.read_text()
    with pytest.raises(ToolError, match="'before' of uploads failed"):
        await backed_up(site)
    assert told.read_text() == before + "before\nafter\n"
    assert site.partial_remains() == []


async def test_what_is_altered_is_found_and_named(tmp_path: Path) -> None:
    """A point sealed anew after it was altered still can't pass for what it was."""
    site = files_site(tmp_path, {"compression": "none"})
    settle(tmp_path / "tree")
    point = await backed_up(site)
    archive = archive_of(site, point)
    content = archive.read_bytes()
    place = content.index(b"content 17\n")
    archive.write_bytes(content[:place] + b"CONTENT 17\n" + content[place + 11 :])
    repository = open_site_repository(load_config(site.config, site.environ()), site.environ())
    reseal(repository, point["id"])
    document = await verified(site, point["id"])
    assert not document["ok"]
    (problem,) = (p for p in document["problems"] if "file-17" in p["what"])
    assert problem["artifact"] == "files.tar"
    assert "content is not what was captured" in problem["what"]
    assert document["trust"] == "damaged"


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_the_pasted_commands_bring_it_all_back(tmp_path: Path, compression: str) -> None:
    (tmp_path / "place").mkdir()
    root = tmp_path / "place" / "tree"
    make_odd_tree(root)
    (root / "mode-0").chmod(0o400)
    site = files_site(tmp_path / "place", {"compression": compression})
    before = tree_state(root)
    shown = await backed_up(site)
    assert shown["trust"] == "proven"
    point = site.repository / "points" / shown["id"]
    home = tmp_path / "home"
    home.mkdir()
    text = (point / "RECOVER.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ran = subprocess.run(  # noqa: ASYNC221
        ["bash", "-eu"],
        input="set +u\n" + "\n".join(blocks),
        text=True,
        cwd=point,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C"},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "All files are as captured." in ran.stdout
    assert tree_state(home / "uploads_restored") == before
    shutil.rmtree(home)


async def test_an_encrypted_tree_is_proven_shared_and_compared(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    encryption = {
        "method": "age",
        "recipients": [str(identity.to_public())],
        "identity": {"env": "AGE_IDENTITY"},
    }
    site = files_site(tmp_path, {}, encryption=encryption)
    site.environment["AGE_IDENTITY"] = str(identity)
    settle(tmp_path / "tree")
    first = await backed_up(site)
    assert first["trust"] == "proven"
    stored = {path.name for path in archive_of(site, first).parent.iterdir()}
    assert {"files.tar.zst.age", "files.index.zst.age", "files.sha256.zst.age"} <= stored
    assert not any(b"file-17" in path.read_bytes() for path in site.repository.rglob("*.*"))
    second = await backed_up(site)
    assert second["facts"].linked_to == first["id"]
    (tmp_path / "tree" / "more").touch()
    settle(tmp_path / "tree")
    third = await backed_up(site)
    assert third["facts"].changes == TreeChanges(second["id"], added=1, removed=0, changed=0)
    # Without the private key nothing is found out, and nothing is said to be wrong.
    del site.environment["AGE_IDENTITY"]
    document = await verified(site, third["id"])
    assert document["levels"]["readable"]["ok"] is None
    assert (document["problems"], document["trust"]) == ([], "proven")


async def test_doctor_tells_what_would_fail_tonight(tmp_path: Path) -> None:
    site = files_site(tmp_path, {"after": ["/nowhere/resume"]})
    told = site.run("doctor", "--json").document["findings"]
    (found,) = (each for each in told if each["id"] == "source-uploads")
    assert (found["severity"], "/nowhere/resume" in found["what"]) == ("error", True)
    site = files_site(tmp_path / "other", {})
    told = site.run("doctor", "--json").document["findings"]
    (found,) = (each for each in told if each["id"] == "source-uploads")
    assert found["severity"] == "ok"
    assert "45 entries can be read, tar 1." in found["what"]
    shutil.rmtree(tmp_path / "other" / "tree")
    told = site.run("doctor", "--json").document["findings"]
    (found,) = (each for each in told if each["id"] == "source-uploads")
    assert "FILES NOT READ" in found["what"]


async def test_the_repository_below_the_root_is_left_out_and_told(tmp_path: Path) -> None:
    """Else every point would hold all those before it: the disk is full within weeks."""
    root = tmp_path / "srv"
    site = files_site(root, {"root": str(root)})
    assert root in site.repository.parents
    for _attempt in range(2):
        shown = await backed_up(site)
        own = site.repository.relative_to(root)
        assert any(f"{root / own} is fsbackup's own" in each for each in shown["part"].warnings)
        listed = names_in(archive_of(site, shown))
        assert any(name.endswith("tree/d0/file-0") for name in listed)
        assert [name for name in listed if name.startswith((f"./{own}", f"{own}"))] == []
    context = context_of(site, lambda _event: None)
    (found,) = await check_site_sources(context.loaded, context.environment)
    assert (found.severity, found.what.partition(":")[0]) == ("warning", "REPOSITORY IN THE TREE")


@pytest.mark.parametrize(
    ("make", "why"),
    [(lambda path: None, "No such file"), (Path.touch, "Not a directory"), (Path.mkdir, "")],
)
async def test_doctor_tells_whether_a_tree_can_be_captured(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    root = tmp_path / "uploads"
    make(root)
    site = files_site(tmp_path / "a", {"root": str(root)})
    context = context_of(site, lambda _event: None)
    (found,) = await check_site_sources(context.loaded, context.environment)
    assert (found.severity, why in found.why) == ("error" if why else "ok", True)
    assert str(root) in found.what


@pytest.mark.machine
async def test_what_nobody_who_counts_signed_is_shared_with_no_signed_point(
    tmp_path: Path,
) -> None:
    """A point can be put into the repository that tells of the same tree, with other files."""
    keys = make_ssh_keys(tmp_path / "ssh")
    keys.allowed.write_text(f"bob@example.org {keys.public('mallory')}\n")
    plans = {"daily": {"sources": ["uploads"], "link_unchanged": True}}
    site = files_site(tmp_path, {}, plans=plans)
    settle(tmp_path / "tree")
    unsigned = await backed_up(site)
    signing = {
        "method": "ssh",
        "key": str(keys.mallory),
        "allowed_signers": str(keys.allowed),
        "required": True,
    }
    site.settings = {**site.settings, "signing": signing}
    site.write_config()
    first = await backed_up(site)
    assert first["facts"].linked_to is None
    assert archive_of(site, first).stat().st_ino != archive_of(site, unsigned).stat().st_ino
    second = await backed_up(site)
    assert second["facts"].linked_to == first["id"]
