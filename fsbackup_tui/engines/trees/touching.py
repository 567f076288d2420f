"""Who may write or delete below a directory: processes, cron lines, timers, at jobs.

Found by looking for its path in what this user may read: somebody who reaches it otherwise (a
variable, another path to it, another host) is not found, and nothing here says that nobody is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from fsbackup_tui.domain.tree import Touching

_LARGEST_SCRIPT = 1 << 18
_MOST = 200
_CRON_FILES = ("etc/crontab", "etc/anacrontab")
_CRON_DIRECTORIES = ("etc/cron.d", "var/spool/cron/crontabs", "var/spool/cron")
_CRON_SCRIPTS = ("etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly")
_UNITS = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")
_AT = ("var/spool/cron/atjobs", "var/spool/at")
_PATH = re.compile(r"(?<![\w.])/[^\s'\";|&<>()$`]+")
_RUNS = re.compile(r"^(?:ExecStart|ExecStartPre|ExecStartPost|WorkingDirectory)\s*=", re.MULTILINE)


def find_touching(
    root: Path, *, system: Path = Path("/"), ignore: Sequence[int] = ()
) -> tuple[list[Touching], list[str]]:
    """Return what was found, and what could not be looked at; ``ignore`` are processes' ids.

    ``system`` is the root of the file system to look in.
    """
    names = _names(root)
    found, notes = find_processes(root, system=system, ignore=ignore)
    for touching in (_cron(names, system), _timers(names, system), _at(names, system)):
        try:
            found += touching
        except OSError as error:
            notes.append(f"{error.filename} can't be read: {error.strerror}")
    notes += _closed(system)
    return found[:_MOST], notes


def find_processes(
    root: Path, *, system: Path = Path("/"), ignore: Sequence[int] = ()
) -> tuple[list[Touching], list[str]]:
    """Return the processes with a file open, or their directory, below the root.

    And those whose command, or a script in it, mentions the root: one that deletes file after
    file has none open for long.
    """
    below = os.path.realpath(root)
    names = tuple(dict.fromkeys((str(root), below)))
    found, hidden = [], 0
    directories = (entry for entry in (system / "proc").glob("[0-9]*") if entry.name.isdigit())
    for process in sorted(directories, key=lambda entry: int(entry.name)):
        pid = int(process.name)
        if pid in ignore:
            continue
        where = ""
        try:
            open_there = _open_below(process, below)
            where = ", ".join(open_there[:3]) + (" …" if len(open_there) > 3 else "")
        except PermissionError:
            hidden += 1
        except OSError:
            continue
        if not where and (mention := _mention_deep(_words(process), names, system)):
            where = f"its command mentions {mention}"
        if where:
            found.append(Touching("process", _command(process), str(pid), where, f"kill {pid}"))
    processes = "process" if hidden == 1 else "processes"
    note = f"{hidden} {processes} of other users can't be looked into" if hidden else ""
    return found, [note] if note else []


def _open_below(process: Path, root: str) -> list[str]:
    links = [process / "cwd", process / "root"]
    with suppress(FileNotFoundError):
        links += (process / "fd").iterdir()
    found = []
    for link in links:
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if target == root or target.startswith(root.rstrip("/") + "/"):
            found.append(target)
    return sorted(set(found))


def _command(process: Path) -> str:
    with suppress(OSError):
        words = (process / "cmdline").read_bytes().split(b"\0")
        if words[0]:
            return Path(os.fsdecode(words[0])).name
        return (process / "comm").read_text().strip()
    return "a process"


def _words(process: Path) -> str:
    """Return a process's command; a script that it names below its own directory by its path."""
    with suppress(OSError):
        words = [os.fsdecode(word) for word in (process / "cmdline").read_bytes().split(b"\0")]
        with suppress(OSError):
            here = (process / "cwd").readlink()
            words += [
                str(here / word) for word in words if word and not word.startswith(("/", "-"))
            ]
        return " ".join(words)
    return ""


def _names(root: Path) -> tuple[str, ...]:
    """Return the paths that reach the root: as it is written, as it is, and what holds it.

    These end in ``/``: another path below them is none to the root.
    """
    real = Path(os.path.realpath(root))
    above = (parent for path in (root, real) for parent in path.parents if len(parent.parts) > 2)
    return tuple(dict.fromkeys((str(root), str(real), *(f"{parent}/" for parent in above))))


