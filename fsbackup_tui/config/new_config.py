"""The text of a new site's configuration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.config.template import escape

SOURCE = "db"
PLAN = "daily"


@dataclass(frozen=True, slots=True)
class NewSite:
    """What a new configuration says; ``url`` is written as given, ``${NAME}`` and all.

    With ``adopt`` and without ``url`` it only watches the backups in those directories.
    """

    site: str
    url: str | None
    repository: Path
    env_file: Path | None = None
    adopt: tuple[Path, ...] = ()


def config_text(new: NewSite) -> str:
    """Return the YAML of a configuration; with an address: source ``db``, plan ``daily``."""
    lines = [
        "# fsbackup: what is backed up of one site, and where to.",
        "# Every setting there is, explained: config.example.yaml of fsbackup.",
        f"site: {_quoted(new.site)}",
        "environment: production",
    ]
    if new.env_file is not None:
        lines += [
            "# The variables below are read from here; the file wins over the shell.",
            f"env_file: {_quoted(escape(str(new.env_file)))}",
        ]
    lines += [
        "# Recovery points go here. Another disk than the database's is better.",
        f"repository: {_quoted(escape(str(new.repository)))}",
    ]
    if new.adopt:
        places = ", ".join(_quoted(escape(str(place))) for place in new.adopt)
        lines += ["# The backups of other scripts, which are only read.", f"adopt: [{places}]"]
    if new.url is not None:
        lines += [
            "sources:",
            f"  {SOURCE}:",
            "    kind: postgres",
            f"    url: {_quoted(new.url)}",
            "plans:",
            f"  {PLAN}:",
            f"    sources: [{SOURCE}]",
            '    # With a time, and after "fsbackup schedule install", it runs by itself:',
            '    # at: "02:00"',
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a double-quoted YAML scalar; a JSON text is one."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
