"""What every probe of ``check`` looks at, read once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.finding import Number
from fsbackup_tui.domain.health import RepositoryState
from fsbackup_tui.domain.point import PointSummary
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig

_NEWEST = 400


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job as probes see it.

    ``subject`` is its plan or point; ``owed`` is what it left undone outside of fsbackup;
    ``quiet_since`` is when it was last heard of.
    """

    id: str
    operation: str
    state: str
    subject: str
    started: datetime
    finished: datetime | None
    quiet_since: datetime
    stage: str = ""
    problem: Problem | None = None
    owed: tuple[str, ...] = ()


@dataclass(slots=True)
class Ground:
    """One site at one moment.

    ``repository`` is None where it can't be read, then ``problem`` and ``where`` say why;
    the catalogue tells then what was known of it. Probes add to ``numbers`` (for ``metrics``)
    and ``notes`` (worth telling, no alarm).
    """

    loaded: LoadedConfig
    environ: Mapping[str, str]
    now: datetime
    zone: tzinfo
    state: Path
    where: RepositoryState
    repository: Repository | None
    problem: Problem | None
    catalogue: Catalogue
    jobs: Sequence[JobFacts] = ()
    numbers: list[Number] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _points: dict[str | None, list[PointSummary]] = field(default_factory=dict)

    def points(self, plan: str | None = None) -> list[PointSummary]:
        """Return the newest points, of one plan or of all, the newest first."""
        if plan not in self._points:
            self._points[plan] = self.catalogue.points(plan, limit=_NEWEST, own=True)
        return self._points[plan]

    def newest(
        self, fits: Callable[[PointSummary], bool], plan: str | None = None
    ) -> PointSummary | None:
        """Return the newest point that fits, however many there are that do not."""
        points = self.points(plan)
        offset = 0
        while points:
            for point in points:
                if fits(point):
                    return point
            if len(points) < _NEWEST:
                return None
            offset += _NEWEST
            points = self.catalogue.points(plan, limit=_NEWEST, offset=offset, own=True)
        return None

    def age(self, moment: datetime) -> timedelta:
        """Return how long ago a moment was."""
        return self.now - moment

    def number(self, name: str, value: float, **labels: str) -> None:
        """Keep a measured value for ``metrics``; its name is one of ``operations/metrics.py``."""
        self.numbers.append(Number(name, float(value), tuple(sorted(labels.items()))))
