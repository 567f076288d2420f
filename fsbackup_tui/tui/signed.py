"""Who signed the points that are looked at: a program is asked once for each, not every second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.signature import SIGNATURE_NAMES, Signature
from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.reader import PointReader

_LOOKED_AT = (SUMS_NAME, MANIFEST_NAME, *SIGNATURE_NAMES)
_COSTS = "a restore asks for a written reason"
_State = tuple[object, ...]


class Signed:
    """The signatures that were read, as long as what lies there and the configuration stay."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[_State, Signature]] = {}

    def of(
        self, loaded: LoadedConfig, reader: PointReader, environment: Mapping[str, str]
    ) -> Signature | None:
        """Return who signed a point; None: nobody did, and nobody has to."""
        from fsbackup_tui.operations.signatures import is_demanded, read_signature, worth_telling

        state: _State = (loaded.digest, *(_stamp(reader, name) for name in _LOOKED_AT))
        known = self._known.get(reader.id)
        if known is None or known[0] != state:
            known = state, read_signature(loaded, reader, environment)
            self._known[reader.id] = known
        signature = known[1]
        if signature.state != "good" and is_demanded(loaded):
            note = "; ".join(filter(None, (signature.note, _COSTS)))
            signature = replace(signature, note=note)
        return signature if worth_telling(loaded, signature) else None


def _stamp(reader: PointReader, name: str) -> tuple[int, int] | None:
    try:
        facts = (reader.directory / name).lstat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size
