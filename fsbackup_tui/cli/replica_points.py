"""How commands find points on a replica (``--replica``)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary
    from fsbackup_tui.repository.layout import Repository


def add_replica_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Give a command the option."""
    parser.add_argument("--replica", metavar="NAME", help=help_text)


def open_view(context: CliContext, name: str) -> Repository:
    """Return what a replica tells of its points, asked just now; see ``refresh_view``."""
    import asyncio
    import tempfile
    from pathlib import Path

    from fsbackup_tui.config.load import SiteEnvironment
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.operations.replica_view import refresh_view

    loaded = context.load()
    environment = SiteEnvironment(loaded, context.environ)
    with tempfile.TemporaryDirectory(prefix="fsbackup-") as work:
        return asyncio.run(refresh_view(loaded, environment, Redactor(), Path(work), name))


def points_on(context: CliContext, view: Repository) -> list[PointSummary]:
    """Return the points of a replica, the newest first."""
    from fsbackup_tui.operations.status import acceptances_of
    from fsbackup_tui.repository.catalog import Catalogue

    with Catalogue.of_copy(view) as catalogue:
        catalogue.acceptances = acceptances_of(context.load())
        return catalogue.points(own=True)


def find_on_replica(
    context: CliContext, name: str, text: str, *, part: str | None = None, any_trust: bool = False
) -> tuple[PointSummary, Repository]:
    """Return the point of a replica that ``text`` means, and the view it is told by."""
    from fsbackup_tui.cli.points import refuse_foreign
    from fsbackup_tui.operations.status import site_zone
    from fsbackup_tui.repository.points import resolve_point

    refuse_foreign(text)
    view = open_view(context, name)
    points = points_on(context, view)
    zone = site_zone(context.load())
    return resolve_point(points, text, zone=zone, part=part, any_trust=any_trust), view
