"""The signatures of points: made when one is finished, told of, and demanded before a restore.

What is signed is a point's SHA256SUMS, which names the manifest and every artifact by its hash:
a good signature counts only where the manifest that lies there is the one it names.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, site_environment
from fsbackup_tui.config.ownership import check_ownership
from fsbackup_tui.domain.errors import (
    ConfigError,
    FsbackupError,
    PointDamaged,
    PointNotFound,
    RepositoryError,
    SafetyRefusal,
    ToolError,
)
from fsbackup_tui.domain.events import Warned
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.signature import (
    GPG_SIGNATURE_NAME,
    SIGNATURE_NAMES,
    SSH_SIGNATURE_NAME,
    Signature,
)
from fsbackup_tui.engines.secrets import expands_to_nothing, read_secret
from fsbackup_tui.engines.signing import gpg, ssh
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.findings import Finding
from fsbackup_tui.repository.checksums import SUMS_NAME, parse_sums
from fsbackup_tui.repository.layout import Repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.reader import PointReader

_LARGEST = 64 * 1024
_WHO = "Find out who wrote it before anything of it is restored, or take another point."
_TRIED = b"fsbackup tries whether this key can sign.\n"


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that new points are signed with, its passphrase read already."""

    method: str
    key: str
    passphrase: Secret | None
    keyring: Path | None
    environment: Mapping[str, str]
    work: Path

    @property
    def name(self) -> str:
        """The file name of its signatures."""
        return SSH_SIGNATURE_NAME if self.method == "ssh" else GPG_SIGNATURE_NAME

    async def sign(self, path: Path) -> bytes:
        """Return the signature of a file: of a point's SHA256SUMS.

        Raises:
            NotSigned, ToolMissing: the key can't sign; nothing was written.
        """
        if self.method == "ssh":
            content = await asyncio.to_thread(path.read_bytes)
            return await ssh.sign(content, key=self.key, passphrase=self.passphrase, work=self.work)
        return await gpg.sign(
            path,
            key=self.key,
            passphrase=self.passphrase,
            keyring=self.keyring,
            environ=self.environment,
        )

    async def try_key(self) -> None:
        """Make a signature of nothing in particular; raises as ``sign`` does."""
        path = self.work / "tried-to-sign"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_TRIED)
        try:
            await self.sign(path)
        finally:
            path.unlink(missing_ok=True)


async def signer_of(
    loaded: LoadedConfig, environment: Mapping[str, str], redactor: Redactor, work: Path
) -> Signer | None:
    """Return who signs new points here; None: nobody.

    Raises:
        SecretUnavailable: the passphrase of the key can't be read.
    """
    signing = loaded.config.signing
    if signing is None or signing.key is None:
        return None
    passphrase: Secret | None = None
    described = signing.passphrase
    if described is not None and not expands_to_nothing(described, environment):
        passphrase = await read_secret(
            described,
            environment,
            redactor,
            what="passphrase of the signing key",
            where=loaded.place("signing", "passphrase"),
        )
    key = _key_file(loaded, signing.key) if signing.method == "ssh" else signing.key
    return Signer(signing.method, key, passphrase, signing.keyring, environment, work)


def _key_file(loaded: LoadedConfig, key: str) -> str:
    return str(loaded.path.absolute().parent / Path(key).expanduser())


@dataclass(frozen=True, slots=True)
class PointSigning:
    """What a writer calls when a point's SHA256SUMS is there: it never fails the point."""

    signer: Signer
    context: JobContext

    @property
    def name(self) -> str:
        """The signature's file name."""
        return self.signer.name

    def __call__(self, path: Path) -> bytes | None:
        """Return the signature; None, and a warning, where none can be made now.

        Called in a thread, it runs a loop of its own: the job's waits for that thread when it is
        cancelled.
        """
        try:
            return asyncio.run(self.signer.sign(path))
        except FsbackupError as error:
            text = " ".join(filter(None, (error.what, error.why)))
            self.context.report(Warned(f"The point stays UNSIGNED. {text}"))
            return None


