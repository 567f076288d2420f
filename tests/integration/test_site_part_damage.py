"""Damage to stored configuration and code: found at its seal, and behind seals made to fit."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.operations.backup import back_up
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.requests import BackupRequest
from fsbackup_tui.operations.verify_parts import SitePart, try_rung
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.reader import PointReader
from tests.support.contexts import context_of
from tests.support.points import flip_byte
from tests.support.repositories import begin, commit, git
from tests.support.sites import make_site

pytestmark = pytest.mark.machine
_STEP = 97


def nothing(_event: Event) -> None:
    pass


async def make(tmp_path: Path) -> tuple[JobContext, Repository, str]:
    tree = begin(tmp_path / "tree")
    commit(tree, "one", a="1\n" * 30, b="x")
    commit(tree, "two", a="2\n" * 30)
    (tree / "a").write_text("3\n" * 30)
    (tree / "loose").write_text("untracked\n")
    (tmp_path / ".env").write_text("PASSWORD=correct horse\nMODE='on'\n")
    sources: dict[str, Any] = {
        "env": {"kind": "config", "files": [str(tmp_path / ".env")], "plaintext": True},
        "code": {"kind": "code", "worktree": str(tree)},
    }
    plans = {"daily": {"sources": ["env", "code"]}}
    site = make_site(tmp_path / "site", "-", settings={"sources": sources, "plans": plans})
    context = context_of(site, nothing)
    repository = open_repository(site.repository)
    manifest, _ = await back_up(BackupRequest(plan="daily"), context, repository)
    return context, repository, manifest.id


async def worth(context: JobContext, repository: Repository, point: str, source: str) -> Trust:
    """Return how far a part is shown good when its seals are made to fit what lies there."""
    reader = PointReader(repository, point)
    part = reader.part(source)
    fitting = tuple(resealed(reader, source, artifact) for artifact in part.artifacts)
    part = dataclasses.replace(part, artifacts=fitting)
    site = SitePart(context, repository, reader, part, ReadingKeys())
    reached = Trust.SEALED
    for rung in (Trust.READABLE, Trust.RESTORED):
        if part.kind == "config" and rung is Trust.RESTORED:
            break
        if (await try_rung(site, rung)).ok is not True:
            break
        reached = rung
    return reached


def resealed(reader: PointReader, source: str, artifact: Artifact) -> Artifact:
    """Return the artifact as a manifest tells of it whose sums were made to fit."""
    content = (reader.directory / source / artifact.path).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(artifact, bytes=len(content), sha256=digest)


async def test_every_flipped_byte_is_found_twice(tmp_path: Path) -> None:
    context, repository, point = await make(tmp_path)
    assert await worth(context, repository, point, "code") is Trust.RESTORED
    assert await worth(context, repository, point, "env") is Trust.READABLE
    flips = 0
    for source in ("code", "env"):
        reader = PointReader(repository, point)
        for artifact in reader.part(source).artifacts:
            path = reader.directory / source / artifact.path
            for offset in range(0, artifact.bytes, _STEP):
                flip_byte(path, offset)
                assert reader.check_sealed(source, nothing, beside_parts=False), offset
                reached = await worth(context, repository, point, source)
                assert reached is Trust.SEALED, (path.name, offset)
                flip_byte(path, offset)
                flips += 1
        assert reader.check_sealed(source, nothing, beside_parts=False) == []
    assert flips > 10


async def test_a_bundle_that_git_itself_passes_is_not_readable(tmp_path: Path) -> None:
    context, repository, point = await make(tmp_path)
    bundle = PointReader(repository, point).directory / "code" / "code.bundle"
    content = bundle.read_bytes()
    for kept in (len(content) - 1, len(content) - 30, content.index(b"PACK") + 12, 40, 0):
        bundle.write_bytes(content[:kept])
        assert await worth(context, repository, point, "code") is Trust.SEALED, kept
    # A whole bundle of another repository is none of this one either.
    other = begin(tmp_path / "other")
    commit(other, "another", a="1\n")
    git(other, "bundle", "create", "--quiet", str(tmp_path / "b"), "--all")
    bundle.write_bytes((tmp_path / "b").read_bytes())
    assert await worth(context, repository, point, "code") is Trust.SEALED


async def test_a_patch_that_does_not_apply_fails_the_restored_rung(tmp_path: Path) -> None:
    context, repository, point = await make(tmp_path)
    reader = PointReader(repository, point)
    part = reader.part("code")
    patch = next(each for each in part.artifacts if each.path.startswith("unstaged"))
    plain = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-nobody wrote that\n+4\n"
    (reader.directory / "code" / "unstaged.patch").write_bytes(plain)
    forged = Artifact("unstaged.patch", "work", len(plain), "")
    artifacts = tuple(forged if each is patch else each for each in part.artifacts)
    site = SitePart(
        context, repository, reader, dataclasses.replace(part, artifacts=artifacts), ReadingKeys()
    )
    trial = await try_rung(site, Trust.RESTORED)
    assert trial.ok is False
    assert "unstaged.patch does not apply" in trial.findings[0].what


async def test_without_git_the_rung_is_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, repository, point = await make(tmp_path)
    reader = PointReader(repository, point)
    site = SitePart(context, repository, reader, reader.part("code"), ReadingKeys())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (await try_rung(site, Trust.READABLE)).ok is True
    trial = await try_rung(site, Trust.RESTORED)
    assert (trial.ok, trial.findings) == (None, ())
    assert "git" in str(trial.blocked)
    with pytest.raises(FsbackupError, match="git"):
        await back_up(BackupRequest(plan="daily", sources=("code",)), context, repository)
