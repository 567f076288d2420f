"""Who is killed where: step boundaries, and inside of restore, swap, merge, freeze and undo.

Moments are of the worker (tests/support/dying_worker.py), words of the leading session.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.support.dying_worker import Moment, When
from tests.support.killing import Point, Victim

_Place = tuple[str, int] | str
WORDS_OF_A_STEP = (
    *("before intent", "torn intent", "after intent", "before started", "after started"),
    *("before done", "torn done", "after done"),
)

_INSIDE_SWAP: Sequence[tuple[Victim, Sequence[_Place]]] = (
    (
        "worker",
        (
            *("after stage check$", "before pg_prepared_xacts", "after stage prepare$"),
            *("after RESET ALL", ("after COMMIT", 2), "after stage swap$", "after RENAME TO"),
            *(
                ("after RENAME TO", 2),
                "before COMMIT past RENAME TO",
                "after COMMIT past RENAME TO",
            ),
            *("after told log .*is the copy now", "after stage settle$", "before advisory_unlock"),
        ),
    ),
    ("server", ("after RESET ALL", ("after RENAME TO", 2), "before COMMIT past RENAME TO")),
    ("server", ("after COMMIT past RENAME TO", "after stage settle$")),
    ("restart", ("after stage prepare$", "after RENAME TO", "after COMMIT past RENAME TO")),
    ("both", ("before COMMIT past RENAME TO", "after COMMIT past RENAME TO")),
    ("all", ("after stage swap$", "before COMMIT past RENAME TO", "after COMMIT past RENAME TO")),
    ("session", ("after stage check$", "after RENAME TO", "after COMMIT past RENAME TO")),
)
_INSIDE_SWAP_BACK: Sequence[tuple[Victim, Sequence[_Place]]] = (
    (
        "worker",
        (
            "after stage prepare$",
            ("after RENAME TO", 2),
            "before COMMIT past RENAME TO",
            "after COMMIT past RENAME TO",
        ),
    ),
    ("server", (("after RENAME TO", 2), "after COMMIT past RENAME TO")),
    ("all", ("before COMMIT past RENAME TO", "after COMMIT past RENAME TO")),
    ("session", ("after stage check$", "after COMMIT past RENAME TO")),
)
_INSIDE_RESTORE: Sequence[tuple[Victim, Sequence[_Place]]] = (
    (
        "worker",
        (
            *("after stage check$", "after CREATE DATABASE", "after COMMENT ON DATABASE"),
            *("after RENAME TO", "after told command-started", "after told table-done"),
            *(
                ("after told table-done", 3),
                ("after VACUUM", 3),
                "before COMMIT past stage finish$",
            ),
            "after COMMIT past stage finish$",
        ),
    ),
    ("server", ("after CREATE DATABASE", "after told table-done", ("after VACUUM", 2))),
    ("server", ("before COMMIT past stage finish$", "after COMMIT past stage finish$")),
    ("restart", ("after stage restore$", "after stage finish$")),
    ("all", ("after told table-done",)),
    ("session", ("after stage check$", "after told table-done")),
)
_INSIDE_FREEZE: Sequence[tuple[Victim, Sequence[_Place]]] = (
    (
        "worker",
        (
            *("before journal frozen", "after journal frozen", "after REVOKE CONNECT"),
            *("before COMMIT past REVOKE CONNECT", "after COMMIT past REVOKE CONNECT"),
        ),
    ),
    (
        "server",
        ("before REVOKE CONNECT", "after REVOKE CONNECT", "after COMMIT past REVOKE CONNECT"),
    ),
    ("all", ("before REVOKE CONNECT", "after COMMIT past REVOKE CONNECT")),
    ("session", ("after stage freeze$", "after journal frozen")),
)
_INSIDE_THAW: Sequence[tuple[Victim, Sequence[_Place]]] = (
    ("worker", ("after stage thaw$", "after GRANT CONNECT", "before journal", "after journal")),
    ("server", ("after GRANT CONNECT", "before journal")),
    ("all", ("before journal",)),
    ("session", ("after stage thaw$", "before journal")),
)
_INSIDE_DIFF: Sequence[tuple[Victim, Sequence[_Place]]] = (
    ("worker", ("after CREATE SCHEMA", "after stage compare$", "after stage propose$")),
    ("server", ("after stage compare$", "after stage propose$")),
    ("all", ("after stage compare$",)),
)
_INSIDE_MERGE: Sequence[tuple[Victim, Sequence[_Place]]] = (
    (
        "worker",
        (
            *("after stage check$", "after stage merge$", "after LOCK TABLE ONLY"),
            *('after CREATE TABLE .*"s._content', 'after WITH "w0"', "after SET CONSTRAINTS"),
            *(
                "before COMMIT past SET CONSTRAINTS",
                "after COMMIT past SET CONSTRAINTS",
                'after ANALYZE "public"',
            ),
        ),
    ),
    ("session", ("after stage check$", 'after WITH "w0"', "after COMMIT past SET CONSTRAINTS")),
    (
        "server",
        (
            'after WITH "w0"',
            "before COMMIT past SET CONSTRAINTS",
            "after COMMIT past SET CONSTRAINTS",
        ),
    ),
    ("all", ("before COMMIT past SET CONSTRAINTS", "after COMMIT past SET CONSTRAINTS")),
)
_INSIDE_MERGE_BACK: Sequence[tuple[Victim, Sequence[_Place]]] = (
    (
        "worker",
        (
            *(
                "after stage undo$",
                'after WITH "w0"',
                "before COMMIT past SET CONSTRAINTS",
                "after COMMIT past SET CONSTRAINTS",
            ),
            'after ANALYZE "public"',
        ),
    ),
    ("server", ('after WITH "w0"', "after COMMIT past SET CONSTRAINTS")),
    ("all", ("before COMMIT past SET CONSTRAINTS", "after COMMIT past SET CONSTRAINTS")),
    ("session", ("after COMMIT past SET CONSTRAINTS",)),
)


def points_of_data_loss() -> list[Point]:
    """Return the points of a recovery by swap, in the order of its steps, the rollback last."""
    return [
        *_inside("keep-evidence", (("worker", ("after journal frozen", "after ALTER TABLE")),)),
        *_inside("keep-evidence", (("server", ("after ALTER TABLE",)),)),
        *_words("freeze", ("before intent", "before started", "before done")),
        *_inside("freeze", _INSIDE_FREEZE),
        *_inside("freeze", _INSIDE_THAW, undoing=True),
        *_words("freeze", ("before started", "before undone"), undoing=True),
        *_inside(
            "damage", (("worker", ("after told",)), ("server", ("after told stage-started",)))
        ),
        *_words("choose-point", ("before done", "after done")),
        *_words("restore", ("after intent", "before started", "torn done")),
        *_inside("restore", _INSIDE_RESTORE),
        *_inside("check-copy", (("worker", ("after told table-done",)),)),
        *_inside("check-copy", (("server", ("after stage integrity$",)),)),
        *_words("swap", WORDS_OF_A_STEP),
        *_inside("swap", _INSIDE_SWAP),
        *_words("swap", ("after intent", "before started", "before undone"), undoing=True),
        *_inside("swap", _INSIDE_SWAP_BACK, undoing=True),
    ]


def points_of_partial_loss() -> list[Point]:
    """Return the points of a recovery by merge, in the order of its steps, the undo last."""
    return [
        *_inside("diff", _INSIDE_DIFF),
        *_words("choose-rows", ("before started", "before done")),
        *_words("merge", ("after intent", "before started", "before done", "after done")),
        *_inside("merge", _INSIDE_MERGE),
        *_words("merge", ("before started", "before undone"), undoing=True),
        *_inside("merge", _INSIDE_MERGE_BACK, undoing=True),
    ]


def _inside(
    step: str, places: Sequence[tuple[Victim, Sequence[_Place]]], *, undoing: bool = False
) -> Iterator[Point]:
    for victim, named in places:
        for place in named:
            text, nth = (place, 1) if isinstance(place, str) else place
            word, _, rest = text.partition(" ")
            pattern, _, past = rest.partition(" past ")
            when: When = "before" if word == "before" else "after"
            moment = Moment(when, pattern, nth, holds=victim != "worker", past=past)
            yield Point(step, victim, moment, undoing=undoing)


def _words(step: str, words: Sequence[str], *, undoing: bool = False) -> Iterator[Point]:
    return (Point(step, "session", word=word, undoing=undoing) for word in words)
