"""``fsbackup decrypt FILE``: one encrypted file, without repository or configuration."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext
    from fsbackup_tui.domain.secret import Secret
    from fsbackup_tui.operations.decrypt_file import Locked


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "decrypt",
        parents=parents,
        help="decrypt one file of a point, or any file of gpg or age",
        description="Decrypts one file, standing alone: no repository and no configuration are "
        "needed. The passphrase is $FSBACKUP_PASSPHRASE, or asked for.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what gpg or age encrypted")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="F",
        help="the new file (default: FILE's name without .gpg or .age, in this directory)",
    )
    parser.add_argument("--decompress", action="store_true", help="unpack .zst, .gz, .xz, .bz2 too")
    parser.add_argument("--identity", type=Path, metavar="F", help="age: file with the private key")
    parser.add_argument("--keyring", type=Path, metavar="DIR", help="gpg: its home directory")
    parser.add_argument("--passphrase-file", type=Path, metavar="F", help="holds the passphrase")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Decrypt the file and say where its content is; exit code of design §9."""
    import asyncio

    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.decrypt_file import look_at

    if arguments.output == Path("-"):
        raise UsageError(
            "NOT TO STANDARD OUTPUT: what is decrypted becomes a file of yours alone.",
            why="It gets its name when all of it was read and checked; a stream could not wait.",
            fix="Name a file: --output FILE; or age -d, gpg -d, which do not wait",
        )
    locked = look_at(arguments.file, arguments.identity)
    name = locked.plain_name
    if arguments.decompress:
        name = name.removesuffix(_packed(name))
    target = (arguments.output or Path.cwd() / name).absolute()
    passphrase = _told(arguments, context)
    if passphrase is None and locked.needs_passphrase:
        passphrase = _ask(locked, context)
    document = asyncio.run(_decrypt(locked, target, passphrase, arguments, context))

    def human() -> None:
        from fsbackup_tui.operations.wording import size_text

        size = document["bytes"]
        context.say(f"Decrypted: {document['output']}")
        checked = "its hash is that of the point" if document["checked"] == "hash" else "whole"
        context.say(f"  {size_text(size if isinstance(size, int) else None)}, {checked}")

    context.emit(document, human)
    return 0


def _packed(name: str) -> str:
    from fsbackup_tui.engines.compression import compression_of

    return Path(name).suffix if compression_of(Path(name)) else ""


async def _decrypt(
    locked: Locked,
    target: Path,
    passphrase: Secret | None,
    arguments: argparse.Namespace,
    context: CliContext,
) -> dict[str, object]:
    from fsbackup_tui.domain.errors import KeyUnavailable
    from fsbackup_tui.operations.decrypt_file import decrypt_file
    from fsbackup_tui.operations.private_work import private_work

    with private_work() as work:
        decrypting = partial(
            decrypt_file,
            locked,
            target,
            environ=context.environ,
            work=work,
            decompress=arguments.decompress,
            keyring=arguments.keyring,
        )
        try:
            return await decrypting(passphrase=passphrase)
        except KeyUnavailable:
            # A private key of gpg's may need one that no agent has.
            asks = passphrase is None and locked.method == "gpg"
            passphrase = _ask(locked, context) if asks else None
            if passphrase is None:
                raise
            return await decrypting(passphrase=passphrase)


def _told(arguments: argparse.Namespace, context: CliContext) -> Secret | None:
    from fsbackup_tui.domain.errors import SecretUnavailable
    from fsbackup_tui.domain.key_question import VARIABLE
    from fsbackup_tui.domain.secret import Secret

    path: Path | None = arguments.passphrase_file
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise SecretUnavailable(
                f"PASSPHRASE UNKNOWN: {path} can't be read: {reason}."
            ) from None
        return Secret(text.removesuffix("\n").removesuffix("\r"))
    value = context.environ.get(VARIABLE, "")
    return Secret(value) if value else None


def _ask(locked: Locked, context: CliContext) -> Secret | None:
    from fsbackup_tui.cli.passphrase import ask_hidden, can_ask

    if not can_ask(context):
        return None
    of = locked.identity.name if locked.identity is not None else locked.path.name
    return ask_hidden(context, f"Passphrase of {of}:")
