"""Which points are kept: the settings ``keep:`` of a plan and ``retention:`` of the site."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fsbackup_tui.config.values import Duration, Settings, Share, no_truth_value
from fsbackup_tui.domain.retention import Keep

Places = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(no_truth_value)]


def _longer_than_nothing(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("a duration longer than 0 is needed")
    return value


Age = Annotated[Duration, AfterValidator(_longer_than_nothing)]


class KeepSettings(Settings):
    """Which points of a plan stay; each rule alone is enough, and one at least is given."""

    last: Places | None = None
    within: Age | None = None
    hourly: Places | None = None
    daily: Places | None = None
    weekly: Places | None = None
    monthly: Places | None = None
    yearly: Places | None = None

    @model_validator(mode="after")
    def _keeps_something(self) -> KeepSettings:
        if self.keep().everything:
            raise ValueError("name a rule, such as {within: 30d}; without keep: all points stay")
        return self

    def keep(self) -> Keep:
        """Return it as retention decides by it."""
        return Keep(
            self.last,
            self.within,
            self.hourly,
            self.daily,
            self.weekly,
            self.monthly,
            self.yearly,
        )


class Retention(Settings):
    """What holds for the retention of all plans.

    ``minimum_good`` newest good points of each plan stay whatever its rules say. More than
    ``most_share`` of the points leave at once only by the site's typed name. ``grace`` is how long
    a removed point can be taken back out of the trash.
    """

    minimum_good: Places = 2
    most_share: Share = 0.5
    grace: Annotated[Duration, Field(ge=timedelta(0))] = timedelta(days=7)
