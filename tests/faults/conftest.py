"""Servers for the tests of faults, where one serves the tests of a whole module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fsbackup_tui.domain.secret import Secret
from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.faults import CANARY
from tests.support.servers import FreshServers


@pytest.fixture(scope="session")
def canary_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchServer]:
    """PostgreSQL 18 on 127.0.0.1 whose password is the canary; everybody must give it."""
    servers = FreshServers(lambda: tmp_path_factory.mktemp("canary"))
    yield servers.start(18, tcp=True, password=Secret(CANARY))
    servers.remove()
