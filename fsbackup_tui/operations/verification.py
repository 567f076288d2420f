"""One verification while it runs: what it knows of the point, and what it has found out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from fsbackup_tui.domain.errors import DiskFull, RepositoryUnwritable
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.point import PartManifest
from fsbackup_tui.domain.proof import Outcome, Proof
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.domain.trust import Trust
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import Finding, not_recorded
from fsbackup_tui.operations.link_proof import LinksOutcome
from fsbackup_tui.operations.opened import opened
from fsbackup_tui.operations.spare import SpareKeeper
from fsbackup_tui.operations.timing import Timing
from fsbackup_tui.operations.verify_parts import Trial
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.reader import PointReader
from fsbackup_tui.repository.records import write_record


@dataclass
class Verification:
    """One verification while it runs; ``blocked`` is what could not be tried.

    What of that the configuration accepts stands in ``accepted`` instead, with the reason. Parts
    that are ``out`` failed at a rung, or were kept from it: they climb no further.
    """

    context: JobContext
    repository: Repository
    reader: PointReader
    parts: list[PartManifest]
    timing: Timing
    levels: dict[str, dict[str, object]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    blocked: list[dict[str, str]] = field(default_factory=list)
    accepted: list[dict[str, str]] = field(default_factory=list)
    proofs: dict[str, Proof] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    links: dict[str, LinksOutcome] = field(default_factory=dict)
    keepers: Mapping[str, SpareKeeper] = field(default_factory=dict)
    out: set[str] = field(default_factory=set)
    reached: dict[str, Trust] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_copy: bool = False
    signature: Signature = field(default_factory=lambda: Signature("absent"))
    signature_counts: bool = True
    trusted: bool = False
    in_use: AsyncExitStack = field(default_factory=AsyncExitStack)
    plain: dict[str, PointReader] = field(default_factory=dict)

    async def opened(self, part: PartManifest) -> PointReader:
        """Return the reader of a part's plain content, decrypted once and until the end."""
        if part.source not in self.plain:
            decrypted = opened(self.context, self.reader, [part])
            self.plain[part.source] = await self.in_use.enter_async_context(decrypted)
        return self.plain[part.source]

    def climbing(self) -> list[PartManifest]:
        """Return the parts that held at every rung so far: what broke keeps no other back."""
        return [part for part in self.parts if part.source not in self.out]


def as_truth(outcome: Outcome) -> bool | None:
    """Return True for what held, False for what failed, None for what was blocked."""
    return {"ok": True, "failed": False, "blocked": None}[outcome]


def all_of(outcomes: Collection[object]) -> bool | None:
    """Return True where all held, False where one failed, else None: something was blocked."""
    if False in outcomes:
        return False
    return None if None in outcomes else True


def record(verification: Verification, document: Mapping[str, object]) -> None:
    """Keep what was found out of a rung beside the point; where that can't be, a note says why."""
    context = verification.context
    if verification.is_copy:
        return
    if context.loaded.config.read_only:
        verification.notes.append(f"Not recorded: {context.loaded.read_only_words()}.")
        return
    try:
        write_record(
            verification.repository,
            verification.reader.id,
            "verified",
            document,
            now=context.now(),
            job=context.job,
            operator=context.operator,
        )
    except (RepositoryUnwritable, DiskFull) as error:
        note = not_recorded(verification.repository, error)
        if note not in verification.notes:
            verification.notes.append(note)
            context.report(Warned(note))
