"""``fsbackup kit``: what a person needs when the whole machine is gone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.secret import Secret
    from fsbackup_tui.operations.kit import KitWish

VARIABLE = "FSBACKUP_KIT_PASSPHRASE"
_SHORTEST = 8


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "kit",
        parents=parents,
        help="write the recovery kit: what is needed when the whole machine is gone",
        description="Writes a directory with how-to, configuration without its secrets, and this "
        "fsbackup with its Python, to be installed without a network. Keep it, and KIT.md on "
        "paper, where the machine is not. The key is not in it, unless --with-key.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="the directory that gets the kit (default: this one)",
    )
    parser.add_argument(
        "--encrypt",
        action="store_true",
        help="one file, encrypted with a passphrase of its own, which age -d or gpg -d opens",
    )
    parser.add_argument("--with-key", action="store_true", help="with --encrypt: the key as well")
    parser.add_argument(
        "--no-wheelhouse", action="store_true", help="without fsbackup and Python: some kilobytes"
    )
    parser.add_argument(
        "--to-replica", metavar="NAME", help="send it there as well, beside the points"
    )
    parser.add_argument(
        "--print", action="store_true", help="only print KIT.md, for paper; nothing is written"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Write the kit, or print its text; exit code of design §9."""
    import asyncio

    from fsbackup_tui.domain.errors import RepositoryError, UsageError
    from fsbackup_tui.jobs.supervisor import operator_name
    from fsbackup_tui.operations.kit import KitWish, kit_words, make_kit

    loaded = context.load()
    try:
        repository = context.repository()
    except RepositoryError as error:
        # The kit is wanted most where things go wrong already.
        repository = None
        context.tell_problem(error)
    others = (arguments.output, arguments.encrypt, arguments.with_key, arguments.to_replica)
    if arguments.print and any(others):
        raise UsageError("NOT TOGETHER: --print with what is written.", fix="fsbackup kit --help")
    wish = KitWish(
        context.state(),
        operator_name(context.environ),
        context.now(),
        with_wheelhouse=not arguments.no_wheelhouse,
        with_key=arguments.with_key,
        passphrase=_passphrase(context) if arguments.encrypt else None,
    )
    if arguments.print:
        text = asyncio.run(kit_words(loaded, repository, wish, context.environ))
        context.emit({"ok": True, "text": text}, lambda: context.say(text.rstrip("\n")))
        return 0
    directory = (arguments.output or Path.cwd()).expanduser().absolute()
    if not directory.is_dir():
        raise UsageError(f"NO SUCH DIRECTORY: {directory}.", fix="Make it, or name another one.")
    target = directory / _name(context, wish, arguments.encrypt)
    kit = asyncio.run(make_kit(loaded, repository, wish, context.environ, target))
    sent = _send(arguments.to_replica, target, context) if arguments.to_replica else ""
    document = {
        "ok": True,
        "path": str(target),
        "bytes": _size(target),
        "encrypted": kit.is_encrypted,
        "installs": kit.installs,
        "config_digest": kit.config_digest,
        "keys": list(kit.keys),
        "replicas": list(kit.replicas),
        "sent": sent,
    }
    context.emit(document, lambda: _tell(document, context))
    return 0


def _name(context: CliContext, wish: KitWish, encrypt: bool) -> str:
    config = context.load().config
    name = f"fsbackup-kit-{config.site}-{wish.now:%Y%m%dT%H%M%SZ}"
    if not encrypt:
        return name
    by_gpg = config.encryption is not None and config.encryption.method == "gpg"
    return f"{name}.tar.{'gpg' if by_gpg else 'age'}"


def _passphrase(context: CliContext) -> Secret:
    from fsbackup_tui.cli.passphrase import ask_hidden, can_ask
    from fsbackup_tui.domain.errors import SecretUnavailable, UsageError
    from fsbackup_tui.domain.secret import Secret

    told = context.environ.get(VARIABLE, "")
    if told:
        return Secret(told)
    if not can_ask(context):
        raise SecretUnavailable(
            "PASSPHRASE OF THE KIT UNKNOWN: nobody is there to be asked.",
            why=f"{VARIABLE} is not set, and this is no terminal.",
            fix=f"Set {VARIABLE}, or run it in a terminal.",
        )
    typed = ask_hidden(context, "A passphrase for the kit, of its own:")
    if typed is None or len(typed.reveal()) < _SHORTEST:
        raise UsageError(f"TOO SHORT: take {_SHORTEST} characters or more.")
    if ask_hidden(context, "Once more:") != typed:
        raise UsageError("THOSE TWO DIFFER. Nothing was written.")
    return typed


def _send(replica: str, target: Path, context: CliContext) -> str:
    import asyncio

    from fsbackup_tui.config.load import SiteEnvironment
    from fsbackup_tui.operations.kit import send_kit

    environment = SiteEnvironment(context.load(), context.environ)
    return asyncio.run(send_kit(context.load(), replica, target, environment))


def _size(target: Path) -> int:
    if target.is_file():
        return target.stat().st_size
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def _tell(document: dict[str, Any], context: CliContext) -> None:
    from fsbackup_tui.operations.wording import size_text

    context.say(f"Recovery kit: {document['path']}")
    context.say(f"  {size_text(document['bytes'])}, private to you")
    if document["sent"]:
        context.say(f"  also at {document['sent']}")
    if not document["replicas"]:
        context.say_text(
            "No replica is configured: without a copy elsewhere there is nothing to rebuild from.",
            first="  NOTE ",
        )
    context.say_text(
        "Put it where this machine is not, and print KIT.md (fsbackup kit --print). Where the key"
        " is kept is written in by hand.",
        first="Next  ",
    )
