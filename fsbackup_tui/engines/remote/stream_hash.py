"""The SHA-256 of a file, off the event loop."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path


async def hash_stream(path: Path) -> tuple[str, int]:
    """Return the SHA-256 in hexadecimal, and the bytes, of a file."""

    def read() -> tuple[str, int]:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()

    return await asyncio.to_thread(read)
