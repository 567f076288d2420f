"""What a verification says of a point, in words that can be counted."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.operations.requests import VerifyLevel
from tests.support.proving import Bench

PROVEN = "PROVEN"
CRASHED = "CRASHED"
_SECONDS = 120


@dataclass(frozen=True)
class Verdict:
    """``text`` is how far the point is shown good; ``ok`` is what the command would exit by."""

    text: str
    ok: bool = False

    @property
    def crashed(self) -> bool:
        """Whether it ended as no job may end."""
        return self.text.startswith(CRASHED)

    @property
    def is_green(self) -> bool:
        """Whether every level held."""
        return self.text == PROVEN


async def verdict(bench: Bench, point: str, level: VerifyLevel = "proven") -> Verdict:
    """Return how far a point is shown good, and by which rung it is not."""
    try:
        async with asyncio.timeout(_SECONDS):
            document = await bench.verify(point, level)
    except FsbackupError as error:
        return Verdict(f"not proven, an error: {error.what.partition(':')[0]}")
    except Exception as error:  # noqa: BLE001 - a round that ends so is a finding, not the end
        return Verdict(crash(error))
    ok = document["ok"] is True
    for rung, check in document["levels"].items():
        if check["ok"] is False:
            return Verdict(f"found by {rung}", ok)
        if check["ok"] is None:
            return Verdict(f"not proven, {rung} blocked", ok)
    held = level != "proven" or document["trust"] == "proven"
    return Verdict(PROVEN if held else f"not proven, {document['trust']}", ok)


def crash(error: Exception) -> str:
    """Return an error that is none of ours, and where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{CRASHED}: {type(error).__name__} {error} ({place})"
