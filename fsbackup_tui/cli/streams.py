"""Standard output and error as the caller left them: closed, full, or of a small alphabet."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from fsbackup_tui.domain.errors import OutputLost


def prepare_streams() -> None:
    """Make both streams writable whatever the caller's locale is, and there at all.

    A character that the stream's encoding lacks is shown as ``?``; where a stream is closed
    (``>&-``), nobody wants its text and it goes nowhere, while the exit code still tells.
    """
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return stream


def write_output(stream: TextIO, text: str = "") -> None:
    """Write to standard output; without a text, make sure that all of it got out.

    Raises OutputLost where it can't be written (a full disk), BrokenPipeError where the
    reader has gone. The stream then leads nowhere, so that no later flush fails on it again.
    """
    try:
        if text:
            stream.write(text)
        else:
            stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputLost(f"OUTPUT LOST: it can't be written ({error.strerror}).") from error


def json_text(document: Mapping[str, object], stream: TextIO) -> str:
    """Return the document as one line that the stream's encoding can hold without loss."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    ascii_only = encoding not in ("utf-8", "utf8")
    return json.dumps(document, ensure_ascii=ascii_only, default=str) + "\n"
