"""One answer for the answer line, the lists and the screens, from the catalogue alone.

No server is asked, and nothing here waits for a backup; what can't be read is told, not raised.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fsbackup_tui.domain.accepting import Acceptance
from fsbackup_tui.domain.errors import (
    PointDamaged,
    PointNotFound,
    Problem,
    RepositoryError,
    RepositoryMissing,
    RepositoryNewer,
)
from fsbackup_tui.domain.estimate import (
    MeasuredRun,
    phases_to,
    time_back,
    time_to_prove,
)
from fsbackup_tui.domain.health import (
    Answer,
    Hints,
    InventoryState,
    RepositoryState,
    answer_line,
    best_point,
)
from fsbackup_tui.domain.point import PartManifest, PointSummary, work_of
from fsbackup_tui.domain.text import age_text
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.restore_rights import known_restore_rights
from fsbackup_tui.operations.watch_only import takes_no_backups
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.foreign import FOREIGN_PLAN, ForeignPlaces, is_adopted
from fsbackup_tui.repository.incidents import open_damage
from fsbackup_tui.repository.layout import (
    Repository,
    open_repository,
    recall,
    site_state,
)
from fsbackup_tui.repository.lock import is_job_alive
from fsbackup_tui.repository.points import SHORTEST_PREFIX, resolve_point, usable
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.recover_text import copy_name
from fsbackup_tui.repository.whereabouts import whereabouts

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

_NEWEST_LOOKED_AT = 400
_PAGE = 50
_LOCAL_TIME = Path("/etc/localtime")
COMMAND_HINTS = Hints(
    back_up="Take one: fsbackup backup PLAN",
    prove="fsbackup verify latest --level proven",
    create="Make one: fsbackup init",
)


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to know without asking a server.

    ``problem`` says why the repository can't be read (then ``newest`` is what was known of
    it); ``newest`` are the first points in capture order, ``count`` is that of all, backups of
    other scripts among them; ``foreign_problems`` say why those can't all be read.
    """

    answer: Answer
    zone: tzinfo
    repository: Repository | None
    problem: Problem | None
    newest: tuple[PointSummary, ...]
    count: int
    revision: int
    catalogue_in_memory: bool
    foreign_problems: tuple[str, ...] = ()


def gather_status(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    now: datetime,
    *,
    refresh: bool = True,
    restore_rights: bool | None = None,
    hints: Hints = COMMAND_HINTS,
) -> Status:
    """Return the state of a site's inventory.

    Without ``refresh`` it is what the catalogue remembers, and the answer says ``checking…``.
    ``restore_rights`` None: as ``doctor`` found them last.
    """
    with site_catalogue(loaded, environ) as (catalogue, repository, error, where):
        if refresh:
            catalogue.refresh(running=job_liveness(loaded, environ, repository))
        newest = catalogue.points(limit=_NEWEST_LOOKED_AT, own=True)
        watches = takes_no_backups(loaded)
        if watches and where == "never-created":
            # It is made when a backup is adopted; to watch needs none.
            error = None
        zone = site_zone(loaded)
        back, proving = durations(newest, catalogue.runs())
        state = InventoryState(
            site=loaded.config.site,
            environment=loaded.config.environment,
            zone=zone,
            now=now,
            repository=where,
            newest=[*newest, *_proven_before(catalogue, newest)],
            restore_rights=(
                _restore_rights(loaded, environ, repository, now)
                if restore_rights is None
                else restore_rights
            ),
            checking=not refresh,
            checked_at=catalogue.refreshed_at,
            hints=hints,
            duration=back,
            proving=proving,
            watching=watches,
            watched=_newest_watched(catalogue) if watches else None,
        )
        return Status(
            answer=answer_line(state),
            zone=zone,
            repository=repository,
            problem=error.problem() if error is not None else None,
            newest=tuple(newest),
            count=catalogue.count(),
            revision=catalogue.revision(),
            catalogue_in_memory=catalogue.in_memory,
            foreign_problems=catalogue.foreign_problems,
        )


def _newest_watched(catalogue: Catalogue) -> PointSummary | None:
    points = catalogue.points(FOREIGN_PLAN, limit=_NEWEST_LOOKED_AT)
    return max((point for point in points if point.foreign), key=_created, default=None)


def _created(point: PointSummary) -> datetime:
    return point.created


def _restore_rights(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    repository: Repository | None,
    now: datetime,
) -> bool | None:
    if not loaded.config.databases:
        return True  # nothing here is restored into a server
    state = site_state(loaded, environ, repository)
    return known_restore_rights(state, loaded.digest, now)


