"""What rclone, rsync and ssh say when it goes wrong, as an error that tells what to do."""

from __future__ import annotations

import re

from fsbackup_tui.domain.errors import (
    ReplicaError,
    ReplicaFull,
    ReplicaRefused,
    ReplicaUnreachable,
)

_HOST_KEY = re.compile(
    r"(?i)host key verification failed|knownhosts: key|key is unknown|key mismatch"
)
_CREDENTIALS = re.compile(
    r"SignatureDoesNotMatch|InvalidAccessKeyId|AccessDenied|InvalidSecurity|ExpiredToken|"
    r"StatusCode: 40[13]\b|(?i:unable to authenticate|permission denied \((?:publickey|password))|"
    r"(?i:no credentials|NoCredentialProviders|failed to refresh cached credentials)"
)
_CLOCK = re.compile(r"RequestTimeTooSkewed|(?i:request time.{0,20}too (?:large|skewed))")
_FULL = re.compile(
    r"(?i)no space left|disk quota|quota ?exceeded|insufficient ?storage|disk is full|"
    r"StatusCode: 507"
)
_NOWHERE = re.compile(
    r"(?i)connection refused|no such host|could not resolve|name or service not known|"
    r"network is unreachable|no route to host|connection timed out|i/o timeout|"
    r"connection reset|connection closed|broken pipe|deadline exceeded|TLS handshake|x509|"
    r"StatusCode: 5\d\d|connection unexpectedly closed|timeout in data|EOF|server gave http"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|(?i:bucket does not exist)")
_NO_REMOTE = re.compile(r"(?i)didn't find section in config file")
_DENIED = re.compile(
    r"(?i)permission denied|read-only file system|operation not permitted|ObjectLocked|"
    r"WORM|rrsync error|SSH_FX_PERMISSION_DENIED|immutable file modified|method not allowed"
)
_SHOWN = 4
_LONGEST = 240


def replica_error(name: str, place: str, doing: str, messages: list[str]) -> ReplicaError:
    """Return the error for a program that failed while ``doing`` something with a replica.

    ``messages`` are what it said, redacted; the kind of the error is read from them.
    """
    said = list(
        dict.fromkeys(message.strip()[:_LONGEST] for message in messages if message.strip())
    )
    text = "\n".join(said)
    why = "\n".join(said[-_SHOWN:]) or "The program said nothing."
    again = "What was sent stays there; run it again and it goes on from there."
    if _CLOCK.search(text):
        return ReplicaRefused(
            f"REPLICA {name} REFUSES THIS CLOCK while {doing}.",
            why=f"{place} and this machine do not agree on the time.\n{why}",
            fix="Set the clock (timedatectl set-ntp true), then run it again.",
        )
    if _HOST_KEY.search(text):
        return ReplicaRefused(
            f"REPLICA {name}: THE HOST'S KEY IS NOT KNOWN, while {doing}.",
            why=f"{place} shows a key that the file of known hosts does not have.\n{why}",
            fix="Compare the key with its owner's word, then: ssh-keyscan HOST >> known_hosts",
        )
    if _CREDENTIALS.search(text):
        return ReplicaRefused(
            f"REPLICA {name} REFUSES THE CREDENTIALS, while {doing}.",
            why=f"{place} answers, and does not let us in.\n{why}",
            fix=f"Check the keys of replicas: {name} in the config: fsbackup doctor",
        )
    if _FULL.search(text):
        return ReplicaFull(
            f"REPLICA {name} IS FULL: {doing} stopped.",
            why=f"{place} has no space left.\n{why}",
            fix=f"Make room there. {again}",
        )
    if _NO_BUCKET.search(text):
        return ReplicaError(
            f"REPLICA {name}: NO SUCH BUCKET, while {doing}.",
            why=f"{place}\n{why}",
            fix="Make the bucket there, or correct its name in the config.",
        )
    if _NO_REMOTE.search(text):
        return ReplicaError(
            f"REPLICA {name}: RCLONE DOES NOT KNOW THE REMOTE.",
            why=why,
            fix="rclone listremotes shows those it knows; rclone_config: names another file.",
        )
    if _DENIED.search(text):
        return ReplicaRefused(
            f"REPLICA {name} DOES NOT ALLOW IT: {doing}.",
            why=f"{place}\n{why}",
            fix="Look at the rights of that account there. An append-only one lets nothing be "
            "replaced.",
        )
    if _NOWHERE.search(text):
        return ReplicaUnreachable(
            f"REPLICA {name} NOT REACHED, while {doing}.",
            why=f"{place}\n{why}",
            fix=f"Look at the network and the server there. {again}",
        )
    return ReplicaError(f"REPLICA {name}: {doing} failed.", why=f"{place}\n{why}", fix=again)
