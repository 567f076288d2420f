"""How messages are laid out: 80 columns, continuation under the text, commands unbroken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsbackup_tui.cli.main import build_parser
from fsbackup_tui.cli.output import WIDTH, Pasteable, wrap_problem, wrap_text
from fsbackup_tui.domain.errors import Problem
from fsbackup_tui.domain.text import cell_width

LONG = "The databases to be backed up have 1.2 GB; dumps are smaller, often by far. " * 2


def test_continuation_stands_under_the_text() -> None:
    lines = wrap_problem(Problem("x", "SHORT.", LONG, "Do this.\nThen that.")).splitlines()
    assert lines == [
        "SHORT.",
        "Why   The databases to be backed up have 1.2 GB; dumps are smaller, often by",
        "      far. The databases to be backed up have 1.2 GB; dumps are smaller, often",
        "      by far.",
        "Next  Do this.",
        "      Then that.",
    ]


def test_a_label_in_a_line_indents_what_follows() -> None:
    why = "confirmed  face_swap on db1.example.com:5432  system 7301234567890123112  1.6 GB"
    text = wrap_problem(Problem("x", "STOPPED.", why))
    assert text.splitlines()[1:] == [
        "Why   confirmed  face_swap on db1.example.com:5432  system 7301234567890123112",
        "                 1.6 GB",
    ]


def test_a_row_of_fields_is_broken_between_them() -> None:
    row = "db1.example.com:5432  primary  as the_application  PostgreSQL 17.10  system 730123456789"
    assert wrap_text(row, first="  ") == [
        "  db1.example.com:5432  primary  as the_application  PostgreSQL 17.10",
        "  system 730123456789",
    ]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (
            "Name a directory of your own, or let its owner close this one: "
            "sudo -u somebody chmod 0700 /var/backups/shop",
            "sudo -u somebody chmod 0700 /var/backups/shop",
        ),
        (
            "fsbackup init --site shop --url postgresql://USER:PASSWORD@HOST:5432/DATABASE "
            "--repository /var/backups/shop",
            "fsbackup init --site shop --url postgresql://USER:PASSWORD@HOST:5432/DATABASE "
            "--repository /var/backups/shop",
        ),
        (
            'Let a superuser give it the right: ALTER ROLE "somebody with a long name" CREATEDB;',
            'ALTER ROLE "somebody with a long name" CREATEDB;',
        ),
    ],
)
def test_a_command_to_paste_is_never_broken(text: str, command: str) -> None:
    lines = wrap_problem(Problem("x", "WHAT.", "", text)).splitlines()
    assert [line for line in lines if line.removeprefix("Next").strip() == command]


def test_a_remark_behind_a_command_hangs_under_itself() -> None:
    remark = "writes one from DATABASE_URL, an .env file, or from a whole Prisma project"
    lines = wrap_problem(Problem("x", "NONE.", "", f"fsbackup init   {remark}")).splitlines()
    assert lines[1:] == [
        "Next  fsbackup init   writes one from DATABASE_URL, an .env file, or from a",
        "                      whole Prisma project",
    ]


def test_a_command_named_in_a_sentence_stays_together() -> None:
    for shift in range(40):
        words = (
            "x" * shift + " " + "and then, when that is done and well, run fsbackup doctor --fix"
        )
        text = "\n".join(wrap_text(words + " as the owner of it, or (fsbackup attach JOB); go on."))
        assert "fsbackup doctor --fix" in text
        assert "(fsbackup attach JOB);" in text


def test_foreign_control_characters_reach_no_terminal() -> None:
    text = wrap_problem(Problem("x", "TABLE \x1b[31mred\x07.", "a\tb\x1b]0;title", "c\x9bd"))
    assert all(character.isprintable() or character == "\n" for character in text)


WORDS = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=30))


@given(WORDS, st.integers(0, 20))
def test_no_word_is_lost_and_nothing_is_too_wide(words: list[str], indent: int) -> None:
    lines = wrap_text(" ".join(words), first=" " * indent)
    assert " ".join(lines).split() == " ".join(words).split()
    for line in lines:
        assert cell_width(line) <= WIDTH or line.strip() in {*words, " ".join(words)}


@pytest.mark.parametrize(
    ("named", "text", "pasteable"),
    [
        (
            Pasteable(Path("/etc/my shop.yaml")),
            "Next  fsbackup verify p1",
            "Next  fsbackup --config '/etc/my shop.yaml' verify p1",
        ),
        (
            Pasteable(None, "shop"),
            "Give it: fsbackup doctor, then fsbackup backup daily",
            "Give it: fsbackup --site shop doctor, then fsbackup --site shop backup daily",
        ),
        (Pasteable(), "fsbackup list", "fsbackup list"),
        (Pasteable(Path("x.yaml")), "fsbackup init   makes one", "fsbackup init   makes one"),
        (Pasteable(Path("x.yaml")), "Take a backup with fsbackup.", "Take a backup with fsbackup."),
        (Pasteable(Path("x.yaml")), "ls /opt/fsbackup list", "ls /opt/fsbackup list"),
        (
            Pasteable(Path("x.yaml")),
            "fsbackup --config y.yaml doctor",
            "fsbackup --config y.yaml doctor",
        ),
    ],
)
def test_commands_are_those_of_the_configuration_that_was_named(
    named: Pasteable, text: str, pasteable: str
) -> None:
    assert named.text(text) == pasteable


def test_a_command_with_a_configuration_is_not_broken() -> None:
    told = Pasteable(Path("/srv/a long way down/to the configuration/fsbackup.yaml"))
    command = "fsbackup --config '/srv/a long way down/to the configuration/fsbackup.yaml' doctor"
    for text in ("Run fsbackup doctor again.", "What a job needs is looked at by: fsbackup doctor"):
        assert any(command in line for line in wrap_text(told.text(text), first="Next  "))


def test_every_command_of_a_site_is_known() -> None:
    (commands,) = (a for a in build_parser()._actions if a.choices and a.metavar == "COMMAND")
    told = Pasteable(Path("x.yaml"))
    changed = {name for name in commands.choices or () if "x.yaml" in told.text(f"fsbackup {name}")}
    assert set(commands.choices or ()) - changed == {"init", "demo", "decrypt", "bootstrap"}
