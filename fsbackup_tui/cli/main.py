"""The command line: one parser from the families, one place where errors end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fsbackup_tui import __version__
from fsbackup_tui.cli import (
    adopt,
    audit,
    backup,
    bootstrap,
    check,
    decrypt,
    demo,
    doctor,
    drill,
    fetch,
    incidents,
    init,
    inventory,
    jobs,
    kit,
    leftovers,
    notify,
    recover,
    rekey,
    replicate,
    restore,
    retain,
    rollback,
    schedule,
    tui,
    verify,
)
from fsbackup_tui.cli.audited import run_command
from fsbackup_tui.cli.context import CliContext
from fsbackup_tui.cli.output import Pasteable, print_problem
from fsbackup_tui.cli.parser import Parser
from fsbackup_tui.cli.streams import prepare_streams, write_output
from fsbackup_tui.domain.errors import FsbackupError, OutputLost

FAMILIES = (
    demo,
    init,
    doctor,
    backup,
    inventory,
    verify,
    drill,
    check,
    recover,
    incidents,
    restore,
    rollback,
    leftovers,
    retain,
    decrypt,
    rekey,
    replicate,
    fetch,
    adopt,
    schedule,
    notify,
    kit,
    bootstrap,
    jobs,
    audit,
)
TRACEBACK_VARIABLE = "FSBACKUP_TRACEBACK"
_EPILOG = """\
Without a command, fsbackup opens the terminal application.
The configuration is --config, else $FSBACKUP_CONFIG, ./fsbackup.yaml,
$XDG_CONFIG_HOME/fsbackup/config.yaml, /etc/fsbackup/config.yaml;
--site NAME means /etc/fsbackup/sites/NAME.yaml.
Exit codes: 0 done, 1 failed, 2 usage or config error, 3 refused for safety,
4 needs a confirmation that was not given, 130 interrupted. check alone exits as
monitoring plugins do: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says; ``run`` is what does it. UsageError for mistakes."""
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(list(argv))
    if unknown:
        arguments.parser.refuse(unknown)
    return arguments


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    common = _common_options()
    parser = Parser(
        prog="fsbackup",
        description="Backup and emergency recovery for a PostgreSQL application.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.set_defaults(run=tui.run, parser=parser)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for family in FAMILIES:
        family.add_parser(subparsers, [common])
    for command in subparsers.choices.values():
        command.set_defaults(parser=command)
    return parser


def _common_options() -> argparse.ArgumentParser:
    """Return the options that stand before or after the command alike."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    which = common.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, metavar="FILE", help="the site's configuration")
    which.add_argument("--site", metavar="NAME", help="/etc/fsbackup/sites/NAME.yaml")
    common.add_argument("--read-only", action="store_true", help="hide nothing, change nothing")
    common.add_argument("--json", action="store_true", help="print one JSON document")
    return common


def run_command_line(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; never raises, never shows a traceback."""
    prepare_streams()
    try:
        code = _run(argv)
        write_output(sys.stdout)
    except BrokenPipeError:
        return 1
    except OutputLost as lost:
        print_problem(lost.problem(), as_json=False, stdout=sys.stdout, stderr=sys.stderr)
        return 1
    return code


def _run(argv: Sequence[str]) -> int:
    as_json = "--json" in argv
    pasteable = Pasteable()
    try:
        arguments = parse_arguments(argv)
        context = CliContext.from_arguments(arguments)
        pasteable = context.pasteable
        if arguments.version:
            document = {"ok": True, "version": __version__}
            context.emit(document, lambda: context.say(f"fsbackup {__version__}"))
            return 0
        run: Callable[[argparse.Namespace, CliContext], int] = arguments.run
        return run_command(run, arguments, context)
    except (BrokenPipeError, OutputLost):
        raise
    except FsbackupError as error:
        problem = error.problem()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the outermost edge of every command
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        problem = _internal(error).problem()
    if not as_json:  # a script knows what it was called with
        problem = pasteable.problem(problem)
    print_problem(problem, as_json=as_json, stdout=sys.stdout, stderr=sys.stderr)
    return problem.exit_code


def _internal(error: Exception) -> FsbackupError:
    from fsbackup_tui.domain.secret import Redactor
    from fsbackup_tui.engines.secrets import remember_named_secrets

    redactor = Redactor()
    remember_named_secrets(os.environ, redactor)
    return FsbackupError(
        "INTERNAL ERROR: fsbackup met something it did not foresee.",
        why=redactor.redact(f"{type(error).__name__}: {error}"),
        fix=f"Run it again with {TRACEBACK_VARIABLE}=1 and report what it prints.",
    )
