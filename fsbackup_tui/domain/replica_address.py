"""Addresses of replicas as people write them: ``s3://bucket/prefix``, ``sftp://user@host/path``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from fsbackup_tui.domain.errors import UsageError

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_FORMS = "Write s3://BUCKET/PREFIX or sftp://USER@HOST[:PORT]/PATH."


@dataclass(frozen=True, slots=True)
class Address:
    """Where a replica is, without any credentials.

    ``place`` is ``bucket/prefix`` of S3, and the path of SFTP, which is absolute; ``port`` None
    is the usual one.
    """

    scheme: Literal["s3", "sftp"]
    place: str
    host: str = ""
    user: str = ""
    port: int | None = None

    def text(self) -> str:
        """Return the address as it is written."""
        if self.scheme == "s3":
            return f"s3://{self.place}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{user}{host}{port}{self.place}"


def parse_address(text: str) -> Address:
    """Return the address; UsageError says what is wrong with it, never showing a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _wrong("it can't be read") from None
    if parts.password is not None:
        raise UsageError(
            "PASSWORD IN THE ADDRESS: it would stand in configs, logs and shell histories.",
            fix="Leave it out of the address; write password: {env: NAME}, or it is asked for.",
        )
    if parts.query or parts.fragment:
        raise _wrong("nothing stands behind the path: no ? and no #")
    path = unquote(parts.path)
    if any(step in (".", "..") for step in path.split("/")) or "\n" in path:
        raise _wrong("its path has . or .. in it")
    if parts.scheme == "s3":
        if parts.username is not None or port is not None or not _BUCKET.fullmatch(parts.netloc):
            raise _wrong("behind s3:// stands the bucket's name")
        prefix = path.strip("/")
        return Address("s3", f"{parts.netloc}/{prefix}" if prefix else parts.netloc)
    if parts.scheme == "sftp":
        host, user = parts.hostname or "", unquote(parts.username or "")
        if not host or host.startswith("-") or user.startswith("-"):
            raise _wrong("behind sftp:// stands USER@HOST")
        return Address("sftp", path.rstrip("/") or "/", host, user, port)
    raise _wrong(f"'{parts.scheme or text}' is no kind of address known here")


def _wrong(why: str) -> UsageError:
    return UsageError("ADDRESS NOT USABLE.", why=f"{why[0].upper()}{why[1:]}.", fix=_FORMS)
