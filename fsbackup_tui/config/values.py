"""What settings are made of: durations, sizes, names, and descriptions of secrets."""

from __future__ import annotations

import difflib
import math
import re
import zoneinfo
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_DURATION_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
_LONGEST = timedelta(days=36500)
"""What is added to a moment, or taken from one, must not leave the calendar."""
_SIZE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_CACHE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,79}")
COMPRESSION_PATTERN = r"^(auto|none|gzip(:[1-9])?|zstd(:([1-9]|1[0-9]|2[0-2]))?)$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"


def parse_duration(value: object) -> object:
    """Return the timedelta that ``30s``, ``90m``, ``2h``, ``7d`` or ``1h 30m`` means."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError("a duration looks like 30s, 15m, 2h or 7d")
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{_LONGEST.days} days is the longest")
    return timedelta(seconds=seconds)


def parse_size(value: object) -> object:
    """Return the bytes that ``500MB`` or ``1.5 GB`` means (decimal units)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size looks like 500MB or 1.5GB")
    size = float(match[1]) * _SIZE_UNITS[match[2].lower()]
    if math.isinf(size):
        raise ValueError("no disk has that many bytes")
    return int(size)


def parse_share(value: object) -> object:
    """Return the fraction that ``30 %`` means; a bare number between 0 and 1 is taken as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _SHARE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a share looks like 30 % or 0.3")
    return float(match[1]) / 100


def no_truth_value(value: object) -> object:
    """Return the value; ValueError for true and false, which are numbers to Python."""
    if isinstance(value, bool):
        raise ValueError("a whole number is needed here")
    return value


def _known_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(value, zoneinfo.available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "such as Europe/Berlin or UTC"
        raise ValueError(f"name a time zone as the tz database does, {hint}") from None
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(parse_share)]
Jobs = Annotated[int, Field(ge=1, le=64), BeforeValidator(no_truth_value)]
Zone = Annotated[str, AfterValidator(_known_zone)]


class Settings(BaseModel):
    """The base of all sections: unknown keys are errors, values don't change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretText(Settings):
    """A text that may name variables, ``${NAME}`` or ``${NAME:-default}``; read when used."""

    text: str = Field(repr=False)


class SecretVariable(Settings):
    """A secret that lies in one environment variable."""

    env: str


class SecretFile(Settings):
    """A secret that lies in a file; a trailing newline is not part of it."""

    file: Path


class SecretCommand(Settings):
    """A secret that a command prints; it is run without a shell."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]


class SecretAgent(Settings):
    """A passphrase that gpg-agent keeps under a cache id (``gpg-preset-passphrase`` puts it there).

    It is never asked for: what the agent does not have is not known.
    """

    agent: str


DESCRIPTION_FORMS = (
    'write a text such as "${DATABASE_URL}", or {env: NAME}, {file: /path}, '
    "{command: [program, argument]} or {agent: CACHE-ID}"
)


def _secret_description(value: object) -> object:
    """Return the description in one of its forms; ValueError names them.

    Done by hand, since a union's own errors tell of every form that does not fit.
    """
    if isinstance(value, str) and value.strip():
        return SecretText(text=value)
    if isinstance(value, Settings):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        (form, content), *_ = value.items()
        if isinstance(content, str) and content.strip():
            match form:
                case "text":
                    return SecretText(text=content)
                case "env" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", content):
                    return SecretVariable(env=content)
                case "file":
                    return SecretFile(file=Path(content))
                case "agent" if _CACHE_ID.fullmatch(content):
                    return SecretAgent(agent=content)
        is_argv = isinstance(content, list | tuple) and content
        if form == "command" and is_argv and all(isinstance(word, str) for word in content):
            return SecretCommand(command=tuple(content))
    raise ValueError(DESCRIPTION_FORMS)


SecretDescription = Annotated[
    SecretText | SecretVariable | SecretFile | SecretCommand | SecretAgent,
    BeforeValidator(_secret_description),
]


Argv = Annotated[tuple[str, ...], Field(min_length=1)]


def telling(value: str) -> str:
    """Return words in one line; ValueError where there are none."""
    if not value.strip():
        raise ValueError("write words that tell something")
    return " ".join(value.split())


Telling = Annotated[str, AfterValidator(telling)]
