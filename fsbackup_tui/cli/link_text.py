"""How a point's rows fit the files that they name, as the command line prints it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fsbackup_tui.cli.output import wrap_text
from fsbackup_tui.domain.site_parts import LinkFacts
from fsbackup_tui.domain.text import count_text
from fsbackup_tui.operations.link_loss import fit_lines

_SHOWN = 5
_LONGEST = 300


def link_lines(links: Sequence[LinkFacts]) -> Iterator[str]:
    """Yield a line for each column, with the first rows that have no file."""
    yield "Rows and the files they name"
    for link, (column, text) in zip(links, fit_lines(links), strict=True):
        yield from wrap_text(f"{column}: {text}", first="  ", later="    ")
        for name in link.missing.names[:_SHOWN]:
            yield from wrap_text(f"no file: {_short(name)}", first="    ", later="      ")
        if link.missing.count > _SHOWN:
            yield f"    and {count_text(link.missing.count - _SHOWN)} more (--rows-lost FILE)"


def _short(name: str) -> str:
    """Cut what may be no name at all: a picture as text, say."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
