"""What a verification found wrong, as its JSON document and its records hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsbackup_tui.domain.errors import DiskFull, RepositoryUnwritable
from fsbackup_tui.domain.point import AcceptedBlock
from fsbackup_tui.operations.wording import accepted_words
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.standing import problem_text

RESTORE_ANOTHER = "Restore another point; keep this one's files for a closer look."


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: where, what, and what to do.

    ``part`` is None for a file beside the parts, ``artifact`` for a part as a whole, ``table``
    for what is no table's.
    """

    part: str | None
    artifact: str | None
    what: str
    fix: str = RESTORE_ANOTHER
    table: str | None = None

    def document(self) -> dict[str, str | None]:
        """Return the finding as ``verify --json`` has it (design §9)."""
        return {
            "part": self.part,
            "artifact": self.artifact,
            "table": self.table,
            "what": self.what,
            "fix": self.fix,
        }


def not_recorded(repository: Repository, error: RepositoryUnwritable | DiskFull) -> str:
    """Return why what was found out can't be kept in the repository; the same for all of it."""
    if isinstance(error, DiskFull):
        return f"Not recorded: no space is left for {repository.records}."
    reason = error.why.partition(";")[0]
    return f"Not recorded: {repository.records} can't be written ({reason})."


def sealed_findings(source: str, problems: Sequence[str]) -> list[Finding]:
    """Return what the check of a part's seal said, each with the file that it is about."""
    findings = []
    for problem in problems:
        place, _, what = problem.partition(": ")
        if not what:
            findings.append(Finding(source, None, problem))
        elif place == source:
            findings.append(Finding(source, None, what))
        elif place.startswith(f"{source}/"):
            findings.append(Finding(source, place.removeprefix(f"{source}/"), what))
        else:
            findings.append(Finding(None, place, what))
    return findings


def verification_texts(document: Mapping[str, object]) -> list[str]:
    """Return what a verification's document says went wrong or was blocked, a line each."""
    lines = []
    for key in ("problems", "blocked"):
        listed = document.get(key)
        lines += [problem_text(item) for item in listed] if isinstance(listed, Sequence) else []
    return lines


def accepted_texts(document: Mapping[str, Any]) -> list[str]:
    """Return what a document says could not be tried and is accepted, a line each."""
    return [
        accepted_words(AcceptedBlock(problem_text(item), str(item["reason"])))
        for item in document.get("accepted", ())
    ]


def spare_texts(document: Mapping[str, object]) -> list[str]:
    """Return a line on each spare that a verification was to keep: where it is, or why not."""
    spares = document.get("spares")
    lines: list[str] = []
    for source, spare in spares.items() if isinstance(spares, Mapping) else ():
        if not spare["kept"]:
            lines.append(f"{source}: no new spare: {spare['why']}")
            continue
        lines.append(f"{source}: spare {spare['name']} on {spare['server']}, fenced off")
        lines.append(f"  by hand it goes with: {spare['remove']}")
        lines.extend(f"  the former one, {name}, was dropped" for name in spare["replaced"])
    return lines
