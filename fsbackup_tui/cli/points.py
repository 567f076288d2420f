"""How commands find the recovery point that their POINT argument means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary


def find_point(
    context: CliContext, text: str, *, part: str | None = None, any_trust: bool = False
) -> PointSummary:
    """Return the point that ``text`` means (POINT of design §9); PointNotFound otherwise."""
    from fsbackup_tui.operations.status import find_point as find
    from fsbackup_tui.operations.status import open_catalogue, site_zone

    loaded = context.load()
    with open_catalogue(loaded, context.environ) as catalogue:
        return find(catalogue, text, zone=site_zone(loaded), part=part, any_trust=any_trust)
