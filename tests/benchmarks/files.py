"""``python -m tests.benchmarks.files``: a tree of files, captured against stock tar.

Two trees: a mixed one (text and what does not compress, a few kilobytes to tens of megabytes), and
one of many small files. Each is archived by

- ``tar | zstd``: both as they come, zstd with its one thread, at the level that fsbackup has, too;
- ``tar | zstd, equal``: tar with the options that fsbackup gives it (times to the nanosecond,
  extended attributes, access lists, holes), zstd with as many threads as there are processors;
- ``tar -czf``;
- fsbackup, which also hashes every file, reads what changed again, and writes index and sums.

The contenders take turns. The bars are those of the mixed tree against ``tar | zstd`` and
``tar -czf``, and of memory for both. The other ratios are printed beside them: hashing a gigabyte
alone takes a sixth of what both processors need for ``tar | zstd, equal``, and of each small file
tar as it comes stores less, with fewer questions to the system, and takes half as long. Exit code
0 when the bars hold, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.engines.chain import Chain, write_artifact
from fsbackup_tui.engines.files.capture import TreeCapture, store
from fsbackup_tui.engines.files.index import write_index, write_sums
from fsbackup_tui.engines.files.tar_program import find_tar
from fsbackup_tui.engines.files.walk import Walk
from fsbackup_tui.jobs.preload import preload
from tests.benchmarks.bars import Bar, ratio, runs_table
from tests.benchmarks.running import bytes_of, judge, work_directory

_OPTIONS = (
    *("--create", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sparse"),
    *("--xattrs", "--acls", "--blocking-factor=128"),
)
# Sizes of files: half of them below 48 KB, most bytes in those above 1 MB.
_MEDIAN, _SPREAD = math.log(48_000), 1.8
_ONE = "--capture"
_OURS, _ZSTD, _EQUAL, _GZIP = "fsbackup", "tar | zstd", "tar | zstd, equal", "tar -czf"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender: seconds, processor seconds of all it started, peak memory, bytes."""

    seconds: float
    processor: float
    peak: int
    stored: int


def main() -> int:
    """Measure, print the tables, and return whether the bars hold (0) or not (1)."""
    if sys.argv[1:2] == [_ONE]:
        asyncio.run(_capture(Path(sys.argv[2]), Path(sys.argv[3])))
        return 0
    arguments = _arguments()
    size = bytes_of(arguments.size)
    bars: list[Bar] = []
    with work_directory(arguments.dir) as directory:
        if size:
            count = make_mixed(directory / "mixed", size)
            runs = _measure(directory, "mixed", arguments.repeat, with_gzip=True)
            bars += _bars(f"mixed, {count} files", runs, with_gzip=True)
        if arguments.small:
            make_small(directory / "small", arguments.small)
            runs = _measure(directory, "small", arguments.repeat, with_gzip=False)
            bars += _bars(f"{arguments.small} small files", runs, with_gzip=False)
    return judge(bars)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.files", description=__doc__)
    parser.add_argument("--size", default="1GB", help="of the mixed tree; 0 leaves it out")
    parser.add_argument("--small", type=int, default=0, help="how many small files; 0: none")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--dir", type=Path, help="where to work: twice the size is needed")
    return parser.parse_args()


def make_mixed(root: Path, size: int) -> int:
    """Make a tree like what a site keeps: text by bytes two thirds, the rest does not compress."""
    numbers = random.Random(1)
    sources = sorted(Path(os.__file__).parent.glob("*.py"))
    text = b"".join(path.read_bytes() for path in sources)
    done = count = 0
    while done < size:
        length = int(min(64e6, size / 8, numbers.lognormvariate(_MEDIAN, _SPREAD)))
        directory = root / f"{count // 5000:03}" / f"{count // 100:05}"
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"file-{count:07}").open("wb") as file:
            left = length
            while left and count % 3:
                begin = numbers.randrange(len(text) - 20_000)
                left -= file.write(text[begin : begin + min(left, numbers.randrange(1, 20_000))])
            file.write(numbers.randbytes(left))
        done += length
        count += 1
    return count


def make_small(root: Path, count: int) -> None:
    """Make a tree of small files, a thousand in each directory."""
    numbers = random.Random(2)
    for number in range(count):
        directory = root / f"{number // 100_000:03}" / f"{number // 1000:05}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        (directory / f"file-{number:08}.json").write_bytes(b'{"id": %d}' % number * 20)
        if number % 7 == 0:
            (directory / f"file-{number:08}.json").write_bytes(numbers.randbytes(700))


