"""How commands find the recovery point that their POINT argument means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.point import PointSummary


def refuse_foreign(text: str) -> None:
    """Raise SafetyRefusal for a backup of another script, which is no point yet."""
    import shlex

    from fsbackup_tui.domain.errors import SafetyRefusal
    from fsbackup_tui.operations.foreign import is_backup_path
    from fsbackup_tui.repository.foreign import ID_PREFIX

    if text.startswith(ID_PREFIX) or is_backup_path(text):
        raise SafetyRefusal(
            f"NO POINT YET: {text} is a backup that another script made.",
            why="Only points of the repository are cleared and drilled.",
            fix=f"fsbackup adopt {shlex.quote(text)}   makes a point of it",
        )


def refuse_removed(context: CliContext, text: str) -> None:
    """Raise PointNotFound for a point that retention has removed: it can be taken back."""
    from fsbackup_tui.domain.errors import PointNotFound
    from fsbackup_tui.repository.trash import list_trash

    for trashed in list_trash(context.repository()):
        if trashed.id == text.strip():
            raise PointNotFound(
                f"IN THE TRASH: {trashed.id}.",
                why=f"It was removed: {trashed.why}.",
                fix=f"fsbackup retain --take-back {trashed.id}",
            )


def find_point(
    context: CliContext, text: str, *, part: str | None = None, any_trust: bool = False
) -> PointSummary:
    """Return the point that ``text`` means (POINT of design §9); PointNotFound otherwise.

    An id from before a rekeying means the point that took its place, and that is told.
    """
    from fsbackup_tui.domain.errors import PointNotFound
    from fsbackup_tui.operations.status import find_point as find
    from fsbackup_tui.operations.status import open_catalogue, site_zone
    from fsbackup_tui.repository.rekeyed import rekeyed_as

    refuse_foreign(text)
    loaded = context.load()
    with open_catalogue(loaded, context.environ) as catalogue:
        zone = site_zone(loaded)
        try:
            return find(catalogue, text, zone=zone, part=part, any_trust=any_trust)
        except PointNotFound:
            if (known := rekeyed_as(context.repository(), text)) is None:
                refuse_removed(context, text)
                raise
        former, point = known
        context.tell(f"{former} was encrypted anew since: it is {point} now.", first="note: ")
        return find(catalogue, point, zone=zone, part=part, any_trust=any_trust)
