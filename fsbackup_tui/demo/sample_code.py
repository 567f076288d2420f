"""The sample site's code: a git repository with history, and work that nobody committed yet."""

from __future__ import annotations

from pathlib import Path

from fsbackup_tui.domain.errors import ToolMissing
from fsbackup_tui.engines.process import Command, run

MIGRATIONS = (
    "20250101090000_init",
    "20250214101500_add_face_sources",
    "20250601083000_add_generated_videos",
    "20251220160000_add_likes",
    "20260105113000_partition_events",
)
"""The same that the sample database says it has."""

BUILT = ".next"
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ana",
    "GIT_AUTHOR_EMAIL": "ana@example.org",
    "GIT_COMMITTER_NAME": "Ana",
    "GIT_COMMITTER_EMAIL": "ana@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
_IGNORED = f"/storage/\n/public/\n/.env\n/{BUILT}/\n/node_modules/\n"
_PACKAGE = '{"name": "face-swap", "version": "1.4.0", "private": true}\n'
_PAGE = "export default function Page() {\n  return <h1>Swap a face</h1>\n}\n"


async def write_code(directory: Path) -> bool:
    """Make a repository of the site's directory; False where there is no git.

    It has two commits, a branch beside main, a changed file, a new one and a built one.
    """
    _write(directory / ".gitignore", _IGNORED)
    _write(directory / "package.json", _PACKAGE)
    _write(directory / "app" / "page.tsx", _PAGE)
    _write(directory / BUILT / "BUILD_ID", "demo-1\n")
    for name in MIGRATIONS:
        _write(directory / "prisma" / "migrations" / name / "migration.sql", f"-- {name}\n")
    try:
        await _git(directory, 1, "init", "--quiet", "--initial-branch=main")
    except ToolMissing:
        return False
    await _git(directory, 1, "add", "--all")
    await _git(directory, 1, "commit", "--quiet", "--message=The first release")
    await _git(directory, 1, "branch", "likes")
    _write(directory / "app" / "page.tsx", _PAGE.replace("a face", "faces"))
    await _git(directory, 2, "commit", "--quiet", "--all", "--message=Say faces")
    _write(directory / "app" / "page.tsx", _PAGE.replace("a face", "faces, safely"))
    _write(directory / "app" / "banner.tsx", "export const banner = 'Back soon'\n")
    return True


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


async def _git(directory: Path, day: int, *arguments: str) -> None:
    moment = f"2026-01-{day:02d}T09:00:00+00:00"
    dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
    await run(
        Command(
            ("git", "-C", str(directory), *arguments), env={**_IDENTITY, **dates}, cwd=directory
        )
    )
