"""The real llama.cpp child: what it is told arrives, and why it fails is said. Broken files are really broken."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lanhaven.engines.interpreter import module_command
from lanhaven.engines.llamacpp_log import STAGES, abort_reason, facts, reason, stage_of, without_requests
from lanhaven.engines.process import Timers
from lanhaven.errors import GatewayError, LoadFailed
from tests.engines.conftest import Make

pytestmark = pytest.mark.anyio

WORKER = module_command("lanhaven.engines.llamacpp_worker")
PATIENT = Timers(probe_every=1, terminate=5)
QUIET = {"cache_ram_mib": 0, "threads": 2, "n_parallel": 1, "n_ctx": 512}


async def test_stages_come_in_order(engine: Make, smollm2: Path) -> None:
    lines: list[str] = []
    process = engine(command=WORKER, timers=PATIENT, on_line=lines.append, model=str(smollm2), **QUIET)
    ready = await process.start()
    assert [stage for line in lines if (stage := stage_of(line))] == list(STAGES.values())
    assert {device["type"] for device in ready["devices"]} >= {"CPU"}


@pytest.mark.req("S0-14", "S0-15", "S0-16", "S0-17", "S0-18", "S0-19")
async def test_every_setting_is_seen_in_the_engines_own_log(engine: Make, smollm2: Path) -> None:
    process = engine(
        command=WORKER,
        timers=PATIENT,
        model=str(smollm2),
        alias="tiny",
        cache_ram_mib=7,
        n_ctx=2 * 1024,
        n_parallel=2,
        threads=1,
        n_gpu_layers=15,
        rope_freq_base=10000.0,
        rope_freq_scale=0.5,
        kv_type="q8_0",
        flash_attention=True,
        n_batch=256,
    )
    await process.start()
    assert facts(process.log()) == {
        "context_length": 1024,
        "slots": 2,
        "cpu_threads": 1,
        "rope_frequency_base": 10000.0,
        "rope_frequency_scale": 0.5,
        "kv_type": "q8_0",
        "flash_attention": "enabled",
    }
    log = "\n".join(process.log())
    assert "n_threads_batch = 1" in log
    assert "n_batch               = 256" in log
    assert "The UI is disabled" in log
    assert "prompt cache is enabled, size limit: 7 MiB" in log
    assert "using 34 threads for HTTP server" in log


async def test_without_unix_sockets_it_chooses_a_port(engine: Make, smollm2: Path) -> None:
    ready = await engine(command=WORKER, timers=PATIENT, model=str(smollm2), **{**QUIET, "listen": "127.0.0.1"}).start()
    assert 1024 < ready["port"] < 65536


Breaker = Callable[[Path, Path], None]


def directory(model: Path, to: Path) -> None:
    to.mkdir()


def empty(model: Path, to: Path) -> None:
    to.touch()


def text(model: Path, to: Path) -> None:
    to.write_text("I am no model. " * 100)


def truncated(model: Path, to: Path) -> None:
    with model.open("rb") as file:
        to.write_bytes(file.read(model.stat().st_size // 2))


def scrambled_metadata(model: Path, to: Path) -> None:
    overwrite(model, to, 24, bytes([0xFF]) * 8)


def scrambled_tensors(model: Path, to: Path) -> None:
    """Quantization scales that are no numbers."""
    overwrite(model, to, model.stat().st_size - (1 << 20), bytes([0xFF]) * (1 << 16))


def overwrite(model: Path, to: Path, at: int, data: bytes) -> None:
    shutil.copyfile(model, to)
    with to.open("r+b") as file:
        file.seek(at)
        file.write(data)


def missing(model: Path, to: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, "failed to open GGUF file 'm.gguf' (No such file or directory)"),
        (directory, "failed to read magic"),
        (empty, "failed to read magic"),
        (text, "invalid magic characters: 'I am', expected 'GGUF'"),
        (truncated, "data is not within the file bounds, model is corrupted or incomplete"),
        (scrambled_metadata, "exceeds maximum"),
        (scrambled_tensors, "has invalid data"),
    ],
)
async def test_why_a_broken_file_is_refused(
    engine: Make, smollm2: Path, folder: Path, spoil: Breaker, words: str
) -> None:
    path = folder / "m.gguf"
    spoil(smollm2, path)
    with pytest.raises(LoadFailed) as caught:
        await engine(command=WORKER, timers=PATIENT, model=str(path), check_tensors=True, **QUIET).start()
    assert words in caught.value.message
    assert str(folder) not in caught.value.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"chat_template": "{% for"}, "chat_template"),
        ({"n_ctx": 4_000_000}, "insufficient memory"),
        ({"projector": "/nowhere/at all/p.gguf"}, "p.gguf"),
        ({"kv_type": "q8_0", "flash_attention": False}, "quantized V cache requires flash_attn to be enabled"),
        ({"kv_type": "nonsense"}, "NONSENSE"),
        ({"listen": "/nowhere/s.sock"}, "couldn't bind HTTP server socket"),
    ],
)
async def test_why_settings_are_refused(engine: Make, smollm2: Path, settings: dict[str, object], words: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        await engine(command=WORKER, timers=PATIENT, **{"model": str(smollm2), **QUIET, **settings}).start()
    assert words in caught.value.message
    assert "/nowhere" not in caught.value.message


async def test_without_the_package_it_says_what_is_missing(engine: Make, folder: Path, smollm2: Path) -> None:
    (folder / "xllamacpp.py").write_text("raise ImportError('no xllamacpp for this machine')")
    command = [WORKER[0], *WORKER[2:]]  # without -P: the folder is searched
    with pytest.raises(LoadFailed, match="no xllamacpp for this machine"):
        await engine(command=command, timers=PATIENT, model=str(smollm2), **QUIET).start()


async def test_a_module_lying_in_the_run_folder_is_not_run(engine: Make, folder: Path, smollm2: Path) -> None:
    (folder / "xllamacpp.py").write_text("raise ImportError('planted')")
    await engine(command=WORKER, timers=PATIENT, model=str(smollm2), **QUIET).start()


def test_reasons_from_logs_that_were_not_provoked_here() -> None:
    said = "0.00.021.510 E "
    assert reason([]) is None
    assert reason(["0.00.000.001 I all is well"]) is None
    assert (
        reason([f"{said}srv  load_model: failed to load model, '/a/m.gguf'"])
        == "load_model: failed to load model, 'm.gguf'"
    )
    assert (
        reason([f"{said}x: failed to load model", f"{said}y: at C:\\models\\m.gguf, line 2"]) == "y: at m.gguf, line 2"
    )
    assert abort_reason([f"{said}srv send_error: wrong request", "/src/ggml.c:12: GGML_ASSERT(n > 0) failed"]) == (
        "ggml.c:12: GGML_ASSERT(n > 0) failed"
    )
    assert abort_reason([f"{said}srv send_error: wrong request"]) is None


@pytest.mark.req("P20")
def test_what_is_kept_of_a_log_of_requests() -> None:
    head = "0.00.686.370 W srv    operator(): "
    assert without_requests(f"{head}unauthorized") == f"{head}unauthorized"
    assert without_requests(f'{head}got exception: {{"error": "secret"}}') == f"{head}got exception (not kept)"
    assert (
        without_requests(f"{head}error: Failed to parse input at pos 3: secret")
        == f"{head}error: Failed to parse (not kept)"
    )
    assert without_requests("root ::= secret") is None
    assert without_requests("parse: error parsing grammar: secret") is None
    assert without_requests("/ggml.c:12: GGML_ASSERT(n > 0) failed") == "/ggml.c:12: GGML_ASSERT(n > 0) failed"
    assert without_requests("  what():  [json.exception.parse_error.101] last read: 'secret'") is None


@pytest.mark.req("P21")
async def test_hostile_headers_end_in_words_and_never_in_a_hang(engine: Make, smollm2: Path, folder: Path) -> None:
    chance = random.Random(7)
    path = folder / "m.gguf"
    with smollm2.open("rb") as file:
        head = file.read(4096)
    for _ in range(4):
        spoilt = bytearray(head)
        for _ in range(8):
            spoilt[chance.randrange(8, len(spoilt))] = chance.randrange(256)
        path.write_bytes(spoilt)
        with pytest.raises(GatewayError):
            await engine(command=WORKER, timers=PATIENT, model=str(path), **QUIET).start()
