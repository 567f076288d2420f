"""The requests about what belongs to a site beside its database: configuration, code, files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fsbackup_tui.operations.request import Request

ConfigRestore = Literal["diff", "beside", "in-place"]


@dataclass(frozen=True, slots=True)
class RestoreConfigRequest(Request):
    """Compare a configuration with live, write it beside, or put chosen files back in place.

    ``files`` are shell patterns that choose; none means everything. ``to`` is the new directory
    of what is written beside. In place, ``seen`` is what the person saw of each live file: it
    is looked at again, and what was written to meanwhile is refused.
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

    def planned(self) -> tuple[str, ...]:
        """Return the stages of the mode."""
        if self.mode == "diff":
            return self.stages[:2]
        return ("check", "write") if self.mode == "beside" else self.stages


@dataclass(frozen=True, slots=True)
class RestoreCodeRequest(Request):
    """Make a new work tree of a code part in ``to``, a directory that is not there yet.

    ``apply_work`` applies what no commit had, too; else it lies in ``to.patches``.
    """

    operation: ClassVar[str] = "restore-code"
    runner: ClassVar[str] = "fsbackup_tui.operations.restore_code:run"
    stages: ClassVar[tuple[str, ...]] = ("check", "clone", "files")
    point: str
    part: str
    to: str
    apply_work: bool = False
    reason_unsigned: str = ""


SITE_REQUESTS: tuple[type[Request], ...] = (RestoreConfigRequest, RestoreCodeRequest)
