"""A whole site with a copy in a bucket, the loss of its machine, and a bare one in its place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.code_sites import git
from tests.support.file_sites import snapshot
from tests.support.replicas import ACCESS_KEY, SECRET_KEY, S3Server
from tests.support.servers import MakeDatabase, execute
from tests.support.sites import PROJECT, CommandResult, Site, make_site

PASSPHRASE = "canary-passphrase: Straße & 'quotes'"


@dataclass
class WholeSite:
    """A site of every kind of source, and how it was when its point was taken."""

    site: Site
    srv: Path
    point: str = ""
    files: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    head: str = ""

    def back_up(self, *arguments: str) -> str:
        """Take a point."""
        done = self.site.run("backup", "daily", "--json", *arguments)
        assert done.exit_code == 0, done.stderr + done.stdout
        self.point = str(done.document["point"])
        self.files = snapshot(self.srv / "storage", times=True)
        self.head = git(self.srv / "app", "rev-parse", "HEAD")
        return self.point

    def lose(self) -> None:
        """Let everything of the machine be gone, what stands in the way of nothing kept aside."""
        self.srv.rename(self.srv.with_name("srv-that-burnt"))
        self.site.directory.rename(self.site.directory.with_name("site-that-burnt"))

    def wake(self) -> Site:
        """Let the old machine be there again, as it was; its command line."""
        self.site.directory.with_name("site-that-burnt").rename(self.site.directory)
        burnt = self.srv.with_name("srv-that-burnt")
        if self.srv.exists():
            shutil.rmtree(self.srv)
        burnt.rename(self.srv)
        return self.site


def make_whole_site(directory: Path, url: str, s3: S3Server) -> WholeSite:
    """Return the site: a database, its files, its settings and its code, encrypted by age."""
    srv = directory / "srv"
    storage, app = srv / "storage", srv / "app"
    storage.mkdir(parents=True)
    app.mkdir()
    execute(
        url,
        "CREATE TABLE users (id int PRIMARY KEY, mail text)",
        "INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 3000) i",
        "CREATE TABLE videos (id int PRIMARY KEY, user_id int REFERENCES users, path text)",
        "INSERT INTO videos SELECT i, i, 'v' || i || '.mp4' FROM generate_series(1, 20) i",
        "CREATE SEQUENCE orders_seq START 4711",
        "SELECT nextval('orders_seq')",
    )
    for number in range(1, 21):
        (storage / f"v{number}.mp4").write_bytes(os.urandom(500 + number))
    (storage / "private").mkdir(mode=0o700)
    (storage / "private" / "x").write_text("x")
    (app / "server.js").write_text("serve()\n")
    (app / ".gitignore").write_text(".env\n")
    (app / ".env").write_text(f"DATABASE_URL={url}\nAPI_KEY=canary-of-the-env\n")
    (app / ".env").chmod(0o600)
    git(app, "init", "--quiet", "--initial-branch=main")
    git(app, "add", "--all")
    git(app, "commit", "--quiet", "--message=one")
    site = make_site(
        directory / "site",
        url,
        settings={
            "env_file": str(app / ".env"),
            # Where every machine has it by itself: the new one must not find the old one's.
            "state": None,
            "sources": {
                "db": {"kind": "postgres", "url": "${DATABASE_URL}"},
                "uploads": {"kind": "files", "root": str(storage)},
                "env": {"kind": "config", "files": [str(app / ".env")]},
                "code": {"kind": "code", "worktree": str(app)},
            },
            "links": [{"table": "videos", "column": "path", "files": "uploads"}],
            "plans": {"daily": {"sources": ["db", "uploads", "env", "code"], "replicas": ["s3"]}},
            "encryption": {"method": "age", "hint": "the safe in the office"},
            "commands": {"start_app": ["touch", str(srv / "started")]},
            "replicas": {
                "s3": {
                    "url": "s3://bucket/shop",
                    "endpoint": s3.endpoint,
                    "access_key": {"env": "S3_ID"},
                    "secret_key": {"env": "S3_SECRET"},
                }
            },
        },
    )
    site.environment = {
        "FSBACKUP_PASSPHRASE": PASSPHRASE,
        "XDG_STATE_HOME": str(site.directory / "var"),
        "S3_ID": ACCESS_KEY,
        "S3_SECRET": SECRET_KEY,
    }
    return WholeSite(site, srv)


def copy_to_bucket(site: Site) -> None:
    """Send what the replica lacks: points, and what was found out about them since."""
    done = site.run("replicate", "--json")
    assert done.exit_code == 0, done.stderr + done.stdout


@dataclass
class BareMachine:
    """A machine with fsbackup and nothing of the site: an empty home, no state, no config."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "config.yaml"

    @property
    def state(self) -> Path:
        return self.directory / "var" / "fsbackup"

    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROJECT),
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.directory / "var"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "TMPDIR": str(self.directory / "tmp"),
            "LANG": "C.UTF-8",
            **self.environment,
        }

    def run(self, *arguments: str, timeout: float = 120.0) -> CommandResult:
        """Run fsbackup with the configuration that bootstrap makes."""
        for path in (self.home, self.directory / "tmp"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "fsbackup_tui", "--config", str(self.config), *arguments],
            env=self.environ(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def loaded(self) -> dict[str, object]:
        """The configuration as it was rebuilt."""
        document = json.loads(self.config.read_text())
        assert isinstance(document, dict)
        return document


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "FSBACKUP_PASSPHRASE": PASSPHRASE,
}


def bare_machine(directory: Path, **environment: str) -> BareMachine:
    """Return a machine that knows the credentials and the key, and nothing else."""
    directory.mkdir(parents=True)
    directory.chmod(0o700)
    return BareMachine(directory, {**CREDENTIALS, **environment})


def site_in_a_bucket(
    directory: Path, server: ScratchServer, make_database: MakeDatabase, s3: S3Server
) -> WholeSite:
    """Return a site with one point, which lies in the bucket as well."""
    whole = make_whole_site(directory, make_database(server, "shop"), s3)
    whole.back_up()
    return whole
