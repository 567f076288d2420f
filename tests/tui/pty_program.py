"""Runs the application on a site in memory, as a child of the pty tests.

It begins as ``fsbackup`` does: the environment is prepared before Textual is imported.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading


def main() -> int:
    """Run it; returns the exit code."""
    from fsbackup_tui.tui.terminal import few_colours, prepare_environment

    prepare_environment(os.environ, fps=10)

    from dataclasses import replace

    from fsbackup_tui.tui.app import FsbackupApp, Start
    from fsbackup_tui.tui.last_seen import LastSeen
    from fsbackup_tui.tui.theme import choose_theme
    from tests.tui.fakes import FakeSite
    from tests.tui.made import NOW
    from tests.tui.proofs import proven_site

    site = proven_site() if "proven" in sys.argv else FakeSite()
    if "incident" in sys.argv:
        from pathlib import Path

        from tests.tui.recoveries import held_desk, jobs_held, led_to

        place = Path(os.environ["HOME"]) / "site"
        place.mkdir()
        site.recovery = held_desk(place)
        led_to(site.recovery, sys.argv[-1])
        jobs_held(site.recovery).refuse = frozenset({"swap"})
    if "live" in sys.argv:
        running = site.rows[0]

        def work() -> None:
            pause = threading.Event()
            for step in itertools.count():
                row = replace(running, done=1e6 * step)
                view = site.views[running.id]
                log = (*view.log[1:], f"pg_dump: dumping contents of table number {step}")
                site.views[running.id] = replace(
                    view, row=row, rate=1e6 * (step % 90), eta_seconds=1000.0 - step, log=log
                )
                pause.wait(0.1)

        threading.Thread(target=work, daemon=True).start()
    seen = None
    if "seen" in sys.argv:
        rows = tuple(site.stored)
        seen = LastSeen(NOW, "face-swap", "production", "", "Europe/Berlin", "", len(rows), rows)
    look, _ = choose_theme(os.environ, None, few_colours=few_colours(os.environ))
    now = site.recovery.now if site.recovery is not None else lambda: NOW
    app = FsbackupApp(Start(look, lambda: site, dict(os.environ), seen=seen, now=now))
    result = app.run(mouse=False)
    return result if isinstance(result, int) else app.return_code or 0
