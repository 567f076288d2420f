"""Signatures by ``ssh-keygen -Y``; what it prints was tried with OpenSSH 9.2.

What is looked at is the text that it prints about a good signature, beside its exit status: the
tool tells the principal, the kind of key and its fingerprint there.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fsbackup_tui.domain.errors import NotSigned
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.domain.signature import SIGNATURE_NAMESPACE, SSH_SIGNATURE_NAME, Signature
from fsbackup_tui.engines.process import Command, Completed, run

SECONDS = 60.0
"""The longest that a signature may take: a key on a token waits for a touch."""

_ASKPASS = """#!/bin/sh
IFS= read -r answer < "$FSBACKUP_ASKPASS" && printf '%s\\n' "$answer"
"""
_GOOD = re.compile(
    r'^Good "(?P<namespace>[^"]*)" signature (?:for (?P<signer>.*) )?with (?P<key>\S+ key \S+)$',
    re.MULTILINE,
)
_WRONG_PASSPHRASE = re.compile(r"incorrect passphrase")


async def sign(content: bytes, *, key: str, passphrase: Secret | None, work: Path) -> bytes:
    """Return the detached signature of ``content`` by the private key in the file ``key``.

    A public key's file serves where an agent has the private one. ``work`` is a private
    directory: the passphrase goes through a pipe in it, to the program that ssh-keygen asks.

    Raises:
        NotSigned: no such key, another passphrase, or whatever else ssh-keygen says.
        ToolMissing: there is no ssh-keygen.
    """
    argv = ("ssh-keygen", "-Y", "sign", "-q", "-n", SIGNATURE_NAMESPACE, "-f", key)
    async with _answering(passphrase, work) as environment:
        done = await run(
            Command(argv, env=environment, stdin=content),
            redactor=Redactor([passphrase] if passphrase else []),
            check=False,
            timeout=SECONDS,
        )
    if done.exit_status == 0 and done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        return done.stdout
    raise _not_signed(key, done, has_passphrase=passphrase is not None)


@asynccontextmanager
async def _answering(passphrase: Secret | None, work: Path) -> AsyncIterator[dict[str, str]]:
    """Give the environment in which ssh-keygen asks us, and never a terminal.

    The answer lies in a pipe's buffer, which one reads who may open it; not in an argument, an
    environment or a file.
    """
    if passphrase is None:
        # Nobody is asked: an encrypted key fails at once.
        yield {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}
        return
    program, pipe = work / "askpass", work / "askpass-answer"
    for left in (program, pipe):
        left.unlink(missing_ok=True)
    program.touch(mode=0o700)
    program.write_text(_ASKPASS, encoding="ascii")
    os.mkfifo(pipe, 0o600)
    # Open for both, so that neither side waits for the other.
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{passphrase.reveal()}\n".encode())
        yield {
            "SSH_ASKPASS": str(program),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": "none",
            "FSBACKUP_ASKPASS": str(pipe),
        }
    finally:
        os.close(descriptor)
        program.unlink(missing_ok=True)
        pipe.unlink(missing_ok=True)


def _not_signed(key: str, done: Completed, *, has_passphrase: bool) -> NotSigned:
    lines = done.stderr.strip().splitlines()
    said = " ".join(line.strip("@ ") for line in lines if line.strip("@ ")) or "nothing"
    fix = f"Try it by hand: ssh-keygen -Y sign -n {SIGNATURE_NAMESPACE} -f {key} FILE"
    if _WRONG_PASSPHRASE.search(said):
        fix = (
            "Correct signing: passphrase in the configuration."
            if has_passphrase
            else "It has a passphrase: describe it as signing: passphrase in the configuration."
        )
    return NotSigned(f"NOT SIGNED: the key {key} can't sign.", why=f"It says: {said}", fix=fix)


async def check(
    content: bytes, signature: bytes, *, allowed: Path | None, made: datetime, work: Path
) -> Signature:
    """Return whose signature of ``content`` it is; never raises for what a signature holds.

    ``allowed`` is the file of allowed signers. Whom it allows only for a time counts if that is
    now, or was when the point was ``made``.

    Raises:
        ToolMissing: there is no ssh-keygen.
    """
    path = work / SSH_SIGNATURE_NAME
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(signature)
    whole = await _ask(("check-novalidate", "-n", SIGNATURE_NAMESPACE, "-s", str(path)), content)
    found = _good(whole)
    if found is None:
        lines = whole.stderr.strip().splitlines()
        said = lines[-1] if lines else f"status {whole.exit_status}"
        return Signature("broken", note=f"it is not one of what lies there ({said})")
    key = _key_text(found["key"])
    if allowed is None:
        return Signature("unchecked", key=key, note="the configuration names nobody as allowed")
    at_the_time = f"verify-time={made.astimezone(UTC):%Y%m%d%H%M%S}"
    for options in ((), ("-O", at_the_time)):
        signer = await _signer(content, path, allowed, options)
        if signer is not None:
            return Signature("good", signer, key)
    return Signature("foreign", key=key)


async def _signer(
    content: bytes, path: Path, allowed: Path, options: tuple[str, ...]
) -> str | None:
    """Return the first principal of the file whose signature it is."""
    listed = ("-f", str(allowed))
    asked = await _ask(("find-principals", *listed, "-s", str(path), *options), b"")
    if asked.exit_status != 0:
        return None
    text = asked.stdout.decode("utf-8", "replace")
    for signer in (name.strip() for line in text.splitlines() for name in line.split(",")):
        if not signer or signer.startswith(("!", "-")):
            continue
        named = ("-n", SIGNATURE_NAMESPACE, "-I", signer)
        done = await _ask(("verify", *listed, *named, "-s", str(path), *options), content)
        if _good(done) is not None:
            return signer
    return None


async def _ask(arguments: tuple[str, ...], content: bytes) -> Completed:
    command = Command(("ssh-keygen", "-Y", *arguments), env={"TZ": "UTC"}, stdin=content)
    return await run(command, check=False, timeout=SECONDS)


def _good(done: Completed) -> Mapping[str, str] | None:
    if done.exit_status != 0:
        return None
    match = _GOOD.search(done.stdout.decode("utf-8", "replace"))
    if match is None or match["namespace"] != SIGNATURE_NAMESPACE:
        return None
    return match.groupdict()


def _key_text(text: str) -> str:
    """Return ``ED25519 SHA256:…`` of ``ED25519 key SHA256:…``."""
    return text.replace(" key ", " ")
