"""GNU tar: found, tried by a real call, and the options it is called with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fsbackup_tui.domain.errors import ToolMissing
from fsbackup_tui.engines.process import Command, ToolFailed, run

_NAMES = ("tar", "gtar")
_VERSION = re.compile(r"\(GNU tar\) (\d+(?:\.\d+)*)")
_WITH_ATTRIBUTES = ("--xattrs", "--acls")
_UNSUPPORTED = re.compile(r"support is not available|unrecognized option|not supported")
# Long: on a machine in trouble a program that works is slow to say so.
_PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TarProgram:
    """GNU tar as it is here; ``attributes``: it knows extended attributes and access lists."""

    program: str
    version: str
    attributes: bool

    def create(self, root: str) -> tuple[str, ...]:
        """Return the command that archives the paths below ``root`` that its input names.

        Paths come NUL-ended; the archive goes to standard output. What atime and ctime were is
        left out: nothing restores them, and they would make equal trees differ.
        """
        return (
            self.program,
            "--create",
            "--format=posix",
            "--pax-option=delete=atime,delete=ctime",
            "--sparse",
            *(_WITH_ATTRIBUTES if self.attributes else ()),
            "--quoting-style=c",
            "--blocking-factor=128",
            f"--directory={root}",
            "--no-recursion",
            "--null",
            "--verbatim-files-from",
            "--no-unquote",
            "--files-from=-",
            "--file=-",
        )

    def extract(self, target: str, *, owners: bool, names: str | None = None) -> tuple[str, ...]:
        """Return the command that extracts the archive on its input into a directory.

        ``owners``: owners and all extended attributes are set, which only root may. ``names``
        is a file with the NUL-ended paths that are wanted; None: all of them.
        """
        attributes: tuple[str, ...] = ()
        if self.attributes:
            attributes = (*_WITH_ATTRIBUTES, *(("--xattrs-include=*",) if owners else ()))
        return (
            self.program,
            "--extract",
            *attributes,
            "--preserve-permissions",
            "--same-owner" if owners else "--no-same-owner",
            "--delay-directory-restore",
            "--warning=no-timestamp",
            "--quoting-style=c",
            f"--directory={target}",
            *(
                ("--no-recursion", "--null", "--verbatim-files-from", f"--files-from={names}")
                if names
                else ()
            ),
            "--file=-",
        )


async def find_tar() -> TarProgram:
    """Return the first GNU tar that works; ToolMissing says what to install."""
    found: list[str] = []
    for name in _NAMES:
        try:
            told = await run(Command((name, "--version")), timeout=_PROBE_SECONDS)
        except (ToolMissing, ToolFailed):
            continue
        version = _VERSION.search(told.stdout.decode("utf-8", "replace"))
        if version is None:
            found.append(name)
            continue
        if await _works(name, ()):
            return TarProgram(name, version[1], await _works(name, _WITH_ATTRIBUTES))
    raise ToolMissing(
        "PROGRAM MISSING: GNU tar.",
        why=f"{found[0]} is there, but it is another one." if found else "There is none in PATH.",
        fix="Install tar (macOS: brew install gnu-tar), then run: fsbackup doctor",
    )


async def _works(name: str, options: tuple[str, ...]) -> bool:
    """Try a call that does everything but read files."""
    command = TarProgram(name, "", attributes=bool(options)).create("/")
    told = await run(Command(command, stdin=b""), timeout=_PROBE_SECONDS, check=False)
    return told.exit_status == 0 and not _UNSUPPORTED.search(told.stderr)
