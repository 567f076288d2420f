"""Which servers a request reaches, as those who end a lost job's sessions know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsbackup_tui.operations.leftover_sessions import postgres_sources
from fsbackup_tui.operations.merge_requests import MERGE_REQUESTS
from fsbackup_tui.operations.recovery_requests import (
    RECOVERY_REQUESTS,
    RecoveryRequest,
    SwapRequest,
)
from fsbackup_tui.operations.request import Request
from fsbackup_tui.operations.requests import VerifyRequest
from tests.support.contexts import context_of
from tests.support.sites import make_site


@pytest.mark.parametrize(
    "kind", [*RECOVERY_REQUESTS, *MERGE_REQUESTS], ids=lambda kind: kind.operation
)
def test_whatever_a_recovery_asks_for_reaches_its_sources_server(
    tmp_path: Path, kind: type[Request]
) -> None:
    request: Request
    if kind is SwapRequest:
        request = SwapRequest("db", 1, "copy", 2, "kept")
    else:
        assert issubclass(kind, RecoveryRequest)
        request = kind("db", database="a_drills_copy")
    context = context_of(make_site(tmp_path / "site", "postgresql:///x"), lambda _event: None)
    assert postgres_sources(request, context) == {"db"}


def test_a_verification_reaches_none_and_a_source_that_there_is_not_is_none(
    tmp_path: Path,
) -> None:
    context = context_of(make_site(tmp_path / "site", "postgresql:///x"), lambda _event: None)
    assert postgres_sources(VerifyRequest("latest"), context) == frozenset()
    assert postgres_sources(SwapRequest("moon", 1, "copy", 2, "kept"), context) == frozenset()
