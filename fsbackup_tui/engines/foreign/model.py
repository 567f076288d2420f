"""What is known of a backup file that another script made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from fsbackup_tui.domain.point import Scope
from fsbackup_tui.engines.postgres.toc import TocEntry

Form = Literal[
    "plain", "custom", "directory", "tar", "cluster", "files", "encrypted", "empty", "other"
]
"""What a file is by its content.

``plain``: SQL of one database. ``custom``, ``directory``, ``tar``: pg_dump's archives.
``cluster``: pg_dumpall. ``files``: a tar of files. ``empty``: nothing was written into it.
``other``: no backup, ``what`` names it.
"""
Completeness = Literal["whole", "cut off", "damaged", "empty", "not known"]
DATABASE_FORMS: frozenset[Form] = frozenset({"plain", "custom", "directory", "tar"})
"""The forms that hold one database, which can be restored."""


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """One backup file, or the directory of an archive in directory format.

    ``what`` names it in words; ``taken`` is when it was made as far as that can be told, and
    ``taken_by`` what tells it. ``problems`` keep it from being a good backup, ``notes`` do not.
    ``files`` and ``prefix`` (the directories that all names begin with) are of a tar of files.
    ``content`` is where the plain content lies for now, of a file that was decrypted.
    """

    path: Path
    form: Form
    what: str
    bytes: int
    modified: datetime
    taken: datetime
    taken_by: str
    compression: str | None = None
    scope: Scope | None = None
    completeness: Completeness = "not known"
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    database: str | None = None
    server_version: str = ""
    client_version: str = ""
    encoding: str = ""
    files: int | None = None
    prefix: str = ""
    content: Path | None = None

    @property
    def lies_at(self) -> Path:
        """Where the content is read: the file itself, or what it was decrypted into."""
        return self.content or self.path

    @property
    def is_database(self) -> bool:
        """Whether it holds one database, in a form that can be restored."""
        return self.form in DATABASE_FORMS


@dataclass(frozen=True, slots=True)
class Examination:
    """A file that was read to its end, as far as that needs no tool of PostgreSQL's.

    ``rows`` are those of a plain dump's data entries, by dump id; ``commands`` are lines in it
    that psql would carry out itself.
    """

    file: ForeignFile
    entries: tuple[TocEntry, ...] = ()
    rows: Mapping[int, int] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
