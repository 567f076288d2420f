"""From a replica's description to what rclone is told of it, in its environment alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.config.replicas import Replica
from fsbackup_tui.config.values import SecretDescription
from fsbackup_tui.domain.replica_address import Address, parse_address
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.process import Command, run
from fsbackup_tui.engines.secrets import read_secret

_ReadSecret = Callable[[SecretDescription, str], Awaitable[Secret]]
_OURS = "FSBACKUP"
_OBSCURE_SECONDS = 20.0
# What aws and rclone themselves look for when a bucket's keys are not in our configuration.
_AMBIENT = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A remote as rclone takes it; ``must_exist``: it is not made by sending something there."""

    remote: str
    shown: str
    environment: Mapping[str, str] = field(repr=False)
    must_exist: bool = False


async def place_of(
    name: str,
    replica: Replica,
    rclone: str,
    environment: Mapping[str, str],
    redactor: Redactor,
    work: Path,
    *,
    where: str = "",
) -> Place:
    """Return what rclone is told of a replica; SecretUnavailable where a secret is not there."""
    ambient = {name: environment[name] for name in _AMBIENT if environment.get(name)}
    ambient["RCLONE_CACHE_DIR"] = str(work / "rclone-cache")
    if replica.rclone is not None:
        # The configuration is the user's own: RCLONE_CONFIG and the passphrase of an encrypted
        # one are theirs to set.
        ambient |= {name: value for name, value in environment.items() if name[:7] == "RCLONE_"}
        if replica.rclone_config is not None:
            ambient["RCLONE_CONFIG"] = str(replica.rclone_config)
        return Place(replica.rclone.strip(), replica.rclone, ambient)
    address = parse_address(replica.url or "")
    ours = {**ambient, "RCLONE_CONFIG": "/dev/null"}

    async def secret(description: SecretDescription, what: str) -> Secret:
        return await read_secret(
            description, environment, redactor, what=f"{what} of replica {name}", where=where
        )

    if address.scheme == "s3":
        settings = await _s3(replica, secret)
        shown = f"{address.text()} at {replica.endpoint}" if replica.endpoint else address.text()
    else:
        settings = await _sftp(address, replica, environment, secret, rclone, redactor)
        shown = address.text()
    ours |= {f"RCLONE_CONFIG_{_OURS}_{key}": value for key, value in settings.items()}
    return Place(f"{_OURS}:{address.place}", shown, ours, must_exist=address.scheme == "s3")


async def _s3(replica: Replica, secret: _ReadSecret) -> dict[str, str]:
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other" if replica.endpoint else "AWS",
        # The account that pushes may not be allowed to make or to look at buckets.
        "NO_CHECK_BUCKET": "true",
    }
    if replica.endpoint:
        settings["ENDPOINT"] = replica.endpoint
    if replica.region:
        settings["REGION"] = replica.region
    if replica.access_key is None or replica.secret_key is None:
        return {**settings, "ENV_AUTH": "true"}
    settings["ACCESS_KEY_ID"] = (await secret(replica.access_key, "access key")).reveal()
    settings["SECRET_ACCESS_KEY"] = (await secret(replica.secret_key, "secret key")).reveal()
    return settings


async def _sftp(
    address: Address,
    replica: Replica,
    environment: Mapping[str, str],
    secret: _ReadSecret,
    rclone: str,
    redactor: Redactor,
) -> dict[str, str]:
    home = Path(environment.get("HOME") or Path.home())
    known = replica.known_hosts or home / ".ssh" / "known_hosts"
    settings = {
        "TYPE": "sftp",
        "HOST": address.host,
        # Without this file rclone would send the password to whoever answers.
        "KNOWN_HOSTS_FILE": str(known),
        # Hashes by a shell over there would be worth no more than what it says of its own files.
        "SHELL_TYPE": "none",
        "DISABLE_HASHCHECK": "true",
        "SET_MODTIME": "true",
    }
    if address.user:
        settings["USER"] = address.user
    if address.port is not None:
        settings["PORT"] = str(address.port)
    if replica.key_file is not None:
        settings["KEY_FILE"] = str(replica.key_file)
    if replica.password is not None:
        password = await secret(replica.password, "password")
        settings["PASS"] = await _obscured(rclone, password, redactor)
    return settings


async def _obscured(rclone: str, password: Secret, redactor: Redactor) -> str:
    """Return the form in which alone rclone takes a password; it is no encryption."""
    command = Command((rclone, "obscure", "-"), stdin=password.reveal().encode())
    completed = await run(command, redactor=redactor, timeout=_OBSCURE_SECONDS)
    return redactor.add(Secret(completed.stdout.decode().strip())).reveal()
