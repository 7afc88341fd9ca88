"""Disks that are full, homes that cannot be written, modes that let everybody in (F-173, F-174)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import fill, make_read_only, small_disk
from tests.house_process import environment, running
from tests.streams import said

FILE = "default_model: alpha\nmodels:\n  - {id: alpha, provider: mock}\n"
MOCK = ("--provider", "mock")


def lanhaven(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lanhaven", *words]
    env = environment(home, **settings)
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "4m") as folder:
        yield folder


@pytest.mark.req("F-173")
def test_a_server_whose_disk_is_full_goes_on(disk: Path) -> None:
    with running(disk, FILE, *MOCK) as house:
        keys = disk / "config" / "keys.sqlite3"
        before = {path: path.read_bytes() for path in (keys, disk / "models.yaml") if path.exists()}
        filler = fill(disk)
        edit = {"modelKey": "alpha", "changes": {"description": "x" * 9000}}
        reply = house.http.post("/admin/models/edit", json=edit)
        assert (reply.status_code, reply.json()["code"]) == (507, "storage_full")
        assert {path: path.read_bytes() for path in before} == before
        for _ in range(20):
            assert house.chat("Hello").status_code == 200
            assert house.http.post("/admin/models/load", json={"modelKey": "nobody"}).status_code == 404
        body = {"model": "alpha", "input": "Hello"}
        assert house.http.post("/v1/responses", json=body).status_code == 200
        with house.stream("Hello") as stream:
            stream.rest()
        added = lanhaven(disk, "keys", "add", "otto")
        assert added.returncode == 1
        assert "Traceback" not in added.stderr
        filler.unlink()
        assert house.http.post("/admin/models/edit", json=edit).status_code == 200
        assert house.http.post("/v1/chat/completions", json={"messages": said("Hello")}).status_code == 200


@pytest.mark.req("F-174")
def test_a_home_that_cannot_be_written_is_told_and_other_folders_will_do(tmp_path: Path, disk: Path) -> None:
    make_read_only(disk)
    nowhere = {f"LANHAVEN_{name}_DIR": "" for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    done = lanhaven(tmp_path, "up", "--port", "0", *MOCK, HOME=str(disk), **nowhere)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert "Try  make it writable" in done.stderr
    with running(tmp_path, FILE, *MOCK, HOME=str(disk)) as house:
        assert house.chat("Hello").status_code == 200


@pytest.mark.req("F-174")
def test_keys_on_a_disk_that_cannot_be_written_are_good(tmp_path: Path, disk: Path) -> None:
    """The configuration may be mounted so into a container."""
    config = {"LANHAVEN_CONFIG_DIR": str(disk)}
    secret = lanhaven(tmp_path, "keys", "add", "anna", **config).stdout.strip()
    make_read_only(disk)
    with running(tmp_path, FILE, *MOCK, **config) as house:
        assert house.http.get("/v1/models").status_code == 401
        assert house.http.get("/v1/models", headers={"X-API-Key": secret}).status_code == 200
    refused = lanhaven(tmp_path, "keys", "rm", "anna", **config)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "error:" in refused.stderr


@pytest.mark.req("F-174")
def test_what_holds_secrets_is_private_whatever_the_modes_around_it(tmp_path: Path) -> None:
    for name in ("config", "state"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    before = os.umask(0)
    try:
        assert lanhaven(tmp_path, "keys", "add", "anna").returncode == 0
        with running(tmp_path, FILE, *MOCK) as house:
            assert house.http.get("/v1/models").status_code == 401
            secret = [tmp_path / "state" / "server.json", *(tmp_path / "config").glob("*keys.sqlite3*")]
            assert len(secret) > 1
            assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    finally:
        os.umask(before)