def _proven_before(catalogue: Catalogue, newest: Sequence[PointSummary]) -> Iterator[PointSummary]:
    """Yield the newest proven point that may be restored, where it is older than all of these.

    Often taken backups push the last proven one far down; it still is the one to restore.
    """
    if len(newest) < _NEWEST_LOOKED_AT or any(_may_be_restored(point) for point in newest):
        return
    offset = 0
    while page := catalogue.points(order="trust", limit=_PAGE, offset=offset, own=True):
        offset += len(page)
        for point in page:
            if point.trust is not Trust.PROVEN:
                return
            if _may_be_restored(point):
                yield point
                return


def _may_be_restored(point: PointSummary) -> bool:
    proven = point.data_trust is Trust.PROVEN
    return proven and point.holds_data and point.whole and not point.doubtful


def durations(points: Sequence[PointSummary], runs: Sequence[MeasuredRun]) -> tuple[str, str]:
    """Return how long getting back takes (``~11 m (last drill)``), and proving the best point.

    Empty where no drill or trial restore of a comparable size has shown it.
    """
    fit = [point for point in points if usable(point) and not point.running]
    proven = next((point for point in fit if point.data_trust is Trust.PROVEN), None)
    best = best_point(fit)
    back = None if proven is None else time_back(runs, work_of(proven))
    phases = phases_to(Trust.PROVEN, restorable=True)
    proving = None if best is None else time_to_prove(runs, work_of(best), phases)
    how = "drill" if back is not None and back.from_drill else "trial"
    return (
        "" if back is None else f"~{age_text(max(1.0, back.span.seconds))} (last {how})",
        "" if proving is None else f"~{age_text(max(1.0, proving.span.seconds))}",
    )


@contextmanager
def open_catalogue(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository | None = None
) -> Iterator[Catalogue]:
    """Open the site's catalogue, compared with the repository, for the block.

    Raises:
        RepositoryError: the repository, unless it was given, can't be read.
    """
    if repository is None:
        repository = open_site_repository(loaded, environ)
    state = site_state(loaded, environ, repository)
    with Catalogue.open(state, repository, foreign_places(loaded, state)) as catalogue:
        catalogue.acceptances = acceptances_of(loaded)
        catalogue.damage = open_damage(state)
        catalogue.refresh(running=job_liveness(loaded, environ, repository))
        yield catalogue


@contextmanager
def site_catalogue(
    loaded: LoadedConfig, environ: Mapping[str, str]
) -> Iterator[tuple[Catalogue, Repository | None, RepositoryError | None, RepositoryState]]:
    """Open the site's catalogue as it is, even where the repository is not there.

    Yields the catalogue, the repository or why there is none (the error, and its state in words).
    """
    repository: Repository | None = None
    problem: RepositoryError | None = None
    where: RepositoryState = "there"
    try:
        repository = open_site_repository(loaded, environ)
    except RepositoryError as error:
        problem, where = error, _state_of(error, loaded, environ)
    state = site_state(loaded, environ, repository)
    with Catalogue.open(state, repository, foreign_places(loaded, state)) as catalogue:
        catalogue.acceptances = acceptances_of(loaded)
        catalogue.damage = open_damage(state)
        yield catalogue, repository, problem, where


def acceptances_of(loaded: LoadedConfig, only: str | None = None) -> tuple[Acceptance, ...]:
    """Return what the configuration accepts of what can't be tried here (``accept_blocked:``).

    In the order of the file; ``only`` is the source that alone matters.
    """
    return tuple(
        Acceptance(name, one.what, one.reason)
        for name, source in loaded.config.sources.items()
        if only in (None, name)
        for one in source.accept_blocked
    )


def foreign_places(loaded: LoadedConfig, state: Path) -> ForeignPlaces:
    """Return where the site's other scripts keep backups (``adopt:``)."""
    return ForeignPlaces(loaded.config.adopt, site_zone(loaded), state)


def find_point(
    catalogue: Catalogue,
    text: str,
    *,
    zone: tzinfo,
    part: str | None = None,
    any_trust: bool = False,
) -> PointSummary:
    """Return the point that ``text`` means (``resolve_point``), without reading all there are.

    Raises:
        PointNotFound: none, or more than one.
    """
    wanted = text.strip()
    if wanted.startswith("latest"):
        with suppress(PointNotFound):
            newest = catalogue.points(limit=_NEWEST_LOOKED_AT, own=True)
            return resolve_point(newest, wanted, zone=zone, part=part, any_trust=any_trust)
    pool = catalogue.named(wanted) if len(wanted) >= SHORTEST_PREFIX else []
    return resolve_point(
        pool or catalogue.points(own=True), wanted, zone=zone, part=part, any_trust=any_trust
    )


