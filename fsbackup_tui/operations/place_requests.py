"""What a recovery of files, configuration or code asks for before, around and after restoring.

``part`` is the source. ``paths`` is what a person saw at its paths: the worker looks again, and
refuses where another directory is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fsbackup_tui.operations.request import Request


@dataclass(frozen=True, slots=True)
class LookPlaceRequest(Request):
    """See what is at a source's paths, on which disk, and who is at work there.

    Returns ``domain/place.py:PlaceStanding``; nothing is changed.
    """

    operation: ClassVar[str] = "look-place"
    runner: ClassVar[str] = "fsbackup_tui.operations.look_place:run"
    stages: ClassVar[tuple[str, ...]] = ("look",)
    part: str

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class SiteDamageRequest(Request):
    """Compare live files, configuration or code with the points there are, by reading alone.

    Returns ``domain/site_damage.py:SiteDamage``. ``last_right`` as ISO text, empty: unknown;
    ``point`` is measured by, empty: the newest good one from before it was last right.
    """

    operation: ClassVar[str] = "site-damage"
    runner: ClassVar[str] = "fsbackup_tui.operations.site_damage:run"
    stages: ClassVar[tuple[str, ...]] = ("points", "live", "candidates")
    part: str
    point: str = ""
    last_right: str = ""

    def changes(self) -> bool:
        """Nothing: it only reads."""
        return False


@dataclass(frozen=True, slots=True)
class StopTouchingRequest(Request):
    """Stop what writes or deletes at a source's paths, and remember how it goes on.

    ``what`` are the ``touch_key`` (domain/place.py) of what was seen; ``pause_jobs`` runs the
    site's own command as well.
    Returns ``{"stopped": [...], "gone": [...], "left": [{"what", "why", "fix"}]}``.
    """

    operation: ClassVar[str] = "stop-touching"
    runner: ClassVar[str] = "fsbackup_tui.operations.stop_touching:run"
    stages: ClassVar[tuple[str, ...]] = ("stop",)
    part: str
    what: tuple[str, ...] = ()
    pause_jobs: bool = False

    def planned(self) -> tuple[str, ...]:
        """Return the stages: the site's own command is one of its own."""
        return ("stop", "run") if self.pause_jobs else ("stop",)


@dataclass(frozen=True, slots=True)
class LetTouchRequest(Request):
    """Let go on what was stopped; ``{"going": [...], "left": [{"what", "why", "fix"}]}``.

    ``resume_jobs`` runs the site's own command as well.
    """

    operation: ClassVar[str] = "let-touch"
    runner: ClassVar[str] = "fsbackup_tui.operations.stop_touching:run_let"
    stages: ClassVar[tuple[str, ...]] = ("let go on",)
    part: str
    resume_jobs: bool = False

    def planned(self) -> tuple[str, ...]:
        """Return the stages: the site's own command is one of its own."""
        return ("let go on", "run") if self.resume_jobs else ("let go on",)


@dataclass(frozen=True, slots=True)
class KeepTreeRequest(Request):
    """Keep what is known of a tree as it is now, beside the incident; live is only read.

    A list of every name with size, owner and times, and deleted files that a process still has
    open. Returns ``{"directory", "listed", "copied": [...], "not_copied": [{"what", "why"}]}``.
    """

    operation: ClassVar[str] = "keep-tree"
    runner: ClassVar[str] = "fsbackup_tui.operations.keep_tree:run"
    stages: ClassVar[tuple[str, ...]] = ("list", "copy")
    part: str


@dataclass(frozen=True, slots=True)
class ConfigTakeBackRequest(Request):
    """Let files of a configuration that were kept be live again.

    Returns ``{"taken_back": [{"file", "kept"}], "as_it_was": [...], "live": {FILE: ...}}``:
    ``live`` is what tells each file's state from a later one, as comparing a configuration does.
    ``kept`` is for each of ``files`` where the former one is; empty: there was none.
    """

    operation: ClassVar[str] = "config-take-back"
    runner: ClassVar[str] = "fsbackup_tui.operations.config_take_back:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "take back")
    part: str
    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeBackRequest(Request):
    """Let a restored work tree's commit be live's, and what was ``built`` from it.

    ``tree`` is the restored one, known by ``inode``; ``live_head`` the commit that was seen in
    live, empty: not checked. What live had is kept under names that end in ``tag``. Returns
    ``{"mode", "root", "former", "branch", "now", "work", "built", "told", "by_hand"}``: ``mode`` is
    ``checkout``, or ``rename`` where nothing stood there.
    """

    operation: ClassVar[str] = "code-back"
    runner: ClassVar[str] = "fsbackup_tui.operations.code_back:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "keep", "check out")
    part: str
    tree: str
    inode: int = 0
    live_head: str = ""
    built: tuple[str, ...] = ()
    tag: str = ""


@dataclass(frozen=True, slots=True)
class CodeTakeBackRequest(Request):
    """Undo it; ``{"mode", "root", "now", "told"}``. ``tree``: where it was renamed from.

    ``inode`` is the renamed tree's.
    """

    operation: ClassVar[str] = "code-take-back"
    runner: ClassVar[str] = "fsbackup_tui.operations.code_back:run_take_back"
    stages: ClassVar[tuple[str, ...]] = ("check", "keep", "check out")
    part: str
    tag: str = ""
    built: tuple[str, ...] = ()
    tree: str = ""
    inode: int = 0


@dataclass(frozen=True, slots=True)
class RehearseTreeRequest(Request):
    """Make the tree of files, or of code, that a drill plays on, and damage it.

    Returns ``{"tree", "name", "inode", "point", "damage": "what was done to it"}``: ``name`` is the
    directory around it, dropped by it and its inode (``DropTreeRequest``).
    """

    operation: ClassVar[str] = "rehearse-tree"
    runner: ClassVar[str] = "fsbackup_tui.operations.rehearse_tree:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "restore", "damage")
    part: str


PLACE_REQUESTS: tuple[type[Request], ...] = (
    LookPlaceRequest,
    SiteDamageRequest,
    StopTouchingRequest,
    LetTouchRequest,
    KeepTreeRequest,
    ConfigTakeBackRequest,
    CodeBackRequest,
    CodeTakeBackRequest,
    RehearseTreeRequest,
)
