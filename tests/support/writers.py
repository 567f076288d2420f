"""Writers that keep a database busy while it is backed up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

# Each writer has rows of its own: two that wait for each other would write nothing for a second.
_WORK = (
    "INSERT INTO busy (label, amount) SELECT 'new ' || i, i FROM generate_series(1, 20) AS i",
    "UPDATE busy SET amount = amount + 1 WHERE id % {count} = {mine} AND id % 17 = 3",
    "DELETE FROM busy WHERE id % {count} = {mine} AND id % 53 = 5",
)
MAKE_BUSY = """
CREATE TABLE busy (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, label text NOT NULL, amount numeric(12, 2)
);
INSERT INTO busy (label, amount) SELECT md5(i::text), i FROM generate_series(1, 20000) AS i;
"""


@dataclass
class Writers:
    """How much was written so far."""

    commits: int = 0
    errors: list[str] = field(default_factory=list)


@contextmanager
def busy_writers(url: str, count: int = 2) -> Iterator[Writers]:
    """Insert, update and delete in ``busy`` from several sessions inside the block."""
    written = Writers()
    stop = threading.Event()

    def work(mine: int) -> None:
        statements = [each.format(count=count, mine=mine).encode() for each in _WORK]
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not stop.is_set():
                    for statement in statements:
                        connection.execute(statement)
                        written.commits += 1
        except psycopg.Error as error:
            written.errors.append(str(error))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        stop.set()
        for thread in threads:
            thread.join()
