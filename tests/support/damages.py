"""The six kinds of damage that every face must lead out of, done to a shop under its application.

Each leaves a proven point from before it, and knows what has to be there again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fsbackup_tui.engines.postgres.scratch import ScratchServer
from tests.support.shop import Shop, open_shop, spoil_page

SHOP = ("users", "videos", "likes")
OLD_USERS = "(SELECT id, mail, plan FROM users WHERE id <= 300)"
_PLANS = {
    "daily": {"sources": ["db"], "verify": "proven"},
    "quick": {"sources": ["db"]},
}
NO_NEW_BACKUP = "s the test has one already"


@dataclass
class Damage:
    """A shop after it: ``before`` is the content of its tables, ``right`` a moment before it."""

    shop: Shop
    point: str
    before: dict[str, tuple[Any, ...]]
    right: str

    def visits(self, database: str | None = None) -> set[tuple[Any, ...]]:
        """Return what the application wrote to a database, row by row."""
        return set(self.shop.query("SELECT id, at::text FROM visits", database))

    def check_back(self) -> None:
        """Check that all is as it was, row by row, and the application's role is at home in it."""
        assert self.shop.content(tuple(self.before)) == self.before
        assert self.shop.works_for_the_application()


@contextmanager
def open_damaged_shop(directory: Path, server: ScratchServer) -> Iterator[Shop]:
    """Make a shop that also has a plan without a proof."""
    with open_shop(directory, server, {"plans": _PLANS}) as shop:
        yield shop


def _before(shop: Shop, tables: tuple[str, ...] = SHOP) -> Damage:
    point = shop.back_up()
    return Damage(shop, point, shop.content(tables), datetime.now(UTC).isoformat())


def drop_tables(shop: Shop) -> Damage:
    """DROP TABLE, with what refers to it."""
    damage = _before(shop)
    shop.execute("DROP TABLE likes, videos CASCADE")
    return damage


def delete_all(shop: Shop) -> Damage:
    """DELETE without WHERE, its children by CASCADE; a row since, and a point on top of it."""
    damage = _before(shop)
    shop.execute("DELETE FROM users", "INSERT INTO users (mail) VALUES ('new@example.org')")
    assert shop.site.run("backup", "quick", "--json").exit_code == 0
    old = "(SELECT * FROM users WHERE mail <> 'new@example.org')"
    damage.before[old] = damage.before.pop("users")
    return damage


def update_all(shop: Shop) -> Damage:
    """UPDATE of a column without WHERE."""
    damage = _before(shop)
    shop.execute("UPDATE videos SET title = 'oops'")
    return damage


def truncate_all(shop: Shop) -> Damage:
    """TRUNCATE with all that refers to it."""
    damage = _before(shop)
    shop.execute("TRUNCATE users CASCADE")
    return damage


def drop_column(shop: Shop) -> Damage:
    """A NOT NULL column dropped by a migration, and 40 rows without it since."""
    shop.execute(
        "ALTER TABLE users ADD COLUMN plan text NOT NULL DEFAULT 'free'",
        "UPDATE users SET plan = 'paid' WHERE id % 3 = 0",
        "ALTER TABLE users ALTER COLUMN plan DROP DEFAULT",
    )
    damage = _before(shop, (OLD_USERS, "videos", "likes"))
    shop.execute(
        "ALTER TABLE users DROP COLUMN plan",
        "INSERT INTO users (mail) SELECT 'new' || i FROM generate_series(1, 40) i",
    )
    return damage


def check_column(damage: Damage) -> None:
    """Check that the column is back under the new rows, too, and wanted as before."""
    shop = damage.shop
    assert shop.content(tuple(damage.before)) == damage.before
    assert dict(shop.query("SELECT plan, count(*) FROM users GROUP BY 1")) == {
        "free": 240,
        "paid": 100,
    }
    assert shop.query(
        "SELECT is_nullable FROM information_schema.columns"
        " WHERE table_name = 'users' AND column_name = 'plan'"
    ) == [("NO",)]


def spoil(shop: Shop) -> Damage:
    """A page that can't be read any more, and rows that no point has."""
    damage = _before(shop)
    shop.execute("INSERT INTO visits SELECT FROM generate_series(1, 500)")
    spoil_page(shop, "videos", 2)
    return damage
