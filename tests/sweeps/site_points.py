"""The stored points of a whole site that are damaged: one of every kind and every key.

Every point holds one part, so that a round tries that part alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.signature import SIGNATURE_NAMES
from fsbackup_tui.engines.chain import Chain
from fsbackup_tui.engines.encryption.age import new_identity
from fsbackup_tui.engines.encryption.keys import EncryptionKey, ReadingKeys
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.keys import encryption_key, reading_keys
from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.files import list_files
from fsbackup_tui.repository.keys import KEYS
from fsbackup_tui.repository.manifest import MANIFEST_NAME, PART_NAME
from fsbackup_tui.repository.reader import PointReader
from tests.support.proving import Bench, make_bench

PARTS = ("db", "uploads", "env", "code")
LOCKS = ("plain", "age", "age passphrase", "gpg passphrase", "gpg")
"""How they are encrypted; the last two need gpg."""

PASSPHRASE = "a passphrase with ü and 'quotes'"
SIGNATURE = SIGNATURE_NAMES[0]
_COMMITTER = {
    **{
        f"GIT_{who}_{what}": "ana@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


@dataclass(frozen=True)
class SitePoint:
    """A faultless point with one part, and a copy of it to go back to.

    ``key`` is what encrypted it, ``opened_by`` what decrypts it.
    """

    bench: Bench
    point: str
    part: str
    lock: str
    pristine: Path
    pristine_keys: Path
    key: EncryptionKey | None
    opened_by: ReadingKeys

    @property
    def name(self) -> str:
        """Part and key in words."""
        return f"{self.part}/{self.lock}"

    @property
    def directory(self) -> Path:
        """Where the point lies."""
        return self.bench.point_directory(self.point)

    @property
    def keys(self) -> Path:
        """Where the repository's keys lie."""
        return self.bench.repository.root / KEYS

    @property
    def reader(self) -> PointReader:
        """The point as it lies there now."""
        return PointReader(self.bench.repository, self.point)

    def renew(self) -> None:
        """Make the point and the keys as they were, and forget what was recorded of it."""
        for place, pristine in ((self.directory, self.pristine), (self.keys, self.pristine_keys)):
            shutil.rmtree(place, ignore_errors=True)
            if pristine.is_dir():
                shutil.copytree(pristine, place, symlinks=True)
        shutil.rmtree(self.bench.repository.records / self.point, ignore_errors=True)

    def files(self) -> dict[str, list[Path]]:
        """Return the point's files by kind, relative to its directory; the signature, too."""
        part = self.reader.part(self.part)
        kinds: dict[str, list[Path]] = {}
        artifacts = {Path(part.source, artifact.path): artifact for artifact in part.artifacts}
        for name in list_files(self.directory):
            path = Path(name)
            if path in artifacts:
                kind = plain_name(artifacts[path])
            elif path == Path(SUMS_NAME):
                kind = "SHA256SUMS of the point"
            elif path.name == SUMS_NAME:
                kind = "SHA256SUMS of a part"
            else:
                kind = path.name if not path.name.endswith(".age") else "identity in the point"
            kinds.setdefault(kind, []).append(path)
        assert {MANIFEST_NAME, PART_NAME, SIGNATURE} <= kinds.keys()
        return kinds

    def chain(self, artifact: Artifact) -> Chain:
        """Return how an artifact of the part was stored."""
        return Chain(artifact.compression, self.key if artifact.encryption else None)


def plain_name(artifact: Artifact) -> str:
    """Return an artifact's name without what compression and encryption add."""
    words = artifact.path.rpartition("/")[2].split(".")
    return ".".join(word for word in words if word not in ("zst", "gz", "gpg", "age"))


@asynccontextmanager
async def stored_site(
    directory: Path,
    url: str,
    *,
    scratch_url: str,
    locks: Iterable[str] = LOCKS,
    parts: Sequence[str] = PARTS,
    keyring: Path | None = None,
) -> AsyncIterator[list[SitePoint]]:
    """Back each part of a site up under every key."""
    site = directory / "the site"
    make_tree(site / "storage")
    make_environment(site)
    if "code" in parts:
        make_work_tree(site / "code")
    found: list[SitePoint] = []
    with ExitStack() as stack:
        for lock in locks:
            bench = _bench(directory, url, lock, site, scratch_url=scratch_url, keyring=keyring)
            context = stack.enter_context(bench.job("look"))
            for part in parts:
                found.append(await _stored(bench, part, lock, context))
        yield found


async def _stored(bench: Bench, part: str, lock: str, context: JobContext) -> SitePoint:
    document = await bench.back_up(part)
    assert document["ok"], document
    point, repository = str(document["point"]), bench.repository
    directory = bench.site.directory.parent
    pristine = directory / f"{part} pristine"
    shutil.copytree(bench.point_directory(point), pristine, symlinks=True)
    keys = directory / "keys pristine"
    if not keys.exists() and (repository.root / KEYS).is_dir():
        shutil.copytree(repository.root / KEYS, keys)
    key = None if lock == "plain" else await encryption_key(context, repository)
    opened_by = await reading_keys(context, PointReader(repository, point))
    return SitePoint(bench, point, part, lock, pristine, keys, key, opened_by)


