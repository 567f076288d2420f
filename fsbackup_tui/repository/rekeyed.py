"""The ids that points had before they were encrypted anew: people wrote them down."""

from __future__ import annotations

from contextlib import suppress

from fsbackup_tui.domain.errors import PointDamaged
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.points import SHORTEST_PREFIX
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import read_records


def rekeyed_as(repository: Repository, text: str) -> tuple[str, str] | None:
    """Return a former id that ``text`` is, or begins, and the point that took its place."""
    wanted = text.strip()
    if len(wanted) < SHORTEST_PREFIX or not repository.points.is_dir():
        return None
    found: set[tuple[str, str]] = set()
    for directory in repository.points.iterdir():
        if directory.name.startswith("."):
            continue
        formers = {
            str(record.document.get("former"))
            for record in read_records(repository, directory.name)
            if record.kind == "rekeyed" and record.counts
        }
        with suppress(PointDamaged, OSError):
            manifest = PointReader(repository, directory.name).manifest
            formers |= {manifest.replaces} if manifest and manifest.replaces else set()
        found |= {(each, directory.name) for each in formers if each.startswith(wanted)}
    exact = {pair for pair in found if pair[0] == wanted} or found
    return exact.pop() if len({point for _, point in exact}) == 1 else None
