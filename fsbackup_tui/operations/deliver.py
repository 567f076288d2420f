"""One message to one address through apprise, one ping to one URL; each within a deadline.

Neither raises, and neither ever says more of the address than its scheme.
"""

from __future__ import annotations

import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

from fsbackup_tui.domain.secret import Redactor, Secret

MESSAGE_SECONDS = 30.0
PING_SECONDS = 5.0
_NOT_INSTALLED = "apprise is not installed: pip install 'fsbackup-tui[notify]'"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_SHORTEST = 4


def scheme_of(address: Secret) -> str:
    """Return what kind of address it is: ``mailto``; a question mark where it is none."""
    found = _SCHEME.match(address.reveal().strip())
    return found[0].lower() if found else "?"


def send(address: Secret, title: str, body: str, *, seconds: float = MESSAGE_SECONDS) -> str:
    """Deliver a message; returns an empty text, or why it was not delivered."""
    return _within(seconds, lambda: _send(address, title, body))


def ping(address: Secret, suffix: str = "", *, seconds: float = PING_SECONDS) -> str:
    """Call a URL (``/start``, ``/fail`` or nothing behind it); returns why that failed, or ''."""
    return _within(seconds, lambda: _ping(address, suffix, seconds))


def _within(seconds: float, work: Callable[[], str]) -> str:
    """Return what the work says; whatever hangs in it is left behind."""
    said: list[str] = []

    def run() -> None:
        try:
            said.append(work())
        except Exception as error:  # noqa: BLE001 - of any kind, from a library; it is told
            said.append(f"it failed: {type(error).__name__}")

    thread = threading.Thread(target=run, name="deliver", daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else f"nobody answered within {seconds:g} s"


class _Said(logging.Handler):
    """Keeps what a library says, for the case that it fails."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(record.getMessage())


def _send(address: Secret, title: str, body: str) -> str:
    try:
        import apprise
    except ImportError:
        return _NOT_INSTALLED
    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    # Nobody else is to hear of the address.
    logger.propagate = False
    try:
        box = apprise.Apprise()
        if not box.add(address.reveal().strip()):
            return f"apprise knows no address of this kind ({scheme_of(address)}://)"
        # The result is an object, not a truth value.
        delivered = bool(box.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT))
    finally:
        logger.removeHandler(said)
    if delivered:
        return ""
    words = _without(address, said.lines[0]) if said.lines else "apprise does not say why"
    return f"not delivered: {words}"


def _without(address: Secret, text: str) -> str:
    """Return a text without the address or any piece of it."""
    redactor = Redactor()
    redactor.add(address)
    for piece in re.split(r"[/:@?&=#]+", address.reveal().strip()):
        if len(piece) >= _SHORTEST and piece.lower() != scheme_of(address):
            redactor.add(Secret(piece))
    return " ".join(redactor.redact(text).split())[:200]


def _ping(address: Secret, suffix: str, seconds: float) -> str:
    url = address.reveal().strip()
    if scheme_of(address) not in {"http", "https"}:
        return "a ping needs an address that begins with https:// (or http://)"
    path, mark, query = url.partition("?")
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        f"{path.rstrip('/')}{suffix}{mark}{query}" if suffix else url,
        headers={"User-Agent": "fsbackup"},
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return "" if answer.status < 300 else f"it answered {answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"it could not be reached: {_without(address, str(reason))}"
