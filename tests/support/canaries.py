"""Canaries: strings that stand for every secret of a site, and watchers that look for them.

They are new in every run, so that what is seen in ``/proc`` is of this run alone.
"""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.faults import CANARY, of_process
from tests.support.sites import Site, make_site

_LOOK_SECONDS = 0.004
# A program is begun, and what begins it replaced by it, within some milliseconds.
_LOOKS_AT_ONE = 40
_IDENTITY = "AGE-SECRET-KEY-1"
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Canaries:
    """A word of its own for every place that a secret, or content, comes from."""

    nest: str = field(default_factory=lambda: secrets.token_hex(6))

    def of(self, place: str) -> str:
        """Return the canary of a place."""
        return f"canary-{self.nest}-{place}"

    @property
    def password(self) -> str:
        """The database's: the server's own (tests/faults/conftest.py)."""
        return CANARY

    @property
    def passphrase(self) -> str:
        """The encryption's."""
        return self.of("passphrase")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be told nowhere."""
        others = ("env-value", "variable", "output", "git-token", "new-passphrase")
        return (self.password, self.passphrase, *map(self.of, others), _IDENTITY)

    @property
    def content(self) -> tuple[str, ...]:
        """What besides must lie nowhere in plain: rows, files, code."""
        return (*self.secrets, *map(self.of, ("row", "file", "code")))


@dataclass
class Sightings:
    """What was seen, in words; ``looks`` is how often was looked."""

    seen: set[str] = field(default_factory=set)
    looks: int = 0


@contextmanager
def watch(
    look: Callable[[Sightings], None], *, every: float = _LOOK_SECONDS
) -> Iterator[Sightings]:
    """Call ``look(sightings)`` again and again during the block, and once after it."""
    found = Sightings()
    done = threading.Event()

    def run() -> None:
        while True:
            last = done.wait(every)
            look(found)
            found.looks += 1
            if last:
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def processes() -> list[int]:
    """Return the pids of all processes."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


class ProcessLook:
    """Reads everybody's command line, and the environment of what is not fsbackup itself."""

    def __init__(self, canaries: Canaries) -> None:
        self._secrets = [text.encode() for text in canaries.secrets]
        self._password = canaries.password.encode()
        self._looks = Counter({os.getpid(): _LOOKS_AT_ONE})

    def __call__(self, found: Sightings) -> None:
        for pid in processes():
            if self._looks[pid] < _LOOKS_AT_ONE:
                self._looks[pid] += 1
                self._process(pid, found)

    def _process(self, pid: int, found: Sightings) -> None:
        line = of_process(pid, "cmdline")
        words = line.split(b"\0")
        for needle in self._secrets:
            if needle in line:
                found.seen.add(f"command line: {line.replace(bytes(1), b' ').decode()}")
        if not line or b"python" in words[0].rpartition(b"/")[2]:
            return  # fsbackup itself: it was given them; or it is just ending
        environment = of_process(pid, "environ")
        # The clients of PostgreSQL are given the password there: a file would be no better.
        is_client = b"PGSERVICEFILE=" in environment
        for needle in self._secrets:
            if needle in environment and not (is_client and needle == self._password):
                what = next(v for v in environment.split(b"\0") if needle in v)
                found.seen.add(f"environment of {words[:6]}: {what.decode()}")


class DiskLook:
    """Reads every file below some places, and what processes hold open of them, deleted or not."""

    def __init__(self, canaries: Canaries, places: Iterable[Path]) -> None:
        self._needles = [text.encode() for text in canaries.content]
        self._places = [str(place) for place in places]
        self._others = set(processes())

    def __call__(self, found: Sightings) -> None:
        for place in self._places:
            for directory, _names, files in os.walk(place):
                for name in files:
                    self._file(Path(directory, name), found, str(Path(directory, name)))
        self._open_files(found)

    def _open_files(self, found: Sightings) -> None:
        for pid in set(processes()) - self._others:
            try:
                links = list(Path(f"/proc/{pid}/fd").iterdir())
            except OSError:
                continue
            for link in links:
                try:
                    target = str(link.readlink())
                except OSError:
                    continue
                if target.startswith(tuple(self._places)):
                    self._file(link, found, f"{target}, open")

    def _file(self, path: Path, found: Sightings, name: str) -> None:
        try:
            facts = path.stat()
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST:
                return
            content = path.read_bytes()
        except OSError:
            return
        for needle in self._needles:
            if needle in content:
                found.seen.add(f"{needle.decode()} in {name}")