def _bench(
    directory: Path, url: str, lock: str, site: Path, *, scratch_url: str, keyring: Path | None
) -> Bench:
    place = directory / lock
    place.mkdir(mode=0o700)
    encryption, environment = _encryption(place, lock, keyring)
    command = {"name": "greeting", "command": ["printf", "hello from a command\\n"]}
    settings: dict[str, Any] = {
        "sources": {
            "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
            "uploads": {"kind": "files", "root": str(site / "storage")},
            "env": {
                "kind": "config",
                "files": [str(site / ".env"), str(site / "nginx.conf")],
                "variables": ["NODE_ENV"],
                "commands": [command],
                "plaintext": lock == "plain",
            },
            "code": {"kind": "code", "worktree": str(site / "code"), "artifacts": [".next"]},
        },
        "plans": {name: {"sources": [name], "verify": "sealed"} for name in PARTS},
    }
    if encryption:
        settings["encryption"] = encryption
    settings["signing"] = make_signer(place, "ana@example.org")
    bench = make_bench(place / "bench", url, scratch_url=scratch_url, settings=settings)
    bench.site.environment |= {"NODE_ENV": "production", **environment}
    return bench


def _encryption(
    place: Path, lock: str, keyring: Path | None
) -> tuple[dict[str, Any], dict[str, str]]:
    if lock == "plain":
        return {}, {}
    method = lock.partition(" ")[0]
    if lock.endswith("passphrase"):
        return {"method": method, "hint": "in the safe"}, {"FSBACKUP_PASSPHRASE": PASSPHRASE}
    if lock == "age":
        identity, recipient = new_identity()
        private = place / "identity.txt"
        private.touch(mode=0o600)
        private.write_text(f"{identity.reveal()}\n")
        described = {"identity": {"file": str(private)}}
        return {"method": "age", "recipients": [recipient], **described}, {}
    return {"method": "gpg", "recipients": ["ana@example.org"], "keyring": str(keyring)}, {}


@contextmanager
def gpg_keyring() -> Iterator[Path]:
    """Give for the block a home directory of gpg's with a key that encrypts."""
    # Short, since an agent's socket lies in it.
    with tempfile.TemporaryDirectory(prefix="gpg", dir="/tmp") as home:
        generate = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        what = ["--quick-generate-key", "ana@example.org", "future-default", "default", "0"]
        try:
            subprocess.run([*generate, *what], check=True, capture_output=True)
            yield Path(home)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=False)


def make_signer(place: Path, principal: str) -> dict[str, Any]:
    """Make an ssh key in ``place`` that is allowed to sign; returns ``signing:``."""
    key = place / "signing-key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", principal, "-f", str(key)], check=True
    )
    allowed = place / "allowed"
    allowed.touch(mode=0o600)
    allowed.write_text(f"{principal} {key.with_suffix('.pub').read_text()}")
    return {"method": "ssh", "key": str(key), "allowed_signers": str(allowed), "required": True}


def make_tree(root: Path) -> None:
    """Make uploads: compressible and not, empty, sparse, linked both ways, oddly named."""
    (root / "a" / "deep").mkdir(parents=True)
    (root / "a" / "noise.jpg").write_bytes(os.urandom(3000))
    (root / "a" / "deep" / "words.txt").write_text("the same words\n" * 200)
    (root / "empty").write_bytes(b"")
    (root / "übergröße \\ 'n\n.txt").write_text("odd\n")
    (root / "to words").symlink_to("a/deep/words.txt")
    (root / "twice").hardlink_to(root / "a" / "noise.jpg")
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 18)
        file.seek(1 << 17)
        file.write(b"in the middle")
    (root / "a" / "deep").chmod(0o750)


def make_environment(site: Path) -> None:
    """Make configuration files: one of names and values, one of another kind."""
    (site / ".env").touch(mode=0o600)
    (site / ".env").write_text("DATABASE_URL=postgresql://app:secret@db/app\nTOKEN='a b c'\n")
    (site / "nginx.conf").write_text("server {\n  listen 80;\n}\n" * 30)


def make_work_tree(top: Path) -> None:
    """Make a git work tree with history, a stash, and work that nobody committed."""

    def git(*arguments: str) -> None:
        environ = {**os.environ, **_COMMITTER}
        subprocess.run(["git", "-C", str(top), *arguments], check=True, env=environ)

    def write(name: str, content: str) -> None:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)

    top.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    write(".gitignore", ".next/\n")
    write("page.tsx", "export default 1\n" * 40)
    git("add", "--all")
    git("commit", "--quiet", "--message=one")
    write("page.tsx", "export default 2\n" * 40)
    git("stash", "push", "--quiet")
    git("branch", "beside")
    write("other.tsx", "".join(f"line {number}\n" for number in range(300)))
    git("add", "--all")
    git("commit", "--quiet", "--message=two")
    write("page.tsx", "export default 3\n" * 40)
    git("add", "--all")
    write("other.tsx", "line 0\n")
    write("new.tsx", "nobody committed this\n")
    write(".next/BUILD_ID", "build-1\n")
