"""Who may delete below a directory: found in processes, cron, timers and at jobs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fsbackup_tui.engines.trees.touching import find_processes, find_touching

FILES = {
    "etc/crontab": "# /srv/shop/storage is mentioned, but not by a line\n"
    "0 3 * * * root find /srv/shop/storage -mtime +30 -delete\n"
    "0 4 * * * root rm -rf /srv/shop/storage2\n",
    "etc/cron.d/cleanup": "5 * * * * www /opt/cleanup.sh --all\n",
    "opt/cleanup.sh": "#!/bin/sh\ncd /srv/shop && rm -f storage/*.tmp\n",
    "var/spool/cron/crontabs/ana": "@daily tar -cf /dev/null /home\n",
    "etc/cron.daily/sweep": "#!/bin/sh\nrm -rf /srv/shop/storage/old\n",
    "etc/systemd/system/prune.timer": "[Timer]\nOnCalendar=daily\n",
    "etc/systemd/system/prune.service": "[Service]\nExecStart=/bin/rm -r /srv/shop/storage/x\n",
    "usr/lib/systemd/system/other.timer": "[Timer]\nUnit=quiet.service\n",
    "usr/lib/systemd/system/quiet.service": "[Service]\nExecStart=/bin/true\n",
    "var/spool/cron/atjobs/a0000101a2b3c4": "#!/bin/sh\nrm -rf /srv/shop/storage/later\n",
}


def test_what_mentions_the_path_is_told_with_what_stops_it(tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "proc").mkdir()
    found, notes = find_touching(Path("/srv/shop/storage"), system=tmp_path)
    assert notes == []
    told = {(each.kind, each.where): each for each in found}
    assert sorted(told) == [
        ("at", "/var/spool/cron/atjobs/a0000101a2b3c4"),
        ("cron", "/etc/cron.d/cleanup"),
        ("cron", "/etc/cron.daily/sweep"),
        ("cron", "/etc/crontab"),
        ("timer", "/etc/systemd/system/prune.timer"),
    ]
    assert told["cron", "/etc/crontab"].what.startswith("0 3")
    assert told["cron", "/etc/cron.d/cleanup"].detail == "mentions /srv/shop, in /opt/cleanup.sh"
    timer = told["timer", "/etc/systemd/system/prune.timer"]
    assert timer.stop == "systemctl stop prune.timer prune.service"
    assert told["at", "/var/spool/cron/atjobs/a0000101a2b3c4"].stop == "atrm 1"


def test_a_process_at_work_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=tmp_path / "deep") as child:
        try:
            found, _notes = find_processes(tmp_path)
            assert [(each.where, each.what) for each in found] == [(str(child.pid), "cat")]
            assert found[0].detail == str(tmp_path / "deep")
            assert find_processes(tmp_path / "dee")[0] == []
        finally:
            child.kill()
