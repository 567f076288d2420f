"""Sites whose points go to replicas on real servers, and what then lies there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.config.values import SecretText
from fsbackup_tui.domain.events import Event
from fsbackup_tui.domain.point import Copy
from fsbackup_tui.operations.replicate import run
from fsbackup_tui.operations.requests import ReplicateRequest
from fsbackup_tui.repository.layout import open_repository
from fsbackup_tui.repository.summary import summarise
from tests.support.contexts import context_of
from tests.support.points import START, make_point
from tests.support.replicas import s3_server, ssh_server
from tests.support.sites import Site, make_site

KINDS = ("s3", "sftp", "rsync")


def described(replica: Replica) -> dict[str, object]:
    """Return a replica as the configuration has it."""
    document: dict[str, object] = replica.model_dump(mode="json", exclude_defaults=True)
    for name in ("access_key", "secret_key"):
        secret = getattr(replica, name)
        if isinstance(secret, SecretText):
            document[name] = secret.text
    return document


@contextlib.contextmanager
def far_away(kind: str, directory: Path) -> Iterator[tuple[dict[str, object], Path]]:
    """Give a replica's description, and where its files lie."""
    directory.mkdir(parents=True, exist_ok=True)
    if kind == "s3":
        with s3_server(directory) as bucket:
            yield described(bucket.replica()), bucket.files / "site"
        return
    with ssh_server(directory) as host:
        there = host.files / "site"
        yield described(host.sftp(there) if kind == "sftp" else host.rsync(there)), there


def site_with(directory: Path, **replicas: Mapping[str, object]) -> Site:
    names = list(replicas)
    settings = {
        "replicas": replicas,
        "plans": {"daily": {"sources": ["db"], "replicas": names}},
    }
    return make_site(directory / "site", "postgresql://h/d", settings=settings)


async def replicate(
    site: Site, *names: str, point: str = "", check: bool = False, events: list[Event] | None = None
) -> dict[str, Any]:
    told: list[Event] = [] if events is None else events
    request = ReplicateRequest(names, point, check)
    return await run(request, context_of(site, told.append, job="job-7"))


def made(site: Site, count: int = 1, content: bytes = b"dump" * 9000) -> list[str]:
    repository = open_repository(site.repository)
    return [
        make_point(repository, created=START + timedelta(days=day), content=content).id
        for day in range(count)
    ]


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def copies(site: Site, point: str) -> dict[str, Copy]:
    return {
        copy.replica: copy for copy in summarise(open_repository(site.repository), point).copies
    }
