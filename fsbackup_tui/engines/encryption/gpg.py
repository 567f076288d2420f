"""Decrypting a file with the stock ``gpg``: what it says decides, beside its exit status.

Its status lines are those of GnuPG's doc/DETAILS; which of them come with a wrong passphrase, a
missing key and altered or torn data was tried with 2.2.40.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from fsbackup_tui.domain.errors import FsbackupError, NotDecryptable, PointDamaged, ToolMissing
from fsbackup_tui.domain.events import Report
from fsbackup_tui.domain.secret import Redactor, Secret
from fsbackup_tui.engines.process import Command, RunningChild, failure, run
from fsbackup_tui.engines.process_channel import Channel
from fsbackup_tui.engines.process_result import ran_out_of_space

_STATUS = "[GNUPG:] "
_KEPT_LINES = 12
_BAD_PASSPHRASE = re.compile(r"BAD_PASSPHRASE|Bad (?:passphrase|session key)")
_NO_PASSPHRASE = re.compile(r"No pinentry|Operation cancelled|CANCELED_BY_USER")
_UNPROTECTED = "not integrity protected"
_INSTALL = "Install it (Debian and Ubuntu: apt-get install gnupg)"
HOW_TO_TELL = (
    "Set FSBACKUP_GPG_PASSPHRASE, or describe it in the configuration: "
    "adopt_passphrase: {file: /path}"
)
CheckSpace = Callable[[int], None]


async def decrypt(
    source: Path,
    target: Path | Channel,
    *,
    passphrase: Secret | None,
    environ: Mapping[str, str],
    work: Path,
    check_space: CheckSpace,
    report: Report | None = None,
    keyring: Path | None = None,
) -> None:
    """Write the plain content of an OpenPGP file into ``target``: a new file (0600), or a thread.

    The passphrase goes over a descriptor; without one a key that gpg's agent can use serves.
    ``work`` is a private directory: a user without a keyring gets an empty one in there, since
    gpg would make one in the home directory. ``check_space`` is told the size of the content
    before it is written, where the file tells it, and raises DiskFull.

    Raises:
        NotDecryptable: no gpg, no key, no passphrase or another one; nothing was learned.
        PointDamaged: it opened, and what is in it is altered or torn.
        DiskFull: there is no room for it.
    """
    heard = _Heard(check_space)
    try:
        completed = await run(
            Command(
                _arguments(source, passphrase, environ, work, keyring),
                env=variables(environ),
                stdin=None if passphrase is None else passphrase.reveal().encode(),
                stdout=target,
            ),
            report=report,
            redactor=Redactor([passphrase] if passphrase else []),
            check=False,
            on_stderr_line=heard.line,
            on_started=heard.started,
        )
    except ToolMissing as error:
        raise NotDecryptable("gpg is not installed here", fix=_INSTALL) from error
    if heard.no_space is not None:
        raise heard.no_space
    if completed.exit_status == 0 and "DECRYPTION_OKAY" in heard.statuses:
        return
    if ran_out_of_space(completed.stderr):
        raise failure(completed)
    raise heard.verdict(source, has_passphrase=passphrase is not None)


def home_option(environ: Mapping[str, str], keyring: Path | None, work: Path) -> tuple[str, ...]:
    """Return the option that names gpg's home directory where it is not the user's own.

    A user without one gets an empty one in ``work``: gpg would make one in the home directory.
    """
    if keyring is not None:
        return ("--homedir", str(keyring))
    home = environ.get("GNUPGHOME") or f"{environ.get('HOME') or Path.home()}/.gnupg"
    return () if Path(home).is_dir() else ("--homedir", str(private_home(work)))


def private_home(work: Path) -> Path:
    """Return an empty home directory for gpg, made if need be."""
    empty = work / "gnupg"
    empty.mkdir(mode=0o700, exist_ok=True)
    return empty


def _arguments(
    source: Path,
    passphrase: Secret | None,
    environ: Mapping[str, str],
    work: Path,
    keyring: Path | None,
) -> tuple[str, ...]:
    own = home_option(environ, keyring, work)
    asking: tuple[str, ...] = ("--pinentry-mode", "error")
    if passphrase is not None:
        asking = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
    # Whether a passphrase fits must not hang on what the agent remembers; a signature says
    # nothing of the content.
    quiet = ("--batch", "--no-tty", "--no-symkey-cache", "--skip-verify", "--status-fd", "2")
    return ("gpg", *quiet, *own, *asking, "--decrypt", "--", str(source))


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of our environment gpg needs to find a user's keyring."""
    return {name: environ[name] for name in ("GNUPGHOME", "HOME") if environ.get(name)}