def _mention(text: str, names: Iterable[str]) -> str:
    """Return which of the names a text mentions, as a path of its own; empty: none."""
    for name in names:
        plain, holds = name.rstrip("/"), name.endswith("/")
        at = text.find(plain)
        while at >= 0:
            after = text[at + len(plain) :]
            if holds:
                after = after.removeprefix("/")
            if not after or not (after[0].isalnum() or after[0] in "._-"):
                return plain
            at = text.find(plain, at + 1)
    return ""


def _mention_deep(text: str, names: Sequence[str], system: Path) -> str:
    """Return what a command mentions, or a script that it names does."""
    if name := _mention(text, names):
        return name
    for match in _PATH.finditer(text):
        script = system / match[0].lstrip("/")
        with suppress(OSError, ValueError):
            if not script.is_file() or script.stat().st_size > _LARGEST_SCRIPT:
                continue
            content = script.read_bytes()
            if b"\0" in content[:1024]:
                continue
            if name := _mention(content.decode(errors="replace"), names):
                return f"{name}, in {match[0]}"
    return ""


def _cron(names: Sequence[str], system: Path) -> Iterator[Touching]:
    files = [system / name for name in _CRON_FILES]
    for directory in _CRON_DIRECTORIES:
        files += _files(system / directory)
    for file in files:
        for line in _text(file).splitlines():
            told = line.strip()
            if not told or told.startswith("#"):
                continue
            if mention := _mention_deep(told, names, system):
                place = "/" + str(file.relative_to(system))
                edit = (
                    f"crontab -u {file.name} -e" if "spool" in file.parts else f"sudoedit {place}"
                )
                yield Touching("cron", told, place, f"mentions {mention}", edit)
    for directory in _CRON_SCRIPTS:
        for file in _files(system / directory):
            if mention := _mention_deep(_text(file), names, system):
                place = "/" + str(file.relative_to(system))
                yield Touching("cron", file.name, place, f"mentions {mention}", f"chmod -x {place}")


def _timers(names: Sequence[str], system: Path) -> Iterator[Touching]:
    seen = set()
    for directory in _UNITS:
        for timer in _files(system / directory):
            if timer.suffix != ".timer" or timer.name in seen:
                continue
            seen.add(timer.name)
            named = re.search(r"^Unit\s*=\s*(\S+)", _text(timer), re.MULTILINE)
            unit = named[1] if named is not None else f"{timer.stem}.service"
            service = next(
                (text for place in _UNITS if (text := _text(system / place / unit))),
                "",
            )
            lines = [line for line in service.splitlines() if _RUNS.match(line)]
            if mention := _mention_deep("\n".join(lines), names, system):
                place = "/" + str(timer.relative_to(system))
                stop = f"systemctl stop {timer.name} {unit}"
                yield Touching("timer", timer.name, place, f"mentions {mention}", stop)


def _at(names: Sequence[str], system: Path) -> Iterator[Touching]:
    for directory in _AT:
        for job in _files(system / directory):
            lines = [line for line in _text(job).splitlines() if not line.startswith("#")]
            # An at job begins with the environment, and the directory, in which it was asked for.
            if mention := _mention_deep("\n".join(lines[-40:]), names, system):
                number = int(job.name[1:6], 16) if re.match(r"[a-z][0-9a-f]{5}", job.name) else 0
                place = "/" + str(job.relative_to(system))
                stop = f"atrm {number}" if number else f"rm {place}"
                yield Touching("at", lines[-1] if lines else "", place, f"mentions {mention}", stop)


def _files(directory: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in directory.iterdir() if path.is_file())
    return []


def _text(path: Path) -> str:
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= _LARGEST_SCRIPT:
            return path.read_bytes().decode(errors="replace")
    return ""


def _closed(system: Path) -> list[str]:
    """Return which places this user may not look into."""
    closed = [
        f"/{name}"
        for name in (*_CRON_DIRECTORIES, *_AT)
        if (system / name).is_dir() and not os.access(system / name, os.R_OK | os.X_OK)
    ]
    return [f"not readable by this user: {', '.join(closed)}"] if closed else []
