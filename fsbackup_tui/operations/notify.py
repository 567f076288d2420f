"""Telling people what ``check`` found: what is new, what is worse, what is mended; each once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from fsbackup_tui.config.load import LoadedConfig, SiteEnvironment
from fsbackup_tui.config.values import SecretDescription
from fsbackup_tui.domain.errors import FsbackupError, RepositoryError, UsageError
from fsbackup_tui.domain.finding import Check, Finding
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.secrets import read_secret
from fsbackup_tui.operations.deliver import ping, scheme_of, send
from fsbackup_tui.operations.notify_state import (
    NotifyState,
    read_notify_state,
    with_outcome,
    write_notify_state,
)
from fsbackup_tui.operations.status import open_site_repository
from fsbackup_tui.repository.layout import site_state

Send = Callable[[Secret, str, str], str]
Ping = Callable[[Secret, str], str]
_RANK: Mapping[str, int] = {"unknown": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one target was reached; ``why`` is empty where it was."""

    target: str
    scheme: str
    why: str


@dataclass(frozen=True, slots=True)
class News:
    """What a target has not been told yet."""

    new: tuple[Finding, ...]
    worse: tuple[Finding, ...]
    mended: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.new or self.worse or self.mended)


def news_for(told: Mapping[str, str], check: Check, *, on: str) -> News:
    """Return what is to be told to somebody who was told that before.

    While something could not be looked at, nothing counts as mended: it may only be out of sight.
    """
    wanted = [one for one in check.findings if on != "critical" or one.severity == "critical"]
    present = {finding.id for finding in check.findings}
    new = [one for one in wanted if one.id not in told]
    worse = [
        one for one in wanted if one.id in told and _RANK[one.severity] > _RANK.get(told[one.id], 0)
    ]
    blind = any(one.severity == "unknown" for one in check.findings)
    gone = [name for name in told if name not in present]
    mended = [name for name in gone if not blind or name.startswith("unknown:")]
    return News(tuple(new), tuple(worse), tuple(mended))


def told_after(told: Mapping[str, str], news: News) -> dict[str, str]:
    """Return what somebody knows once the news were delivered."""
    known = {name: word for name, word in told.items() if name not in news.mended}
    return known | {one.id: one.severity for one in (*news.new, *news.worse)}


def message(check: Check, news: News) -> tuple[str, str]:
    """Return the title and the text of the message that tells the news."""
    counts = [("new", len(news.new)), ("worse", len(news.worse)), ("mended", len(news.mended))]
    said = ", ".join(f"{count} {word}" for word, count in counts if count)
    lines: list[str] = []
    for word, findings in (("NEW", news.new), ("WORSE", news.worse)):
        for one in findings:
            lines += [f"{word} {one.severity.upper()}: {one.what}", f"  {one.why}"]
            lines += [f"  Next: {one.fix}", ""]
    lines += [f"MENDED: {name}" for name in news.mended]
    still = len(check.findings) - len(news.new) - len(news.worse)
    if still > 0:
        lines.append(f"{still} more as before: fsbackup check")
    return f"fsbackup {check.site}: {check.state} - {said}", "\n".join(lines).rstrip() + "\n"


async def tell(
    check: Check,
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    state: Path,
    *,
    send_message: Send = send,
    call: Ping = ping,
) -> tuple[Delivery, ...]:
    """Tell every target its news, and ping ``check``; returns what was tried. Never raises.

    What can't be delivered is tried again at the next look, and is a finding of it.
    """
    notify = loaded.config.notify
    known = replace(read_notify_state(state), looked=check.at)
    tried: list[Delivery] = []
    targets = target_names(loaded)
    for target, description in zip(targets, notify.to, strict=True):
        told = known.told.get(target, {})
        news = news_for(told, check, on=notify.on)
        if news.empty:
            continue
        title, body = message(check, news)
        done = await _deliver(
            target,
            description,
            loaded,
            environ,
            lambda address, t=title, b=body: send_message(address, t, b),  # type: ignore[misc]
        )
        if not done.why:
            known = replace(known, told={**known.told, target: told_after(told, news)})
        known = with_outcome(known, target, done.why, check.at)
        tried.append(done)
    if (of_check := notify.ping.get("check")) is not None:
        suffix = "/fail" if check.state == "CRITICAL" else ""
        done = await _deliver(
            "ping.check", of_check, loaded, environ, lambda address: call(address, suffix)
        )
        known = with_outcome(known, "ping.check", done.why, check.at)
        tried.append(done)
    write_notify_state(state, _of_targets(known, loaded))
    return tuple(tried)


