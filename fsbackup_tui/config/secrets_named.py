"""Which secrets a configuration names, and where each of them lies; none is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from fsbackup_tui.config.load import LoadedConfig
from fsbackup_tui.config.values import (
    SecretAgent,
    SecretCommand,
    SecretFile,
    SecretText,
    SecretVariable,
)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-[^}]*)?\}")


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """One secret: the setting, in words where it lies, and the variables that hold it."""

    setting: str
    where: str
    variables: tuple[str, ...] = ()


def named_secrets(loaded: LoadedConfig) -> list[NamedSecret]:
    """Return every secret that the configuration describes, in the order of its settings."""
    return list(_walk(loaded.config, "", loaded))


def _walk(value: object, path: str, loaded: LoadedConfig) -> Iterator[NamedSecret]:
    if isinstance(value, SecretText | SecretVariable | SecretFile | SecretCommand | SecretAgent):
        yield _named(value, path, loaded)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name), f"{path}.{name}" if path else name, loaded)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _walk(each, f"{path}.{name}" if path else str(name), loaded)
    elif isinstance(value, tuple):
        for number, each in enumerate(value, 1):
            yield from _walk(each, f"{path} {number}", loaded)


def _named(
    value: SecretText | SecretVariable | SecretFile | SecretCommand | SecretAgent,
    path: str,
    loaded: LoadedConfig,
) -> NamedSecret:
    match value:
        case SecretText():
            names = tuple(dict.fromkeys(_VARIABLE.findall(value.text)))
            if names:
                return NamedSecret(path, _variables(names, loaded), names)
            return NamedSecret(path, f"in plain text in {loaded.path}, masked in this kit")
        case SecretVariable():
            return NamedSecret(path, _variables((value.env,), loaded), (value.env,))
        case SecretFile():
            return NamedSecret(path, f"the file {value.file}")
        case SecretCommand():
            return NamedSecret(path, f"what this prints: {' '.join(value.command)}")
        case SecretAgent():
            return NamedSecret(path, f"gpg's agent, under {value.agent}")


def _variables(names: tuple[str, ...], loaded: LoadedConfig) -> str:
    words = f"the variable{'s' if len(names) > 1 else ''} {', '.join(names)}"
    env_file = loaded.config.env_file
    return f"{words} of {env_file}" if env_file is not None else f"{words} of the environment"
