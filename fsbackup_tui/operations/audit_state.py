"""Whether the audit log is whole, as ``check`` asks every few minutes, however long it has grown.

What was verified before is not parsed again: that its bytes are the same is told by their hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fsbackup_tui.domain.audit import head_document, parse_head
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.repository.audit import AUDIT, Verified, logs_of, verify_log
from fsbackup_tui.repository.files import reading, replace_file, state_file_mode

_SEEN = "audit.seen.json"
_FORMAT = 1
_BLOCK = 1 << 20


def audit_log(ground: Ground) -> Iterator[Finding]:
    """Yield that a log of the site has a line that does not fit, or lost its end."""
    for state in logs_of(ground.state) or [ground.state]:
        misfit = verified(state, keeps=not ground.loaded.config.read_only).misfit
        if misfit is not None:
            yield Finding(
                "audit-broken",
                "critical",
                None,
                f"AUDIT LOG BROKEN: line {misfit.line}: {misfit.what}.",
                f"{state / AUDIT}: what was done here, and by whom, is not known for certain.",
                'fsbackup audit --verify; then fsbackup audit --begin-anew --reason "…"',
                subject=str(state / AUDIT),
            )


def verified(state: Path, *, keeps: bool = True) -> Verified:
    """Return how a log is found, and remember it; RepositoryUnreadable where it can't be read."""
    with reading(state / AUDIT):
        before = _seen(state)
        found = verify_log(state, after=before)
        if before is not None and found.misfit is not None:
            # What was remembered may be what does not fit: the log alone is asked.
            found = verify_log(state)
        if keeps and found.misfit is None and found != before:
            # Only a convenience: without it all of the log is looked at again.
            with suppress(OSError):
                _remember(state, found)
    return found


def _seen(state: Path) -> Verified | None:
    """Return what was verified before, where the log still begins with the very same bytes."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads((state / _SEEN).read_bytes())
        before = Verified(
            int(document["lines"]),
            None,
            offset=int(document["offset"]),
            head=parse_head(document["head"]),
        )
        whole = document.pop("whole") == _whole(document) and document["format"] == _FORMAT
        if whole and document["sha256"] == _digest(state, before.offset):
            return before
    return None


def _remember(state: Path, found: Verified) -> None:
    known = replace(found, torn=False)
    if not known.lines:
        return
    document: dict[str, object] = {
        "format": _FORMAT,
        "lines": known.lines,
        "offset": known.offset,
        "head": head_document(known.head),
        "sha256": _digest(state, known.offset),
    }
    document["whole"] = _whole(document)
    path = state / _SEEN
    replace_file(path, json.dumps(document).encode(), mode=state_file_mode(path))


def _whole(document: Mapping[str, object]) -> str:
    """Return the hash of what is remembered: a byte altered there is no alarm, and no silence."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _digest(state: Path, size: int) -> str:
    digest, left = hashlib.sha256(), size
    with (state / AUDIT).open("rb") as file:
        while left and (data := file.read(min(_BLOCK, left))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest() if not left else ""
