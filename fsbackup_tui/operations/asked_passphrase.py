"""The passphrase that nothing but a person can tell: whether one is needed, whether it is right.

For every face: it asks as it can, hidden, before a job is begun, and what was typed is kept in
memory alone, as long as its process. Imports no library of keys before it has to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fsbackup_tui.domain.errors import FsbackupError, PassphraseNeeded
from fsbackup_tui.domain.key_question import VARIABLE, KeyQuestion, Verdict
from fsbackup_tui.domain.secret import REDACTED, Redactor, Secret

if TYPE_CHECKING:
    from fsbackup_tui.config.load import LoadedConfig
    from fsbackup_tui.domain.site_parts import KeyFacts
    from fsbackup_tui.operations.key_sources import KeySource
    from fsbackup_tui.operations.request import Request
    from fsbackup_tui.repository.layout import Repository
    from fsbackup_tui.repository.reader import PointReader

_WRITES = frozenset({"backup", "rekey"})
_READS = frozenset(
    {
        *("verify", "verify-due", "drill", "restore", "check-copy", "rearm", "rehearsal"),
        *("host-roles", "host-database", "host-place", "host-links"),
        *("files-look", "files-put-back", "files-beside", "restore-config", "restore-code"),
    }
)
# They tell more with the key, and say what they could not read without it.
_HELPED = frozenset({"damage", "site-damage"})
# With public keys they say how far they come on a machine that has no private key.
_SEALED_AT_LEAST = frozenset({"verify", "verify-due"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AskedPassphrase:
    """What a person told of a site's passphrase; blocking, and never asks itself."""

    def __init__(self, environ: Mapping[str, str], now: Callable[[], datetime] = _utc_now) -> None:
        self._own = environ
        self._now = now
        self._told: Secret | None = None
        self._opens: frozenset[str] = frozenset()
        self._goes_without = False
        self.environ: Mapping[str, str] = _Environment(environ, lambda: self._told)

    def require(self, request: Request, loaded: LoadedConfig) -> None:
        """Return where the request's job can begin.

        Raises:
            PassphraseNeeded: one has to be asked for first. What else is wrong the job will say.
        """
        if loaded.config.encryption is None or not _takes_key(request, loaded):
            return
        if _can_go_without(request, loaded) and self._goes_without:
            return
        try:
            question = asyncio.run(self._question(request, loaded))
        except (FsbackupError, OSError):
            return
        if question is not None:
            raise PassphraseNeeded(question, place=loaded.place("encryption"), variable=VARIABLE)

    def check(self, question: KeyQuestion, typed: Secret, loaded: LoadedConfig) -> Verdict:
        """Return whether what was typed is what was asked for; nothing is kept.

        Raises FsbackupError where that can't be told: no gpg, no repository.
        """
        return asyncio.run(self._verdict(question, typed, loaded))

    def keep(self, question: KeyQuestion, typed: Secret | None) -> None:
        """Keep what was found right for the jobs to come; None: do without where that can be."""
        if typed is None:
            self._goes_without = True
            return
        self._told, self._goes_without = typed, False
        self._opens = frozenset({question.key} if question.key else ())

    async def _question(self, request: Request, loaded: LoadedConfig) -> KeyQuestion | None:
        from fsbackup_tui.operations.keys import fits, needs_to_be_asked
        from fsbackup_tui.operations.status import open_site_repository

        encryption = loaded.config.encryption
        if encryption is not None and encryption.recipients:
            return await self._private_key_question(request, loaded)
        with _source(loaded, self._own, self._now) as source:
            if not await needs_to_be_asked(source):
                return None
        repository = open_site_repository(loaded, self._own)
        with _source(loaded, self.environ, self._now) as source:
            reader, keys = _wanted(request, source, repository)
            names = {key.id for key in keys}
            if reader is None and request.operation not in _WRITES and not keys:
                return None
            if (reader is not None or self._told is not None) and names <= self._opens:
                return None
            if reader is not None:
                is_open = await _opens_all(source, reader, keys)
            else:
                told = self._told
                is_open = told is not None and await fits(source, repository, told) is not False
        if is_open:
            self._opens |= names
            return None
        first = next(iter(keys), None)
        return KeyQuestion(
            loaded.config.site,
            key=first.id if first is not None else "",
            hint=(first.hint if first is not None else "") or _hint(loaded),
            point=reader.id if reader is not None else "",
            renews=request.operation == "rekey",
            can_go_without=_can_go_without(request, loaded),
        )

    async def _private_key_question(
        self, request: Request, loaded: LoadedConfig
    ) -> KeyQuestion | None:
        """Ask where a private key is here that opens what is read, and its passphrase is not."""
        from fsbackup_tui.operations.key_opening import reading_keys
        from fsbackup_tui.operations.status import open_site_repository
        from fsbackup_tui.repository.keys import stored_keys
        from fsbackup_tui.repository.reader import PointReader

        if request.operation in _WRITES:
            return None
        repository = open_site_repository(loaded, self._own)
        point, part = getattr(request, "point", ""), getattr(request, "part", "")
        reader = PointReader(repository, point) if point else None
        if reader is None:
            keys = [key.facts for key in stored_keys(repository)[-1:]]
        else:
            held = (each.key for each in reader.parts() if not part or each.source == part)
            keys = list(dict.fromkeys(key for key in held if key is not None))
        wanted = next((key for key in keys if key.recipients), None)
        if wanted is None or wanted.id in self._opens:
            return None
        with _source(loaded, self.environ, self._now) as source:
            found = await reading_keys(source, reader or repository)
        if not found.locked:
            return None
        return KeyQuestion(
            loaded.config.site,
            key=wanted.id,
            hint=wanted.hint or _hint(loaded),
            point=reader.id if reader is not None else "",
            can_go_without=_can_go_without(request, loaded),
            private=True,
        )

    async def _verdict(self, question: KeyQuestion, typed: Secret, loaded: LoadedConfig) -> Verdict:
        from fsbackup_tui.operations.key_opening import reading_keys
        from fsbackup_tui.operations.keys import fits
        from fsbackup_tui.operations.status import open_site_repository
        from fsbackup_tui.repository.reader import PointReader

        repository = open_site_repository(loaded, self._own)
        environ = _Environment(self._own, lambda: typed)
        with _source(loaded, environ, self._now) as source:
            if question.private:
                of = PointReader(repository, question.point) if question.point else repository
                return "wrong" if (await reading_keys(source, of)).locked else "right"
            if question.point:
                reader = PointReader(repository, question.point)
                keys = [key for key in _keys_of(reader) if key.id == question.key]
                return "right" if await _opens_all(source, reader, keys) else "wrong"
            fitting = await fits(source, repository, typed)
        if fitting is None or (not fitting and question.renews):
            return "new"
        return "right" if fitting else "wrong"


