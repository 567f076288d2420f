"""A relay in front of a server that keeps its sessions when the client dies, as poolers do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit, urlunsplit

_BLOCK = 65536


class _Relay:
    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._kept += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(
                    target=self._pass_on, args=(server, client, True), daemon=True
                ).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket, close: bool = False) -> None:
        """Pass bytes on; the end of the client is kept from the server, not the other way."""
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                target.sendall(block)
        if close:
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for kept in self._kept:
            kept.close()


@contextlib.contextmanager
def relay(url: str) -> Iterator[str]:
    """Give a URL that reaches the server behind the given one (a Unix socket's) through a relay."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    path = f"{query['host'][0]}/.s.PGSQL.{query['port'][0] if 'port' in query else parts.port}"
    relayed = _Relay(path)
    try:
        user = f"{parts.username}@" if parts.username else ""
        yield urlunsplit(("postgresql", f"{user}127.0.0.1:{relayed.port}", parts.path, "", ""))
    finally:
        relayed.close()
