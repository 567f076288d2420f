"""A parser whose errors are exceptions, name the command they belong to, and what is near."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from fsbackup_tui.domain.errors import UsageError

_UNKNOWN_CHOICE = re.compile(
    r"argument ([^:]+): invalid choice: (['\"])(.*?)\2 \(choose from (.*)\)"
)


def suggestion(given: str, known: Iterable[str], otherwise: str) -> str:
    """Return ``Did you mean …?`` with what is nearest to ``given``, else ``otherwise``."""
    # Not at module level: a command line without a mistake need not wait for it.
    from difflib import get_close_matches

    near = get_close_matches(given, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else otherwise


class Parser(argparse.ArgumentParser):
    """Raises UsageError for every mistake, so that ``--json`` can answer it too."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; a word that is not among the choices is answered by the nearest."""
        found = _UNKNOWN_CHOICE.fullmatch(message)
        if found is None:
            raise UsageError(f"NOT UNDERSTOOD: {message}.", fix=self._next())
        where, _, given, listed = found.groups()
        known = [word.strip(" '\"") for word in listed.split(",")]
        near = suggestion(given, known, "")
        raise UsageError(
            f"NO SUCH COMMAND: {given}."
            if where == "COMMAND"
            else f"NOT UNDERSTOOD: {where} can't be {given}.",
            why="" if near else f"There are: {', '.join(known)}.",
            fix=self._next(near),
        )

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Raise UsageError for words that this command does not take, naming what is near."""
        # One option unknown leaves its value behind as a word of its own: the first is told.
        first = unknown[0].partition("=")[0]
        is_option = first.startswith("-")
        near = suggestion(first, self._option_string_actions, "") if is_option else ""
        raise UsageError(
            f"NO SUCH {'OPTION' if is_option else 'ARGUMENT'}: {self.prog} takes no {first}.",
            fix=self._next(near),
        )

    def _next(self, near: str = "") -> str:
        return f"{near}\n{self.prog} --help   shows what there is".lstrip()