class _Environment(Mapping[str, str]):
    """An environment with the passphrase in it, where there is one; shows none of its values."""

    def __init__(self, environ: Mapping[str, str], told: Callable[[], Secret | None]) -> None:
        self._environ = environ
        self._told = told

    def __getitem__(self, name: str) -> str:
        told = self._told() if name == VARIABLE else None
        return self._environ[name] if told is None else told.reveal()

    def __iter__(self) -> Iterator[str]:
        yield from self._environ
        if self._told() is not None and VARIABLE not in self._environ:
            yield VARIABLE

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"environment({REDACTED})"


@contextmanager
def _source(
    loaded: LoadedConfig, environ: Mapping[str, str], now: Callable[[], datetime]
) -> Iterator[KeySource]:
    from fsbackup_tui.config.load import SiteEnvironment
    from fsbackup_tui.operations.key_sources import KeySource
    from fsbackup_tui.operations.private_work import private_work

    with private_work() as work:
        yield KeySource(loaded, SiteEnvironment(loaded, environ), Redactor(), work, now)


def _can_go_without(request: Request, loaded: LoadedConfig) -> bool:
    encryption = loaded.config.encryption
    for_others = encryption is not None and bool(encryption.recipients)
    return request.operation in _HELPED or (for_others and request.operation in _SEALED_AT_LEAST)


def _takes_key(request: Request, loaded: LoadedConfig) -> bool:
    """Whether the job reads or writes what may lie encrypted."""
    operation = request.operation
    if operation == "backup":
        return _captures_encrypted(request, loaded)
    if operation == "damage" and getattr(request, "copy", "") != "":
        return False
    if operation == "verify" and getattr(request, "level", "") == "sealed":
        return False
    return operation in _READS | _WRITES | _HELPED


def _captures_encrypted(request: Request, loaded: LoadedConfig) -> bool:
    plan = loaded.config.plans.get(getattr(request, "plan", ""))
    if plan is None:
        return True
    sources = loaded.config.sources
    names = getattr(request, "sources", None) or plan.sources
    return not all(sources[name].plaintext for name in names if name in sources)


def _wanted(
    request: Request, source: KeySource, repository: Repository
) -> tuple[PointReader | None, Sequence[KeyFacts]]:
    """Return the point whose keys are wanted (None: the present one is), and the keys."""
    from fsbackup_tui.operations.keys import passphrase_keys
    from fsbackup_tui.repository.reader import PointReader

    point = getattr(request, "point", "")
    if point and request.operation not in _WRITES:
        reader = PointReader(repository, point)
        return reader, _keys_of(reader, getattr(request, "part", ""))
    return None, [key.facts for key in passphrase_keys(source, repository)[-1:]]


def _keys_of(reader: PointReader, part: str = "") -> list[KeyFacts]:
    """Return the passphrases' keys of a point, or of one part of it."""
    keys = (each.key for each in reader.parts() if not part or each.source == part)
    return list(dict.fromkeys(key for key in keys if key is not None and not key.recipients))


async def _opens_all(source: KeySource, reader: PointReader, keys: Sequence[KeyFacts]) -> bool:
    """Whether all of a point's keys open with what the source gives."""
    from fsbackup_tui.operations.key_opening import reading_keys

    found = await reading_keys(source, reader)
    held = {"gpg": found.gpg, "age": found.age}
    return all(held[key.method] is not None for key in keys)


def _hint(loaded: LoadedConfig) -> str:
    encryption = loaded.config.encryption
    return (encryption.hint or "") if encryption is not None else ""
