"""``fsbackup restore POINT --part P`` of what is no database: files, configuration, code."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsbackup_tui.cli.context import CliContext

_SIGNS = {"added": "only in live", "removed": "only in the point", "changed": "differs"}
_WORDS = {**_SIGNS, "same": "same", "unknown": "not compared"}
_WAYS = ("diff", "in_place", "to", "put_back", "exchange")
_OF_FILES = ("put_back", "exchange", "conflict", "all_missing")


def add_arguments(parser: argparse.ArgumentParser, how: Any) -> None:
    """Add the options of these kinds; ``how`` is the group of the ways to restore."""
    how.add_argument(
        "--to",
        metavar="DIR",
        help="files, configuration, code: into this directory, which is not there yet (of files: or"
        " empty)",
    )
    how.add_argument(
        "--diff",
        action="store_true",
        help="configuration: what differs from live, by names; no values",
    )
    how.add_argument(
        "--in-place",
        action="store_true",
        help="configuration: put the --files named back; the present ones are kept beside",
    )
    how.add_argument(
        "--put-back",
        action="store_true",
        help="files: put back what is missing in live, and what rows name where links tell",
    )
    how.add_argument(
        "--exchange",
        action="store_true",
        help="files: restore the tree beside, take newer files over, and exchange the two",
    )
    parser.add_argument(
        "--files",
        metavar="PATTERN,…",
        help="files: put these back, by shell pattern below the root: 'face-sources/*';"
        " configuration: only these: .env, '/etc/nginx/*'",
    )
    parser.add_argument(
        "--conflict",
        choices=("keep", "newer", "both", "overwrite"),
        help="with --files, what becomes of one that live has otherwise: live's stays, the newer"
        " wins, the point's comes beside, or takes its place (default: keep)",
    )
    parser.add_argument(
        "--all-missing",
        action="store_true",
        help="with --put-back: what no row names, too; users may have erased it",
    )
    parser.add_argument(
        "--apply-work",
        action="store_true",
        help="code, with --to: apply what was not committed; else it lies in DIR.patches",
    )


def is_asked(arguments: argparse.Namespace, context: CliContext) -> bool:
    """Whether one of the ways of these kinds is asked for."""
    if any(getattr(arguments, way) for way in _WAYS):
        return True
    from fsbackup_tui.config.sources import FilesSource

    sources = context.load().config.sources
    if arguments.swap or arguments.tables is not None or arguments.part is None:
        # Without a part, only files can be put back by patterns, or extracted under no name.
        has_files = any(isinstance(source, FilesSource) for source in sources.values())
        return not (arguments.swap or arguments.tables) and (
            (arguments.beside == "" and has_files)
            or (arguments.beside is None and bool(arguments.files))
        )
    source = sources.get(arguments.part)
    return isinstance(source, FilesSource) and bool(arguments.files or arguments.beside is not None)


def run(arguments: argparse.Namespace, context: CliContext) -> int:
    """Restore a part by its kind; returns the exit code of design §9."""
    from fsbackup_tui.cli.points import find_point
    from fsbackup_tui.cli.replica_points import find_on_replica
    from fsbackup_tui.domain.errors import UsageError

    for option in ("where", "changed", "value", "freeze", "jobs", "schema_point"):
        if getattr(arguments, option):
            way = next((way for way in _WAYS if getattr(arguments, way)), "files")
            names = (f"--{name.replace('_', '-')}" for name in (way, option))
            raise UsageError(f"NOT TOGETHER: {' and '.join(names)}.")
    if arguments.part is None and _is_of_files(arguments):
        arguments.part = _only_files(context)
    any_trust = arguments.reason is not None
    if arguments.replica is not None:
        point, _view = find_on_replica(
            context, arguments.replica, arguments.point, part=arguments.part, any_trust=any_trust
        )
    else:
        point = find_point(context, arguments.point, part=arguments.part, any_trust=any_trust)
    kinds = {part.source: part.kind for part in point.parts}
    if arguments.part is None:
        wanted = _kinds_meant(arguments)
        fitting = [name for name, kind in kinds.items() if kind in wanted]
        arguments.part = fitting[0] if len(fitting) == 1 else None
    if arguments.part is None:
        raise UsageError(
            f"WHICH PART? {point.id} has {len(kinds)} parts.",
            why="They are: " + ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) + ".",
            fix=f"Name one: --part {fitting[0] if fitting else 'NAME'}",
        )
    kind = kinds.get(arguments.part, "")
    if kind not in _RUNNERS:
        raise UsageError(
            f"NOT SO: {arguments.part} is of kind {kind.partition('-')[0] or 'unknown'}.",
            why="Files, configuration and code are restored with --to, --put-back, --exchange, "
            "--diff and --in-place.",
            fix=f"fsbackup show {point.id}   tells how each part is restored",
        )
    if kind != "files":
        for option in _OF_FILES:
            if getattr(arguments, option):
                raise UsageError(f"NOT SO: --{option.replace('_', '-')} is for files.")
    return _RUNNERS[kind](arguments, context, point.id)


def _kinds_meant(arguments: argparse.Namespace) -> Collection[str]:
    """Return the kinds of parts for which the way that is asked for is there."""
    if arguments.diff or arguments.in_place:
        return ("config",)
    if arguments.apply_work:
        return ("code",)
    return ("files",) if _is_of_files(arguments) else _RUNNERS


def _is_of_files(arguments: argparse.Namespace) -> bool:
    """Whether what is asked for is done to files alone; --files is of configuration, too."""
    if any(getattr(arguments, option) for option in _OF_FILES):
        return True
    of_config = arguments.diff or arguments.in_place
    return (bool(arguments.files) and not of_config and not arguments.to) or (
        arguments.beside is not None
    )


def _only_files(context: CliContext) -> str | None:
    from fsbackup_tui.config.sources import FilesSource

    sources = context.load().config.sources
    names = [name for name, source in sources.items() if isinstance(source, FilesSource)]
    return names[0] if len(names) == 1 else None


def _tree(arguments: argparse.Namespace, context: CliContext, point: str) -> int:
    from fsbackup_tui.cli.restore_files import run_files

    return run_files(arguments, context, point, _patterns(arguments))


def _patterns(arguments: argparse.Namespace) -> tuple[str, ...]:
    given = str(arguments.files or "").split(",")
    return tuple(pattern.strip() for pattern in given if pattern.strip())


def _config(arguments: argparse.Namespace, context: CliContext, point: str) -> int:
    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.site_requests import RestoreConfigRequest

    if arguments.apply_work:
        raise UsageError("NOT TOGETHER: --apply-work is for code.")
    if arguments.in_place:
        return _config_in_place(arguments, context, point)
    if arguments.confirm is not None:
        raise UsageError("NOTHING TO CONFIRM: --confirm goes with --in-place.")
    request = RestoreConfigRequest(
        point,
        arguments.part,
        "diff" if arguments.diff else "beside",
        _patterns(arguments),
        to="" if arguments.diff else _absolute(arguments.to),
        reason_unsigned=arguments.reason_unsigned or "",
        replica=arguments.replica or "",
    )
    return run_request(request, context, summary=diff_lines if arguments.diff else beside_lines)


def _absolute(path: str) -> str:
    from pathlib import Path

    return str(Path(path).expanduser().absolute())


def _config_in_place(arguments: argparse.Namespace, context: CliContext, point: str) -> int:
    """Show what differs, have it confirmed, and put the files in place."""
    from fsbackup_tui.cli.follow import result_of, run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.read_only import refuse_if_read_only
    from fsbackup_tui.operations.site_requests import RestoreConfigRequest

    patterns = _patterns(arguments)
    refuse_if_read_only(context.load(), "puts nothing in place")
    if not patterns:
        raise UsageError(
            "WHICH FILES? Only files that are named are put in place.",
            fix=f"fsbackup restore {point} --part {arguments.part} --in-place --files .env",
        )
    site = context.load().config.site
    typed = arguments.confirm
    asks = typed is None and not context.json and sys.stdin.isatty() and context.stderr.isatty()
    if not asks:
        _check_typed(site, typed, arguments, point)
    unsigned = arguments.reason_unsigned or ""
    shown = result_of(
        RestoreConfigRequest(point, arguments.part, "diff", patterns, reason_unsigned=unsigned),
        context,
    )
    if not context.json:
        for line in diff_lines(shown):
            text = line.lstrip()
            context.tell(text, first=" " * (len(line) - len(text)))
    if asks:
        _check_typed(site, _ask(context), arguments, point)
    from fsbackup_tui.operations.restore_config import seen_token

    seen = tuple(
        seen_token(str(entry["name"]), str(entry["live"]))
        for entry in shown["entries"]
        if entry["origin"] == "file"
    )
    request = RestoreConfigRequest(
        point, arguments.part, "in-place", patterns, seen=seen, reason_unsigned=unsigned
    )
    return run_request(request, context, summary=placed_lines)


def _ask(context: CliContext) -> str:
    context.tell("The present files are kept beside, as .before-TIME-NAME~.")
    context.tell("Type the site's name to put them in place; anything else leaves them.")
    context.stderr.write("site: ")
    context.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _check_typed(site: str, typed: str | None, arguments: argparse.Namespace, point: str) -> None:
    from fsbackup_tui.domain.errors import ConfirmationNeeded

    if typed == site:
        return
    words = ["fsbackup", "restore", point, "--part", arguments.part, "--in-place"]
    words += ["--files", arguments.files, "--confirm", site]
    raise ConfirmationNeeded(
        "NOT CONFIRMED: nothing was put in place.",
        why="" if typed is None else f"'{typed}' is not the site's name.",
        fix=shlex.join(words),
    )


def diff_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what differs between a point's configuration and live, by names."""
    from fsbackup_tui.operations.wording import plain_text

    entries = result["entries"]
    differing = [entry for entry in entries if entry["change"] != "same"]
    lines = [f"{result['part']} of {result['point']} and live: {_count(entries, differing)}"]
    for entry in differing:
        lines.append(f"  {_WORDS[entry['change']]:<18} {plain_text(str(entry['name']))}")
        for change, word in _SIGNS.items():
            lines.extend(f"    {word:<16} {plain_text(str(key))}" for key in entry["keys"][change])
    lines.extend(f"  note: {plain_text(str(note))}" for note in result["notes"])
    return lines


