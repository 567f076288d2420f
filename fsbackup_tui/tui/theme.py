"""Themes from YAML files: the program's own and the user's, validated, each a look per role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.errors import StyleSyntaxError
from rich.style import Style

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.tui.lines import ROLES

if TYPE_CHECKING:
    from textual.theme import Theme

DEFAULT_THEME = "dark"
ANSI_THEME = "ansi-16"
COLOURS = (
    "primary",
    "secondary",
    "accent",
    "success",
    "warning",
    "error",
    "foreground",
    "background",
    "surface",
    "panel",
)
_KEYS = {"name", "dark", "ansi", "colours", "roles"}


class ThemeBroken(UsageError):
    """A theme file can't be used; the message names the file and the mistake."""

    kind = "theme"


@dataclass(frozen=True, slots=True)
class Palette:
    """A theme as the screens use it: the look of each role, and Textual's own colours."""

    name: str
    dark: bool
    ansi: bool
    colours: Mapping[str, str]
    base: Style
    styles: Mapping[str, Style]

    def textual_theme(self) -> Theme:
        """Return the theme for Textual's own widgets (the palette of commands, inputs)."""
        from textual.theme import Theme

        # Textual's own styles name these two, and it defines them for its own ansi themes only.
        more = {"ansi-background": "ansi_black", "ansi-foreground": "ansi_white"}
        return Theme(
            name=self.name,
            dark=self.dark,
            ansi=self.ansi,
            variables={"input-selection-background": self.colours["secondary"], **more},
            primary=self.colours["primary"],
            secondary=self.colours["secondary"],
            accent=self.colours["accent"],
            success=self.colours["success"],
            warning=self.colours["warning"],
            error=self.colours["error"],
            foreground=self.colours["foreground"],
            background=self.colours["background"],
            surface=self.colours["surface"],
            panel=self.colours["panel"],
        )


def builtin_directory() -> Path:
    """Return where the program's own themes lie: in the wheel, else beside the checkout."""
    packaged = Path(str(resources.files("fsbackup_tui"))) / "themes"
    if packaged.is_dir():
        return packaged
    return Path(str(resources.files("fsbackup_tui"))).parent / "themes"


def user_directory(environ: Mapping[str, str]) -> Path:
    """Return where the user's own themes lie, ``$XDG_CONFIG_HOME/fsbackup/themes``."""
    return user_config(environ) / "themes"


def user_config(environ: Mapping[str, str]) -> Path:
    """Return the user's configuration directory of fsbackup."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "/") / ".config")
    return Path(base) / "fsbackup"


def theme_files(environ: Mapping[str, str]) -> dict[str, Path]:
    """Return the theme files by name; a user's theme wins over ours of the same name."""
    found: dict[str, Path] = {}
    for directory in (builtin_directory(), user_directory(environ)):
        for path in _yaml_files(directory):
            found[path.stem] = path
    return found


def _yaml_files(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in directory.iterdir() if path.suffix == ".yaml")
    except OSError:
        return


def load_theme(path: Path) -> Palette:
    """Return the theme a file holds; ThemeBroken with the first mistake in it."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeBroken(f"THEME NOT READ: {path}: {error}.") from error
    except yaml.YAMLError as error:
        raise _broken(path, f"it is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise _broken(path, "it is no mapping")
    unknown = sorted(str(key) for key in document if key not in _KEYS)
    if unknown:
        raise _broken(path, f"unknown key '{unknown[0]}'; there are {', '.join(sorted(_KEYS))}")
    ansi = document.get("ansi") is True
    colours = _colours(path, document.get("colours"))
    styles = _styles(path, document.get("roles"))
    base = Style.null() if ansi else Style.parse(f"{styles['text']} on {colours['background']}")
    return Palette(
        name=path.stem,
        dark=document.get("dark") is not False,
        ansi=ansi,
        colours=colours,
        base=base,
        styles={role: base + style for role, style in styles.items()},
    )


def _colours(path: Path, section: object) -> dict[str, str]:
    from textual.color import Color, ColorParseError

    if not isinstance(section, dict):
        raise _broken(path, "'colours' is missing")
    result: dict[str, str] = {}
    for name in COLOURS:
        value = section.get(name)
        try:
            Color.parse(str(value))
        except ColorParseError as error:
            raise _broken(path, f"colours.{name}: {value!r} is no colour") from error
        result[name] = str(value)
    return result


def _styles(path: Path, section: object) -> dict[str, Style]:
    if not isinstance(section, dict):
        raise _broken(path, "'roles' is missing")
    result: dict[str, Style] = {}
    for role in ROLES:
        value = section.get(role)
        if not isinstance(value, str):
            raise _broken(path, f"roles.{role} is missing")
        try:
            result[role] = Style.parse(value)
        except StyleSyntaxError as error:
            raise _broken(path, f"roles.{role}: {value!r} is no style") from error
    return result


def _broken(path: Path, why: str) -> ThemeBroken:
    return ThemeBroken(f"THEME NOT USABLE: {path.name}: {why}.", fix=f"Mend {path}")


def fallback_palette() -> Palette:
    """Return a look that needs no file: the terminal's own colours, states in bold."""
    looks = {"bar": "reverse", "cursor": "reverse", "production": "bold reverse"}
    bold = {"good", "warn", "bad", "key", "heading"}
    styles = {
        role: Style.parse(looks.get(role, "bold" if role in bold else "none")) for role in ROLES
    }
    colours = dict.fromkeys(COLOURS, "ansi_default")
    return Palette("fallback", True, True, colours, Style.null(), styles)


def choose_theme(
    environ: Mapping[str, str], wanted: str | None, *, few_colours: bool
) -> tuple[Palette, str]:
    """Return the theme to begin with, and a message where it is not the one that was wanted.

    With sixteen colours or none the ansi theme is taken unless another ansi theme is wanted:
    a theme of 24-bit colours would be rounded to something unreadable there.
    """
    files = theme_files(environ)
    usual = ANSI_THEME if few_colours else DEFAULT_THEME
    message = ""
    for name in dict.fromkeys((wanted or usual, usual, ANSI_THEME)):
        path = files.get(name)
        if path is None:
            message = message or f"THEME NOT FOUND: {name}. There are {', '.join(sorted(files))}."
            continue
        try:
            palette = load_theme(path)
        except ThemeBroken as error:
            message = message or error.what
            continue
        if few_colours and not palette.ansi:
            message = message or f"theme {name} needs more colours than this terminal has"
            continue
        return palette, message
    return fallback_palette(), message or "NO THEMES FOUND: the plain look is used."
