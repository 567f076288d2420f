"""What a point's other parts say to a restore of its database: code, and rows without files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from fsbackup_tui.domain.code_words import code_words
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.fit import migration_fit
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.link_loss import loss_lines
from fsbackup_tui.operations.live_code import code_trees, read_live_code
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.reader import PointReader

_SHORT = 12


def parts_of(
    context: JobContext, point: str
) -> tuple[tuple[PartManifest, ...], tuple[LinkFacts, ...]]:
    """Return a point's parts and links; nothing where they can't be read."""
    with suppress(FsbackupError):
        reader = PointReader(open_site_repository(context.loaded, os.environ), point)
        manifest = reader.manifest
        if manifest is not None:
            return manifest.parts, manifest.links
    return (), ()


def code_lines(parts: tuple[PartManifest, ...], database: str, head: str | None) -> Iterator[str]:
    """Yield the point's code, its migration head, and how a database at ``head`` fits it."""
    for part in parts:
        if part.code is None:
            continue
        migration = part.code.migration_head or "no migration"
        yield f"{part.source} in the point: {code_words(part.code)}; {migration}"
        if head:
            yield f"{database} with it: {migration_fit(head, part.code).words()}"


async def live_code_lines(context: JobContext, parts: tuple[PartManifest, ...]) -> list[str]:
    """Return where live's code stands against the point's; nothing where there is none of it."""
    captured = {part.code.worktree: part.code for part in parts if part.code is not None}
    lines = []
    for tree in code_trees(context.loaded):
        live = await read_live_code(context, tree)
        lines.append(f"code in live: {live.words}")
        facts = captured.get(str(tree))
        if facts is None or not facts.head or live.problem:
            continue
        if facts.head == live.head:
            lines.append(f"live's code is at the point's commit, {facts.head[:_SHORT]}")
        else:
            lines.append(
                f"LIVE'S CODE IS AT ANOTHER COMMIT: {live.head[:_SHORT] or '-'}, the point's is"
                f" {facts.head[:_SHORT]}. If it should follow: fsbackup recover config-or-code-loss"
            )
    return lines


def link_lines(links: tuple[LinkFacts, ...], source: str) -> tuple[str, ...]:
    """Return for each link of a database how many rows of the point would have no file."""
    return loss_lines([link for link in links if link.source == source])
