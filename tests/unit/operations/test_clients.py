"""Which client a part was written by, whatever its manifest says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fsbackup_tui.operations.clients import client_major
from tests.support.points import facts as make_facts


@pytest.mark.parametrize(
    ("version", "major"), [("17.6", 17), ("18beta1", 18), ("1?.10", 1), ("", 0), ("unknown", 0)]
)
def test_a_version_that_is_none_stops_nothing(version: str, major: int) -> None:
    assert client_major(replace(make_facts(), client_version=version)) == major
