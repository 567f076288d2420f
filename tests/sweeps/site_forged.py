"""A point rewritten all of a piece: nothing tells it but a signature, and that always does."""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fsbackup_tui.domain.errors import SafetyRefusal
from fsbackup_tui.domain.signature import SIGNATURE_NAMESPACE
from fsbackup_tui.operations.signatures import demand_signature, signature_in
from fsbackup_tui.repository.checksums import SUMS_NAME
from tests.support.resealing import reseal
from tests.sweeps.outcomes import Tally
from tests.sweeps.site_content import content_of
from tests.sweeps.site_points import SIGNATURE, SitePoint, make_signer
from tests.sweeps.site_resealed import store_anew
from tests.sweeps.verdict import verdict

_WORDS = b"the same words\n"
_FORGERS = ("stripped", "left as it was", "signed by somebody else")


async def sweep_forged(stored: Sequence[SitePoint], place: Path, count: int, seed: str) -> Tally:
    """Forge points of files, and try in turn each thing that can be done about a signature."""
    tally = Tally("files exchanged in archive, index, sums and manifest alike")
    make_signer(place, "mallory@example.org")
    turns = itertools.cycle(itertools.product(stored, _FORGERS))
    for number, (item, forger) in enumerate(itertools.islice(turns, count)):
        chance = random.Random(f"{seed}/forged/{number}")
        await _forge(item, _drawn_words(chance))
        _sign(item, forger, place)
        outcome = await _outcome(item)
        tally.counts[f"signature {forger}: {outcome}"] += 1
        expected = {
            "stripped": "proven, absent, refused",
            "left as it was": "found, broken, refused",
            "signed by somebody else": "proven, foreign, refused",
        }[forger]
        if outcome != expected:
            tally.failures.append(f"{number}: {item.name}, signature {forger}: {outcome}")
        item.renew()
    return tally


def _drawn_words(chance: random.Random) -> bytes:
    """Draw a word or all of a line, as long as what stood there."""
    words = bytearray(_WORDS)
    first, last = sorted(chance.sample(range(len(words)), 2))
    words[first:last] = bytes(chance.choices(b"abcdefgh", k=last - first))
    return bytes(words) if bytes(words) != _WORDS else b"the evil words\n"


async def _forge(stored: SitePoint, words: bytes) -> None:
    """Put other words into a file, and their hash wherever the old one stands."""
    stored.renew()
    exchanged = {
        _WORDS: words,
        _digest(_WORDS * 200): _digest(words * 200),
    }
    for artifact in stored.reader.part(stored.part).artifacts:
        path = stored.directory / stored.part / artifact.path
        content = await content_of(path, artifact, stored.opened_by)
        assert content is not None
        changed = content
        for before, after in exchanged.items():
            changed = changed.replace(before, after)
        assert changed != content
        await store_anew(stored, artifact, changed)
    reseal(stored.bench.repository, stored.point)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _sign(stored: SitePoint, forger: str, place: Path) -> None:
    signature = stored.directory / SIGNATURE
    if forger == "left as it was":
        return
    signature.unlink()
    if forger == "stripped":
        return
    sums = Path(shutil.copy(stored.directory / SUMS_NAME, place))
    key = str(place / "signing-key")
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", key, str(sums)]
    subprocess.run(command, check=True, capture_output=True)
    sums.with_name(SIGNATURE).rename(signature)


async def _outcome(stored: SitePoint) -> str:
    with stored.bench.job("look") as context:
        state = (await signature_in(context, stored.reader)).state
        try:
            await demand_signature(context, stored.reader, reason="")
            refused = "restored"
        except SafetyRefusal:
            refused = "refused"
    said = await verdict(stored.bench, stored.point)
    assert not said.ok, "a signature is demanded"
    levels = "proven" if said.is_green else "found" if said.text.startswith("found") else said.text
    return f"{levels}, {state}, {refused}"
