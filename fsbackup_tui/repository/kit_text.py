"""KIT.md: what a person needs who has lost the whole machine, on two printed pages."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fsbackup_tui.domain.events import format_time
from fsbackup_tui.domain.text import plain_text

_WIDTH = 80
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class KitReplica:
    """A copy of the repository: its name, address, and where its credentials are kept.

    ``options`` are what ``bootstrap`` is told besides; ``url`` is empty where it can't go there.
    """

    name: str
    place: str
    url: str = ""
    options: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    by_hand: str = ""


@dataclass(frozen=True, slots=True)
class KitKey:
    """A key that points are encrypted with, as much as may be told of it."""

    id: str
    method: str
    kind: str
    hint: str


@dataclass(frozen=True, slots=True)
class KitContent:
    """All that the kit tells."""

    site: str
    environment: str
    made: datetime
    by: str
    config: str
    config_digest: str
    replicas: Sequence[KitReplica]
    keys: Sequence[KitKey]
    secrets: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    installs: bool
    holds_key: bool
    is_encrypted_by_config: bool


def kit_text(kit: KitContent) -> str:
    """Return the text, in lines of at most 80 columns."""
    lines = [f"# {plain_text(kit.site)}: when the whole machine is gone", ""]
    lines += _paragraph(
        f"Recovery kit of {plain_text(kit.site)} ({plain_text(kit.environment)}), made"
        f" {format_time(kit.made)[:16].replace('T', ' ')} UTC by {plain_text(kit.by)}, of"
        f" {plain_text(kit.config)} ({kit.config_digest[:12]})."
        " Keep a copy on paper, and one where the machine is not."
    )
    lines += _what_is_needed(kit)
    lines += _steps(kit)
    lines += _without(kit)
    lines += _versions(kit)
    return "\n".join(lines) + "\n"


def _what_is_needed(kit: KitContent) -> Iterator[str]:
    yield from ("", "## 1. You need three things", "")
    yield "a) The address of a copy:"
    if not kit.replicas:
        yield from _item("NONE IS CONFIGURED: there is only the repository on the machine itself.")
    for replica in kit.replicas:
        yield from _item(f"{replica.name}: {replica.place}")
    yield ""
    yield "b) Its credentials:"
    for replica in kit.replicas:
        for told in replica.credentials or ("none are needed, or rclone has them",):
            yield from _item(f"{replica.name}: {told}")
    yield from _item("Kept at: ______________________________  (not on that machine)")
    yield ""
    yield "c) The key:"
    if not kit.keys and not kit.is_encrypted_by_config:
        yield from _item("none: the points are not encrypted.")
    for key in kit.keys:
        hint = f": {plain_text(key.hint)}" if key.hint else ""
        yield from _item(f"{key.id} ({key.method}, {key.kind}){hint}")
    if kit.holds_key:
        yield from _item("it is in KEY.txt, beside this.")
    elif kit.keys or kit.is_encrypted_by_config:
        yield from _item(
            "IT IS NOT IN THIS KIT. Without it nothing can be read. Two people who do not travel"
            " together should know where it is."
        )
        yield from _item("Kept at: ______________________________  last tried: ____________")


def _steps(kit: KitContent) -> Iterator[str]:
    yield from ("", "## 2. On the new machine", "")
    if kit.installs:
        yield "Install fsbackup from this kit; that needs no network:"
        yield from ("", "    sh install.sh /opt/fsbackup", "")
    else:
        yield from ("Install fsbackup:", "", "    pipx install fsbackup-tui", "")
    yield from _paragraph(
        "Install the PostgreSQL server and its client programs (version below), then fetch what"
        " is known of the site. Passwords and the key are asked for, and not shown:"
    )
    program = "/opt/fsbackup/bin/fsbackup" if kit.installs else "fsbackup"
    yield ""
    for replica in kit.replicas:
        if replica.url:
            yield f"    {program} bootstrap {shlex.join([replica.url, *replica.options])}"
        elif replica.by_hand:
            yield f"    {replica.by_hand}"
            yield f"    {program} bootstrap ./copy"
    if not kit.replicas:
        yield f"    {program} bootstrap DIRECTORY-OF-A-COPY"
    yield ""
    yield from _paragraph(
        "It tells what it found and which points are proven, writes the configuration, and names"
        " the command that leads on, step by step:"
    )
    yield from ("", f"    {program} recover host-lost", "")
    yield from _paragraph(
        "The last question is who points to the new address (DNS, proxy): nobody's client finds"
        " the new machine before."
    )


def _without(kit: KitContent) -> Iterator[str]:
    yield from ("", "## 3. Without fsbackup", "")
    yield from _paragraph(
        "A copy is a repository: fetch it with what there is (rclone copy, aws s3 cp"
        " --recursive, rsync -a) and read RECOVER.md in it. It restores everything with"
        " sha256sum, gpg or age, pg_restore, tar and git."
    )


def _versions(kit: KitContent) -> Iterator[str]:
    yield from ("", "## 4. Versions and secrets", "")
    width = max((len(name) for name, _ in kit.versions), default=0)
    for name, version in kit.versions:
        lead = f"    {name:<{width}}  "
        yield from _wrapped(version, lead, " " * len(lead))
    if kit.secrets:
        yield ""
        yield from _paragraph(
            "site.yaml beside this is the configuration, without its secrets. They were:"
        )
        yield ""
    for setting, where in kit.secrets[:_SHOWN]:
        yield from _item(f"{setting}: {plain_text(where)}")
    if len(kit.secrets) > _SHOWN:
        yield from _item(f"and {len(kit.secrets) - _SHOWN} more: see site.yaml")


def _item(text: str) -> list[str]:
    return _wrapped(text, "  - ", "    ")


def _paragraph(text: str) -> list[str]:
    return _wrapped(text, "", "")


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
