"""Sending a point to an S3 server on loopback, against plain ``rclone copy`` of the same files.

``python -m tests.benchmarks.replicate`` prints both, interleaved, by medians, and the bar of 1.1.
What is measured of fsbackup has the look at the seal, the manifest last, the listing afterwards
and the record; reading a share back is printed apart.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fsbackup_tui.config.values import parse_size
from fsbackup_tui.engines.remote.programs import find
from tests.support.replicas import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, s3_server
from tests.support.replicating import described, made, replicate, site_with
from tests.support.sites import Site

BAR = 1.1


def main() -> int:
    """Run the rounds and print them; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.replicate")
    parser.add_argument("--size", default="1GB", help="bytes of the point (default: 1GB)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each (default: 3)")
    parser.add_argument("--dir", type=Path, default=None, help="where (default: TMPDIR)")
    given = parser.parse_args()
    size = parse_size(given.size)
    assert isinstance(size, int)
    with tempfile.TemporaryDirectory(prefix="fsbackup-bench-", dir=given.dir) as name:
        return _measure(Path(name), size, given.repeat)


def _measure(directory: Path, size: int, rounds: int) -> int:
    ours: list[float] = []
    plain: list[float] = []
    reads: list[float] = []
    with s3_server(directory) as bucket:
        content = os.urandom(size)
        site = _site(directory, bucket)
        made(site, 1, content)
        del content
        for number in range(rounds):
            for run in (_ours, _plain) if number % 2 else (_plain, _ours):
                shutil.rmtree(bucket.files)
                bucket.files.mkdir()
                shutil.rmtree(site.repository / "records", ignore_errors=True)
                (ours if run is _ours else plain).append(run(site, bucket))
            started = time.monotonic()
            if number == 0:
                asyncio.run(replicate(site))
                asyncio.run(replicate(site, check=True))
                reads.append(time.monotonic() - started)
    us, them = statistics.median(ours), statistics.median(plain)
    ratio = us / them
    for label, times in (("rclone copy", plain), ("fsbackup replicate", ours)):
        told = " ".join(f"{one:.2f}" for one in times)
        rate = size / statistics.median(times) / 1e6
        print(f"{label:<20} {statistics.median(times):7.2f} s  {rate:6.0f} MB/s  ({told})")
    print(f"{'all of it read back':<20} {statistics.median(reads):7.2f} s")
    word = "PASS" if ratio <= BAR else "FAIL"
    print(f"{word}  {ratio:.3f} of rclone copy (bar {BAR})")
    return 0 if ratio <= BAR else 1


def _site(directory: Path, bucket: S3Server) -> Site:
    place = {**described(bucket.replica()), "read_back": {"share": 0}}
    return site_with(directory, far=place)


def _ours(site: Site, _bucket: S3Server) -> float:
    started = time.monotonic()
    result: dict[str, Any] = asyncio.run(replicate(site))
    assert result["ok"], result
    return time.monotonic() - started


def _plain(site: Site, bucket: S3Server) -> float:
    rclone = find("rclone")
    assert rclone is not None
    environment = {
        **os.environ,
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_PLAIN_TYPE": "s3",
        "RCLONE_CONFIG_PLAIN_PROVIDER": "Other",
        "RCLONE_CONFIG_PLAIN_ENDPOINT": bucket.endpoint,
        "RCLONE_CONFIG_PLAIN_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_PLAIN_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_CONFIG_PLAIN_NO_CHECK_BUCKET": "true",
    }
    started = time.monotonic()
    subprocess.run(
        [rclone, "copy", str(site.repository / "points"), f"PLAIN:{BUCKET}/plain/points"],
        env=environment,
        check=True,
        timeout=1800,
    )
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
