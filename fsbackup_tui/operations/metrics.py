"""What ``check`` measured, in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.errors import UsageError
from fsbackup_tui.domain.finding import EXIT_CODES, Check, Number
from fsbackup_tui.repository.files import sync_directory, writing

HELP: Mapping[str, str] = {
    "fsbackup_check_state": "What the last look found: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
    "fsbackup_check_timestamp_seconds": "When the site was looked at.",
    "fsbackup_findings": "How many findings there are of a severity.",
    "fsbackup_finding": "A finding that stands, by its id; 1 for each.",
    "fsbackup_finding_since_seconds": "Since when a finding stands.",
    "fsbackup_probe_success": "Whether a look could be made.",
    "fsbackup_backup_age_seconds": "Age of the newest good point of a plan.",
    "fsbackup_source_age_seconds": "Age of the newest good backup of a source of data.",
    "fsbackup_runs_due": "Runs of a plan in the last 7 days that had their time.",
    "fsbackup_runs_good": "Runs of a plan in the last 7 days that have a good point.",
    "fsbackup_trust_level": "Trust of a plan's newest point: 0 damaged to 7 proven.",
    "fsbackup_proof_age_seconds": "Age of the newest proof of a plan at the level it wants.",
    "fsbackup_drill_age_seconds": "Age of the last drill.",
    "fsbackup_drill_seconds": "How long getting back took in the last drill.",
    "fsbackup_objective_rto_seconds": "How long getting back may take.",
    "fsbackup_part_rows": "Rows in a source's part of a plan's newest point.",
    "fsbackup_part_files": "Files in a source's part of a plan's newest point.",
    "fsbackup_part_bytes": "Stored bytes of a source's part of a plan's newest point.",
    "fsbackup_repository_free_bytes": "Bytes free for backups on the repository's disk.",
    "fsbackup_repository_size_bytes": "Size of the repository's disk.",
    "fsbackup_repository_free_inodes": "Inodes free on the repository's disk.",
    "fsbackup_repository_growth_bytes_per_day": "Bytes that come new to that disk each day.",
    "fsbackup_repository_full_days": "Days until that disk is full, where that is less than 15.",
    "fsbackup_kit_age_seconds": "Age of the recovery kit.",
    "fsbackup_replica_age_seconds": "Age of the newest good point that a replica has whole.",
    "fsbackup_replica_waiting_points": "Good points that a replica does not have yet.",
    "fsbackup_replica_wrong_points": "Points that are not whole on a replica.",
    "fsbackup_jobs_running": "Jobs that run.",
    "fsbackup_incidents_open": "Incidents that are open, drills aside.",
    "fsbackup_clock_synchronised": "Whether the kernel knows its clock to be kept right.",
    "fsbackup_key_expires_seconds": "Seconds until a key that is encrypted to expires.",
    "fsbackup_slot_retained_bytes": "WAL kept for a slot of a database that was put aside.",
}
"""Every metric there is; all are gauges."""

_FILE_MODE = 0o644


def exposition(check: Check) -> str:
    """Return the text: for each metric HELP, TYPE and its values, each with the site's name."""
    numbers: dict[str, list[Number]] = {}
    for number in (*_about(check), *check.numbers):
        numbers.setdefault(number.name, []).append(number)
    lines: list[str] = []
    for name, text in HELP.items():
        if name not in numbers:
            continue
        lines += [f"# HELP {name} {_escaped(text, quotes=False)}", f"# TYPE {name} gauge"]
        lines += [_line(number, check.site) for number in _without_doubles(numbers[name])]
    return "".join(f"{line}\n" for line in lines)


def _about(check: Check) -> Iterator[Number]:
    yield Number("fsbackup_check_state", EXIT_CODES[check.state])
    yield Number("fsbackup_check_timestamp_seconds", check.at.timestamp())
    for severity in ("critical", "warning", "unknown"):
        count = sum(finding.severity == severity for finding in check.findings)
        yield Number("fsbackup_findings", count, (("severity", severity),))
    for finding in check.findings:
        labels = (("id", finding.id), ("severity", finding.severity))
        yield Number("fsbackup_finding", 1, labels)
        if finding.since is not None:
            yield Number("fsbackup_finding_since_seconds", finding.since.timestamp(), labels)
    for probe, looked in check.probes.items():
        yield Number("fsbackup_probe_success", float(looked), (("probe", probe),))


def _without_doubles(numbers: Iterable[Number]) -> Iterable[Number]:
    """Return one value for each set of labels: two would make all of the file be refused."""
    return {number.labels: number for number in numbers}.values()


def _line(number: Number, site: str) -> str:
    labels = ",".join(
        f'{name}="{_escaped(value, quotes=True)}"'
        for name, value in (("site", site), *number.labels)
    )
    return f"{number.name}{{{labels}}} {_value(number.value)}"


def _value(value: float) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


def _escaped(text: str, *, quotes: bool) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if quotes else escaped


def write_metrics(path: Path, text: str) -> None:
    """Put the text in place of the file whole, readable for the collector.

    The collector never sees half of it: it is written beside, under a name it does not read.

    Raises:
        UsageError: there is no such directory, or the path is one.
        RepositoryUnwritable, DiskFull: it can't be written; the former file stays.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(
            f"NOT WRITTEN: {path}.",
            why="It is a directory." if path.is_dir() else f"{path.parent} is no directory.",
            fix="Name a file in the directory that node_exporter reads: --output DIR/fsbackup.prom",
        )
    with writing(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), _FILE_MODE)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(path.parent)
