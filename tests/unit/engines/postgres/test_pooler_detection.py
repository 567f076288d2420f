"""A pooler is recognised by what it tells and by whose server process answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fsbackup_tui.domain.database_url import parse_database_url
from fsbackup_tui.engines.postgres import examination

ADDRESS = parse_database_url("postgresql://app@db1/shop")


class FakeSession:
    """A session that was told one process id and is served by another."""

    def __init__(self, told: int, served_by: int) -> None:
        self.info = SimpleNamespace(backend_pid=told)
        self.served_by = served_by

    async def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("told", "served_by", "second_served_by", "pooler"),
    [
        (100, 100, None, "none"),
        (7, 100, 101, "session"),
        (7, 100, 100, "transaction"),
    ],
)
async def test_pooler(
    monkeypatch: pytest.MonkeyPatch,
    told: int,
    served_by: int,
    second_served_by: int | None,
    pooler: str,
) -> None:
    async def connect(_: Any) -> FakeSession:
        assert second_served_by is not None, "no second session is needed"
        return FakeSession(8, second_served_by)

    async def backend(session: FakeSession) -> int:
        return session.served_by

    monkeypatch.setattr(examination, "_connect", connect)
    monkeypatch.setattr(examination, "_backend", backend)
    first: Any = FakeSession(told, served_by)
    assert await examination.find_pooler(first, ADDRESS) == pooler
