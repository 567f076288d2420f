"""Whether nobody else can read or change what the site keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.permissions import (
    Open,
    open_repository_paths,
    open_secret_files,
    open_state_paths,
    shown,
)
from fsbackup_tui.operations.probes.ground import Ground

_NEWEST = 20
_SHOWN = 3
_FIX = "fsbackup doctor --fix   closes them"


def permissions(ground: Ground) -> Iterator[Finding]:
    """Yield what others may read or write: repository, state, files with secrets."""
    if ground.repository is not None:
        newest = [point.id for point in ground.points()[:_NEWEST]]
        found = list(open_repository_paths(ground.repository, newest))
        yield from _told("permissions:repository", "REPOSITORY", found)
    yield from _told("permissions:state", "STATE", list(open_state_paths(ground.state)))
    secrets = list(open_secret_files(ground.loaded))
    yield from _told("permissions:secrets", "SECRETS", secrets)


def _told(identifier: str, what: str, found: Sequence[Open]) -> Iterator[Finding]:
    if not found:
        return
    writable = any(one.writable for one in found)
    more = "" if len(found) == 1 else f" ({len(found)} paths)"
    word = "OPEN TO OTHERS" if any(one.mode is not None for one in found) else "OF SOMEBODY ELSE"
    yield Finding(
        identifier,
        "critical" if writable else "warning",
        None,
        f"{what} {word}: {found[0].path} {found[0].words.removeprefix('it ')}{more}.",
        shown(found, _SHOWN),
        _FIX,
        subject=str(found[0].path),
    )
