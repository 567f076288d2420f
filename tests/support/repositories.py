"""Git repositories for tests: as nasty as they come, each in a directory of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

_WHO = {
    "GIT_AUTHOR_NAME": "Ana",
    "GIT_AUTHOR_EMAIL": "ana@example.org",
    "GIT_COMMITTER_NAME": "Ana",
    "GIT_COMMITTER_EMAIL": "ana@example.org",
    "GIT_AUTHOR_DATE": "2026-11-01T09:00:00Z",
    "GIT_COMMITTER_DATE": "2026-11-01T09:00:00Z",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ALLOW_PROTOCOL": "file",
}


def git(directory: Path, *arguments: str | bytes, stdin: bytes = b"", ok: bool = True) -> bytes:
    """Run one command of git in a directory and return what it prints."""
    done = subprocess.run(
        ["git", "-C", directory, *arguments],
        env={**os.environ, **_WHO},
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 or not ok, done.stderr
    return done.stdout


def begin(directory: Path) -> Path:
    """Make an empty repository on the branch main."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    return directory


def commit(directory: Path, message: str, **files: str) -> str:
    """Commit files (``a__b`` is a/b) and return the commit."""
    for name, content in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", message)
    return git(directory, "rev-parse", "HEAD").decode().strip()


def pointer(content: bytes) -> tuple[str, str]:
    """Return the LFS pointer of a content, and its object's id."""
    oid = hashlib.sha256(content).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    return text, oid


PICTURE = b"a large picture"


def make_shop(directory: Path, library: Path) -> Path:
    """Make a repository with most of what one can have; ``library`` becomes its submodule.

    Staged and unstaged work in one file, a binary one, a rename, a mode, a link; untracked names
    that are no text; three stashes; 200 refs; LFS pointers; a hook and filters that would leave
    the file ``ran`` beside the repository.
    """
    shop = begin(directory)
    there, oid = pointer(PICTURE)
    gone, _ = pointer(b"a picture that nobody has")
    (shop / "logo.bin").write_bytes(bytes(range(256)) * 20)
    (shop / "way").symlink_to("app/page")
    ignored = ".next/\n"
    commit(
        shop, "one", app__page="".join(f"{n}\n" for n in range(60)), moved="x\n" * 90,
        gone="g\n", script="#!/bin/sh\n", pictures__a=there, pictures__b=gone,
        **{".gitignore": ignored, ".gitattributes": "pictures/* filter=lfs\napp/* filter=evil\n",
           "prisma__migrations__20260101_init__migration.sql": "--",
           "prisma__migrations__20260202_likes__migration.sql": "--"},
    )  # fmt: skip
    stored = shop / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
    stored.mkdir(parents=True)
    (stored / oid).write_bytes(PICTURE)
    for number in range(3):
        (shop / "app" / "page").write_text(f"stashed {number}\n")
        (shop / f"kept{number}").write_text("untracked, and stashed\n")
        message = f"try {number}: 'quoted' $HOME"
        git(shop, "stash", "push", "--quiet", "--include-untracked", "--message", message)
    git(shop, "submodule", "--quiet", "add", f"file://{library}", "lib")
    head = commit(shop, "two")
    git(shop, "tag", "--annotate", "--message", "first", "v1", "HEAD~1")
    git(shop, "remote", "add", "origin", "https://ana:s3cret-token@git.example.org/shop.git?t=1")
    names = [f"refs/heads/feature/ü-{n}'$;" for n in range(200)] + ["refs/remotes/origin/main"]
    lines = b"".join(f"create {name} {head}\n".encode() for name in names)
    git(shop, "update-ref", "--stdin", stdin=lines + f"create refs/heads/caf{head[:0]}".encode()
        + b"\xe9 " + head.encode() + b"\n")  # fmt: skip
    git(shop, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(shop, "reset", "--quiet", "--hard", "HEAD~1")
    git(shop, "reset", "--quiet", "--hard", head)
    _work_in(shop)
    _set_traps(shop)
    return shop


def _work_in(shop: Path) -> None:
    page = (shop / "app" / "page").read_text()
    (shop / "app" / "page").write_text(page.replace("5\n", "five\n"))
    git(shop, "mv", "moved", "moved away")
    git(shop, "rm", "--quiet", "gone")
    (shop / "script").chmod(0o755)
    git(shop, "add", "app", "script")
    (shop / "app" / "page").write_text(page.replace("7\n", "seven\n"))
    (shop / "logo.bin").write_bytes(bytes(range(255, -1, -1)) * 25)
    (shop / "way").unlink()
    (shop / "way").symlink_to("elsewhere")
    (shop / "new\nline").write_text("its name has two lines\n")
    Path(os.fsdecode(bytes(shop) + b"/caf\xe9")).write_text("its name is no UTF-8\n")
    (shop / "notes").mkdir()
    (shop / "notes" / "todo").write_text("deploy\n")
    (shop / "notes" / "link").symlink_to("todo")
    (shop / ".next" / "static").mkdir(parents=True)
    (shop / ".next" / "BUILD_ID").write_text("b1\n")
    (shop / ".next" / "static" / "run.js").write_text("1\n")
    (shop / ".next" / "static" / "run.js").chmod(0o755)
    (shop / "lib" / "code.txt").write_text("changed in the submodule\n")


def _set_traps(shop: Path) -> None:
    """Configure programs that a backup must never run."""
    trap = f"sh -c 'touch {shop.parent}/ran; cat'"
    for key in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "core.fsmonitor",
        "diff.external",
        "core.sshCommand",
        "core.pager",
        "filter.lfs.clean",
        "core.alternateRefsCommand",
    ):
        git(shop, "config", key, trap)  # fmt: skip
    git(shop, "config", "filter.evil.required", "true")
    for name in ("post-index-change", "reference-transaction", "post-checkout"):
        hook = shop / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {shop.parent}/ran\n")
        hook.chmod(0o755)


