"""Reading what the configuration describes as secret, at the moment it is used."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes

from fsbackup_tui.config.template import BadTemplate, MissingVariable, expand
from fsbackup_tui.config.values import (
    SecretAgent,
    SecretCommand,
    SecretDescription,
    SecretFile,
    SecretText,
    SecretVariable,
)
from fsbackup_tui.domain.database_url import parse_database_url
from fsbackup_tui.domain.errors import DiskFull, SecretUnavailable, ToolError, UsageError
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.process import Command, run

COMMAND_SECONDS = 30.0
_LARGEST = 64 * 1024
_RAW_PASSWORD = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^:/@]*:(?P<password>.*)@", re.DOTALL)
_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:password|passwd|pass|pwd|passphrase|secret|token|key|apikey|credentials?)(?:_|$)"
)
_NO_SECRETS = ("PWD", "OLDPWD")
_SHORTEST_NAMED = 6
_AGENT = ("GNUPGHOME", "HOME")
_WORKS_NOW = "Inventory and verify work without it."


async def read_secret(
    description: SecretDescription,
    environment: Mapping[str, str],
    redactor: Redactor,
    *,
    what: str,
    where: str = "",
    note: Callable[[str], None] | None = None,
) -> Secret:
    """Return the secret, known to the redactor before anybody else sees it.

    ``what`` names it in errors ("database address"), ``where`` is the ``file:line`` of its
    description, ``note`` takes warnings (a secret file that others can read). Of a database URL
    the password is made known to the redactor too, decoded and percent-encoded.
    SecretUnavailable when a variable, file or command gives none.
    """
    reader = _Reader(environment, redactor, what, where, note)
    match description:
        case SecretText():
            value = reader.expanded(description.text)
        case SecretVariable():
            value = reader.expanded(f"${{{description.env}}}")
        case SecretFile():
            value = reader.file(Path(reader.expanded(str(description.file))))
        case SecretCommand():
            value = await reader.command([reader.expanded(word) for word in description.command])
        case SecretAgent():
            value = await reader.agent(description.agent)
    if not value.strip():
        which = str(description.file) if isinstance(description, SecretFile) else "it"
        raise reader.unavailable(f"{which} is empty", "Set it where the configuration says.")
    return remember(Secret(value), redactor)


def expands_to_nothing(description: SecretDescription, environment: Mapping[str, str]) -> bool:
    """Whether the description leaves the secret out: ``url: "${ADMIN_URL:-}"``, unset."""
    if not isinstance(description, SecretText):
        return False
    try:
        return not expand(description.text, environment).strip()
    except (MissingVariable, BadTemplate):
        return False


def remember(secret: Secret, redactor: Redactor) -> Secret:
    """Make a secret known to the redactor, with the password inside of a URL; return it."""
    redactor.add(secret)
    text = secret.reveal()
    passwords: set[str] = set()
    match = _RAW_PASSWORD.match(text)
    if match is not None:
        passwords |= {match["password"], unquote(match["password"])}
    try:
        parsed = parse_database_url(text).password
    except UsageError:
        parsed = None
    if parsed is not None:
        passwords.add(parsed.reveal())
    for password in passwords:
        redactor.add(Secret(password))
        redactor.add(Secret(quote(password, safe="")))
    return secret


def remember_named_secrets(environment: Mapping[str, str], redactor: Redactor) -> None:
    """Make the values known whose variables are called a password, secret, token or key.

    A program of the site's that is given them may print them. Shorter ones are too likely to be
    words of their own.
    """
    for name, value in environment.items():
        if _SECRET_NAME.search(name) and name not in _NO_SECRETS and len(value) >= _SHORTEST_NAMED:
            redactor.add(Secret(value))
            redactor.add(Secret(quote(value, safe="")))


class _Reader:
    def __init__(
        self,
        environment: Mapping[str, str],
        redactor: Redactor,
        what: str,
        where: str,
        note: Callable[[str], None] | None,
    ) -> None:
        self.environment = environment
        self.redactor = redactor
        self.what = what
        self.where = where or "the configuration"
        self.note = note

    def unavailable(self, reason: str, fix: str, *, why: str = "") -> SecretUnavailable:
        return SecretUnavailable(
            f"{self.what.upper()} UNKNOWN: {reason}.",
            why=why or f"{self.where} describes it.",
            fix=f"{fix}\n{_WORKS_NOW}",
        )

    def expanded(self, text: str) -> str:
        try:
            value = expand(text, self.environment)
        except MissingVariable as missing:
            raise self._not_set(missing.names, "set") from None
        except BadTemplate as bad:
            raise self.unavailable("its ${…} can't be read", f"In {self.where}, {bad}.") from None
        if not value.strip() and text.startswith("${") and text.count("${") == 1:
            raise self._not_set((text[2:].partition(":")[0].rstrip("}"),), "filled")
        return value

    def _not_set(self, names: tuple[str, ...], verb: str) -> SecretUnavailable:
        if len(names) == 1:
            subject = f"{names[0]} is not set" if verb == "set" else f"{names[0]} is empty"
        else:
            subject = f"neither {' nor '.join(names)} is set"
        return self.unavailable(
            f"{subject} in this shell",
            f"Run as the user whose environment has it, export {names[-1]}, or let env_file: in "
            "the configuration name the file that holds it.",
            why=f"{self.where} reads it from the environment; what cron and services are "
            "given, a login over ssh often lacks.",
        )

    def file(self, path: Path) -> str:
        try:
            with path.open("rb") as stream:
                data = stream.read(_LARGEST + 1)
                mode = path.stat().st_mode
        except OSError as error:
            raise self.unavailable(
                f"{path} can't be read: {error.strerror}",
                "Run as the user who may read it, or put the file back.",
                why=f"{self.where} says that it lies there.",
            ) from None
        if mode & (stat.S_IRGRP | stat.S_IROTH) and self.note is not None:
            self.note(f"{path} holds a secret and others can read it; chmod go= {path}")
        return self._text(data, str(path))

    async def command(self, argv: list[str]) -> str:
        command = Command(tuple(argv), env=self.environment)
        try:
            completed = await run(command, redactor=self.redactor, timeout=COMMAND_SECONDS)
        except (ToolError, DiskFull) as error:
            raise self.unavailable(
                f"the command that should print it failed: {argv[0]}",
                "Run it by hand as this user and mend what it says.",
                why="\n".join(filter(None, (self.redactor.redact(error.what), error.why))),
            ) from None
        return self._text(completed.stdout, f"what {argv[0]} printed")

    async def agent(self, cache_id: str) -> str:
        """Return what gpg-agent keeps under the id; it is not made to ask anybody."""
        asked = f"GET_PASSPHRASE --data --no-ask {cache_id} X X X"
        home = {name: self.environment[name] for name in _AGENT if self.environment.get(name)}
        command = Command(("gpg-connect-agent", "--no-autostart", asked, "/bye"), env=home)
        try:
            completed = await run(command, redactor=self.redactor, timeout=COMMAND_SECONDS)
        except (ToolError, DiskFull) as error:
            raise self._not_in_agent(cache_id, error.why or error.what) from None
        lines = completed.stdout.split(b"\n")
        data = b"".join(line[2:] for line in lines if line.startswith(b"D "))
        if not data:
            said = next((line for line in lines if line.startswith(b"ERR ")), b"nothing")
            raise self._not_in_agent(cache_id, f"it says: {said.decode(errors='replace')}")
        return self._text(unquote_to_bytes(data), "what gpg-agent keeps")

    def _not_in_agent(self, cache_id: str, why: str) -> SecretUnavailable:
        return self.unavailable(
            f"gpg-agent has nothing under {cache_id}",
            f"Put it there: gpg-preset-passphrase --preset {cache_id}",
            why=f"{self.where} reads it from the agent; {why}",
        )

    def _text(self, data: bytes, origin: str) -> str:
        if len(data) > _LARGEST:
            raise self.unavailable(f"{origin} is too long for a secret", "Check what is there.")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise self.unavailable(f"{origin} is not UTF-8 text", "Check what is there.") from None
        return text.removesuffix("\n").removesuffix("\r")
