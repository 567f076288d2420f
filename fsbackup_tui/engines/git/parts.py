"""Which artifact of a code part is what: of the work tree itself, and of each submodule in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fsbackup_tui.domain.point import Artifact
from fsbackup_tui.domain.site_parts import CodeFacts
from fsbackup_tui.engines.git.capture import BUILT, BUNDLE, LFS, STAGED, UNSTAGED, UNTRACKED


@dataclass(frozen=True, slots=True)
class CodeArtifacts:
    """The artifacts of one work tree, None for what it has not.

    ``directory`` is where they lie in the part, ``""`` for the work tree itself.
    """

    directory: str
    facts: CodeFacts
    bundle: Artifact | None = None
    staged: Artifact | None = None
    unstaged: Artifact | None = None
    untracked: Artifact | None = None
    built: Artifact | None = None
    lfs: Artifact | None = None

    def there(self) -> Iterator[tuple[str, Artifact]]:
        """Yield what there is, by its plain name."""
        for name, artifact in (
            (BUNDLE, self.bundle),
            (STAGED, self.staged),
            (UNSTAGED, self.unstaged),
            (UNTRACKED, self.untracked),
            (BUILT, self.built),
            (LFS, self.lfs),
        ):
            if artifact is not None:
                yield name, artifact

    def lacking(self) -> list[str]:
        """Return the plain names of what the facts say was captured and is not there."""
        facts = self.facts
        wanted = (
            (BUNDLE, bool(facts.refs)),
            (STAGED, bool(facts.staged)),
            (UNSTAGED, bool(facts.unstaged)),
            (UNTRACKED, bool(facts.untracked)),
            (BUILT, bool(facts.artifacts)),
            (LFS, bool(facts.lfs_objects)),
        )
        present = dict(self.there())
        return [name for name, needed in wanted if needed and name not in present]


def work_trees(artifacts: Iterable[Artifact], facts: CodeFacts) -> Iterator[CodeArtifacts]:
    """Yield the artifacts of the work tree, then those of each submodule that was captured."""
    listed = list(artifacts)
    yield from _below("", listed, facts)


def _below(directory: str, artifacts: list[Artifact], facts: CodeFacts) -> Iterator[CodeArtifacts]:
    own: dict[str, Artifact] = {}
    prefix = f"{directory}/" if directory else ""
    for artifact in artifacts:
        name = artifact.path.removeprefix(prefix)
        if artifact.path.startswith(prefix) and "/" not in name:
            own[".".join(name.split(".")[:2])] = artifact
    yield CodeArtifacts(
        directory,
        facts,
        own.get(BUNDLE),
        own.get(STAGED),
        own.get(UNSTAGED),
        own.get(UNTRACKED),
        own.get(BUILT),
        own.get(LFS),
    )
    for module in facts.modules:
        if module.code is not None and module.directory is not None:
            yield from _below(module.directory, artifacts, module.code)
