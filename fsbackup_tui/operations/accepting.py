"""What the configuration accepts of what can't be tried here: told, but no alarm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.accepting import reason_to_accept
from fsbackup_tui.domain.proof import Proof
from fsbackup_tui.operations.status import acceptances_of

Blocked = Mapping[str, str]


def sort_blocked(
    loaded: LoadedConfig, source: str, blocked: Sequence[Blocked]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return what rings, and what is accepted with its reason. Records know of no difference."""
    acceptances = acceptances_of(loaded)
    rings: list[dict[str, str]] = []
    accepted: list[dict[str, str]] = []
    for item in blocked:
        reason = reason_to_accept(acceptances, source, item["what"])
        if reason is None:
            rings.append(dict(item))
        else:
            accepted.append({**item, "reason": reason})
    return rings, accepted


def idle_acceptances(
    loaded: LoadedConfig, proofs: Mapping[str, Proof], rings: Sequence[Blocked]
) -> Iterator[str]:
    """Tell what is accepted and was in nobody's way, where the trials got far enough to tell."""
    for source, proof in proofs.items():
        to_the_end = proof.proven is not None
        if proof.receipt is None or not (
            to_the_end or any(item["part"] == source for item in rings)
        ):
            continue
        blockers = [item.what for item in proof.blocked()]
        for number, one in enumerate(acceptances_of(loaded, source)):
            if not any(one.covers(source, words) for words in blockers):
                place = loaded.place("sources", source, "accept_blocked", number)
                yield f"accept_blocked '{one.what}' ({place}) matched nothing that was blocked"
