"""What the child asks of a program that is not ours."""

from __future__ import annotations

import socket
import threading

import pytest

from lanhaven.engines.command_worker import ask


def _answered(answer: bytes) -> int:
    """The status that is read out of this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(4096)
                link.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            return ask({"socket": None, "port": server.getsockname()[1], "key": None}, "/health")
        finally:
            serving.join()


def test_a_status() -> None:
    assert _answered(b"HTTP/1.1 204 No Content\r\n\r\n") == 204


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1\r\n", b"HTTP/1.1 \r\n", b"HTTP/1.1 OK\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1."]
)
def test_what_is_no_http_is_no_answer(answer: bytes) -> None:
    """A program may say anything while it starts; none of it may end the child that waits for it."""
    with pytest.raises((ValueError, OSError)):
        _answered(answer)
