"""A certificate authority made for one test run, and a listener that speaks TLS for a server that does not."""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import pytest

_POSTGRES_ASKS_FOR_TLS = bytes((0, 0, 0, 8, 4, 210, 22, 47))
_PIECE_BYTES = 65_536


class Authority(NamedTuple):
    """Files of an authority: of itself, and of one certificate for "localhost" that it has signed."""

    ca: Path
    certificate: Path
    key: Path


def make_authority(folder: Path) -> Authority:
    """Have openssl make one, good for a day; skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make certificates with")
    folder.mkdir(exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "1", "-subj", "/CN=test authority"
    )
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1", "-extfile", "names",
        "-out", "server.pem",
    )  # fmt: skip
    return Authority(folder / "ca.pem", folder / "server.pem", folder / "server.key")


class TlsPeer:
    """Listens on the loopback, speaks TLS with who comes, and passes the rest on in the clear to a server."""

    def __init__(
        self,
        authority: Authority,
        host: str,
        port: int,
        *,
        speaks_postgres: bool = False,
        asks_certificate: bool = False,
    ) -> None:
        self._target = (host, port)
        self._speaks_postgres = speaks_postgres
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(authority.certificate, authority.key)
        if asks_certificate:
            self._context.load_verify_locations(authority.ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.handshakes = 0  #: that ended well
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for thread in self._threads:
            thread.join(5)
        self._close()  # what a thread opened meanwhile

    def _close(self) -> None:
        for opened in self._sockets:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, plain: socket.socket) -> None:
        self._sockets.append(plain)
        with suppress(OSError):
            if self._speaks_postgres:
                assert plain.recv(len(_POSTGRES_ASKS_FOR_TLS)) == _POSTGRES_ASKS_FOR_TLS
                plain.sendall(b"S")
            spoken = self._context.wrap_socket(plain, server_side=True)
            self._sockets.append(spoken)
            target = socket.create_connection(self._target)
            self._sockets.append(target)
            if self._context.verify_mode is ssl.CERT_NONE or spoken.getpeercert():
                self.handshakes += 1
            self._start(_pass_on, target, spoken)
            _pass_on(spoken, target)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            sink.sendall(piece)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
