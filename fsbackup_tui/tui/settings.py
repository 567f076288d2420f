"""The user's look and keys, ``$XDG_CONFIG_HOME/fsbackup/tui.yaml``; a mistake is a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsbackup_tui.tui.terminal import DEFAULT_FPS

SETTINGS_NAME = "tui.yaml"
_MAXIMUM_FPS = 60
_KEYS = ("fps", "keys", "mouse", "theme")


@dataclass(frozen=True, slots=True)
class Settings:
    """How one user wants the screens; ``problems`` are the mistakes in the file, in words."""

    theme: str | None = None
    fps: int = DEFAULT_FPS
    mouse: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def load_settings(path: Path) -> Settings:
    """Return the settings of the file; what is wrong in it is left at its default and told."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        return Settings(problems=(f"{path.name} not read: {error}",))
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        return Settings(problems=(f"{path.name}{place} is not YAML; the defaults are used",))
    if document is None:
        return Settings()
    if not isinstance(document, dict):
        return Settings(problems=(f"{path.name} is no mapping; the defaults are used",))
    return _validated(path.name, document)


def _validated(name: str, document: Mapping[object, object]) -> Settings:
    problems = [
        f"{name}: unknown setting '{key}'; there are {', '.join(_KEYS)}"
        for key in document
        if key not in _KEYS
    ]
    theme = document.get("theme")
    if theme is not None and not isinstance(theme, str):
        problems.append(f"{name}: theme is a name, not {theme!r}")
        theme = None
    fps = document.get("fps", DEFAULT_FPS)
    if isinstance(fps, bool) or not isinstance(fps, int) or not 1 <= fps <= _MAXIMUM_FPS:
        problems.append(f"{name}: fps is a whole number from 1 to {_MAXIMUM_FPS}, not {fps!r}")
        fps = DEFAULT_FPS
    mouse = document.get("mouse", False)
    if not isinstance(mouse, bool):
        problems.append(f"{name}: mouse is true or false, not {mouse!r}")
        mouse = False
    keys, key_problems = _keys(name, document.get("keys"))
    return Settings(theme, fps, mouse, keys, (*problems, *key_problems))


def _keys(name: str, section: object) -> tuple[dict[str, str], list[str]]:
    from fsbackup_tui.tui.keys import clashes, is_key_id

    if section is None:
        return {}, []
    if not isinstance(section, dict):
        return {}, [f"{name}: keys is a mapping of an action's id to its keys"]
    keys: dict[str, str] = {}
    problems: list[str] = []
    for identifier, value in section.items():
        if not is_key_id(str(identifier)):
            problems.append(f"{name}: no action '{identifier}'; ? lists the ids")
        elif not isinstance(value, str) or not value.strip():
            problems.append(f"{name}: keys.{identifier} is a key such as 'b' or 'f2,ctrl+b'")
        else:
            keys[str(identifier)] = value.strip()
    clash = clashes(keys)
    if clash:
        return {}, [*problems, f"{name}: {clash}; the usual keys are used"]
    return keys, problems
