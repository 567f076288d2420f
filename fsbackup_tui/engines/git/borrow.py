"""A bare repository of ours that borrows another's objects, with refs that we choose.

The bundle is made from it: nothing is written to the original, its configuration has no say, and
its refs stand still meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fsbackup_tui.engines.git.program import Git, GitPlace
from fsbackup_tui.engines.git.repository import Ref


async def borrow(
    git: Git,
    objects: Path,
    directory: Path,
    *,
    refs: Sequence[Ref],
    own: Mapping[str, str],
    head: tuple[str | None, str | None],
    shallow: Sequence[str],
    hash_name: str,
) -> GitPlace:
    """Make the repository in ``directory``; ``head`` is commit and branch, as ``read_head`` has it.

    ``own`` are further refs, by name, that keep what no ref names.
    """
    await git.run("init", "--quiet", "--bare", "--template=", f"--object-format={hash_name}",
                  str(directory))  # fmt: skip
    # A link of our own: a path may have anything in it, a line of that file not.
    borrowed = directory / "borrowed"
    borrowed.symlink_to(objects)
    information = directory / "objects" / "info"
    information.mkdir(exist_ok=True)
    (information / "alternates").write_bytes(bytes(borrowed) + b"\n")
    lines = [f"{ref.commit} ".encode() + ref.name for ref in refs]
    lines += [f"{commit} {name}".encode() for name, commit in own.items()]
    (directory / "packed-refs").write_bytes(b"".join(line + b"\n" for line in lines))
    commit, branch = head
    if commit is not None:
        names = {ref.shown: ref.name for ref in refs}
        named = names.get(f"refs/heads/{branch}") if branch is not None else None
        content = b"ref: " + named if named is not None else commit.encode()
        (directory / "HEAD").write_bytes(content + b"\n")
    if shallow:
        (directory / "shallow").write_text("".join(f"{each}\n" for each in shallow))
    return GitPlace(directory)
