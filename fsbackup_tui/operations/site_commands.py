"""The site's own programs of a recovery: which they are, and how they are shown to people.

Imports no database: faces show a command long before anything is run.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping

from fsbackup_tui.config.load import LoadedConfig, site_environment
from fsbackup_tui.domain.errors import SecretUnavailable, UsageError
from fsbackup_tui.domain.secret import REDACTED, Redactor

ABOUT_LIVE_ALONE = frozenset(
    {
        "stop_app",
        "start_app",
        "pause_jobs",
        "resume_jobs",
        "notify_people",
        "regenerate_client",
    }
)
"""What a drill never runs: it would stop, start or tell the real ones."""

_SECRET_FLAG = re.compile(
    r"(?i)^-{1,2}(?:[a-z0-9]+[-_])*(?:password|passwd|passphrase|secret|token|api-?key|key)$"
)
_HEADER = re.compile(r"(?i)\b(?P<head>authorization:\s*(?:\w+\s+)?|x-[\w-]*(?:key|token):\s*)\S+")


def command_of(loaded: LoadedConfig, name: str) -> tuple[str, ...]:
    """Return the program and arguments of a command, or of a step that the site added, by its id.

    Raises:
        UsageError: the configuration has none of that name.
    """
    found = getattr(loaded.config.commands, name, None) if name.isidentifier() else None
    if found is None:
        steps = loaded.config.recovery.steps
        found = next((step.command for step in steps if step.id == name and step.command), None)
    if not isinstance(found, tuple):
        raise UsageError(
            f"COMMAND NOT CONFIGURED: commands.{name}.",
            why=f"{loaded.place('commands')} names none.",
            fix=f"Add it there: commands: {{{name}: [PROGRAM, ARGUMENT, …]}}; or do it by hand.",
        )
    return found


def command_text(loaded: LoadedConfig, name: str, environ: Mapping[str, str] | None = None) -> str:
    """Return a command as it can be pasted into a shell, secrets in it shown as ``***``.

    Raises:
        UsageError: the configuration has none of that name.
    """
    # Not at the top: what reads secrets is not needed by whoever only asks for a name.
    from fsbackup_tui.engines.secrets import remember_named_secrets

    argv = command_of(loaded, name)
    environ = os.environ if environ is None else environ
    try:
        environment = site_environment(loaded, environ)
    except SecretUnavailable:
        environment = dict(environ)
    redactor = Redactor()
    remember_named_secrets(environment, redactor)
    return shown(argv, redactor)


def shown(argv: tuple[str, ...], redactor: Redactor) -> str:
    """Return a command's words, quoted for a shell, without secrets."""
    hidden = set(literal_secrets(argv))
    words: list[str] = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if word in hidden:
            words.append(REDACTED)
        elif equals and value in hidden:
            words.append(f"{flag}={REDACTED}")
        else:
            text = _HEADER.sub(rf"\g<head>{REDACTED}", redactor.redact(word))
            words.append(text if text == REDACTED else shlex.quote(text))
    return " ".join(words)


def literal_secrets(argv: tuple[str, ...]) -> Iterator[str]:
    """Give the values of arguments that are called a password, secret, token or key."""
    before = ""
    for word in argv:
        flag, equals, value = word.partition("=")
        if equals and value and _SECRET_FLAG.match(flag):
            yield value
        elif _SECRET_FLAG.match(before) and not word.startswith("-"):
            yield word
        before = word
