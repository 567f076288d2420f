"""A repository of very many points, made fast: for measuring the catalogue.

The manifests are real ones (small, one part); only the artifacts are not there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from datetime import timedelta
from pathlib import Path

from fsbackup_tui.domain.point import Artifact, Manifest, point_id
from fsbackup_tui.repository.catalog import Catalogue
from fsbackup_tui.repository.layout import Repository, create_repository, open_repository
from fsbackup_tui.repository.manifest import to_json
from tests.support.points import START, part, table

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def make_many_points(root: Path, count: int) -> Repository:
    """Return a repository with ``count`` whole points, 20 minutes apart."""
    repository = create_repository(root, "face-swap", START)
    template = _template()
    for number in range(1, count + 1):
        created = START - timedelta(minutes=20 * (count - number))
        identifier = point_id(created, "daily" if number % 3 else "hourly", _tag(number))
        directory = repository.points / identifier
        (directory / "db").mkdir(parents=True)
        (directory / "db" / "part.json").touch()
        text = template.replace("@ID@", identifier).replace('"@SEQUENCE@"', str(number))
        text = text.replace("@PLAN@", "daily" if number % 3 else "hourly")
        text = text.replace('"@ROWS@"', str(5000 + number))
        text = text.replace("@STARTED@", created.isoformat().replace("+00:00", "Z"))
        (directory / "manifest.json").write_text(text)
    return repository


def _template() -> str:
    description = part(tables=[table(f"table_{i}", 1000 + i) for i in range(8)])
    manifest = Manifest(
        id="@ID@",
        sequence=1,
        site="face-swap",
        plan="@PLAN@",
        reason=None,
        host="db1",
        operator="ana",
        tool_version="0.1",
        started=START,
        finished=START,
        phases={"dump": 1.5},
        parts=(description,),
        job="job-1",
    )
    document = json.loads(to_json(manifest))
    document["sequence"] = "@SEQUENCE@"
    document["started"] = document["finished"] = "@STARTED@"
    stored = Artifact("database.dump", "dump", 310_000_000, "0" * 64)
    document["parts"][0]["artifacts"] = [
        {name: getattr(stored, name) for name in Artifact.__dataclass_fields__}
    ]
    document["parts"][0]["postgres"]["tables"][0]["rows"] = "@ROWS@"
    return json.dumps(document, indent=1)


def _tag(number: int) -> str:
    digits = ""
    for _ in range(4):
        number, rest = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[rest]
    return digits


def _measure(repository: Repository, state: Path) -> None:
    def timed(what: str, start: float) -> None:
        print(f"{what:<40} {time.perf_counter() - start:8.3f} s")  # noqa: T201

    start = time.perf_counter()
    with Catalogue.open(state, repository) as catalogue:
        catalogue.points(limit=60)
        timed("open and first page", start)
        start = time.perf_counter()
        catalogue.refresh(running=lambda job: False)
        timed("refresh", start)
        for what, arguments in {
            "page in the middle": {"limit": 60, "offset": 50_000},
            "page by size": {"limit": 60, "order": "size"},
            "page by trust": {"limit": 60, "order": "trust", "descending": False},
            "filter": {"limit": 60, "text": "hourly unverified"},
            "filter without a hit": {"limit": 60, "text": "zebra"},
            "all of them": {},
        }.items():
            start = time.perf_counter()
            catalogue.points(**arguments)  # type: ignore[arg-type]
            timed(what, start)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"{'  peak memory':<40} {peak / 1024:8.0f} MiB")  # noqa: T201


def main() -> None:
    """Make the points (once) and measure the catalogue on them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    arguments = parser.parse_args()
    root = arguments.directory / "repository"
    if (root / "fsbackup.json").exists():
        repository = open_repository(root)
    else:
        repository = make_many_points(root, arguments.count)
    state = arguments.directory / "state"
    os.makedirs(state, exist_ok=True)  # noqa: PTH103
    _measure(repository, state)


if __name__ == "__main__":
    main()
