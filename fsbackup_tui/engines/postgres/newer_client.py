"""What a newer client sets and an older server does not know; nothing is lost by it.

pg_dump and pg_restore write ``SET transaction_timeout = 0`` from 17 on, without asking the server
for its version (pg_backup_archiver.c, _doSetFixedOutputState); before 17 it is refused.
"""

from __future__ import annotations

import re

from fsbackup_tui.engines.postgres.tool_output import split_entry

KNOWS_ALL_VERSION_NUM = 170000
"""From this server version on all is known that is set."""

# "unrecognized configuration parameter" (42704), in whatever language the server speaks: that the
# setting is named, that this very statement failed, and that no other message stands between.
_REFUSED = re.compile(
    r"could not execute query: \S+:\s+[^:]*\btransaction_timeout\b[^:]*"
    r" Command was: SET transaction_timeout = 0;"
)


def is_unknown_setting(error: str) -> bool:
    """Whether an error of pg_restore says no more than that the server is older."""
    return _REFUSED.fullmatch(split_entry(error)[0]) is not None


def counted_unknown_settings(jobs: int) -> int:
    """Return how often pg_restore counts it: its leader connects anew behind the parallel part.

    What its other processes are told while they connect, it does not count (tried with 17, 18).
    """
    return 1 if jobs == 1 else 2