def _count(entries: Sequence[Any], differing: Sequence[Any]) -> str:
    if not differing:
        return f"all {len(entries)} entries are the same"
    return f"{len(differing)} of {len(entries)} entries differ"


def _files(listed: Sequence[Any]) -> str:
    return "1 file" if len(listed) == 1 else f"{len(listed)} files"


def beside_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when a configuration was written beside."""
    from fsbackup_tui.operations.wording import plain_text

    lines = [f"Wrote {_files(result['written'])} to {plain_text(str(result['target']))}"]
    lines.extend(f"  {plain_text(str(name))}" for name in result["written"])
    lines.append("  They hold secrets in plain: remove them when you are done.")
    return lines


def placed_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when files were put in place."""
    from fsbackup_tui.operations.wording import plain_text

    lines = [f"Put in place: {_files(result['placed'])} of {result['point']}"]
    for one in result["placed"]:
        lines.append(f"  {plain_text(str(one['file']))}")
        if one["kept"]:
            mode = f", its mode was {one['mode']}" if one.get("mode") else ""
            lines.append(f"    the former one: {plain_text(str(one['kept']))}{mode}")
    lines.extend(f"  {plain_text(str(name))} was the same already" for name in result["same"])
    return lines


def _code(arguments: argparse.Namespace, context: CliContext, point: str) -> int:
    from pathlib import Path

    from fsbackup_tui.cli.follow import run_request
    from fsbackup_tui.domain.errors import UsageError
    from fsbackup_tui.operations.restore_code import refuse_existing
    from fsbackup_tui.operations.site_requests import RestoreCodeRequest

    if arguments.to is None:
        raise UsageError(
            "BESIDE ALONE: code is restored into a directory of its own.",
            fix=f"fsbackup restore {point} --part {arguments.part} --to DIR",
        )
    if arguments.files is not None or arguments.confirm is not None:
        raise UsageError("NOT TOGETHER: --files and --confirm are not for code.")
    target = Path(_absolute(arguments.to))
    refuse_existing(target, target.with_name(f"{target.name}.patches"))
    request = RestoreCodeRequest(
        point,
        arguments.part,
        str(target),
        apply_work=arguments.apply_work,
        reason_unsigned=arguments.reason_unsigned or "",
        replica=arguments.replica or "",
    )
    return run_request(request, context, summary=code_lines)


