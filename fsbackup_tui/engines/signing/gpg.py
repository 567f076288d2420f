"""Signatures by the stock ``gpg``: its status lines decide, beside its exit status.

The status lines are those of GnuPG's doc/DETAILS, tried with 2.2.40.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import NotSigned
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.signature import GPG_SIGNATURE_NAME, Signature
from fsbackup_tui.engines.process import Command, Completed, run

SECONDS = 60.0
"""The longest that a signature may take: a key on a card waits for its holder."""

_STATUS = "[GNUPG:] "
_QUIET = ("--batch", "--no-tty", "--no-auto-key-retrieve")
_PRIMARY_FINGERPRINT = 9  # of VALIDSIG, counted from 0
_ALGORITHMS = {"1": "RSA", "17": "DSA", "19": "ECDSA", "22": "EdDSA"}
_ALGORITHM = 6


async def sign(
    path: Path,
    *,
    key: str | None,
    passphrase: Secret | None,
    keyring: Path | None,
    environ: Mapping[str, str],
) -> bytes:
    """Return the detached, armoured signature of the file ``path`` by ``key``.

    The passphrase goes over a descriptor; without one the key has none, or gpg's agent knows it.
    ``key`` None is gpg's default key.

    Raises:
        NotSigned: no such key, another passphrase, an expired key.
        ToolMissing: there is no gpg.
    """
    asking: tuple[str, ...] = ("--pinentry-mode", "error")
    if passphrase is not None:
        asking = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
    who = () if key is None else ("--local-user", key)
    argv = (
        *("gpg", *_QUIET, *_home(keyring), "--status-fd", "2", *asking, *who, "--armor"),
        *("--output", "-", "--detach-sign", "--", str(path)),
    )
    done = await run(
        Command(
            argv,
            env=_variables(environ),
            stdin=None if passphrase is None else f"{passphrase.reveal()}\n".encode(),
        ),
        redactor=Redactor([passphrase] if passphrase else []),
        check=False,
        timeout=SECONDS,
    )
    if done.exit_status == 0 and any(name == "SIG_CREATED" for name, _ in _statuses(done.stderr)):
        return done.stdout
    raise _not_signed(key, done)


def _home(keyring: Path | None) -> tuple[str, ...]:
    return () if keyring is None else ("--homedir", str(keyring))


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in ("GNUPGHOME", "HOME") if environ.get(name)}


def _statuses(text: str) -> list[tuple[str, list[str]]]:
    lines = [line.removeprefix(_STATUS).split(" ") for line in text.splitlines() if _is(line)]
    return [(words[0], words[1:]) for words in lines]


def _is(line: str) -> bool:
    return line.startswith(_STATUS)


def _not_signed(key: str | None, done: Completed) -> NotSigned:
    said = [line.removeprefix("gpg: ") for line in done.stderr.splitlines() if not _is(line)]
    names = {name for name, _ in _statuses(done.stderr)}
    fix = "Try it by hand: gpg --detach-sign FILE"
    if {"MISSING_PASSPHRASE", "BAD_PASSPHRASE"} & names or "passphrase" in " ".join(said).lower():
        fix = "Correct signing: passphrase in the configuration, or let gpg's agent know it."
    elif "INV_SGNR" in names or "NO_SECKEY" in names:
        fix = (
            "gpg --list-secret-keys shows the keys, and which is expired or revoked: name one that "
            "can sign as signing: key"
        )
    return NotSigned(
        f"NOT SIGNED: the key {key or 'of gpg'} can't sign.",
        why=f"gpg says: {' '.join(said) or 'nothing'}",
        fix=fix,
    )


@dataclass(frozen=True, slots=True)
class _Heard:
    """What gpg said about one signature."""

    statuses: Mapping[str, list[str]]
    signatures: int

    def words(self, *names: str) -> list[str]:
        return next((self.statuses[name] for name in names if name in self.statuses), [])


async def check(
    content: bytes,
    signature: bytes,
    *,
    allowed: Sequence[str],
    keyring: Path | None,
    environ: Mapping[str, str],
    work: Path,
) -> Signature:
    """Return whose signature of ``content`` it is; ``allowed`` are full fingerprints.

    The keyring must hold the signer's public key. A key that expired since still counts; one
    that was revoked does not.

    Raises:
        ToolMissing: there is no gpg.
    """
    path = work / GPG_SIGNATURE_NAME
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(signature)
    argv = ("gpg", *_QUIET, *_home(keyring), "--status-fd", "1", "--verify", str(path), "-")
    command = Command(argv, env=_variables(environ), stdin=content)
    done = await run(command, check=False, timeout=SECONDS)
    listed = _statuses(done.stdout.decode("utf-8", "replace"))
    heard = _Heard(dict(listed), sum(name == "NEWSIG" for name, _ in listed))
    return _verdict(heard, {text.replace(" ", "").upper() for text in allowed})


def _verdict(heard: _Heard, allowed: set[str]) -> Signature:
    statuses = heard.statuses
    if heard.signatures != 1 or {"BADSIG", "NODATA", "UNEXPECTED"} & statuses.keys():
        why = "there are several" if heard.signatures > 1 else "it is not one of what lies there"
        return Signature("broken", note=why)
    if "VALIDSIG" not in statuses:
        return _unknown(statuses, allowed)
    told = statuses["VALIDSIG"]
    fingerprints = {told[0], *told[_PRIMARY_FINGERPRINT:]}
    kind = _ALGORITHMS.get(told[_ALGORITHM], "") if len(told) > _ALGORITHM else ""
    key = f"{kind} {told[-1]}".strip()
    signer = " ".join(heard.words("GOODSIG", "EXPKEYSIG", "REVKEYSIG", "EXPSIG")[1:])
    if "REVKEYSIG" in statuses:
        return Signature("foreign", signer, key, "its key was revoked")
    if "EXPSIG" in statuses:
        return Signature("foreign", signer, key, "the signature has expired")
    if not allowed:
        why = "the configuration names nobody as allowed"
        return Signature("unchecked", signer, key, why)
    if not allowed & {fingerprint.upper() for fingerprint in fingerprints}:
        return Signature("foreign", signer, key)
    note = "its key has expired since" if "EXPKEYSIG" in statuses else ""
    return Signature("good", signer, key, note)


def _unknown(statuses: Mapping[str, list[str]], allowed: set[str]) -> Signature:
    """Return what can be told of a signature whose public key is not in the keyring."""
    error = statuses.get("ERRSIG")
    if error is None:
        return Signature("broken", note="gpg finds no signature in it")
    fingerprint = error[-1] if len(error) > _ALGORITHM else error[0]
    if any(known.endswith(fingerprint.upper()) for known in allowed):
        why = "the key is not in gpg's keyring here: gpg --import it"
        return Signature("unchecked", key=fingerprint, note=why)
    return Signature("foreign", key=fingerprint, note="its public key is not in the keyring")