@dataclass
class CanarySite:
    """A site full of canaries; ``live`` is what a person wrote, ``out`` what they asked for."""

    site: Site
    canaries: Canaries
    url: str

    @property
    def live(self) -> Path:
        """Where the application lies."""
        return self.site.directory / "live"

    @property
    def has_code(self) -> bool:
        """Whether code is a part of it."""
        return (self.live / "code").is_dir()

    @property
    def out(self) -> Path:
        """Where restored files go."""
        return self.site.directory / "out"

    @property
    def temporary(self) -> Path:
        """The temporary directory of every command."""
        return self.site.directory / "tmp"

    def places(self) -> tuple[Path, ...]:
        """Where nothing may ever lie in plain."""
        return (self.site.repository, self.site.state, self.temporary)

    def told(self) -> list[str]:
        """Return where a secret stands that must be told nowhere, in all that lies there now."""
        return self._seen(self.canaries.secrets)

    def plain(self) -> list[str]:
        """Return where anything of the site lies in plain."""
        return self._seen(self.canaries.content)

    def _seen(self, needles: tuple[str, ...]) -> list[str]:
        found = []
        mine = (str(self.live), str(self.out))
        for path in self.site.directory.rglob("*"):
            if str(path).startswith(mine) or not path.is_file() or path.is_symlink():
                continue
            content = path.read_bytes()
            found += [f"{needle} in {path}" for needle in needles if needle.encode() in content]
        return found


def make_canary_site(
    directory: Path, url: str, canaries: Canaries, *, method: str, with_code: bool
) -> CanarySite:
    """Make a site whose database ``url`` leads to, with files, configuration, and maybe code."""
    live = directory / "live"
    (live / "storage").mkdir(parents=True)
    (live / "storage" / "a.txt").write_text(canaries.of("file") + "\n")
    (live / "storage" / "b.txt").write_text("nothing\n")
    (live / "printed").write_text(canaries.of("output") + "\n")
    env_file = live / ".env"
    env_file.touch(mode=0o600)
    env_file.write_text(
        f"DATABASE_URL={url}\nSTRIPE_KEY={canaries.of('env-value')}\n"
        f"SECRET_TOKEN={canaries.of('variable')}\n"
    )
    sources: dict[str, Any] = {
        "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
        "uploads": {"kind": "files", "root": str(live / "storage")},
        "env": {
            "kind": "config",
            "files": [str(env_file)],
            "variables": ["SECRET_TOKEN"],
            "commands": [{"name": "printed", "command": ["cat", str(live / "printed")]}],
        },
    }
    if with_code:
        _make_code(live / "code", canaries)
        sources["code"] = {"kind": "code", "worktree": str(live / "code")}
    settings: Mapping[str, Any] = {
        "sources": sources,
        "environment": "test",
        "env_file": str(env_file),
        "plans": {"daily": {"sources": list(sources)}},
        "links": [{"table": "videos", "column": "path", "files": "uploads"}],
        "encryption": {"method": method, "hint": "in the safe"},
    }
    site = make_site(directory, url, settings=settings)
    (directory / "tmp").mkdir(mode=0o700)
    (directory / "out").mkdir(mode=0o700)
    site.url = ""  # the application's file tells it
    site.environment |= {
        "FSBACKUP_PASSPHRASE": canaries.passphrase,
        "TMPDIR": str(directory / "tmp"),
    }
    return CanarySite(site, canaries, url)


def _make_code(top: Path, canaries: Canaries) -> None:
    who = {f"GIT_{who}_{what}": "ana" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)}
    who |= {name.replace("NAME", "EMAIL"): "ana@example.org" for name in who}
    environ = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(top), *words], check=True, env=environ)

    top.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    (top / "page.tsx").write_text(f"// {canaries.of('code')}\n")
    git("add", "--all")
    git("commit", "--quiet", "--message=one")
    (top / "page.tsx").write_text(f"// {canaries.of('code')} twice\n")
    (top / "new.tsx").write_text(f"// {canaries.of('code')} new\n")
    # Written by hand: on a command line everybody would read it.
    with (top / ".git" / "config").open("a") as config:
        url = f"https://ana:{canaries.of('git-token')}@example.org/shop.git"
        config.write(f'[remote "origin"]\n\turl = {url}\n')
