"""A TCP proxy that harms the connections that go through it: cuts, delays, throttles, or swallows what they say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Listens on a port of its own and carries everything to another one, both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.seconds = 0.0
        """How long each piece is held back."""
        self.bytes_a_second = 0.0
        """How fast it carries; 0 is as fast as it can."""
        self.refused = 0
        """How many connections it did not let in."""
        self._open = threading.Event()
        self._open.set()
        self._accepts = True
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections there are."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def refuse(self) -> None:
        """End all connections, and every new one at once."""
        self._accepts = False
        self.cut()

    def admit(self) -> None:
        """Let new connections in again."""
        self._accepts = True

    def swallow(self) -> None:
        """Carry nothing any more, and let nobody notice."""
        self._open.clear()

    def carry(self) -> None:
        """Carry again what came meanwhile, too."""
        self._open.set()

    def close(self) -> None:
        self._listener.close()
        self._open.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._accepts:
                self.refused += 1
                client.close()
                continue
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._there)
        except OSError:
            client.close()
            return
        # Before they are listed: once they are, `cut` closes them from another thread.
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if not self._accepts:  # since `refuse`, which did not know of these two
                client.close()
                server.close()
                return
            self._sockets |= {client, server}
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                if self.seconds or self.bytes_a_second:
                    time.sleep(self.seconds + (len(data) / self.bytes_a_second if self.bytes_a_second else 0))
                target.sendall(data)
        except OSError:
            pass
        finally:
            with self._lock:
                self._sockets -= {source, target}
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
