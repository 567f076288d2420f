"""Where copies of the repository lie elsewhere, and how each is reached and looked after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fsbackup_tui.config.retention import KeepSettings
from fsbackup_tui.config.values import Duration, SecretDescription, Settings, Share, Size
from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.replica_address import parse_address

if TYPE_CHECKING:
    from fsbackup_tui.config.problems import Places
    from fsbackup_tui.domain.errors import ConfigProblem

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_RCLONE_REMOTE = re.compile(r"[\w.+@][\w.+@ -]*:[^\n]*")
_RSYNC_PLACE = re.compile(r"[^\s:/@-][^\s:/@]*(@[^\s:/@]+)?:[^\n:][^\n]*")


class ReadBack(Settings):
    """How much of a replica is read back at each run, and within what time all of it must be."""

    share: Share = 0.1
    every: Duration = timedelta(days=30)


class RetainWith(Settings):
    """What ``retain --replica`` goes there with instead: keys that may remove, unlike those here.

    Each setting given takes the place of the replica's own.
    """

    rclone: Word | None = None
    rsync: Word | None = None
    url: Word | None = None
    access_key: SecretDescription | None = None
    secret_key: SecretDescription | None = None
    password: SecretDescription | None = None
    key_file: Path | None = None
    rclone_config: Path | None = None


class Replica(Settings):
    """A copy of the repository on another machine: ``rclone``, ``rsync`` or ``url`` says where.

    ``rclone`` is a remote of rclone's own configuration (``rclone_config``: another file than
    its usual one), ``rsync`` a directory over SSH, ``url`` an ``s3://bucket/prefix`` or
    ``sftp://user@host/path`` that needs no configuration of rclone's. ``bandwidth`` is bytes a
    second; ``encrypted_only`` refuses points that hold a part in plain. ``object_lock: auto``
    tells after each copy whether the bucket locks what is stored; it asks for no lock itself.
    ``keep`` are the rules of ``retain --replica``; without them nothing there ever leaves.
    ``retain_with`` is what differs when those are followed.
    """

    rclone: Word | None = None
    rsync: Word | None = None
    url: Word | None = None
    endpoint: Word | None = None
    region: Word | None = None
    access_key: SecretDescription | None = None
    secret_key: SecretDescription | None = None
    password: SecretDescription | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    rclone_config: Path | None = None
    bandwidth: Size | None = None
    encrypted_only: bool = False
    read_back: ReadBack = ReadBack()
    object_lock: Literal["auto", "off"] = "auto"
    keep: KeepSettings | None = None
    retain_with: RetainWith | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(one is not None for one in (self.rclone, self.rsync, self.url)) != 1:
            raise ValueError("name one of rclone, rsync and url")
        if self.rclone is not None and not _RCLONE_REMOTE.fullmatch(self.rclone):
            raise ValueError("rclone is REMOTE:PATH, with REMOTE as rclone listremotes shows it")
        if self.rsync is not None and not _RSYNC_PLACE.fullmatch(self.rsync):
            raise ValueError("rsync is USER@HOST:/DIRECTORY")
        scheme = "" if self.url is None else _scheme(self.url)
        for name, fits in (
            ("endpoint", scheme == "s3"),
            ("region", scheme == "s3"),
            ("access_key", scheme == "s3"),
            ("secret_key", scheme == "s3"),
            ("password", scheme == "sftp"),
            ("key_file", scheme == "sftp" or self.rsync is not None),
            ("known_hosts", scheme == "sftp" or self.rsync is not None),
            ("port", self.rsync is not None),
            ("rclone_config", self.rclone is not None),
        ):
            if getattr(self, name) is not None and not fits:
                raise ValueError(f"{name} does not go with this kind of place")
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        if self.bandwidth is not None and self.bandwidth < 1024:
            raise ValueError("bandwidth is bytes a second, at least 1 kB")
        if self.retain_with is not None:
            self.for_retention()
        return self

    def for_retention(self) -> Replica:
        """Return it as ``retain --replica`` reaches it."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"retain_with"}}
        instead = self.retain_with or RetainWith()
        given |= {name: getattr(instead, name) for name in instead.model_fields_set}
        return Replica.model_validate(given)


def _scheme(url: str) -> str:
    try:
        return parse_address(url).scheme
    except UsageError as error:
        raise ValueError(f"url can't be used: {error.why or error.what} {error.fix}") from None


def replica_problems(data: Any, places: Places) -> list[ConfigProblem]:
    """Return which plans name a replica that there is not."""
    from fsbackup_tui.config.problems import did_you_mean

    plans, replicas = data.get("plans"), data.get("replicas") or {}
    if not isinstance(plans, Mapping) or not isinstance(replicas, Mapping):
        return []
    found = []
    for plan, content in plans.items():
        listed = content.get("replicas") if isinstance(content, Mapping) else None
        for index, name in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(name, str) and name not in replicas:
                what = f"there is no replica '{name}'"
                path = ("plans", plan, "replicas", index)
                found.append(places.problem(path, what, did_you_mean(name, replicas)))
    return found