def last_good_part(
    catalogue: Catalogue, repository: Repository, source: str
) -> PartManifest | None:
    """Return a source's part in the newest point that is whole, sound and not doubtful.

    What a new part is compared with, and where its weights come from; None for none.
    """
    offset = 0
    while page := catalogue.points(limit=_PAGE, offset=offset, own=True):
        offset += len(page)
        for point in page:
            if not usable_for_comparison(point, source) or is_adopted(point):
                continue
            with suppress(PointDamaged, PointNotFound):
                return PointReader(repository, point.id).part(source)
    return None


def usable_for_comparison(point: PointSummary, source: str) -> bool:
    """Whether a point holds a part of the source that a new one may be measured by."""
    return (
        point.whole
        and not point.doubtful
        and any(part.source == source and part.trust > Trust.INCOMPLETE for part in point.parts)
    )


def restore_command_lines(
    point: PointSummary, parts: Sequence[PartManifest] = ()
) -> tuple[str, ...]:
    """Return fsbackup's own commands that restore each part beside, ready to paste.

    ``parts`` are the point's, as its manifest has them; they name the new database. A backup
    of another script is verified first.
    """
    if point.foreign:
        path = shlex.quote(point.foreign)
        verify, adopt = f"fsbackup verify {path}", f"fsbackup adopt {path}"
        if point.problems or not any(part.kind.startswith("postgres") for part in point.parts):
            return (verify, adopt)
        name = copy_name(PurePath(point.foreign).name.partition(".")[0])
        return (verify, f"fsbackup restore {path} --beside {name}", adopt)
    facts = {part.source: part.postgres for part in parts}
    lines: list[str] = []
    for part in point.parts:
        if part.kind in _BESIDE:
            lines += _site_lines(point.id, part.source, part.kind)
        if not part.kind.startswith("postgres"):
            continue
        known = facts.get(part.source)
        name = copy_name(known.identity.database if known else part.source)
        words = ["fsbackup", "restore", point.id, "--part", part.source, "--beside", name]
        if known is not None and known.scope == "data":
            words += ["--schema-point", "SCHEMA_POINT"]
        lines.append(shlex.join(words))
    return tuple(lines)


_BESIDE = ("files", "config", "code")


def _site_lines(point: str, source: str, kind: str) -> Iterator[str]:
    """Yield the commands: what is missing first of files, compared first of configuration."""
    words = ["fsbackup", "restore", point, "--part", source]
    if kind == "config":
        yield shlex.join([*words, "--diff"])
    if kind == "files":
        yield shlex.join([*words, "--put-back"])
    yield shlex.join([*words, "--to", f"{source}_restored"])


def job_liveness(
    loaded: LoadedConfig, environ: Mapping[str, str], repository: Repository | None
) -> Callable[[str], bool]:
    """Return what tells whether the worker of a job of this site lives."""
    state = site_state(loaded, environ, repository)
    return lambda job: is_job_alive(state, job)


def open_site_repository(loaded: LoadedConfig, environ: Mapping[str, str]) -> Repository:
    """Open the site's repository; what was there before is remembered, and missed when gone.

    Raises:
        RepositoryError: not mounted, never created, too new, of another site …
    """
    from fsbackup_tui.config.load import state_directory

    config = loaded.config
    state = state_directory(loaded, environ)
    return open_repository(
        config.repository, site=config.site, state=state, remembers=not config.read_only
    )


def site_repository_or_none(loaded: LoadedConfig, environ: Mapping[str, str]) -> Repository | None:
    """Return the site's repository, or None: what is done without it goes on."""
    try:
        return open_site_repository(loaded, environ)
    except RepositoryError:
        return None


def _state_of(
    error: RepositoryError, loaded: LoadedConfig, environ: Mapping[str, str]
) -> RepositoryState:
    from fsbackup_tui.config.load import state_directory

    if isinstance(error, RepositoryNewer):
        return "unusable"
    root = loaded.config.repository.absolute()
    known = recall(root, state_directory(loaded, environ)) is not None
    where = whereabouts(root, remembered=known)
    if where in ("not-mounted", "not-readable", "never-created"):
        return where
    return "never-created" if isinstance(error, RepositoryMissing) else "unusable"


def site_zone(loaded: LoadedConfig) -> tzinfo:
    """Return the zone in which the site's times are shown: the config's, else this machine's."""
    name = loaded.config.timezone
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            # The config was checked when it was loaded; another machine may lack the zone.
            return UTC
    return machine_zone()


def machine_zone(environ: Mapping[str, str] = os.environ) -> tzinfo:
    """Return the machine's zone: ``$TZ``, else ``/etc/localtime``, else UTC."""
    name = environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCAL_TIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
