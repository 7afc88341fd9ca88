"""A program that serves OpenAI in small, and misbehaves on order. It knows nothing of LanHaven.

Settings by the environment, as many servers have them: LISTEN (a port or a path), KEY, and BEHAVE, words of these:
quits, deaf (listens nowhere), loading (unhealthy for ever), unknown (no such thing as /health), ignores (SIGTERM), forks (a
grandchild that ignores SIGTERM; its number goes to the log), interrupt (says when it got SIGINT), slow.
"""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

BEHAVE = set(os.environ.get("BEHAVE", "").split())
LISTEN, KEY = os.environ["LISTEN"], os.environ.get("KEY")


class Handler(BaseHTTPRequestHandler):
    """/health, chat (the message "crash" ends it, and from "break" on it fails all), embeddings, speech, images; forms
    are answered with themselves."""

    protocol_version = "HTTP/1.1"
    broken = False

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(503 if "loading" in BEHAVE else 404 if "unknown" in BEHAVE else 200, {"status": "ok"})
        else:
            self.reply(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-type"].startswith("multipart/"):
            self.send(200, "text/plain; charset=utf-8", data)
            return
        body = json.loads(data)
        if KEY is not None and self.headers.get("authorization") != f"Bearer {KEY}":
            self.reply(401, {"error": {"message": "wrong key"}})
            return
        if self.path == "/v1/embeddings":
            self.reply(200, {"data": [{"index": 0, "embedding": [1.0, 0.0]}], "model": body["model"]})
            return
        if self.path == "/v1/audio/speech":
            self.send(200, "audio/mpeg", b"\xff\xf3" + json.dumps(body).encode())
            return
        if self.path == "/v1/images/generations":
            self.reply(200, {"created": 1, "data": [{"b64_json": "AAAA", "revised_prompt": body["prompt"]}]})
            return
        said = str(body["messages"][-1]["content"])
        if said == "crash":
            sys.stderr.write(f"request was {said}\nRuntimeError: the card fell off the bus\n")
            sys.stderr.flush()
            os._exit(3)
        if Handler.broken or said == "break":
            Handler.broken = True
            self.reply(500, {"error": {"message": "CUDA error: an illegal memory access was encountered", "code": 500}})
            return
        answer = {"role": "assistant", "content": f"{body['model']}: {said}"}
        self.reply(200, {"choices": [{"index": 0, "message": answer, "finish_reason": "stop"}]})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, "application/json", json.dumps(body).encode())

    def send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "somebody"


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> None:
    say(f"started with secrets {os.environ.get('HF_TOKEN')} {KEY} {' '.join(sys.argv[1:])}")
    if "quits" in BEHAVE:
        sys.exit("ValueError: there is no model of that name in /home/somebody/models/big.bin")
    if "ignores" in BEHAVE:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "interrupt" in BEHAVE:
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        signal.signal(signal.SIGTERM, lambda *_: say("SIGTERM came"))
    if "forks" in BEHAVE:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        say(f"grandchild {child.pid}")
    say("Loading weights:  50%")
    if "deaf" in BEHAVE:
        time.sleep(60)
    kind = socketserver.ThreadingTCPServer if LISTEN.isdigit() else socketserver.ThreadingUnixStreamServer
    where: Any = ("127.0.0.1", int(LISTEN)) if LISTEN.isdigit() else LISTEN
    with kind(where, Handler) as server:
        server.daemon_threads = True
        server.serve_forever()


if __name__ == "__main__":
    main()
