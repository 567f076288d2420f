"""How encrypted artifacts are opened with stock tools, in commands that work as pasted.

Into a file first, whose content is checked before anything uses it: a tool that reads a pipe does
not learn that what fed it ended badly.
"""

from __future__ import annotations

import shlex

from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.domain.site_parts import KeyFacts
from fsbackup_tui.repository.keys import IDENTITY_SUFFIX

_UNPACK = {"zstd": ("zstd -q -d --rm", ".zst"), "gzip": ("gzip -d", ".gz")}
_SUFFIXES = {"gpg": ".gpg", "age": ".age"}
PLAIN_DIRECTORY = ['[ -n "${PLAIN:-}" ] || PLAIN=$(mktemp -d)']
"""The command that makes the private directory in which decrypted files lie."""

PLAIN_REMOVED = ['rm -r "$PLAIN"; unset PLAIN']


def is_encrypted(part: PartManifest) -> bool:
    """Whether stock tools need a key to read the part."""
    return any(artifact.encryption is not None for artifact in part.artifacts)


def plain_path(artifact: Artifact) -> str:
    """Return, quoted for a shell, where ``decrypt_commands`` puts an artifact's plain content."""
    return f'"$PLAIN"/{shlex.quote(_plain_name(artifact))}'


def _plain_name(artifact: Artifact) -> str:
    name = artifact.path.rpartition("/")[2]
    name = name.removesuffix(_SUFFIXES.get(artifact.encryption or "", ""))
    return name.removesuffix(_UNPACK.get(_method(artifact), ("", ""))[1])


def _method(artifact: Artifact) -> str:
    return (artifact.compression or "").partition(":")[0]


def decrypt_commands(part: PartManifest, artifact: Artifact) -> list[str]:
    """Return the commands that decrypt, unpack and check an artifact, from the point's directory.

    They put it into PLAIN (see PLAIN_DIRECTORY).
    """
    stored = shlex.quote(f"{part.source}/{artifact.path}")
    tool, suffix = _UNPACK.get(_method(artifact), ("", ""))
    target = f'"$PLAIN"/{shlex.quote(_plain_name(artifact) + suffix)}'
    commands = [f"{_decrypt(part.key, artifact)} {target} {_behind(artifact)}{stored}"]
    if tool:
        commands.append(f"{tool} {target}")
    if artifact.plain_sha256 is not None:
        commands.append(
            f"printf '%s  %s\\n' {artifact.plain_sha256} {plain_path(artifact)} | sha256sum -c -"
        )
    return commands


def _decrypt(key: KeyFacts | None, artifact: Artifact) -> str:
    if artifact.encryption == "gpg":
        return "gpg --output"
    if key is not None and not key.recipients:
        return f"age -d -i {key.id}{IDENTITY_SUFFIX} -o"
    return 'age -d -i "${AGE_IDENTITY:?set it to the file with the private key}" -o'


def _behind(artifact: Artifact) -> str:
    return "--decrypt " if artifact.encryption == "gpg" else ""


def needs(part: PartManifest) -> list[str]:
    """Return what a person needs to open the part, as lines of a list."""
    key = part.key
    if key is None:
        return []
    tools = {key.method} | {
        _UNPACK[_method(artifact)][0].split()[0]
        for artifact in part.artifacts
        if _method(artifact) in _UNPACK
    }
    listed = ", ".join(f"`{tool}`" for tool in sorted(tools))
    lines = [f"- It is encrypted: needs {listed}, and {_which(key)}."]
    size = max((a.plain_bytes or 0 for a in part.artifacts), default=0)
    lines.append(
        f"- Decrypted it takes {size // 10**6 + 1} MB where `mktemp -d` makes its directory "
        "(set TMPDIR)."
    )
    return lines


def _which(key: KeyFacts) -> str:
    hint = f" ({_line(key.hint)})" if key.hint else ""
    if not key.recipients:
        return f"the passphrase of the key `{key.id}`{hint}"
    names = ", ".join(f"`{_line(name)}`" for name in key.recipients)
    return f"the private key of one of {names}{hint}"


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
