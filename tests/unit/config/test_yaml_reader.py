"""YAML as people mean it, with the place of every value."""

from __future__ import annotations

import pytest

from fsbackup_tui.config.yaml_reader import YamlSyntaxError, read_yaml


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("12:30", "12:30"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("012", 12),
        ("0o14", 12),
        ("0x0C", 12),
        ("-3", -3),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("2026-11-22", "2026-11-22"),
        ("30 %", "30 %"),
        ("'true'", "true"),
        ('"12"', "12"),
        ("!!str 12", "12"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object) -> None:
    found = read_yaml(f"a: {scalar}\n", "f").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_has_its_line_and_its_place_in_the_text() -> None:
    text = 'site: x\nsources:\n  db:\n    url: "${A}"\n  c: {kind: k, list: [1,\n    2]}\n'
    document = read_yaml(text, "f")
    assert document.lines == {
        (): 1,
        ("site",): 1,
        ("sources",): 2,
        ("sources", "db"): 3,
        ("sources", "db", "url"): 4,
        ("sources", "c"): 5,
        ("sources", "c", "kind"): 5,
        ("sources", "c", "list"): 5,
        ("sources", "c", "list", 0): 5,
        ("sources", "c", "list", 1): 6,
    }
    span = document.spans[("sources", "db", "url")]
    assert text[span.start : span.end] == '"${A}"'
    assert (span.line, span.column) == (4, 10)


def test_anchors_and_merges() -> None:
    text = (
        "base: &base {kind: k, scope: full}\n"
        "one:\n  <<: *base\n  scope: data\n"
        "two:\n  <<: [{kind: first}, *base]\n"
        "three: *base\n"
    )
    document = read_yaml(text, "f")
    assert document.problems == []
    assert document.value["one"] == {"kind": "k", "scope": "data"}
    assert document.value["two"] == {"kind": "first", "scope": "full"}
    assert document.value["three"] == {"kind": "k", "scope": "full"}
    assert document.lines[("one", "scope")] == 4
    assert document.lines[("one", "kind")] == 1


def test_a_key_given_twice_names_both_lines() -> None:
    document = read_yaml("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n", "f.yaml")
    assert [problem.text() for problem in document.problems] == [
        "f.yaml:5: the key 'c' is given twice, in lines 3 and 5; keep one of them",
        "f.yaml:6: the key 'a' is given twice, in lines 1 and 6; keep one of them",
    ]
    assert document.value == {"a": 1, "b": {"c": 1, "d": 2}}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb:\n\tc: 2\n", 3, "a tab is used to indent; indent with spaces"),
        ("a: 1\nb: c: d\n", 2, "a value that has ': ' in it in quotes"),
        ("a: 1\nb: @x\n", 2, "put a value that begins with @ in quotes"),
        ("a: 1\nb: %x\n", 2, "put a value that begins with % in quotes"),
        ("a: 1\nb: *hunter2\n", 2, "put a value that begins with * in quotes"),
        ('a: "x\nb: 1\n', 3, "a quote is opened and never closed"),
        ("a: [1, 2\nb: 3\n", 2, "close the list with ]"),
        ("a: {b: 1\n", 2, "close the { with }"),
        ("a: 1\nb\nc: 2\n", 3, "write name: value"),
        ('a: "\\q"\n', 1, "use single quotes"),
        ("a: 1\n---\nb: 2\n", 2, "one file holds one site"),
        ("a: 1\n  b: 2\n", 2, "mend the indentation"),
        ("a: 1\nb: \x07\n", 2, "U+0007 can't be part of a YAML file"),
        ("a: &x [*x]\n", 1, "aliases (*name) lead back to themselves"),
    ],
)
def test_syntax_errors_name_the_line_and_the_fix(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlSyntaxError) as caught:
        read_yaml(text, "f.yaml")
    problem = caught.value.problem
    assert problem.line == line
    assert words in problem.text()
    assert "hunter2" not in problem.text()


def test_aliases_that_unfold_to_far_too_much_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    with pytest.raises(YamlSyntaxError, match="far too much"):
        read_yaml("\n".join(lines), "f")


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.system [ls]\n", "a: !secret x\n"])
def test_tags_are_a_problem_and_run_nothing(text: str) -> None:
    document = read_yaml(text, "f")
    assert len(document.problems) == 1
    assert "is not used in this file" in document.problems[0].text()


def test_an_empty_text_has_no_value() -> None:
    assert read_yaml("# nothing\n", "f").value is None