def _measure(
    directory: Path, tree: str, repeat: int, *, with_gzip: bool
) -> Mapping[str, list[Run]]:
    root, out = directory / tree, directory / "out"
    create = " ".join(("tar", *_OPTIONS, f"--directory={root}", "."))
    commands = {
        _ZSTD: f"tar -c --directory={root} . | zstd -q > {out}/raw.tar.zst",
        _EQUAL: f"{create} | zstd -q -3 -T{os.cpu_count()} > {out}/raw.tar.zst",
        _OURS: f"{sys.executable} -m tests.benchmarks.files {_ONE} {root} {out}",
        _GZIP: f"tar -czf {out}/raw.tar.gz --directory={root} .",
    }
    if not with_gzip:
        del commands[_GZIP]
    runs: dict[str, list[Run]] = defaultdict(list)
    for _round in range(repeat):
        for name, command in commands.items():
            out.mkdir()
            runs[name].append(_run(command, out))
            shutil.rmtree(out)
    print(f"\n{tree} (load {os.getloadavg()[0]:.1f})")
    for name, command in commands.items():
        print(f"  {name}: {command.replace(str(directory), '')}")
    print("\n".join(runs_table({name: [run.seconds for run in runs[name]] for name in runs})))
    print("\n".join(_more(runs)))
    return runs


def _more(runs: Mapping[str, list[Run]]) -> Iterator[str]:
    yield f"{'CONTENDER':<20}{'PROCESSOR':>12}{'PEAK':>10}{'STORED':>12}"
    for name, each in runs.items():
        processor = statistics.median(run.processor for run in each)
        peak = max(run.peak for run in each) / 1e6
        yield f"{name:<20}{processor:>10.2f} s{peak:>7.0f} MB{each[0].stored / 1e6:>9.1f} MB"


def _run(command: str, out: Path) -> Run:
    started = time.monotonic()
    child = subprocess.Popen(["/bin/sh", "-c", f"set -e; {command}"])
    _pid, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    told = out / "told"
    peak = 0
    if told.exists():
        # Starting Python is not what is measured: a worker runs already.
        text, memory = told.read_text().split()
        seconds, peak = float(text), int(memory)
        told.unlink()
    stored = sum(path.stat().st_size for path in out.iterdir())
    return Run(seconds, used.ru_utime + used.ru_stime, peak or used.ru_maxrss * 1024, stored)


async def _capture(root: Path, out: Path) -> None:
    """Capture as ``operations/capture_files.py`` does; tells seconds and peak in a file."""
    preload()
    program = await find_tar()
    chain = Chain("zstd:3", None)
    started = time.monotonic()
    capture = TreeCapture(program, Walk(root), out)
    suffix = chain.suffix
    path = out / f"files.tar{suffix}"
    writing = write_artifact(path, chain, capture.produce, hashed_inside=True)
    await store(capture, asyncio.ensure_future(writing))
    lists = Chain("zstd:3", None, threads=0)
    await write_artifact(
        out / f"files.index{suffix}", lists, lambda sink: write_index(capture.blocks(), sink.write)
    )
    await write_artifact(
        out / f"files.sha256{suffix}", lists, lambda sink: write_sums(capture.blocks(), sink.write)
    )
    capture.close()
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (out / "told").write_text(f"{seconds} {peak}")


def _bars(what: str, runs: Mapping[str, list[Run]], *, with_gzip: bool) -> list[Bar]:
    seconds = {name: [run.seconds for run in runs[name]] for name in runs}
    equal, stock = ratio(seconds, _OURS, _EQUAL), ratio(seconds, _OURS, _ZSTD)
    bars: list[Bar] = []
    print(f"times {_ZSTD}: {stock:.2f}; times {_EQUAL}: {equal:.2f}")
    if with_gzip:
        bars.append(Bar(f"{what}: times {_ZSTD}", stock, "at most", 1.15, "x"))
        faster = ratio(seconds, _GZIP, _OURS)
        bars.append(Bar(f"{what}: times faster than tar -czf", faster, "at least", 4, "x"))
    peak = max(run.peak for run in runs[_OURS]) / 1e6
    bars.append(Bar(f"{what}: peak memory", peak, "at most", 120, "MB"))
    return bars


if __name__ == "__main__":
    sys.exit(main())
