"""Which account a throw-away server runs under.

PostgreSQL refuses to run as root, and what a restored dump brings along runs with the rights of
its server. Root therefore gives the server to a user id that nobody else has. A user namespace,
the second choice, is no drop of privileges: outside of it the server still is root.
"""

from __future__ import annotations

import os
import pwd
import secrets
from dataclasses import dataclass, replace
from typing import Literal

from fsbackup_tui.domain.errors import FsbackupError, ToolMissing
from fsbackup_tui.engines.process_group import Child, child_environment

Isolation = Literal["auto", "uid", "namespace", "none"]

_FREE_IDS = range(61184, 65520)  # systemd's DynamicUser= range: no distribution gives these away
_LENDERS = ("nobody", "postgres", "daemon", "bin")
_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """How to run a server's programs.

    ``user`` is the numeric id that ``postgres`` runs under; ``lender`` is one with an entry in
    /etc/passwd, without which initdb does not run. Both are None where we are not root or the
    ``wrapper`` (a user namespace) makes us somebody else. ``offline`` is a command that runs the
    rest of its arguments as that account in a network without a way out; empty where there is
    none.
    """

    user: int | None = None
    lender: int | None = None
    wrapper: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()

    @property
    def is_other_user(self) -> bool:
        """Whether the server runs under an id that is not ours."""
        return self.user is not None


def choose_account(isolation: Isolation) -> Account:
    """Return the account for a server; FsbackupError with the reasons when there is none."""
    if os.geteuid() != 0 or isolation == "none":
        return Account()
    problems: list[str] = []
    if isolation in ("auto", "uid"):
        account = _other_user(problems)
        if account is not None:
            return account
    if isolation in ("auto", "namespace"):
        account = _user_namespace(problems)
        if account is not None:
            return account
    raise FsbackupError(
        "NO SERVER AS ROOT: PostgreSQL refuses to run as root, and nobody else can be used.",
        why="\n".join(problems),
        fix="Run the same command as an ordinary user.",
    )


def without_network(account: Account) -> Account:
    """Return the account with a way to run programs that reach nobody, where that can be done.

    What a restored dump brings along (a refreshed materialised view over a foreign table, say)
    then finds no host; Unix sockets, by which we reach the server, work all the same.
    """
    if account.wrapper:
        return account
    offline: tuple[str, ...] = ("unshare", "--user", "--map-current-user", "--net", "--")
    if account.user is not None:
        identity = f"--reuid={account.user}", f"--regid={account.user}", "--clear-groups"
        offline = ("unshare", "--net", "--", "setpriv", *identity, "--")
    works = _try_to_run((*offline, "true")) is None
    return replace(account, offline=offline) if works else account


def _other_user(problems: list[str]) -> Account | None:
    lender = next((found for name in _LENDERS if (found := _user_id(name))), None)
    if lender is None:
        problems.append(f"/etc/passwd has none of {', '.join(_LENDERS)}.")
        return None
    start = secrets.randbelow(len(_FREE_IDS))
    for number in (*_FREE_IDS[start : start + 20], lender):
        if number == lender or not _is_taken(number):
            problem = _try_to_run(("true",), user=number)
            if problem is None:
                return Account(user=number, lender=lender)
    problems.append(f"No process can be started under another user id: {problem}")
    return None


def _user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _is_taken(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def _user_namespace(problems: list[str]) -> Account | None:
    wrapper = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    problem = _try_to_run((*wrapper, "true"))
    if problem is None:
        return Account(wrapper=wrapper)
    problems.append(f"No user namespace can be made: {problem}")
    return None


def _try_to_run(argv: tuple[str, ...], *, user: int | None = None) -> str | None:
    """Return None when the program runs to its end, else what stood in the way."""
    try:
        child = Child(argv, environment=child_environment({}), user=user, group=user)
    except (ToolMissing, PermissionError, ValueError) as error:
        return error.why if isinstance(error, ToolMissing) else str(error)
    status = child.wait_blocking(_PROBE_SECONDS)
    child.kill()
    return None if status == 0 else f"{argv[0]} ended with status {status}"
