"""Secrets that can't be printed, and the redaction of text that may hold one."""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "***"
_SHORTEST_REDACTED = 3
# The scheme's length is bounded: a long run of letters would take quadratic time otherwise.
_URL_PASSWORD = re.compile(r"(?P<head>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s:/@'\"]*:)[^\s@'\"]+(?=@)")
_KEYWORD_PASSWORD = re.compile(
    r"(?i)\b(?P<head>(?:password|passwd|pgpassword)\s*=\s*)(?:'[^']*'|\S+)"
)


class Secret:
    """A value that shows as ``***`` wherever it is printed; ``reveal()`` gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; only what hands it to a library or a child may call this."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        raise TypeError("a Secret can't be pickled")


class Redactor:
    """Replaces known secrets, and whatever looks like a password in a URL, in text.

    Secrets are added as they are read; one redactor serves a whole process.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._values: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> Secret:
        """Remember a secret (and its percent-encoded form is the caller's to add); return it."""
        value = secret.reveal()
        if len(value) >= _SHORTEST_REDACTED:
            self._values.add(value)
        return secret

    def redact(self, text: str) -> str:
        """Return the text without any known secret or URL password in it."""
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, REDACTED)
        text = _URL_PASSWORD.sub(lambda match: f"{match['head']}{REDACTED}", text)
        return _KEYWORD_PASSWORD.sub(lambda match: f"{match['head']}{REDACTED}", text)
