"""Where this machine keeps timers: systemd's unit files and crontabs, and the programs for them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, ToolError
from fsbackup_tui.engines.process import Command, run

WANTS = "timers.target.wants"
_SYSTEMCTL_SECONDS = 30.0
_NO_CRONTAB = "no crontab for"


@dataclass(frozen=True, slots=True)
class TimerPlaces:
    """Where the timers of one user, or of the system, lie on this machine.

    ``cron_d`` is None where the user's own crontab is used. ``runtime`` exists while the systemd
    in question runs.
    """

    units: Path
    runtime: Path
    cron_d: Path | None
    of_user: bool

    @property
    def systemd_runs(self) -> bool:
        """Whether there is a running systemd to be told of new units."""
        return self.runtime.exists()


def timer_places(environ: Mapping[str, str], *, of_user: bool) -> TimerPlaces:
    """Return the places of the system's timers, or of the calling user's own."""
    if not of_user:
        return TimerPlaces(
            Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/etc/cron.d"), False
        )
    uid = os.geteuid()
    base = environ.get("XDG_CONFIG_HOME", "")
    home = Path(pwd.getpwuid(uid).pw_dir)
    config = Path(base) if base.startswith("/") else home / ".config"
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
    return TimerPlaces(config / "systemd/user", runtime / "systemd/private", None, True)


@contextmanager
def touching(path: Path) -> Iterator[None]:
    """Turn what the system says when a timer can't be read or written into our error."""
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else path
        raise FsbackupError(
            f"SCHEDULE NOT CHANGED: {place}: {error.strerror}.",
            fix="Run it as root for the system's timers, or for your own: "
            "fsbackup schedule install --user",
        ) from error


def write_public(path: Path, text: str) -> None:
    """Put a file that everybody may read in its place, whole or not at all."""
    with touching(path):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # cron passes over names with a dot, systemd what does not end as a unit does.
        temporary = path.with_name(f".{path.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def read_text(path: Path) -> str | None:
    """Return what a file holds; None where there is none. A link to nothing counts as empty."""
    with touching(path):
        if not os.path.lexists(path):
            return None
        if not path.is_file():
            return ""
        return path.read_text(encoding="utf-8", errors="replace")


def is_enabled(places: TimerPlaces, timer: str) -> bool:
    """Whether systemd starts the timer at boot: ``systemctl enable`` makes this link."""
    return os.path.lexists(places.units / WANTS / timer)


async def systemctl(places: TimerPlaces, *words: str) -> None:
    """Tell the running systemd something; ToolError where it refuses."""
    whose = ("--user",) if places.of_user else ()
    env = _session(places)
    await run(Command(("systemctl", *whose, *words), env=env), timeout=_SYSTEMCTL_SECONDS)


async def unit_states(places: TimerPlaces, timers: Sequence[str]) -> dict[str, str]:
    """Return each timer's ActiveState by the running systemd; empty where none answers."""
    if not timers or not places.systemd_runs:
        return {}
    whose = ("--user",) if places.of_user else ()
    words = ("systemctl", *whose, "show", "--property=Id,ActiveState", *timers)
    try:
        completed = await run(Command(words, env=_session(places)), timeout=_SYSTEMCTL_SECONDS)
    except ToolError:
        return {}
    states: dict[str, str] = {}
    for group in completed.stdout.decode(errors="replace").split("\n\n"):
        facts = dict(line.partition("=")[::2] for line in group.splitlines())
        if "Id" in facts:
            states[facts["Id"]] = facts.get("ActiveState", "")
    return states


def _session(places: TimerPlaces) -> dict[str, str]:
    """Return what ``systemctl --user`` needs to find its manager."""
    return {"XDG_RUNTIME_DIR": str(places.runtime.parent.parent)} if places.of_user else {}


async def read_crontab() -> str:
    """Return the calling user's crontab, empty where there is none.

    Raises:
        ToolError: there is no crontab program, or this user may not have one.
    """
    completed = await run(Command(("crontab", "-l")), check=False, timeout=_SYSTEMCTL_SECONDS)
    if completed.exit_status == 0:
        return completed.stdout.decode("utf-8", errors="surrogateescape")
    if _NO_CRONTAB in completed.stderr:
        return ""
    raise ToolError(
        "CRONTAB NOT READ: crontab -l failed.",
        why=completed.last_lines(),
        fix="See that this user may have one (/etc/cron.allow, /etc/cron.deny), or use systemd: "
        "fsbackup schedule install --systemd",
    )


async def write_crontab(text: str) -> None:
    """Replace the calling user's crontab; ToolError where that is refused."""
    data = text.encode("utf-8", errors="surrogateescape")
    words = ("crontab", "-") if text else ("crontab", "-r")
    await run(Command(words, stdin=data if text else None), timeout=_SYSTEMCTL_SECONDS)
