"""Work in a process of its own that is killed before its nth step, or behind the last."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any


def run_until_killed(work: Callable[[], object], gates: Sequence[str], dies_at: int) -> bool:
    """Run work in a forked process; whether it was killed, at the given one of its moments.

    ``gates`` are functions, ``module:name`` or ``module:class.name``: before each call of one is
    a moment, and one is behind all. False: it had fewer, and came to its end.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            meet = _watch(gates, dies_at)
            work()
            meet()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, f"it failed where nobody killed it (moment {dies_at})"
    return False


def _watch(gates: Sequence[str], dies_at: int) -> Callable[[], None]:
    met = 0

    def meet() -> None:
        nonlocal met
        if met == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        met += 1

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            meet()
            return function(*given, **named)

        return call

    for gate in gates:
        module, _, path = gate.partition(":")
        owner: Any = importlib.import_module(module)
        *classes, name = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        setattr(owner, name, watched(getattr(owner, name)))
    return meet