def code_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what is printed when code was restored."""
    from fsbackup_tui.operations.wording import duration_text, plain_text

    target = plain_text(str(result["target"]))
    head = str(result["head"] or "")[:12] or "no commit yet"
    where = f"{plain_text(str(result['branch']))} at {head}" if result["branch"] else head
    lines = [
        f"Restored {where} to {target} in {duration_text(result['seconds'])}",
        f"  {result['refs']} refs, {result['stashes']} stashes, "
        f"{result['submodules']} submodules, {len(result['artifacts'])} built artifacts",
    ]
    if result["applied"]:
        lines.append("  What no commit had is applied, staged and not, as it was.")
    elif result["patches"]:
        patches = plain_text(str(result["patches"]))
        lines.append(f"  What no commit had lies in {patches}: {', '.join(result['offered'])}")
        quoted, folder = shlex.quote(str(result["target"])), shlex.quote(str(result["patches"]))
        for name, option in (("staged.patch", " --index"), ("unstaged.patch", "")):
            if name in result["offered"]:
                lines.append(f"    git -C {quoted} apply{option} {folder}/{name}")
        if "untracked" in result["offered"]:
            lines.append(f"    cp -a {folder}/untracked/. {quoted}/")
    lines.extend(f"  note: {plain_text(str(note))}" for note in result["notes"])
    lines.append(
        f"  It is this user's alone yet: chmod -R go+rX {shlex.quote(str(result['target']))}"
    )
    return lines


_RUNNERS = {"files": _tree, "config": _config, "code": _code}
