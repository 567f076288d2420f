"""How long a person waits: from Enter to the first screen, and for ``--help``."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping

import pexpect
import pyte

from tests.benchmarks.site import BenchSite

_COLUMNS, _ROWS = 80, 24
_LIMIT_SECONDS = 20.0


def first_paint_seconds(site: BenchSite, environment: Mapping[str, str], repeat: int) -> float:
    """Return the median time until the site's name stands on an 80×24 screen."""
    return statistics.median(_first_paint(site, environment) for _ in range(repeat))


def _first_paint(site: BenchSite, environment: Mapping[str, str]) -> float:
    screen = pyte.Screen(_COLUMNS, _ROWS)
    stream = pyte.ByteStream(screen)
    program, *arguments = site.fsbackup()
    started = time.perf_counter()
    child: pexpect.spawn[bytes] = pexpect.spawn(
        program,
        arguments,
        dimensions=(_ROWS, _COLUMNS),
        env={**environment, "TERM": "xterm-256color"},
        timeout=_LIMIT_SECONDS,
    )
    try:
        while not any("face-swap" in line for line in screen.display):
            if time.perf_counter() - started > _LIMIT_SECONDS:
                raise SystemExit("no first paint:\n" + "\n".join(screen.display))
            stream.feed(child.read_nonblocking(65536, timeout=_LIMIT_SECONDS))
        seconds = time.perf_counter() - started
        child.send("q")
        child.expect(pexpect.EOF)
        return seconds
    finally:
        child.close(force=True)


def help_seconds(site: BenchSite, repeat: int) -> float:
    """Return the median time of ``fsbackup --help`` from start to exit."""
    return statistics.median(_run(site.fsbackup("--help")) for _ in range(repeat))


def _run(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
