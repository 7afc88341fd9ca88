"""Schemathesis reads the document and attacks: no reply is a server's error, and all are as the document says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house_process import HouseProcess, environment

CONFIG = Path(__file__).with_name("schemathesis.toml")
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.mark.req("F-121", "F-123", "F-124", "S4-27")
@pytest.mark.timeout(240)
def test_whatever_is_asked_is_answered_as_the_document_says(outside: HouseProcess, tmp_path: Path) -> None:
    # Nothing makes a key: the first one closes the door. One worker: in CPython 3.11 two threads that compile sources can fail of it (SystemError: recursion depth).
    program = Path(sys.executable).parent / "schemathesis"
    words = [
        str(program), "--config-file", str(CONFIG), "run", f"{outside.url}/openapi.json", "--checks", ",".join(CHECKS),
        "--exclude-operation-id", "debug_stream", "--exclude-operation-id", "debug_logs_stream", "--exclude-operation-id", "admin_remove", "--exclude-operation-id", "admin_add_key", "--no-shrink", "--request-timeout", "20", "--workers", "1",
    ]  # fmt: skip
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-5000:]
    assert int(passed[1]) == int(passed[2]) > 1000
