"""Edits in a YAML text: the wanted setting alone is another afterwards, every character else."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsbackup_tui.config.yaml_edit import (
    Change,
    NotEditable,
    Scalar,
    changed_text,
    lines_by_hand,
    same,
)
from fsbackup_tui.config.yaml_reader import read_yaml

KEEP = ("plans", "daily", "keep")
RULES = ("last", "within", "daily", "weekly", "monthly")


def edited(text: str, values: dict[str, Scalar] | None, path: tuple[str, ...] = KEEP) -> str:
    return changed_text(text, [Change(path, values)])


CASES = [
    (
        "a plan in lines gets a line, in front of the comment that follows",
        "plans:\n  daily:\n    sources: [db] # all\n    # and so on\n  w: {sources: [x]}\n",
        {"within": "30d", "weekly": 8},
        "plans:\n  daily:\n    sources: [db] # all\n    keep: {within: 30d, weekly: 8}\n"
        "    # and so on\n  w: {sources: [x]}\n",
    ),
    (
        "a plan in braces gets it in its braces",
        "plans: { daily: { sources: [db] } } # one\n",
        {"last": 7},
        "plans: { daily: { sources: [db], keep: {last: 7} } } # one\n",
    ),
    (
        "rules in lines: one is changed in its quotes, one put in, one taken out",
        "plans:\r\n  daily:\r\n    keep: # rules\r\n    #\ta tab\r\n      within: '30d' # älter\r\n"
        "      weekly: 8\r\n      last: 3\r\n    sources: [db]\r\n",
        {"within": "60d", "last": 3, "monthly": 12},
        "plans:\r\n  daily:\r\n    keep: # rules\r\n    #\ta tab\r\n      within: '60d' # älter\r\n"
        "      last: 3\r\n      monthly: 12\r\n    sources: [db]\r\n",
    ),
    (
        "braces over lines: each rule keeps its own",
        "plans:\n  daily: {sources: [db],\n    keep: {\n      last: 3,   # c\n"
        "      daily: 7   # d\n    } }",
        {"last": 3, "daily": 7, "weekly": 4},
        "plans:\n  daily: {sources: [db],\n    keep: {\n      last: 3,   # c\n"
        "      daily: 7,   # d\n      weekly: 4\n    } }",
    ),
    (
        "an empty one gets a value in front of its comment",
        "plans:\n  daily:\n    keep:  # none yet\n    sources: [db]\n",
        {"last": 1},
        "plans:\n  daily:\n    keep: {last: 1}  # none yet\n    sources: [db]\n",
    ),
    (
        "the last line, without a line break",
        "plans:\n  daily:\n    sources: [db]\n    keep: {last: 3}",
        None,
        "plans:\n  daily:\n    sources: [db]",
    ),
    (
        "what a merge brings is overridden, the anchor stays",
        "x: &x {sources: [db], keep: {last: 2}}\nplans:\n  daily:\n    <<: *x\n",
        {"last": 9},
        "x: &x {sources: [db], keep: {last: 2}}\nplans:\n  daily:\n    <<: *x\n"
        "    keep: {last: 9}\n",
    ),
    (
        "a reference gives way to a value of its own",
        "x: &x {last: 2}\nplans:\n  daily: {keep: *x, sources: [db]}\n",
        {"last": 9},
        "x: &x {last: 2}\nplans:\n  daily: {keep: {last: 9}, sources: [db]}\n",
    ),
    (
        "a byte order mark and an indented list stay",
        "\ufeffplans:\n  daily:\n    sources:\n    - db\n    - \u00fcploads # \u2713\n",
        {"last": 1},
        "\ufeffplans:\n  daily:\n    sources:\n    - db\n    - \u00fcploads # \u2713\n"
        "    keep: {last: 1}\n",
    ),
    (
        "an equal value keeps its way of writing",
        'plans:\n  daily:\n    keep: {"within": "30d", last: 0x5}\n',
        {"within": "30d", "last": 6},
        'plans:\n  daily:\n    keep: {"within": "30d", last: 6}\n',
    ),
]


@pytest.mark.parametrize(("text", "values", "expected"), [c[1:] for c in CASES], ids=lambda _: "")
def test_only_the_setting_changes(
    text: str, values: dict[str, Scalar] | None, expected: str
) -> None:
    assert edited(text, values) == expected


def test_a_section_of_the_site_is_put_at_the_end() -> None:
    text = "site: shop\nplans: {}\n\n# the end"
    after = edited(text, {"grace": "14d"}, ("retention",))
    assert after == "site: shop\nplans: {}\nretention: {grace: 14d}\n\n# the end"


def test_several_changes_are_made_at_once() -> None:
    text = "plans:\n  daily: {sources: [db]}\n  w: {sources: [db], keep: {last: 2}}\n"
    changes = [Change(KEEP, {"last": 5}), Change(("plans", "w", "keep"), None)]
    expected = "plans:\n  daily: {sources: [db], keep: {last: 5}}\n  w: {sources: [db]}\n"
    assert changed_text(text, changes) == expected


REFUSED = [
    "x: &x {sources: [db], keep: {last: 2}}\nplans:\n  daily: *x\n",
    "plans:\n  daily: &d\n    keep: {last: 3}\n  other: *d\n",
    "plans:\n  daily:\n    keep: |\n      last\n",
    "plans:\n  daily:\n    keep:\n      last: &n 3\n    sources: [*n]\n",
    "plans:\n  daily:\n    keep:\n    - last\n",
    "plans: {daily: [\n",
    "[plans]\n",
    "",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_would_touch_more_is_refused(text: str) -> None:
    with pytest.raises(NotEditable):
        edited(text, {"last": 4})


def test_what_a_merge_brings_cant_be_taken_out() -> None:
    text = "x: &x {keep: {last: 2}}\nplans:\n  daily:\n    <<: *x\n    keep: {last: 3}\n"
    with pytest.raises(NotEditable, match="something else"):
        edited(text, None)


def test_the_lines_by_hand_say_the_same() -> None:
    values: dict[str, Scalar] = {"within": "30d", "weekly": 8}
    text = lines_by_hand(Change(KEEP, values))
    assert text == "plans:\n  daily:\n    keep: {within: 30d, weekly: 8}"
    assert read_yaml(text, "").value == {"plans": {"daily": {"keep": values}}}
    assert lines_by_hand(Change(KEEP, None)) == "take plans.daily.keep out"


def test_an_equal_document_has_equal_types() -> None:
    assert same({"a": [1, None]}, {"a": [1, None]})
    assert not same({"a": 1}, {"a": True})
    assert not same([1], [1, 2])
    assert same(float("nan"), float("nan"))


comments = st.sampled_from(["", " # why", "   #\ttab", " # ünï ✓ {[: ", " # keep: {last: 1}"])
between = st.sampled_from(["", "\n", "# a remark", "  # indented", "  #\ta tab", "      # x"])
scalars = st.one_of(st.integers(1, 999), st.sampled_from(["30d", "7 d", "36h", "1w"]))
sections = st.dictionaries(st.sampled_from(RULES), scalars, min_size=1, max_size=5)
quotes = st.sampled_from(["", "", "'", '"'])


@st.composite
def section_texts(draw: st.DrawFn, values: dict[str, Scalar], indent: str) -> str:
    """Return ``keep:`` with its values in one of the ways that people write it."""
    rendered = []
    for name, value in values.items():
        quote = draw(quotes) if isinstance(value, str) else ""
        rendered.append(f"{name}: {quote}{value}{quote}")
    match draw(st.sampled_from(["flow", "spaced", "lines", "block"])):
        case "flow":
            return f"{indent}keep: {{{', '.join(rendered)}}}{draw(comments)}"
        case "spaced":
            return f"{indent}keep: &k {{ {' , '.join(rendered)} }}{draw(comments)}"
        case "lines":
            rows = [f"{indent}  {row},{draw(comments)}" for row in rendered]
            return "\n".join([f"{indent}keep: {{{draw(comments)}", *rows, f"{indent}}}"])
    rows = [f"{indent}   {row}{draw(comments)}" for row in rendered]
    return "\n".join([f"{indent}keep:{draw(comments)}", *rows])


@st.composite
def texts(draw: st.DrawFn, values: dict[str, Scalar] | None) -> str:
    """Return a configuration with, or without, these rules, written in some way."""
    indent = " " * draw(st.integers(1, 4))
    inner = indent * 2
    sources = draw(st.sampled_from(["sources: [db, 'üp']", "sources:\n{0}- db\n{0}- x # y"]))
    plan = [f"{inner}{sources.format(inner)}{draw(comments)}"]
    if values is not None:
        plan.insert(draw(st.integers(0, 1)), draw(section_texts(values, inner)))
    rows = [
        "%YAML 1.2\n---" if draw(st.booleans()) else "# a site",
        "site: shop" + draw(comments),
        draw(between),
        f"plans:{draw(comments)}",
        draw(between),
        f"{indent}daily:{draw(comments)}",
        draw(between),
        *plan,
        draw(between),
        f"{indent}other: {{sources: [x]}}{draw(comments)}",
        draw(between),
    ]
    if draw(st.booleans()):
        rows += ['url: "a: b # c"' + draw(comments), "tail: |\n  text\n  # no comment\n"]
    text = "\n".join(rows) + draw(st.sampled_from(["", "\n", "\n\n\n"]))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return draw(st.sampled_from(["", "\ufeff"])) + text


def document(text: str) -> object:
    return read_yaml(text.removeprefix("\ufeff"), "").value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_way_of_writing_it_loses_anything(data: st.DataObject) -> None:
    before = data.draw(st.none() | sections)
    after = data.draw(st.none() | sections)
    text = data.draw(texts(before))
    result = edited(text, after)
    expected = document(text)
    assert isinstance(expected, dict)
    expected["plans"]["daily"].pop("keep", None)
    if after is not None:
        expected["plans"]["daily"]["keep"] = after
    assert same(document(result), expected)
    for row in difflib.ndiff(text.split("\n"), result.split("\n")):
        if row[0] in "+-" and row[1:].strip(" \r"):
            assert any(f"{name}:" in row for name in (*RULES, "keep")) or row.strip("-+ \r") == "}"
    assert result.count("\r\n") == result.count("\n") or "\r" not in text


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_put_in_and_taken_out_again_leaves_no_trace(data: st.DataObject) -> None:
    text = data.draw(texts(None))
    assert edited(edited(text, data.draw(sections)), None) == text


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_changed_and_changed_back_is_as_it_was(data: st.DataObject) -> None:
    before = data.draw(sections)
    numbers = {name: value for name, value in before.items() if isinstance(value, int)}
    text = data.draw(texts(before))
    changed = {**before, **{name: value + 1 for name, value in numbers.items()}}
    assert edited(edited(text, changed), before) == text