async def point_signing(context: JobContext) -> PointSigning | None:
    """Return what signs the point that is about to be made, once its key was tried.

    Raises:
        NotSigned, ToolMissing, SecretUnavailable: the key can't sign; nothing was begun.
    """
    signer = await signer_of(context.loaded, context.environment, context.redactor, context.work)
    if signer is None:
        return None
    await signer.try_key()
    return PointSigning(signer, context)


def is_demanded(loaded: LoadedConfig) -> bool:
    """Whether the configuration demands a signature before a restore."""
    return loaded.config.signing is not None and loaded.config.signing.required


async def signature_of(
    loaded: LoadedConfig,
    reader: PointReader,
    *,
    environment: Mapping[str, str],
    work: Path,
) -> Signature:
    """Return who signed a point, as far as that can be told here; ``work`` is private."""
    signing = loaded.config.signing
    found = _signatures_of(reader)
    if not found:
        return Signature("absent")
    own = GPG_SIGNATURE_NAME if signing is not None and signing.method == "gpg" else found[0]
    name = own if own in found else found[0]
    try:
        signature = _read(reader.directory / name)
        content = (reader.directory / SUMS_NAME).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return Signature("broken", note=f"it can't be read: {why}")
    verdict = await signature_by(
        loaded,
        name,
        content,
        signature,
        at=_made(reader),
        environment=environment,
        work=work,
    )
    return _of_this_manifest(verdict, reader, content)


def _signatures_of(reader: PointReader) -> list[str]:
    return [name for name in SIGNATURE_NAMES if os.path.lexists(reader.directory / name)]


async def signature_by(
    loaded: LoadedConfig,
    name: str,
    content: bytes,
    signature: bytes,
    *,
    at: datetime,
    environment: Mapping[str, str],
    work: Path,
) -> Signature:
    """Return whose signature of ``content`` it is, made ``at`` that time, by the configuration.

    ``name`` is that of the signature's file. What can't be looked at is unchecked.
    """
    signing = loaded.config.signing
    try:
        if name == SSH_SIGNATURE_NAME:
            allowed = None
            if signing is not None and signing.method == "ssh":
                allowed = signing.allowed_signers
            if allowed is not None and (problem := _distrusted(allowed)):
                return Signature("unchecked", note=problem)
            return await ssh.check(content, signature, allowed=allowed, made=at, work=work)
        used = signing if signing is not None and signing.method == "gpg" else None
        return await gpg.check(
            content,
            signature,
            allowed=() if used is None else used.allowed,
            keyring=None if used is None else used.keyring,
            environ=environment,
            work=work,
        )
    except ToolError as error:
        return Signature("unchecked", note=f"{error.what} {error.why}".strip())


def _distrusted(allowed: Path) -> str:
    """Return why a file of allowed signers says nothing; empty: it does."""
    try:
        check_ownership(allowed, allowed.stat(), uid=os.geteuid())
    except OSError as error:
        return f"{allowed}: {error.strerror}"
    except ConfigError as error:
        return f"{allowed} can't be trusted: {error.problems[0].what}"
    return ""


def _made(reader: PointReader) -> datetime:
    try:
        manifest = reader.manifest
    except PointDamaged:
        manifest = None
    return datetime.now(UTC) if manifest is None else manifest.finished


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is far too long")
    return content


def _of_this_manifest(verdict: Signature, reader: PointReader, content: bytes) -> Signature:
    """Return the verdict; broken where the manifest is not the one that was signed."""
    if verdict.state == "broken":
        return verdict
    try:
        signed = parse_sums(content).get(MANIFEST_NAME)
        found = hashlib.sha256((reader.directory / MANIFEST_NAME).read_bytes()).hexdigest()
    except (OSError, ValueError):
        signed, found = None, ""
    if signed != found:
        return Signature("broken", note=f"{MANIFEST_NAME} is not the one that was signed")
    return verdict


