"""Which passphrase a person is asked for, and what came of what was typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VARIABLE = "FSBACKUP_PASSPHRASE"
"""Where a passphrase is looked for that nothing else gives; a face puts there what was typed."""

Verdict = Literal["right", "wrong", "new"]
"""``new``: nothing can check it, since it begins a key."""


@dataclass(frozen=True, slots=True)
class KeyQuestion:
    """A passphrase that nobody but a person can tell.

    ``key`` is the id of the key that it opens, empty where there is none yet; ``point`` the point
    whose key it is, empty for the repository's present one. ``renews``: another passphrase than
    the key's begins a new one. ``can_go_without``: the job is of some use without it, too.
    ``private``: it protects the private key that lies here, and the points need that.
    """

    site: str
    key: str = ""
    hint: str = ""
    point: str = ""
    renews: bool = False
    can_go_without: bool = False
    private: bool = False

    @property
    def words(self) -> str:
        """What is asked for, without a mark behind it."""
        of = "the private key of " if self.private else ""
        return f"Passphrase of {of}{self.site}{self._where}"

    @property
    def wrong(self) -> str:
        """That what was typed is another one."""
        of = "private key of " if self.private else "key "
        return f"It does not open the {of}{self.key}{self._where}."

    @property
    def _where(self) -> str:
        return f" ({self.hint})" if self.hint else ""
