"""What is captured beside the database, as a manifest tells it: files, configuration, code.

Sizes are bytes, lists of names are bounded: what they leave out is counted beside them. Names
that are not UTF-8 are written as Python does with ``surrogateescape`` and then escaped
(``\\xNN``), for people; the exact bytes stand in the part's own index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LONGEST_LIST = 100
"""Most names that a manifest lists of one kind."""


@dataclass(frozen=True, slots=True)
class Names:
    """Some names of many: ``names`` is what is listed, ``count`` how many there are."""

    count: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """What differs from the last good point's tree, in files."""

    since: str
    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class FilesFacts:
    """One tree of files as captured; ``bytes`` is the files' own size, before compression.

    ``state_sha256`` sums up what the file system told of every entry (names, sizes, times, inode
    numbers): the same twice means that nothing was written between. ``reread`` changed while they
    were read and were read again, ``unsettled`` changed then, too; ``vanished`` went away between
    being seen and being read; ``skipped`` are sockets, devices and pipes. ``linked_to`` is the
    point whose stored file this part shares.
    """

    root: str
    files: int
    directories: int
    links: int
    bytes: int
    state_sha256: str
    changes: TreeChanges | None = None
    reread: Names = Names()
    unsettled: Names = Names()
    vanished: Names = Names()
    skipped: Names = Names()
    linked_to: str | None = None


Origin = Literal["file", "variable", "command"]


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A file, variable or command output of the configuration, by its keys, never its values.

    ``digest`` and the keys' are keyed with a secret of the machine that captured it: equal ones
    of the same ``ConfigFacts.digest_key`` mean equal values, and nobody else learns anything.
    ``keys`` is empty where the content is no list of ``NAME=value``. ``bytes`` is None for a
    variable: its length would tell something of its value.
    """

    origin: Origin
    name: str
    bytes: int | None
    digest: str
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """A configuration as captured; ``absent`` are the optional files that were not there."""

    entries: tuple[ConfigEntry, ...]
    digest_key: str
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubmoduleFacts:
    """A submodule of a work tree; ``commit`` is the one that the index names.

    ``directory`` is where its artifacts lie in the part, and ``code`` what they hold; both are
    None where it was never initialised.
    """

    path: str
    url: str
    commit: str
    directory: str | None = None
    code: CodeFacts | None = None


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """A git work tree as captured; commits are full hexadecimal ids, ``refs`` name to commit.

    ``staged``, ``unstaged`` and ``untracked`` count files; ``deployed`` is the commit that runs,
    where something tells it; ``migrations`` are the ids of the migrations in it, newest last.
    ``refs`` are all that the bundle has; those that begin with ``own_refs`` are none of the
    repository's, but keep reachable what no ref names: stashes, a detached HEAD, a merge that is
    not done. ``symbolic_refs`` name another ref. ``shallow`` are the commits whose parents are
    not there. ``stash_messages`` are those of stash 0, 1, …, and ``unmerged`` is how many files
    a merge has left in conflict.
    """

    worktree: str
    head: str | None
    branch: str | None
    refs: tuple[tuple[str, str], ...]
    staged: int
    unstaged: int
    untracked: int
    stashes: int
    submodules: tuple[tuple[str, str], ...] = ()
    lfs_objects: int = 0
    lfs_missing: int = 0
    artifacts: tuple[str, ...] = ()
    deployed: str | None = None
    migration_head: str | None = None
    migrations: tuple[str, ...] = ()
    own_refs: str = "refs/fsbackup/"
    symbolic_refs: tuple[tuple[str, str], ...] = ()
    stash_messages: tuple[str, ...] = ()
    remotes: tuple[tuple[str, str], ...] = ()
    modules: tuple[SubmoduleFacts, ...] = ()
    shallow: tuple[str, ...] = ()
    unmerged: int = 0
    object_format: str = "sha1"

    @property
    def dirty(self) -> bool:
        """Whether the work tree held anything that no commit has."""
        return bool(self.staged or self.unstaged or self.untracked)


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """How the rows of a column fit the files of a part, both as captured.

    ``rows`` name a file; ``missing`` name one that the part has not, ``differing`` one of another
    size or hash; ``vanished`` are those among the missing whose file was there when the row was
    read; ``unnamed`` is how many files no row names (counted over all links of the same files).
    ``sums`` tells whether the same rows had, and had not, their files another time. The rest is the
    link as it was configured then; ``note`` says why nothing is known, or what is to be known.
    """

    table: str
    column: str
    source: str
    files: str
    rows: int
    missing: Names = Names()
    differing: Names = Names()
    vanished: Names = Names()
    unnamed: int | None = None
    note: str = ""
    sums: str = ""
    path: str | None = None
    strip: tuple[str, ...] = ()
    size: str | None = None
    sha256: str | None = None
    where: str | None = None

    @property
    def known(self) -> bool:
        """Whether the rows and the files could be put side by side at all."""
        return bool(self.sums)

    @property
    def name(self) -> str:
        """What it is called where it is told: the column, and the files that it names."""
        return f"{self.table}.{self.column} in {self.files}"


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """Which key a point was encrypted with, for the person who must find it.

    ``id`` names the key check in the repository's ``keys/``; ``recipients`` is empty for a
    passphrase.
    """

    method: Literal["gpg", "age"]
    id: str
    hint: str = ""
    recipients: tuple[str, ...] = ()