def signature_problems(
    signature: Signature, loaded: LoadedConfig
) -> tuple[list[Finding], list[dict[str, str]]]:
    """Return what is wrong with who signed a point, and what of that could not be told.

    Neither says anything against its bytes; a broken signature does, and is found with them.
    """
    demanded = is_demanded(loaded)
    if signature.state == "foreign" or (signature.state == "absent" and demanded):
        why = f"; {loaded.place('signing', 'required')} demands it" if demanded else ""
        return [Finding(None, None, f"{signature.text}{why}", _WHO)], []
    if signature.state == "unchecked" and demanded:
        return [], [{"what": f"the signature: {signature.note}", "fix": _fix(signature)}]
    return [], []


def broken_findings(signature: Signature) -> list[Finding]:
    """Return what a broken signature says against the bytes that lie there."""
    return [Finding(None, None, signature.text, _WHO)] if signature.state == "broken" else []


def _fix(signature: Signature) -> str:
    if "NOT" in signature.note or "MISSING" in signature.note:
        return "Install the tool that made it (ssh-keygen or gpg)."
    return "Name who is allowed in the configuration: signing: allowed_signers, or allowed."


async def lacks_signature(context: JobContext, reader: PointReader) -> bool:
    """Whether a signature is demanded, and the point has none that counts."""
    if not is_demanded(context.loaded):
        return False
    return (await signature_in(context, reader)).state != "good"


async def unsigned_points(
    context: JobContext, repository: Repository | None, points: Iterable[str]
) -> dict[str, str]:
    """Return those of the points that lack the signature which is demanded, and how."""
    if repository is None or not is_demanded(context.loaded):
        return {}
    found: dict[str, str] = {}
    for point in points:
        with suppress(RepositoryError, PointNotFound):
            signature = await signature_in(context, PointReader(repository, point))
            if signature.state != "good":
                found[point] = signature.words
    return found


async def signature_in(context: JobContext, reader: PointReader) -> Signature:
    """Return who signed a point, told in a job."""
    return await signature_of(
        context.loaded, reader, environment=context.environment, work=context.work
    )


def read_signature(
    loaded: LoadedConfig, reader: PointReader, environment: Mapping[str, str]
) -> Signature:
    """Return who signed a point, outside of a job; no program is asked where nobody did."""
    with tempfile.TemporaryDirectory(prefix="fsbackup-") as work:
        return asyncio.run(signature_of(loaded, reader, environment=environment, work=Path(work)))


def worth_telling(loaded: LoadedConfig, signature: Signature) -> bool:
    """Whether somebody signed it, or should have."""
    return signature.state != "absent" or is_demanded(loaded)


def refuse_unsigned(
    loaded: LoadedConfig, reader: PointReader, environ: Mapping[str, str], reason: str
) -> None:
    """Refuse such a point before anything is begun, outside of a job.

    Raises:
        SafetyRefusal: as ``demand_signature``.
    """
    if reason.strip() or not is_demanded(loaded):
        return
    signature = read_signature(loaded, reader, site_environment(loaded, environ))
    if signature.state != "good":
        raise _missing(loaded, reader, signature)


def _missing(loaded: LoadedConfig, reader: PointReader, signature: Signature) -> SafetyRefusal:
    place = loaded.place("signing", "required")
    return SafetyRefusal(
        f"SIGNATURE MISSING: {reader.id} is {signature.words}. Nothing was created.",
        why=f"{place} demands one: a forged dump runs code as whoever restores it.",
        fix="Take a signed point; or say why this one is trusted: --reason-unsigned TEXT",
    )


async def demand_signature(context: JobContext, reader: PointReader, *, reason: str) -> None:
    """Refuse a point whose signature does not count where the configuration demands one.

    With a written ``reason`` it is taken nevertheless, and that stands in the job's journal.

    Raises:
        SafetyRefusal: it is unsigned, foreign, broken or can't be checked, and no reason given.
    """
    if not is_demanded(context.loaded):
        return
    signature = await signature_in(context, reader)
    if signature.state == "good":
        return
    if not reason.strip():
        raise _missing(context.loaded, reader, signature)
    told = " ".join(reason.split())
    context.report(
        Warned(
            f"TAKEN ALTHOUGH {signature.words.upper()}: {reader.id}, by {context.operator} on "
            f"{context.host}, who wrote: {told}"
        )
    )