def make_odd(base: Path, library: Path) -> dict[str, Path]:
    """Make the other kinds: unborn, detached, in the middle of a merge, shallow, linked."""
    unborn = begin(base / "unborn")
    (unborn / "staged").write_text("never committed\n")
    git(unborn, "add", "staged")
    (unborn / "staged").write_text("never committed, and changed\n")
    (unborn / "loose").write_text("x\n")
    detached = begin(base / "detached")
    commit(detached, "one", a="1\n", hidden="as committed\n")
    git(detached, "checkout", "--quiet", "--detach")
    commit(detached, "that no branch has", a="2\n")
    git(detached, "update-index", "--assume-unchanged", "hidden")
    (detached / "hidden").write_text("changed, and not looked at\n")
    (detached / "meant").write_text("to be added\n")
    git(detached, "add", "--intent-to-add", "meant")
    merging = begin(base / "merging")
    commit(merging, "one", a="1\n")
    git(merging, "checkout", "--quiet", "-b", "other")
    commit(merging, "theirs", a="theirs\n")
    git(merging, "checkout", "--quiet", "main")
    commit(merging, "ours", a="ours\n")
    git(merging, "merge", "other", ok=False)
    git(merging, "branch", "--quiet", "-D", "other")
    for number in range(4):
        commit(library, f"more {number}", more=f"{number}\n")
    shallow = base / "shallow"
    git(base, "clone", "--quiet", "--depth=2", f"file://{library}", str(shallow))
    linked = base / "linked"
    git(library, "worktree", "add", "--quiet", "-b", "linked", str(linked))
    (linked / "more").write_text("changed in the linked work tree\n")
    return {
        "unborn": unborn,
        "detached": detached,
        "merging": merging,
        "shallow": shallow,
        "linked": linked,
    }


def everything(directory: Path) -> dict[str, bytes]:
    """Return what a repository is, for comparing it with a copy of it."""
    objects = git(directory, "rev-list", "--objects", "--all")
    return {
        "objects": b"\n".join(sorted(objects.split(b"\n"))),
        "refs": git(directory, "for-each-ref", "--format=%(objectname) %(refname) %(symref)"),
        "head": git(directory, "rev-parse", "HEAD", ok=False),
        "branch": git(directory, "symbolic-ref", "--quiet", "HEAD", ok=False),
        "status": git(directory, "-c", "core.fsmonitor=false", "-c", "filter.evil.clean=cat",
                      "-c", f"filter.lfs.clean={_clean()}", "status", "--porcelain", "-z"),
        "stashes": git(directory, "stash", "list"),
    }  # fmt: skip


def _clean() -> str:
    """Return a command that gives the pointer for the picture that is there, as git-lfs does."""
    text = pointer(PICTURE)[0].replace("\n", "\\n")
    return f'sh -c \'read -r a; case $a in version*) echo "$a"; cat;; *) printf "{text}";; esac\''


def files_of(directory: Path) -> dict[bytes, tuple[str, bytes, int]]:
    """Return every file and link of a work tree but those of .git: kind, content, may it run."""
    found: dict[bytes, tuple[str, bytes, int]] = {}
    for path in directory.rglob("*"):
        relative = path.relative_to(directory)
        if ".git" in relative.parts or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink():
            found[bytes(relative)] = ("link", os.fsencode(path.readlink()), 0)
        else:
            found[bytes(relative)] = ("file", path.read_bytes(), path.stat().st_mode & 0o100)
    return found
