"""What ``doctor`` tries of the signatures: a real one, and whether it would count here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.domain.errors import FsbackupError
from fsbackup_tui.domain.secret import Redactor
from fsbackup_tui.domain.signature import Signature
from fsbackup_tui.operations.doctor import Finding, failure
from fsbackup_tui.operations.signatures import Signer, signature_by, signer_of

_TRIED = b"fsbackup doctor tries whether this key can sign.\n"


async def check_signing(
    loaded: LoadedConfig, environment: Mapping[str, str], redactor: Redactor
) -> list[Finding]:
    """Sign something with the site's key, and look whose signature that is."""
    signing = loaded.config.signing
    if signing is None:
        return []
    with tempfile.TemporaryDirectory(prefix="fsbackup-doctor-") as name:
        try:
            signer = await signer_of(loaded, environment, redactor, Path(name))
            if signer is None:
                return [Finding("signing", "ok", "signing: new points are not signed here")]
            signature = await _try(signer, loaded, environment, Path(name))
        except FsbackupError as error:
            return [failure("signing", error)]
    if signature.state == "good":
        return [Finding("signing", "ok", f"signing: a point made now is {signature.text}")]
    nobody = not signing.allowed and signing.allowed_signers is None
    if nobody and signature.state == "unchecked":
        return [Finding("signing", "ok", f"signing: a point made now is {signature.text}")]
    return [
        Finding(
            "signing",
            "error" if signing.required else "warning",
            f"SIGNATURE NOT ALLOWED: a point made now is {signature.words}.",
            f"{loaded.place('signing')} allows others alone.",
            "Add the key to those that are allowed, or sign with another one.",
        )
    ]


async def _try(
    signer: Signer, loaded: LoadedConfig, environment: Mapping[str, str], work: Path
) -> Signature:
    path = work / "tried"
    path.touch(mode=0o600)
    path.write_bytes(_TRIED)
    made = await signer.sign(path)
    return await signature_by(
        loaded, signer.name, _TRIED, made, at=datetime.now(UTC), environment=environment, work=work
    )
