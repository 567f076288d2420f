"""Writing settings back into the configuration file."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from fsbackup_tui.config.edit import PREVIOUS_NAME, prepare_edit, why_not_editable, write_edit
from fsbackup_tui.config.load import LoadedConfig, load_config
from fsbackup_tui.config.retention import Retention
from fsbackup_tui.config.retention_edit import keep_change, retention_change
from fsbackup_tui.config.yaml_edit import Change
from fsbackup_tui.domain.errors import ConfigError, SafetyRefusal
from fsbackup_tui.domain.retention import Keep
from tests.unit.config.support import write_config

TEXT = """\
# Our shop.
site: shop          # the name
repository: {repository}
sources:
  db: {{kind: postgres, url: "postgresql://app:s3cret@db/shop"}}
plans:
  daily:
    sources: [db]
    keep:
      within: 720h  # a month
      weekly: 8
{more}"""


def loaded_from(directory: Path, more: str = "", text: str = TEXT) -> LoadedConfig:
    path = write_config(directory, text.format(repository=directory / "repo", more=more))
    return load_config(path, {})


def wanted(loaded: LoadedConfig, keep: Keep) -> list[Change]:
    change = keep_change(loaded, "daily", keep)
    return [] if change is None else [change]


def test_a_rule_is_written_and_all_else_stays(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path, "# the end")
    before = loaded.path.read_text()
    loaded.path.chmod(0o640)
    edit = prepare_edit(loaded, wanted(loaded, Keep(within=timedelta(days=30), weekly=4)), {})
    assert edit.diff == ("-      weekly: 8", "+      weekly: 4")
    assert loaded.path.read_text() == before
    kept = write_edit(edit, tmp_path / "state")
    assert loaded.path.read_text() == before.replace("weekly: 8", "weekly: 4")
    assert loaded.path.stat().st_mode & 0o777 == 0o640
    assert kept == tmp_path / "state" / PREVIOUS_NAME
    assert kept.read_text() == before
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in loaded.path.parent.iterdir()] == [loaded.path.name]
    again = load_config(loaded.path, {}).config.plans["daily"].keep
    assert again is not None
    assert again.keep() == Keep(within=timedelta(days=30), weekly=4)


def test_no_rule_at_all_takes_the_section_out(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    edit = prepare_edit(loaded, wanted(loaded, Keep()), {})
    assert edit.diff == ("-    keep:", "-      within: 720h  # a month", "-      weekly: 8")
    write_edit(edit, tmp_path / "state")
    assert load_config(loaded.path, {}).config.plans["daily"].keep is None


def test_equal_rules_are_no_change(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    assert keep_change(loaded, "daily", Keep(within=timedelta(hours=720), weekly=8)) is None
    assert retention_change(loaded, Retention()) is None


def test_settings_of_the_site_are_written(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    wish = Retention(minimum_good=3, most_share=0.25, grace=timedelta(days=14))
    change = retention_change(loaded, wish)
    assert change is not None
    edit = prepare_edit(loaded, [change], {})
    assert edit.diff == ("+retention: {minimum_good: 3, most_share: 25 %, grace: 14d}",)
    write_edit(edit, tmp_path / "state")
    assert load_config(loaded.path, {}).config.retention == wish


def test_only_what_differs_of_the_site_is_written(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path, "retention: {grace: 1w}\n")
    change = retention_change(loaded, Retention(most_share=0.3, grace=timedelta(days=7)))
    assert change == Change(("retention",), {"most_share": "30 %", "grace": "1w"})
    back = retention_change(loaded, Retention())
    assert back is None


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    edit = prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})
    other = loaded.path.read_text() + "# by another hand\n"
    loaded.path.write_text(other)
    with pytest.raises(SafetyRefusal, match="changed by somebody else"):
        write_edit(edit, tmp_path / "state")
    with pytest.raises(SafetyRefusal, match="changed by somebody else"):
        prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})
    assert loaded.path.read_text() == other
    assert not (tmp_path / "state").exists()


def test_a_read_only_configuration_is_never_written(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path, "read_only: true\n")
    problem = why_not_editable(loaded)
    assert problem is not None
    assert problem.what.startswith("READ ONLY")
    assert problem.why == f"{loaded.path}:12 says so."
    with pytest.raises(SafetyRefusal, match="READ ONLY"):
        prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})


def test_a_file_with_two_names_is_not_written(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    os.link(loaded.path, tmp_path / "other")
    with pytest.raises(SafetyRefusal, match="hard links") as caught:
        prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})
    assert "plans:\n  daily:\n    keep: {last: 3}" in caught.value.fix


def test_a_way_of_writing_that_cant_be_edited_says_the_lines(tmp_path: Path) -> None:
    text = TEXT.replace("daily:\n", "daily: &d\n") + "  weekly: *d\n"
    loaded = loaded_from(tmp_path, text=text)
    with pytest.raises(SafetyRefusal, match="can't be changed in place") as caught:
        prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})
    assert caught.value.why == "Something else would have become another with it."
    assert caught.value.fix == "By hand:\nplans:\n  daily:\n    keep: {last: 3}"


def test_a_bad_setting_is_told_and_not_written(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    with pytest.raises(ConfigError):
        prepare_edit(loaded, [Change(("plans", "daily", "keep"), {"last": 0})], {})


def test_no_secret_is_in_the_diff(tmp_path: Path) -> None:
    flow = (
        "{{site: shop, repository: {repository}, sources: {{db: {{kind: postgres,"
        ' url: "postgresql://app:s3cret@db/shop"}}}}, plans: {{daily: {{sources: [db]}}}}}}{more}\n'
    )
    loaded = loaded_from(tmp_path, text=flow)
    edit = prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})
    assert len(edit.diff) == 2
    assert edit.diff[1].endswith("plans: {daily: {sources: [db], keep: {last: 3}}}}")
    assert "s3cret" not in "".join(edit.diff)
    assert b"s3cret" in edit.data
    assert "s3cret" not in repr(edit)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    link = loaded.path.with_name("link.yaml")
    link.symlink_to(loaded.path.name)
    through = load_config(link, {})
    write_edit(prepare_edit(through, wanted(through, Keep(last=3)), {}), tmp_path / "state")
    assert link.is_symlink()
    assert "last: 3" in loaded.path.read_text()


def test_a_state_directory_that_cant_be_written_stops_nothing(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    (tmp_path / "state").write_text("a file")
    edit = prepare_edit(loaded, wanted(loaded, Keep(last=3)), {})
    assert write_edit(edit, tmp_path / "state") is None
    assert "last: 3" in loaded.path.read_text()