class _Heard:
    """What gpg said so far, and the program itself, which is ended where there is no room."""

    def __init__(self, check_space: CheckSpace) -> None:
        self.statuses: dict[str, str] = {}
        self.no_space: Exception | None = None
        self._check_space = check_space
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._child: RunningChild | None = None

    def started(self, child: RunningChild) -> None:
        self._child = child

    def line(self, line: str) -> None:
        self._lines.append(line)
        if not line.startswith(_STATUS):
            return
        name, _space, arguments = line.removeprefix(_STATUS).partition(" ")
        self.statuses[name] = arguments.strip()
        if name == "PLAINTEXT_LENGTH" and arguments.strip().isdigit():
            try:
                self._check_space(int(arguments))
            except (FsbackupError, OSError) as error:  # raised again by the one who waits
                self.no_space = error
                if self._child is not None:
                    self._child.terminate()

    def verdict(self, source: Path, *, has_passphrase: bool) -> NotDecryptable | PointDamaged:
        """Return what a failure means for the file."""
        text = "\n".join(self._lines)
        if "NO_SECKEY" in self.statuses and "PLAINTEXT" not in self.statuses:
            return NotDecryptable(
                f"its secret key {self.statuses['NO_SECKEY']} is not in the keyring here",
                fix="Import it (gpg --import), or run it as the user who has it",
            )
        if self._is_damaged(text):
            said = [line.removeprefix("gpg: ") for line in self._lines if line.startswith("gpg: ")]
            return PointDamaged(
                f"NOT READABLE: {source.name} can't be decrypted to its end.",
                why=f"it is damaged or cut off: gpg says {said[-1] if said else 'nothing'!r}",
            )
        if _BAD_PASSPHRASE.search(text):
            return NotDecryptable(
                "its passphrase is another one than is known here (or its first bytes are damaged)",
                fix=HOW_TO_TELL,
            )
        if not has_passphrase and (
            "NEED_PASSPHRASE_SYM" in self.statuses or _NO_PASSPHRASE.search(text)
        ):
            return NotDecryptable("its passphrase is not known here", fix=HOW_TO_TELL)
        if _UNPROTECTED in text:
            return NotDecryptable(
                "it is of an old kind that nothing protects from alteration, which gpg refuses",
                fix="If you trust it: gpg --ignore-mdc-error --decrypt",
            )
        last = next((line for line in reversed(self._lines) if line.startswith("gpg: ")), "")
        said_last = last.removeprefix("gpg: ") or "nothing"
        return NotDecryptable(f"gpg could not open it: {said_last}", fix=HOW_TO_TELL)

    def _is_damaged(self, text: str) -> bool:
        """Whether it opened, or is no message at all; a wrong passphrase is told before that."""
        if {"BADMDC", "PLAINTEXT"} & self.statuses.keys():
            return True
        if _UNPROTECTED in text or _BAD_PASSPHRASE.search(text):
            return False
        opened = "DECRYPTION_KEY" in self.statuses or "DECRYPTION_INFO" in self.statuses
        return opened or ("NODATA" in self.statuses and "BEGIN_DECRYPTION" not in self.statuses)
