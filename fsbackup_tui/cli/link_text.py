"""How a point's rows fit the files that they name, as the command line prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fsbackup_tui.cli.output import wrap_text
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.operations.link_loss import fit_lines, names_lines


def link_lines(links: Sequence[LinkFacts]) -> Iterator[str]:
    """Yield a line for each column, with the first rows that have no file."""
    yield "Rows and the files they name"
    for link, (column, text) in zip(links, fit_lines(links), strict=True):
        yield from wrap_text(f"{column}: {text}", first="  ", later="    ")
        for line in names_lines(link):
            yield from wrap_text(line, first="    ", later="      ")
