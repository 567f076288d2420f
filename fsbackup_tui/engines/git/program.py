"""The stock ``git``, called so that nothing of a repository is run: no hook, filter or helper.

A repository may belong to somebody else than whoever backs it up (root, usually), and its
configuration names programs: hooks, filters, the file system monitor, transports. None of them
is run; what the user's own and the system's configuration name still is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.domain.errors import ToolMissing
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.engines.process import Command, Completed, run

OLDEST = (2, 31)
"""The first that takes configuration from the environment, whatever a key is called."""

_VERSION = re.compile(r"git version (\d+)\.(\d+)(?:\.(\d+))?")
_NOTHING_IS_RUN = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.splitIndex": "false",
    "core.preloadIndex": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "log.showSignature": "false",
    "advice.detachedHead": "false",
    "advice.graftFileDeprecated": "false",
    "submodule.recurse": "false",
    "fetch.writeCommitGraph": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.fsckObjects": "false",
    "transfer.fsckObjects": "false",
    "diff.orderFile": "/dev/null",
    "diff.autoRefreshIndex": "true",
    "apply.whitespace": "nowarn",
    "apply.ignoreWhitespace": "no",
    "core.safecrlf": "false",
}
_ALWAYS = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "false",
    "GIT_ASKPASS": "false",
    "GIT_COMMITTER_NAME": "fsbackup",
    "GIT_COMMITTER_EMAIL": "fsbackup@localhost",
}


@dataclass(frozen=True, slots=True)
class Git:
    """The program, and how it tells of itself while it runs; ``work`` is a private directory."""

    version: str
    work: Path
    report: Report | None = None
    redactor: Redactor | None = None

    async def run(
        self,
        *arguments: str,
        at: GitPlace | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path | None = None,
        check: bool = True,
        quiet: bool = True,
    ) -> Completed:
        """Run one command of git to its end; ``quiet`` ones are not told to the journal."""
        return await run(
            self.command(*arguments, at=at, env=env, stdin=stdin),
            report=None if quiet else self.report,
            redactor=self.redactor,
            check=check,
        )

    async def read(
        self,
        *arguments: str,
        at: GitPlace | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path | None = None,
    ) -> bytes:
        """Return what a command prints, however much it is: over a file of its own."""
        output = self.work / f"git-output-{os.urandom(6).hex()}"
        command = self.command(*arguments, at=at, env=env, stdin=stdin)
        try:
            await run(
                Command(command.argv, command.env, command.cwd, command.stdin, output),
                redactor=self.redactor,
            )
            return output.read_bytes()
        finally:
            output.unlink(missing_ok=True)

    def command(
        self,
        *arguments: str,
        at: GitPlace | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path | None = None,
    ) -> Command:
        """Return a command of git, in a repository or in none, that runs nothing else."""
        settings = dict(_NOTHING_IS_RUN)
        words: tuple[str, ...] = ()
        cwd = self.work
        if at is not None:
            settings |= at.settings
            settings["safe.directory"] = str(at.work_tree or at.git_directory)
            words = (f"--git-dir={at.git_directory}",)
            if at.work_tree is not None:
                words += (f"--work-tree={at.work_tree}",)
                cwd = at.work_tree
        return Command(
            ("git", *words, *arguments),
            env={**_ALWAYS, **settings_environment(settings), **(env or {})},
            cwd=cwd,
            stdin=stdin,
        )


@dataclass(frozen=True, slots=True)
class GitPlace:
    """A repository that commands run in: its git directory, and its work tree if it has one.

    ``settings`` win over what is configured there.
    """

    git_directory: Path
    work_tree: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def settings_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set configuration for one call (git-config(1), GIT_CONFIG_COUNT).

    Unlike ``-c`` they take keys with ``=`` in them.
    """
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        found[f"GIT_CONFIG_KEY_{number}"] = key
        found[f"GIT_CONFIG_VALUE_{number}"] = value
    return found


async def find_git(
    work: Path, *, report: Report | None = None, redactor: Redactor | None = None
) -> Git:
    """Return the machine's git, tried by a real call; ToolMissing where there is none that fits."""
    completed = await run(Command(("git", "version"), cwd=work), check=False)
    said = completed.stdout.decode("utf-8", "replace").strip()
    match = _VERSION.match(said)
    if completed.exit_status != 0 or match is None:
        raise ToolMissing(
            "GIT DOES NOT RUN.",
            why=completed.last_lines() or f"It says: {said or 'nothing'}.",
            fix="Install it (Debian and Ubuntu: apt-get install git)",
        )
    if (int(match[1]), int(match[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ToolMissing(
            f"GIT TOO OLD: {said}.",
            why=f"Before {oldest} what a repository names to be run can't be kept from running.",
            fix=f"Install git {oldest} or newer.",
        )
    return Git(said.removeprefix("git version "), work, report, redactor)


_FILTER_KEY = re.compile(r"filter\..*\.(clean|smudge|process|required)", re.DOTALL | re.IGNORECASE)


async def harmless_settings(git: Git, place: GitPlace) -> dict[str, str]:
    """Return settings that keep a repository's own filters from being run.

    A filter that the user or the system configures (Git LFS, say) stays as they say.
    """
    effective = await _keys(git, place)
    names = [name for name in effective if _FILTER_KEY.fullmatch(name)]
    if not names:
        return {}
    trusted: dict[str, str] = {}
    for scope in ("--system", "--global"):
        trusted |= await _keys(git, place, scope, "--includes")
    settings = {name: trusted.get(name, "") for name in names}
    for name in names:
        if name.lower().endswith(".required") and name not in trusted:
            settings[name] = "false"
    return settings


async def _keys(git: Git, place: GitPlace, *scope: str) -> dict[str, str]:
    completed = await git.run("config", *scope, "--list", "-z", at=place, check=False)
    if completed.exit_status != 0 and not scope:
        await git.run("config", "--list", "-z", at=place)
    found: dict[str, str] = {}
    for item in completed.stdout.decode("utf-8", "surrogateescape").split("\0"):
        name, _, value = item.partition("\n")
        if name:
            found[name] = value
    return found
