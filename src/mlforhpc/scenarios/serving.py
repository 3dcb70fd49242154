"""A server as a process of its own (`mlforhpc serve`, on loopback), and a connection to it that stays open."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def server(what: Sequence[str], folder: Path) -> Iterator[tuple[str, int]]:
    """A server on loopback, as a process: its address. `what`: simulations and options of `serve`."""
    command = [sys.executable, "-m", "mlforhpc", "serve", *what, "--port", "0", "--folder", str(folder), "--json"]
    with (folder.parent / "server.txt").open("w") as errors, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                raise RuntimeError(f"The server did not start: {(folder.parent / 'server.txt').read_text()[-2000:]}")
            host, _, port = json.loads(said)["address"].rpartition("//")[2].partition(":")
            yield host, int(port)
        finally:
            process.terminate()


def tensor(name: str, n: int, datatype: str = "FP64") -> dict[str, Any]:
    """An input without its data."""
    return {"name": name, "shape": [n, 1], "datatype": datatype}


class Connection:
    """HTTP/1.1 over one connection that stays open; as little as this server needs: every answer has a length."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{address[0]}:{address[1]}"

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        return self._ask("GET", path, b"", {})[0]

    def post(self, path: str, body: bytes, *, header_length: int | None = None) -> tuple[bytes, int]:
        """The body of an answer, and the length of the JSON before its binary tensors (of all of it, if there are none)."""
        fields = {} if header_length is None else {"Inference-Header-Content-Length": str(header_length)}
        return self._ask("POST", path, body, {"Content-Length": str(len(body)), **fields})

    def _ask(self, method: str, path: str, body: bytes, fields: Mapping[str, str]) -> tuple[bytes, int]:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode() + body)
        got = bytearray()
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        status, *rows = got[:end].decode("latin-1").split("\r\n")
        said = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        length = int(said["content-length"])
        while len(got) < end + 4 + length:
            got += self._more()
        answer = bytes(got[end + 4 :])
        if not status.split()[1].startswith("2"):
            raise RuntimeError(f"{method} {path}: {status}: {answer[:500].decode(errors='replace')}")
        return answer, int(said.get("inference-header-content-length", length))

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 18)
        if not part:
            raise RuntimeError("The server closed the connection.")
        return part
