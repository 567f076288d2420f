"""Themes, settings, terminals: what is read from files and the environment before the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.tui.keys import KEYS, clashes
from fsbackup_tui.tui.last_seen import LastSeen, last_seen_path, read_last_seen, write_last_seen
from fsbackup_tui.tui.lines import ROLES, clip, line, plain, printable, spread, wrap
from fsbackup_tui.tui.settings import load_settings
from fsbackup_tui.tui.terminal import few_colours, prepare_environment, refuse_unsuitable
from fsbackup_tui.tui.theme import (
    ThemeBroken,
    builtin_directory,
    choose_theme,
    load_theme,
    theme_files,
)
from tests.tui.made import NOW, some_points


@pytest.mark.parametrize("name", ["dark", "light", "high-contrast", "ansi-16"])
def test_shipped_theme_is_complete(name: str) -> None:
    look = load_theme(builtin_directory() / f"{name}.yaml")
    assert set(look.styles) == set(ROLES)
    assert look.ansi == (name == "ansi-16")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colours: [", "it is not YAML"),
        ("- a", "it is no mapping"),
        ("colors: {}", "unknown key 'colors'"),
        ("name: x", "'colours' is missing"),
    ],
)
def test_broken_theme_names_file_and_mistake(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ThemeBroken) as caught:
        load_theme(path)
    assert "mine.yaml" in caught.value.what
    assert words in caught.value.what


def test_wrong_colour_and_style_are_named(tmp_path: Path) -> None:
    good = (builtin_directory() / "dark.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(good.replace('primary: "#7aa2f7"', "primary: blurple"))
    with pytest.raises(ThemeBroken, match=r"colours.primary: 'blurple' is no colour"):
        load_theme(path)
    path.write_text(good.replace('good: "bold #9ece6a"', 'good: "bolt green"'))
    with pytest.raises(ThemeBroken, match=r"roles.good: 'bolt green' is no style"):
        load_theme(path)


def test_broken_user_theme_falls_back_loudly(tmp_path: Path) -> None:
    directory = tmp_path / "fsbackup" / "themes"
    directory.mkdir(parents=True)
    (directory / "mine.yaml").write_text("name: mine")
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert "mine" in theme_files(environ)
    look, message = choose_theme(environ, "mine", few_colours=False)
    assert look.name == "dark"
    assert message == "THEME NOT USABLE: mine.yaml: 'colours' is missing."
    look, message = choose_theme(environ, "nope", few_colours=False)
    assert look.name == "dark"
    assert message.startswith("THEME NOT FOUND: nope. There are ansi-16, dark,")


def test_sixteen_colours_take_the_ansi_theme() -> None:
    look, message = choose_theme({}, None, few_colours=True)
    assert (look.name, message) == ("ansi-16", "")
    look, message = choose_theme({}, "light", few_colours=True)
    assert look.name == "ansi-16"
    assert message == "theme light needs more colours than this terminal has"


@pytest.mark.parametrize(
    ("environ", "few"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "linux"}, True),
        ({"TERM": "screen"}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "tmux-256color"}, False),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
    ],
)
def test_colours_of_a_terminal(environ: dict[str, str], few: bool) -> None:
    assert few_colours(environ) is few


def test_unsuitable_terminals_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match="NO TERMINAL"):
        refuse_unsuitable({"TERM": "xterm"}, tty=False)
    with pytest.raises(UsageError, match="TERM=dumb can't move the cursor"):
        refuse_unsuitable({"TERM": "dumb"}, tty=True)
    with pytest.raises(UsageError, match="TERM is not set"):
        refuse_unsuitable({}, tty=True)
    refuse_unsuitable({"TERM": "linux"}, tty=True)


def test_manners_are_set_for_textual() -> None:
    environ = {"TERM": "xterm-256color", "TEXTUAL": "devtools"}
    prepare_environment(environ, fps=7)
    assert environ["TEXTUAL_FPS"] == "7"
    assert environ["TEXTUAL_ANIMATIONS"] == "none"
    assert environ["TEXTUAL_SMOOTH_SCROLL"] == "0"
    assert "TEXTUAL" not in environ


def test_settings_with_mistakes_keep_what_is_right_and_tell_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "tui.yaml"
    assert load_settings(path).problems == ()
    path.write_text("theme: light\nfps: 900\nmouse: maybe\nkeys: {verify: V, nope: x}\ncolour: 1\n")
    settings = load_settings(path)
    assert (settings.theme, settings.fps, settings.mouse) == ("light", 10, False)
    assert dict(settings.keys) == {"verify": "V"}
    assert settings.problems == (
        "tui.yaml: unknown setting 'colour'; there are fps, keys, mouse, theme",
        "tui.yaml: fps is a whole number from 1 to 60, not 900",
        "tui.yaml: mouse is true or false, not 'maybe'",
        "tui.yaml: no action 'nope'; ? lists the ids",
    )
    path.write_text("keys: {verify: b}\n")
    assert load_settings(path).problems == (
        "tui.yaml: b would be both back-up and verify; the usual keys are used",
    )
    path.write_text("theme: [\n")
    assert "tui.yaml:2 is not YAML" in load_settings(path).problems[0]


def test_usual_keys_do_not_clash_and_every_id_is_unique() -> None:
    assert clashes({}) == ""
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_last_seen_comes_back_as_it_was_and_garbage_is_nothing(tmp_path: Path) -> None:
    path = last_seen_path({"XDG_CACHE_HOME": str(tmp_path)}, "identity")
    seen = LastSeen(
        NOW, "s", "production", "answer", "Europe/Berlin", "/c", 8, tuple(some_points())
    )
    assert read_last_seen(path) is None
    write_last_seen(path, seen)
    assert path.stat().st_mode & 0o777 == 0o600
    again = read_last_seen(path)
    assert again is not None
    assert [point.id for point in again.points] == [point.id for point in seen.points]
    assert [point.suspect for point in again.points] == [point.suspect for point in seen.points]
    for text in ("", "[]", "{}", '{"format": 1, "at": 7}', "\x00"):
        path.write_text(text)
        assert read_last_seen(path) is None


def test_foreign_text_is_made_safe_and_fits() -> None:
    assert printable("a\x1b[31mb\u202ec\x07") == "a\ufffd[31mb\ufffdc\ufffd"
    assert plain(line("[bold]x[/bold]")) == "[bold]x[/bold]"
    assert clip("表表表", 5) == "表表…"
    assert wrap("one two  three", 7, indent="  ") == ["one two", "  three"]
    assert wrap("x" * 10, 4) == ["xxxx", "xxxx", "xx"]
    assert wrap("   WARN  a", 40) == ["   WARN  a"]


def test_what_is_cut_off_does_not_run_into_what_stands_at_the_other_end() -> None:
    assert plain(spread(line("lost: 12 videos"), line("FROZEN"), 20)) == "lost: 12 vid… FROZEN"
    assert plain(spread(line("1.2 Pause all"), line(" done"), 16)) == "1.2 Pause…  done"
    assert plain(spread(line("short"), line("end"), 10)) == "short  end"
