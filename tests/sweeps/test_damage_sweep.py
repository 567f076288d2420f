"""Random damage to a real stored point: whatever it is, *sealed* must not hold, and say where.

Seeded, so that a failure can be tried again: FSBACKUP_SWEEP_SEED (default 1) and
FSBACKUP_SWEEP_ROUNDS (default 250; more when there is time).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fsbackup_tui.repository.checksums import SUMS_NAME
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.manifest import MANIFEST_NAME
from fsbackup_tui.repository.reader import PointReader

SEED = os.environ.get("FSBACKUP_SWEEP_SEED", "1")
ROUNDS = int(os.environ.get("FSBACKUP_SWEEP_ROUNDS", "250"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository of a demo, with one point in it."""
    place = tmp_path_factory.mktemp("sweep") / "demo"
    command = [sys.executable, "-P", "-m", "fsbackup_tui", "demo", "--no-tui"]
    subprocess.run([*command, "--size", "12MB", "--dir", str(place)], check=True)
    return open_repository(place / "repository")


def flip_a_bit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut_the_end(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: -chance.randint(1, 40)])


def add_to_the_end(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randint(1, 40)))


def zero_a_sector(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content)) // 512 * 512
    sector = content[start : start + 512]
    content[start : start + 512] = bytes(len(sector))
    path.write_bytes(content)


def delete(path: Path, chance: random.Random) -> None:
    del chance
    path.unlink()


def rename(path: Path, chance: random.Random) -> None:
    path.rename(path.with_name(f"{path.name}.{chance.randrange(100)}"))


def replace_with_a_link(path: Path, chance: random.Random) -> None:
    del chance
    target = path.with_name(f"{path.name}.elsewhere")
    path.rename(target)
    path.symlink_to(target)


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    flip_a_bit,
    flip_a_bit,
    cut_the_end,
    add_to_the_end,
    zero_a_sector,
    delete,
    rename,
    replace_with_a_link,
)


def _problems(repository: Repository, point: str) -> list[str]:
    reader = PointReader(repository, point)
    if not (reader.directory / MANIFEST_NAME).is_file():
        return [f"{MANIFEST_NAME} is gone: the point is incomplete"]
    found = reader.check_point_files()
    for source in sorted(path.name for path in reader.directory.iterdir() if path.is_dir()):
        found += reader.check_sealed(source, lambda event: None)
    return found


def test_no_damage_goes_unseen_and_none_is_seen_where_there_is_none(
    repository: Repository,
) -> None:
    (directory,) = repository.points.iterdir()
    assert _problems(repository, directory.name) == []
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    unseen = []
    for number in range(ROUNDS):
        chance = random.Random(f"{SEED}/{number}")
        path, damage = chance.choice(files), chance.choice(DAMAGES)
        before = {place: place.read_bytes() for place in path.parent.iterdir() if place.is_file()}
        damage(path, chance)
        changed = not path.is_file() or path.is_symlink() or path.read_bytes() != before[path]
        problems = _problems(repository, directory.name)
        # A hash altered in SHA256SUMS can't be told from the file altered that it is of.
        seen = problems if path.name == SUMS_NAME else [p for p in problems if path.name in p]
        if changed and not seen:
            unseen.append(f"round {number}: {damage.__name__} {path.name}: {problems}")
        for place in [place for place in path.parent.iterdir() if not place.is_dir()]:
            place.unlink()
        for place, content in before.items():
            place.write_bytes(content)
    assert unseen == []
    assert _problems(repository, directory.name) == []
