"""What the day needs on which this machine is gone: the kit, and that this host may still write."""

from __future__ import annotations

from collections.abc import Iterator

from fsbackup_tui.domain.errors import WriterRetired
from fsbackup_tui.domain.finding import Finding
from fsbackup_tui.operations.probes.ground import Ground
from fsbackup_tui.repository.keys import stored_keys
from fsbackup_tui.repository.kit import KitFact, last_kit
from fsbackup_tui.repository.writers import read_own, refuse_retired, retirements


def kit(ground: Ground) -> Iterator[Finding]:
    """Yield that there is no recovery kit, or one of another configuration or without a key."""
    made = last_kit(ground.state)
    if made is None:
        if ground.loaded.config.replicas:
            yield Finding(
                "kit",
                "warning",
                None,
                "NO RECOVERY KIT: nothing outside of this machine says how to begin anew.",
                "The replicas are there; where they are and which key opens them, only this "
                "machine tells.",
                "fsbackup kit --output DIR   and keep it elsewhere",
            )
        return
    ground.number("fsbackup_kit_age_seconds", ground.age(made.at).total_seconds())
    why = _outdated(ground, made)
    if why:
        yield Finding(
            "kit",
            "warning",
            None,
            "RECOVERY KIT OUT OF DATE: it would lead to another state than this one.",
            f"{why} It was made on {made.at:%Y-%m-%d}.",
            "fsbackup kit --output DIR   and put it in the place of the old one",
            subject=made.place,
        )


def _outdated(ground: Ground, made: KitFact) -> str:
    if ground.repository is not None:
        missing = {key.id for key in stored_keys(ground.repository)} - set(made.keys)
        if missing:
            return f"It does not tell of the key {', '.join(sorted(missing))}."
    missing = set(ground.loaded.config.replicas) - set(made.replicas)
    if missing:
        return f"It does not tell of the replica {', '.join(sorted(missing))}."
    if made.config_digest != ground.loaded.digest:
        return "The configuration is another one since."
    return ""


def writer(ground: Ground) -> Iterator[Finding]:
    """Yield that this host was retired as a writer: another one runs the site now."""
    own = read_own(ground.state)
    if ground.repository is None or own is None:
        return
    try:
        refuse_retired(own, retirements(ground.repository), str(ground.repository.root))
    except WriterRetired as error:
        yield Finding("writer-retired", "critical", None, error.what, error.why, error.fix)
