"""How far parts beside the database are shown good, by kind: a table of checks for each rung."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fsbackup_tui.domain.errors import FsbackupError, KeyUnavailable, ToolMissing
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.proof import Outcome
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.engines.encryption.keys import ReadingKeys
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import Finding
from fsbackup_tui.operations.verify_code import code_readable, code_restored
from fsbackup_tui.operations.verify_config import config_readable
from fsbackup_tui.operations.verify_files import files_readable
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader

BLOCKING = (KeyUnavailable, ToolMissing)
"""What keeps a rung from being tried here, and says nothing of the part."""


@dataclass(frozen=True, slots=True)
class SitePart:
    """A part that is checked: where it lies, what opens it, and the job that does it."""

    context: JobContext
    repository: Repository
    reader: PointReader
    part: PartManifest
    keys: ReadingKeys


@dataclass(frozen=True, slots=True)
class Trial:
    """How a rung was tried: True held, False failed, None could not be tried here."""

    ok: bool | None
    findings: tuple[Finding, ...] = ()
    blocked: tuple[Mapping[str, str], ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The same in the words of a trial restore."""
        return "blocked" if self.ok is None else "ok" if self.ok else "failed"


SiteCheck = Callable[[SitePart], Awaitable[list[Finding]]]


async def _config_readable(site: SitePart) -> list[Finding]:
    return await config_readable(site.context, site.repository, site.reader, site.part, site.keys)


async def _code_readable(site: SitePart) -> list[Finding]:
    return await code_readable(site.reader, site.part, site.keys)


async def _code_restored(site: SitePart) -> list[Finding]:
    return await code_restored(site.context, site.reader, site.part, site.keys)


async def _files_readable(site: SitePart) -> list[Finding]:
    return await files_readable(site.context, site.reader, site.part, site.keys)


async def _shown_by_reading(_site: SitePart) -> list[Finding]:
    """Find nothing: reading, the rung before, has unpacked and hashed everything already."""
    return []


SITE_CHECKS: Mapping[str, Mapping[Trust, SiteCheck]] = {
    "files": {
        Trust.READABLE: _files_readable,
        Trust.RESTORED: _shown_by_reading,
        Trust.PROVEN: _shown_by_reading,
    },
    "config": {Trust.READABLE: _config_readable},
    "code": {Trust.READABLE: _code_readable, Trust.RESTORED: _code_restored},
}
"""By kind, what is done at each rung above sealed; the last of them is the kind's top rung."""


def site_check(part: PartManifest, level: Trust) -> SiteCheck | None:
    """Return what shows a part of its kind to be good at a rung; None where nothing does."""
    if part.config is None and part.code is None and part.files is None:
        return None  # of a kind that it only says it is: an adopted one, say
    return SITE_CHECKS.get(part.kind, {}).get(level)


def is_shown_at(part: PartManifest, level: Trust) -> bool:
    """Whether a rung is the topmost of the part's kind: nothing more there is to be shown."""
    rungs = SITE_CHECKS.get(part.kind, {})
    return site_check(part, level) is not None and max(rungs) is level


async def try_rung(site: SitePart, level: Trust) -> Trial:
    """Try a rung of one part; a program or a key that is not here blocks it."""
    check = site_check(site.part, level)
    if check is None:
        return Trial(None)
    try:
        found = await check(site)
    except BLOCKING as error:
        return Trial(None, blocked=(blocker(site.part, error),))
    return Trial(not found, tuple(found))


def blocker(part: PartManifest, error: FsbackupError) -> dict[str, str]:
    """Return what kept a part from being tried, as documents have it."""
    return {"part": part.source, "what": error.what.removesuffix("."), "fix": error.fix}
