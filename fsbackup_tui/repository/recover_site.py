"""RECOVER.md's chapters for configuration and code, in stock commands that work as pasted.

Nothing is written into the point, and nothing over what is there: everything goes into a new
directory, where a person compares it with what is live.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from fsbackup_tui.domain.fit import fits_of
from fsbackup_tui.domain.point import Artifact, PartManifest
from fsbackup_tui.domain.site_parts import CodeFacts, ConfigFacts
from fsbackup_tui.repository.recover_encrypted import (
    PLAIN_DIRECTORY,
    PLAIN_REMOVED,
    decrypt_commands,
    is_encrypted,
    needs,
    plain_path,
)

_UNPACK = {"zstd": "zstd -q -d -c", "gzip": "gzip -dc"}
Step = tuple[str, list[str]]


def site_steps(part: PartManifest) -> list[Step]:
    """Return the steps, title and commands, that restore configuration or code by hand."""
    if part.config is not None:
        return list(_config_steps(part))
    if part.code is not None:
        return list(_code_steps(part, part.code))
    return []


def site_chapter(part: PartManifest) -> Iterator[str]:
    """Yield the chapter of a configuration or of code; nothing for other kinds."""
    if part.config is not None:
        yield from _config_head(part, part.config)
    elif part.code is not None:
        yield from _code_head(part, part.code)
    else:
        return
    for title, commands in site_steps(part):
        yield from (f"### {title}", "", "```sh", *commands, "```", "")
    if part.config is not None:
        yield from _config_tail(part.config)


def fit_chapter(parts: Iterable[PartManifest]) -> Iterator[str]:
    """Yield whether database and code fit; nothing where nothing is known of it."""
    found = [one for one in fits_of(parts) if one[2].verdict != "unknown"]
    if not found:
        return
    yield from ("## Do database and code fit?", "")
    for database, code, fit in found:
        yield f"- `{database}` and `{code}`: {line(fit.words())}."
    yield ""


def _config_head(part: PartManifest, facts: ConfigFacts) -> Iterator[str]:
    yield from (f"## Restore the configuration (part {line(part.source)})", "")
    yield from needs(part)
    if not is_encrypted(part):
        yield "- It is **not encrypted**: whoever reads this directory reads its secrets."
    yield f"- It needs `tar` and `gzip`. Captured: {len(facts.entries)} entries."
    yield ""
    yield from ("It goes into a directory of its own, private; nothing is put in place.", "")


def _config_steps(part: PartManifest) -> Iterator[Step]:
    where = f"$HOME/{part.source}_restored"
    yield "Name the new directory", [f'[ -n "${{CONFIG_TO:-}}" ] || CONFIG_TO={_home(where)}']
    for artifact in part.artifacts:
        extract = 'tar -xpf - -C "$CONFIG_TO"'
        commands = ['mkdir -m 700 "$CONFIG_TO"', *_into(part, artifact, extract)]
        yield "Extract it", commands
    yield "See what it is", ['find "$CONFIG_TO" -type f -exec ls -l {} +']


def _config_tail(facts: ConfigFacts) -> Iterator[str]:
    yield "Compare each file with the one in place before you copy it over:"
    yield ""
    for entry in facts.entries:
        if entry.origin == "file":
            target = shlex.quote(line(entry.name))
            yield f'    diff {target} "$CONFIG_TO"/files{target}'
    yield ""
    names = [entry.name for entry in facts.entries if entry.origin == "variable"]
    if names:
        shown = ", ".join(f"`{line(name)}`" for name in names)
        yield f"`variables.env` has {shown}, for `docker --env-file` or a shell to read."
    outputs = [entry.name for entry in facts.entries if entry.origin == "command"]
    if outputs:
        shown = ", ".join(f"`commands/{line(name)}`" for name in outputs)
        yield f"What commands had printed lies in {shown}."
    yield "Remove the directory when you are done: its secrets lie there in plain."
    yield ""


def _code_head(part: PartManifest, facts: CodeFacts) -> Iterator[str]:
    yield from (f"## Restore the code (part {line(part.source)})", "")
    yield from needs(part)
    where = f"branch `{line(facts.branch)}`" if facts.branch else "a detached HEAD"
    commit = f"at `{facts.head}`" if facts.head else "without a commit"
    yield f"- It needs `git`. The work tree was on {where}, {commit}."
    if facts.deployed is not None and facts.deployed != facts.head:
        yield f"- Deployed was `{facts.deployed}`."
    if facts.shallow:
        yield "- It was a shallow clone: `git clone` refuses the bundle, the commands below don't."
    if facts.lfs_objects:
        yield "- It has files of Git LFS: without `git-lfs` they stay pointers to their objects."
    if facts.lfs_missing:
        yield f"- {facts.lfs_missing} LFS objects were not there, and are not in it."
    for module in facts.modules:
        if module.code is None:
            url = line(module.url) or "an address that nobody told"
            yield f"- The submodule `{line(module.path)}` is at `{module.commit}` of {url}."
    yield from ("", "It goes into a new directory; no hook or filter comes with it.", "")


def _code_steps(part: PartManifest, facts: CodeFacts) -> Iterator[Step]:
    where = f"$HOME/{part.source}_restored"
    yield "Name the new work tree", [f'[ -n "${{CODE_TO:-}}" ] || CODE_TO={_home(where)}']
    yield from _tree_steps(part, facts, "", '"$CODE_TO"', "the work tree")


def _tree_steps(
    part: PartManifest, facts: CodeFacts, directory: str, top: str, what: str
) -> Iterator[Step]:
    prefix = f"{directory}/" if directory else ""
    own: dict[str, Artifact] = {}
    for artifact in part.artifacts:
        name = artifact.path.removeprefix(prefix)
        if artifact.path.startswith(prefix) and "/" not in name:
            own[".".join(name.split(".")[:2])] = artifact
    yield f"Make {what}", _clone(part, facts, own.get("code.bundle"), top)
    if facts.stashes:
        yield f"Put the stashes of {what} back", list(_stashes(facts, top))
    if (lfs := own.get("lfs.tar")) is not None:
        extract = f"tar -xf - -C {top}/.git"
        yield (
            f"Put the LFS objects of {what} back",
            [
                *_into(part, lfs, extract),
                f"git -C {top} lfs install --local && git -C {top} lfs checkout",
            ],
        )
    if (built := own.get("artifacts.tar")) is not None:
        yield "Put back what was built", _into(part, built, f"tar -xpf - -C {top}")
    work = list(_work(part, own, top))
    if work:
        yield f"Put the uncommitted work of {what} back, if you want it", work
    for module in facts.modules:
        if module.code is not None and module.directory is not None:
            below = f"{top}/{shlex.quote(line(module.path))}"
            named = f"the submodule {line(module.path)}"
            yield from _tree_steps(part, module.code, module.directory, below, named)


def _clone(part: PartManifest, facts: CodeFacts, bundle: Artifact | None, top: str) -> list[str]:
    form = "" if facts.object_format == "sha1" else f" --object-format={facts.object_format}"
    commands = [f"git init -q{form} {top}"]
    if bundle is not None:
        if facts.shallow:
            commands.append(f"printf '%s\\n' {' '.join(facts.shallow)} > {top}/.git/shallow")
        commands += _into(
            part,
            bundle,
            f"git -C {top} fetch -q --no-tags --update-head-ok {{file}} '+refs/*:refs/*'",
        )
    if facts.branch is not None:
        name = shlex.quote(f"refs/heads/{line(facts.branch)}")
        commands.append(f"git -C {top} symbolic-ref HEAD {name}")
    elif facts.head is not None:
        commands.append(f"git -C {top} update-ref --no-deref HEAD {facts.head}")
    if facts.head is not None:
        large = "GIT_LFS_SKIP_SMUDGE=1 " if facts.lfs_objects or facts.lfs_missing else ""
        commands.append(f"{large}git -C {top} reset -q --hard")
    for name, url in facts.remotes:
        quoted = f"{shlex.quote(line(name))} {shlex.quote(line(url))}"
        commands.append(f"git -C {top} remote add {quoted}")
    return commands


def _stashes(facts: CodeFacts, top: str) -> Iterator[str]:
    refs = dict(facts.refs)
    yield f"git -C {top} update-ref -d refs/stash"
    for number in reversed(range(facts.stashes)):
        commit = refs.get(f"{facts.own_refs}stash/{number}")
        message = dict(enumerate(facts.stash_messages)).get(number) or "stash"
        if commit is not None:
            yield f"git -C {top} stash store -q -m {shlex.quote(line(message))} {commit}"


def _work(part: PartManifest, own: dict[str, Artifact], top: str) -> Iterator[str]:
    if (staged := own.get("staged.patch")) is not None:
        yield from _into(part, staged, f"git -C {top} apply --index -")
    if (unstaged := own.get("unstaged.patch")) is not None:
        yield from _into(part, unstaged, f"git -C {top} apply -")
    if (untracked := own.get("work.tar")) is not None:
        yield from _into(part, untracked, f"tar -xpf - -C {top}")


def _into(part: PartManifest, artifact: Artifact, command: str) -> list[str]:
    """Return the commands that give an artifact's plain content to one.

    It comes on its standard input, or as a file where the command says ``{file}``. What is
    encrypted goes over a private file that is checked first.
    """
    stored = shlex.quote(f"{part.source}/{artifact.path}")
    wants_file = "{file}" in command
    if artifact.encryption is not None:
        plain = plain_path(artifact)
        given = command.format(file=plain) if wants_file else f"{command} < {plain}"
        return [
            *PLAIN_DIRECTORY,
            *decrypt_commands(part, artifact),
            given,
            *PLAIN_REMOVED,
        ]
    method = (artifact.compression or "").partition(":")[0]
    if method in _UNPACK and not wants_file:
        return [f"{_UNPACK[method]} {stored} | {command}"]
    return [command.format(file=f'"$PWD"/{stored}') if wants_file else f"{command} < {stored}"]


def _home(path: str) -> str:
    """Return a path below $HOME, which the shell fills in."""
    return f'"$HOME"/{shlex.quote(path.removeprefix("$HOME/"))}'


def line(text: str) -> str:
    """Return text as one line without control characters, so that it can't forge a block."""
    return "".join(character if character.isprintable() else "?" for character in text)