async def try_targets(
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    state: Path,
    now: datetime,
    *,
    send_message: Send = send,
) -> tuple[Delivery, ...]:
    """Send every target a message that says it is a test; returns how each was reached.

    Nothing is pinged: that would tell a watchman that a backup was made.

    Raises:
        UsageError: nobody is named.
    """
    if not loaded.config.notify.to:
        raise UsageError(
            f"NOBODY TO TELL: {loaded.path} names no address.",
            fix="Name one: notify: {to: [{env: NOTIFY_URL}]}, such as mailto://… or slack://…",
        )
    title = f"fsbackup {loaded.config.site}: a test"
    body = f"This is a test of notify: in {loaded.path}. Nothing is wrong.\n"
    known, tried = read_notify_state(state), []
    for target, description in zip(target_names(loaded), loaded.config.notify.to, strict=True):
        done = await _deliver(
            target, description, loaded, environ, lambda address: send_message(address, title, body)
        )
        known = with_outcome(known, target, done.why, now)
        tried.append(done)
    write_notify_state(state, known)
    return tuple(tried)


async def ping_plan(
    plan: str,
    suffix: str,
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    state: Path,
    now: datetime,
    *,
    call: Ping = ping,
) -> str:
    """Ping what watches over a plan, where something does; returns why that failed, or ''."""
    description = loaded.config.notify.ping.get(plan)
    if description is None:
        return ""
    target = f"ping.{plan}"
    done = await _deliver(
        target, description, loaded, environ, lambda address: call(address, suffix)
    )
    before = read_notify_state(state)
    after = with_outcome(before, target, done.why, now)
    if after != before:
        write_notify_state(state, after)
    return done.why


def any_site_state(loaded: LoadedConfig, environ: Mapping[str, str]) -> Path:
    """Return the site's state directory, whether its repository is there or not."""
    try:
        return site_state(loaded, environ, open_site_repository(loaded, environ))
    except RepositoryError:
        return site_state(loaded, environ, None)


def target_names(loaded: LoadedConfig) -> Sequence[str]:
    """Return how the addresses are called, in the configuration's order: ``to[0]``, …"""
    return [f"to[{number}]" for number in range(len(loaded.config.notify.to))]


def is_target(loaded: LoadedConfig, target: str) -> bool:
    """Whether the configuration still has such a target."""
    pings = {f"ping.{name}" for name in loaded.config.notify.ping}
    return target in pings or target in target_names(loaded)


async def _deliver(
    target: str,
    description: SecretDescription,
    loaded: LoadedConfig,
    environ: Mapping[str, str],
    work: Callable[[Secret], str],
) -> Delivery:
    try:
        address = await read_secret(
            description, SiteEnvironment(loaded, environ), Redactor(), what=f"notify.{target}"
        )
    except FsbackupError as error:
        return Delivery(target, "?", error.what)
    return Delivery(target, scheme_of(address), await asyncio.to_thread(work, address))


def _of_targets(known: NotifyState, loaded: LoadedConfig) -> NotifyState:
    return replace(
        known,
        told={name: told for name, told in known.told.items() if is_target(loaded, name)},
        undelivered={
            name: one for name, one in known.undelivered.items() if is_target(loaded, name)
        },
    )
