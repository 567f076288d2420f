"""Fixtures of all tests: real PostgreSQL servers, started when first asked for."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.matrix import sampled_majors
from tests.support.prefork import fork_workers, start_workers
from tests.support.servers import (
    MATRIX_MAJORS,
    PACKAGES,
    Databases,
    FreshServer,
    FreshServers,
    MakeDatabase,
    ServerPool,
    majors,
)

# Textual reads its manners when it is first imported: the same for every test that has screens.
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
os.environ.pop("NO_COLOR", None)

# As in the commands and workers: the collector took a twelfth of a run's processor time.
_COLLECTED_AFTER = 20_000
_MAJOR_PARAMETERS = ("matrix_server", "major")

# No deadline: on a busy machine every example is slow, whatever is tested.
settings.register_profile("fsbackup", deadline=None)


def pytest_configure() -> None:
    """Forget the caller's databases: no test may reach one by accident."""
    settings.load_profile("fsbackup")
    gc.set_threshold(_COLLECTED_AFTER, *gc.get_threshold()[1:])
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    for name in ("DATABASE_URL", "DIRECT_URL", "ADMIN_URL", "FSBACKUP_CONFIG"):
        os.environ.pop(name, None)
    # A shell without job control starts background jobs with SIGINT ignored, and children
    # inherit that: no ctrl-c of a test would be heard.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave of the tests that run once per major those that this run samples."""
    left_out = [item for item in items if not _is_sampled(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def _is_sampled(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec is not None else {}
    major = next((params[name] for name in _MAJOR_PARAMETERS if name in params), None)
    if major not in MATRIX_MAJORS:
        return True
    test = item.nodeid.replace(f"pg{major}", "").replace(f"[{major}]", "")
    return major in sampled_majors(test, PACKAGES)


@pytest.fixture(autouse=True)
def _forked_workers(request: pytest.FixtureRequest) -> None:
    """Most jobs are run by forked workers; what is about processes has them as users have them."""
    if "faults" in request.node.path.parts:
        start_workers()
    else:
        fork_workers()


@pytest.fixture(scope="session")
def server_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    pool = ServerPool(tmp_path_factory.mktemp("servers"))
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def server(server_pool: ServerPool) -> ScratchServer:
    """PostgreSQL 18 behind a Unix socket; shared, so make databases, not settings."""
    return server_pool.package(18)


@pytest.fixture(scope="session")
def server17(server_pool: ServerPool) -> ScratchServer:
    """PostgreSQL 17 behind a Unix socket; shared."""
    return server_pool.package(17)


@pytest.fixture(scope="session")
def tls_server(server_pool: ServerPool) -> ScratchServer:
    """PostgreSQL 17 on 127.0.0.1 with TLS and a password; shared."""
    return server_pool.tls()


@pytest.fixture(scope="session", params=majors(), ids=lambda major: f"pg{major}")
def matrix_server(request: pytest.FixtureRequest, server_pool: ServerPool) -> ScratchServer:
    """Each major in turn: 17 and 18, or with FSBACKUP_MATRIX=1 all of 14 to 18."""
    return server_pool.matrix(request.param)


@pytest.fixture
def make_database() -> Iterator[MakeDatabase]:
    databases = Databases()
    yield databases.make
    databases.drop()


@pytest.fixture
def fresh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshServer]:
    servers = FreshServers(lambda: tmp_path_factory.mktemp("server"))
    yield servers.start
    servers.remove()
