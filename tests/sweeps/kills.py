"""Recoveries in which somebody is killed at every place where that could hurt."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.postgres.scratch import start_scratch_server
from fsbackup_tui.recovery.question import Answer
from tests.support.dying_worker import Moment
from tests.support.killing import Emergency, Point, production
from tests.support.servers import PACKAGES, package_binaries
from tests.support.shop import Shop, open_shop
from tests.support.walking import declare_at
from tests.sweeps.outcomes import Tally


@contextmanager
def emergency(shop: Shop, way: str) -> Iterator[Emergency]:
    """Damage a shop and declare its emergency, which is led the way ``swap`` or ``merge``."""
    shop.back_up()
    new = dict(production(shop))
    shop.execute("DELETE FROM users", "INSERT INTO users (mail) VALUES ('new@example.org')")
    old = production(shop)
    if way == "merge":
        new["users"] = tuple(sorted((*new["users"], *old["users"])))
    runbook = {"swap": "data-loss", "merge": "partial-loss"}[way]
    session = declare_at(shop.site, "rows", runbook=runbook)
    answers: dict[str, Answer | str] = {"keep-evidence": "users", "freeze": "role"}
    answers["choose-way"] = way
    yield Emergency(shop, session, old, new, answers)
