"""``${NAME}`` and ``${NAME:-default}`` in texts of the configuration and of env files."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_NESTED = 20


class MissingVariable(Exception):
    """A text names variables of which none is set, and has no default; ``names`` in order."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(", ".join(names))
        self.names = names


class BadTemplate(Exception):
    """A ``${…}`` is not written as it has to be; says how to write it."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with its variables replaced; ``$$`` gives ``$``, a lone ``$`` stays.

    As in a shell, ``:-`` takes the default for a variable that is unset or empty; defaults may
    hold further ``${…}``. MissingVariable, BadTemplate.
    """
    value, end = _expand(text, 0, environment, depth=0)
    if end != len(text):
        raise BadTemplate("a } stands without its ${")
    return value


def variables(text: str) -> tuple[str, ...]:
    """Return the names of the variables in the text, outermost first; BadTemplate."""
    expand(text, _Anything())
    unescaped = text.replace("$$", "  ")
    return tuple(dict.fromkeys(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)", unescaped)))


def escape(text: str) -> str:
    """Return the text so that ``expand`` gives it back as it is."""
    return text.replace("$", "$$")


def _expand(
    text: str, position: int, environment: Mapping[str, str], *, depth: int
) -> tuple[str, int]:
    """Return the expanded text from ``position`` up to the closing ``}`` (or the end, depth 0)."""
    if depth > _MOST_NESTED:
        raise BadTemplate("defaults are nested too deeply")
    taken: list[str] = []
    while position < len(text):
        if text.startswith("$$", position):
            taken.append("$")
            position += 2
        elif text.startswith("${", position):
            value, position = _variable(text, position + 2, environment, depth=depth)
            taken.append(value)
        elif depth and text[position] == "}":
            break
        else:
            taken.append(text[position])
            position += 1
    return "".join(taken), position


def _variable(
    text: str, position: int, environment: Mapping[str, str], *, depth: int
) -> tuple[str, int]:
    match = _NAME.match(text, position)
    if match is None:
        raise BadTemplate(_how_to_write())
    name, position = match[0], match.end()
    value = environment.get(name)
    if text.startswith("}", position):
        if value is None:
            raise MissingVariable((name,))
        return value, position + 1
    if not text.startswith(":-", position):
        raise BadTemplate(_how_to_write())
    if value:
        environment = _Anything()
    try:
        default, position = _expand(text, position + 2, environment, depth=depth + 1)
    except MissingVariable as missing:
        raise MissingVariable((name, *missing.names)) from None
    if not text.startswith("}", position):
        raise BadTemplate("a ${ is opened and never closed with }")
    return value or default, position + 1


class _Anything(dict[str, str]):
    """An environment in which every variable is set: a default that is not needed."""

    def get(self, key: str, default: object = None, /) -> str:
        return ""


def _how_to_write() -> str:
    return "write ${NAME} or ${NAME:-default}; $$ for a $ before a {"
