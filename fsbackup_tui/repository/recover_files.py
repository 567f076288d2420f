"""RECOVER.md's chapter for a tree of files: stock commands that work as pasted.

Everything goes into a new directory, and is checked there file by file; nothing is written over
what is live.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from fsbackup_tui.domain.point import Artifact, ArtifactRole, PartManifest
from fsbackup_tui.domain.site_parts import FilesFacts
from fsbackup_tui.repository.recover_encrypted import (
    PLAIN_DIRECTORY,
    PLAIN_REMOVED,
    decrypt_commands,
    is_encrypted,
    needs,
    plain_path,
)

Step = tuple[str, list[str]]
_UNPACK = {"zstd": "zstd -q -d -c", "gzip": "gzip -d -c"}
_EXTRACT = (
    "tar --extract --preserve-permissions --xattrs --xattrs-include='*' --acls "
    "--delay-directory-restore --warning=no-timestamp"
)


def files_steps(part: PartManifest, facts: FilesFacts) -> Iterator[Step]:
    """Yield the steps that restore a tree by hand: title, and commands from the point's directory.

    The directory that they make is named by a variable of the part's own.
    """
    archive, sums = _artifact(part, "archive"), _artifact(part, "sums")
    if archive is None or sums is None:
        return
    target = variable(part.source)
    yield (
        "Name the new directory",
        [
            f'[ -n "${{{target}:-}}" ] || '
            f'{target}="$HOME"/{shlex.quote(f"{_plain_name(part.source)}_restored")}'
        ],
    )
    if is_encrypted(part):
        commands = [*PLAIN_DIRECTORY, *decrypt_commands(part, archive)]
        if facts.files:
            commands += decrypt_commands(part, sums)
        yield "Decrypt it", commands
    yield (
        "Extract it there",
        [
            f'mkdir -m 700 "${target}"',
            f'{_reading(part, archive)} | {_EXTRACT} --directory="${target}" --file=-',
        ],
    )
    if facts.files:
        check = f'(cd "${target}" && sha256sum -c --quiet -) && echo "All files are as captured."'
        yield "Check every file", [f"{_reading(part, sums)} | {check}"]
    if is_encrypted(part):
        yield "Remove what was decrypted", list(PLAIN_REMOVED)


def files_chapter(part: PartManifest, facts: FilesFacts) -> Iterator[str]:
    """Yield the chapter of a tree of files."""
    yield from (f"## Restore the files (part {_line(part.source)})", "")
    yield (
        f"- {facts.files} files of {facts.bytes} bytes in all, {facts.directories} directories, "
        f"{facts.links} symbolic links; they lay in `{_line(facts.root)}`."
    )
    yield "- Needs GNU `tar`" + _tool(part) + ". As root, owners are restored, too."
    yield from needs(part)
    if facts.unsettled.count:
        yield (
            f"- {facts.unsettled.count} of them changed all the time while they were read: what "
            "is here may be of two moments. The manifest names them under `unsettled`."
        )
    yield from (
        "",
        "All of it goes into a new directory, which must not be there yet. Look at it, then copy",
        "from there what is missing in the live one; `tar` and `cp --no-clobber` overwrite nothing",
        "that is left alone.",
        "",
    )
    for title, commands in files_steps(part, facts):
        yield from (f"### {title}", "", "```sh", *commands, "```", "")


def variable(source: str) -> str:
    """Return the shell variable that names a part's new directory."""
    return "NEW_" + re.sub(r"[^A-Z0-9]", "_", source.upper())


def _reading(part: PartManifest, artifact: Artifact) -> str:
    """Return the command that prints an artifact's plain content."""
    if artifact.encryption is not None:
        return f"cat {plain_path(artifact)}"
    method = (artifact.compression or "").partition(":")[0]
    return f"{_UNPACK.get(method, 'cat')} {shlex.quote(f'{part.source}/{artifact.path}')}"


def _tool(part: PartManifest) -> str:
    archive = _artifact(part, "archive")
    method = (archive.compression if archive else None) or ""
    tool = _UNPACK.get(method.partition(":")[0])
    return "" if tool is None else f" and `{tool.split()[0]}`"


def _artifact(part: PartManifest, role: ArtifactRole) -> Artifact | None:
    return next((artifact for artifact in part.artifacts if artifact.role == role), None)


def _plain_name(source: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", source) or "files"


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text).replace(
        "`", "'"
    )
