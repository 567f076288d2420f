"""The typed arguments of restoring files, configuration and code; each names what it returns.

``part`` is the source, ``point`` the point's id. ``tag`` becomes the end of every name that is
made beside a tree (``storage.restore-TAG``): an incident's id, or empty for one of the job's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fsbackup_tui.domain.tree import Conflict
from fsbackup_tui.operations.request import Request

ConfigRestore = Literal["diff", "beside", "in-place"]


@dataclass(frozen=True, slots=True)
class SiteRequest(Request):
    """The base: about one part of a point that is no database.

    ``reason_unsigned`` says why a point is trusted that lacks the signature which is demanded.
    """

    part: str
    point: str = ""
    reason_unsigned: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class FilesLookRequest(SiteRequest):
    """Compare live's tree with a point's by reading alone; ``domain/tree.py:FilesLook``.

    With ``contents`` files of equal size and time are read and compared by their hash, too.
    ``touching`` looks for what writes or deletes below the root.
    """

    operation: ClassVar[str] = "files-look"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_look:run"
    stages: ClassVar[tuple[str, ...]] = ("point", "live", "rows", "who deletes")
    contents: bool = False
    touching: bool = True

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class FilesPutBackRequest(SiteRequest):
    """Put files of a point back into live, which runs on; ``domain/tree.py:PutBack``.

    By default what is missing there, and where links tell, only what a live row names. With
    ``patterns`` (shell patterns over the path below the root) it is what matches, named by a row
    or not, and ``conflict`` says what becomes of those that live has otherwise. ``all_missing``:
    what no row names, too. What was not whole when the job ended is undone by the list that it
    wrote first.
    """

    operation: ClassVar[str] = "files-put-back"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_put_back:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "compare", "extract", "put back")
    patterns: tuple[str, ...] = ()
    conflict: Conflict = "keep"
    all_missing: bool = False
    tag: str = ""


@dataclass(frozen=True, slots=True)
class FilesTakeBackRequest(SiteRequest):
    """Undo putting back, by the ``undo`` that its result told; ``domain/tree.py:TakenBack``.

    ``also`` are attempts before that nobody saw the end of, by their ``tag``: what they did is
    taken back after it, and one that put nothing into live is passed over. ``undo`` may be empty
    then.
    """

    operation: ClassVar[str] = "files-take-back"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_take_back:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "take back")
    undo: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilesBesideRequest(SiteRequest):
    """Extract the whole tree beside live's, marked as ours; ``domain/tree.py:TreeBeside``.

    ``directory`` takes it instead, wherever it is: one that is empty, or not there yet; that one
    is the person's own and bears no mark. ``replica`` takes the point from there.
    """

    operation: ClassVar[str] = "files-beside"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_beside:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "extract", "finish")
    tag: str = ""
    directory: str = ""
    replica: str = ""


@dataclass(frozen=True, slots=True)
class FilesCompareRequest(SiteRequest):
    """Compare a tree beside with live's; ``domain/tree.py:TreeDifference``.

    ``tree`` is its path, as the result that made it told; ``inode`` 0 is not checked, here and in
    what follows.
    """

    operation: ClassVar[str] = "files-compare"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_compare:run"
    stages: ClassVar[tuple[str, ...]] = ("compare",)
    tree: str = ""
    inode: int = 0
    contents: bool = False

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class FilesCarryRequest(SiteRequest):
    """Copy files of live into a tree beside; ``domain/tree.py:Carried``.

    Those that live alone has (``only_live``) and those it wrote later (``newer``); ``patterns``
    narrows them. Live is only read.
    """

    operation: ClassVar[str] = "files-carry"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_compare:run_carry"
    stages: ClassVar[tuple[str, ...]] = ("compare", "copy")
    tree: str = ""
    inode: int = 0
    only_live: bool = True
    newer: bool = True
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilesExchangeRequest(SiteRequest):
    """Let a tree beside take live's place; ``domain/tree.py:Exchanged``.

    What was live is kept as ``ROOT.before-TAG``, whole. ``live_inode`` is what was seen as live;
    0: not checked, or there was no tree (``missing``).
    """

    operation: ClassVar[str] = "files-exchange"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_exchange:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "exchange", "settle")
    tree: str = ""
    inode: int = 0
    live_inode: int = 0
    tag: str = ""


@dataclass(frozen=True, slots=True)
class FilesRollbackRequest(SiteRequest):
    """Undo an exchange; ``domain/tree.py:Exchanged``.

    ``kept_as`` is the path of the tree that was kept; what is live is kept as ``ROOT.after-TAG``.
    Files that were written since are counted, and with ``carry`` copied into the tree that comes.
    ``preview`` counts alone.
    """

    operation: ClassVar[str] = "files-rollback"
    runner: ClassVar[str] = "fsbackup_tui.operations.files_exchange:run_rollback"
    stages: ClassVar[tuple[str, ...]] = ("check", "carry", "exchange", "settle")
    kept_as: str = ""
    kept_inode: int = 0
    live_inode: int = 0
    tag: str = ""
    carry: bool = False
    preview: bool = False


@dataclass(frozen=True, slots=True)
class TreesRequest(SiteRequest):
    """List the trees that recoveries left; ``{"trees": [domain/tree.py:LeftTree], "notes"}``.

    ``part`` empty: beside all the site's trees.
    """

    operation: ClassVar[str] = "trees"
    runner: ClassVar[str] = "fsbackup_tui.operations.trees:run"
    stages: ClassVar[tuple[str, ...]] = ("look",)

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class DropTreeRequest(SiteRequest):
    """Drop one of them, told by name and inode; ``{"dropped", "kind", "bytes"}``."""

    operation: ClassVar[str] = "drop-tree"
    runner: ClassVar[str] = "fsbackup_tui.operations.trees:run_drop"
    stages: ClassVar[tuple[str, ...]] = ("check", "drop")
    name: str = ""
    inode: int = 0


@dataclass(frozen=True, slots=True)
class RestoreConfigRequest(Request):
    """Compare a configuration with live, write it beside, or put chosen files back in place.

    ``files`` are shell patterns that choose; none means everything. ``to`` is the new directory
    of what is written beside. In place, ``seen`` is what the person saw of each live file: it
    is looked at again, and what was written to meanwhile is refused. With a ``tag`` the former
    files are kept under names that end in it, and an attempt that was killed goes on.
    ``replica`` takes the point from there.
    """

    operation: ClassVar[str] = "restore-config"
    runner: ClassVar[str] = "fsbackup_tui.operations.restore_config:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "compare", "write")
    point: str
    part: str
    mode: ConfigRestore
    files: tuple[str, ...] = ()
    to: str = ""
    seen: tuple[str, ...] = ()
    reason_unsigned: str = ""
    tag: str = ""
    replica: str = ""

    def planned(self) -> tuple[str, ...]:
        """Return the stages of the mode."""
        if self.mode == "diff":
            return self.stages[:2]
        return ("check", "write") if self.mode == "beside" else self.stages

    def changes(self) -> bool:
        """Nothing where it only compares."""
        return self.mode != "diff"


@dataclass(frozen=True, slots=True)
class RestoreCodeRequest(Request):
    """Make a new work tree of a code part in ``to``, a directory that is not there yet.

    ``apply_work`` applies what no commit had, too; else it lies in ``to.patches``. ``beside``: it
    lies beside live's, as ``ROOT.restore-TAG``, and is marked as ours; so are its patches then, as
    ``to-patches``. ``replica`` takes the point from there.
    """

    operation: ClassVar[str] = "restore-code"
    runner: ClassVar[str] = "fsbackup_tui.operations.restore_code:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "clone", "files")
    point: str
    part: str
    to: str
    apply_work: bool = False
    beside: bool = False
    reason_unsigned: str = ""
    replica: str = ""


SITE_REQUESTS: tuple[type[Request], ...] = (
    FilesLookRequest,
    FilesPutBackRequest,
    FilesTakeBackRequest,
    FilesBesideRequest,
    FilesCompareRequest,
    FilesCarryRequest,
    FilesExchangeRequest,
    FilesRollbackRequest,
    TreesRequest,
    DropTreeRequest,
    RestoreConfigRequest,
    RestoreCodeRequest,
)
