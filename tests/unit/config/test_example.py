"""``config.example.yaml`` loads, and shows every setting that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fsbackup_tui.config.load import load_config
from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.shape import section_at
from fsbackup_tui.config.values import Settings
from fsbackup_tui.config.yaml_reader import read_yaml
from tests.unit.config.support import write_config

EXAMPLE = Path(__file__).resolve().parents[3] / "config.example.yaml"


def sections(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[type[BaseModel], Any]]:
    model = section_at(SiteConfig, EXAMPLE_VALUE, path)
    if isinstance(value, dict):
        if model is not None:
            yield model, value
        for key, item in value.items():
            yield from sections(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from sections(item, (*path, index))


EXAMPLE_TEXT = EXAMPLE.read_text(encoding="utf-8")
EXAMPLE_VALUE = read_yaml(EXAMPLE_TEXT, "example").value


def test_it_loads(tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path, EXAMPLE_TEXT), {})
    assert loaded.config.site == "face-swap"
    assert loaded.config.databases["db"].suspect_fall == pytest.approx(0.3)


def test_every_setting_of_every_section_is_in_it() -> None:
    shown: dict[type[BaseModel], set[str]] = {}
    for model, value in sections(EXAMPLE_VALUE):
        shown.setdefault(model, set()).update(value)
    for model, names in shown.items():
        assert names == set(model.model_fields), model.__name__
    described_in_words = {
        "SecretText",
        "SecretVariable",
        "SecretFile",
        "SecretCommand",
        "SecretAgent",
        "Expectation",
    }
    # A runbook's file is another one, made of the same kind of sections.
    ours = [model for model in Settings.__subclasses__() if "config" in model.__module__]
    every = {model.__name__ for model in ours} - described_in_words
    assert {model.__name__ for model in shown} == every


def test_every_form_of_a_secret_is_shown_and_every_setting_is_explained() -> None:
    for form in (
        "{env: ",
        "{file: ",
        "{command: ",
        "{agent: ",
        'url: "${DIRECT_URL:-${DATABASE_URL}}"',
    ):
        assert form in EXAMPLE_TEXT
    lines = EXAMPLE_TEXT.splitlines()
    for number, line in enumerate(lines):
        name = line.strip().partition(":")[0]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        above = lines[number - 1].strip()
        grouped = name in {"exclude_tables", "exclude_table_data", "url", "db", "daily", "nice"}
        assert above.startswith("#") or grouped, f"line {number + 1} is not explained: {line}"
