"""A llama-server of somebody's own in place of the package: its command line, its faults, and requests to it."""

from __future__ import annotations

import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lanhaven.engines.llama_server import arguments, ask
from lanhaven.errors import EngineCrashed, InvalidRequest, LoadFailed, ProviderUnavailable, TemplateError
from lanhaven.providers.base import Loaded, ModelEntry, ProviderContext
from lanhaven.providers.llamacpp.options import read_defaults, read_options
from lanhaven.providers.llamacpp.provider import LlamaCpp
from lanhaven.types.models import LoadConfig
from tests.children import own_children
from tests.providers.llamacpp import llama_server
from tests.providers.llamacpp.llama import OPTIONS, QUICK, SMALL, Observer, model
from tests.providers.llamacpp.llama import ask as request
from tests.providers.llamacpp.test_templates import LOOP

pytestmark = [pytest.mark.anyio, pytest.mark.req("S4-11")]
ENV = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama_server.install(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="lh") as name:
        yield Path(name)
        assert not own_children()
        assert not list(Path(name).iterdir())


@pytest.fixture
async def make(run_dir: Path) -> AsyncIterator[Callable[..., LlamaCpp]]:
    made: list[LlamaCpp] = []

    def new(**options: Any) -> LlamaCpp:
        made.append(LlamaCpp(ProviderContext("llama_cpp", run_dir, {**OPTIONS, **options}), timers=QUICK))
        return made[-1]

    yield new
    for each in made:
        await each.aclose()


async def load(provider: LlamaCpp, path: Path, config: LoadConfig = SMALL, **settings: Any) -> tuple[Loaded, Observer]:
    observer = Observer()
    return await provider.load(model(provider, path, **settings), "tiny", config, observer), observer


async def test_a_chat_by_a_program_of_ones_own(make: Callable[..., LlamaCpp], binary: Path, smollm2: Path) -> None:
    provider = make(binary=str(binary), args=["--log-verbosity", "4"])
    assert (await provider.health()).detail.startswith("llama-server 0.7.0 11669, ")
    config = LoadConfig(context_length=512, slots=2, cpu_threads=2, kv_type="q8_0", gpu_ratio=0.5)
    loaded, observer = await load(provider, smollm2, config)
    assert loaded.applied["kvType"] == "q8_0"
    assert (loaded.load_config.context_length, loaded.load_config.slots, loaded.ours) == (512, 2, True)
    assert [each.key for each in loaded.ignored] == ["gpu.ratio"]  # there is no GPU here
    stages = [each for each in observer.stages if "(" not in each]
    assert stages[-4:] == ["loading tensors", "allocating", "warming up", "preparing slots"]
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "temperature": 0}
    status, reply = await request(loaded.upstream, "/v1/chat/completions", body)
    assert (status, reply["model"], reply["usage"]["completion_tokens"]) == (200, "tiny", 4)
    key = dict(loaded.upstream.headers)["authorization"].removeprefix("Bearer ")
    lines = [" ".join(each.cmdline()) for each in own_children()]
    assert any(f"{smollm2} --alias tiny" in line and "--n-gpu-layers 16 " in line for line in lines)  # half of 31
    assert not any(key in line for line in lines)
    _, program = own_children()
    program.kill()
    await observer.ended.wait()
    assert isinstance(observer.errors[0], EngineCrashed)


async def test_an_entry_may_name_its_own(make: Callable[..., LlamaCpp], binary: Path, minilm: Path) -> None:
    loaded, _ = await load(make(), minilm, binary=str(binary))
    status, reply = await request(loaded.upstream, "/v1/embeddings", {"input": "hello"})
    assert (status, len(reply["data"][0]["embedding"])) == (200, 384)


async def test_why_it_did_not_load(make: Callable[..., LlamaCpp], binary: Path, smollm2: Path) -> None:
    provider = make(binary=str(binary))
    with pytest.raises(LoadFailed, match=r"[Uu]nexpected|[Ee]xpected"):
        await load(provider, smollm2, chat_template="{% if %}")
    with pytest.raises(LoadFailed, match="error: invalid argument: --nonsense"):
        await load(make(binary=str(binary), args=["--nonsense"]), smollm2)


@pytest.mark.req("F-171")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process limit another")
async def test_a_template_that_does_not_end(make: Callable[..., LlamaCpp], binary: Path, smollm2: Path) -> None:
    with pytest.raises(TemplateError, match="was ended by SIG"):
        await load(make(binary=str(binary)), smollm2, chat_template=LOOP)


async def test_what_a_build_does_not_know_is_left_out_and_told(
    make: Callable[..., LlamaCpp], tmp_path: Path, smollm2: Path
) -> None:
    program = llama_server.install(tmp_path, without="--flash-attn")
    loaded, _ = await load(make(binary=str(program)), smollm2, LoadConfig(512, slots=1, flash_attention=False))
    assert [(each.key, each.reason) for each in loaded.ignored] == [
        ("flashAttention", "this build of llama-server has no option for it")
    ]


@pytest.mark.req("F-014")
@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (None, 0, "there is no program 'llama-server' that can be run"),
        ("#!/bin/sh\n", 0o600, "there is no program 'llama-server' that can be run"),
        ("\0ELF of another machine", 0o700, "cannot be used: Exec format error"),
        ("#!/bin/sh\necho usage: something else\n", 0o700, "it is no llama-server: its --help names no --model"),
        ("#!/bin/sh\nkill -ILL $$\n", 0o700, "its --help ends with signal 4"),
        ("#!/bin/sh\necho libcuda.so.1: cannot open >&2; exit 127\n", 0o700, r"code 127 \(libcuda.so.1: cannot open\)"),
    ],
)
async def test_a_program_that_is_none(
    make: Callable[..., LlamaCpp], tmp_path: Path, smollm2: Path, text: str | None, mode: int, why: str
) -> None:
    program = tmp_path / "llama-server"
    if text is not None:
        program.write_text(text)
        program.chmod(mode | stat.S_IRUSR)
    provider = make(binary=str(program))
    with pytest.raises(ProviderUnavailable, match=why) as caught:
        await load(provider, smollm2)
    assert "providers.llama_cpp.binary" in caught.value.message
    health = await provider.health()
    assert not health.ok
    assert "providers.llama_cpp.binary" in health.detail


async def test_a_program_that_comes_later_is_found(
    make: Callable[..., LlamaCpp], tmp_path: Path, smollm2: Path
) -> None:
    provider = make(binary=str(tmp_path / "llama-server"))
    entry = ModelEntry("tiny", "llama_cpp", config={"model_path": str(smollm2)})
    assert "there is no program" in (provider.describe(entry).unavailable or "")
    llama_server.install(tmp_path)
    assert provider.describe(entry).unavailable is None
    assert (await provider.health()).ok


def test_each_setting_has_an_option_that_the_real_program_knows(binary: Path) -> None:
    known = ask(str(binary), ENV)
    assert (known.version, known.devices) == ("0.7.0 11669", ())
    settings = {
        "model": "/m.gguf",
        "alias": "m",
        "listen": "/s.sock",
        "projector": "/p.gguf",
        "chat_template_path": "/t.jinja",
        "n_ctx": 1024,
        "n_parallel": 2,
        "n_gpu_layers": 15,
        "threads": 2,
        "rope_freq_base": 10000.0,
        "rope_freq_scale": 0.5,
        "kv_type": "q8_0",
        "flash_attention": False,
        "n_batch": 64,
        "n_ubatch": 32,
        "cache_ram_mib": 0,
        "check_tensors": True,
        "mmap": False,
        "embedding": True,
        "pooling": "rank",
    }
    words, unknown = arguments(settings, known.flags)
    assert unknown == []
    assert " ".join(words) == (
        "--model /m.gguf --alias m --host /s.sock --mmproj /p.gguf --chat-template-file /t.jinja --ctx-size 1024"
        " --parallel 2 --n-gpu-layers 15 --threads 2 --threads-batch 2 --rope-freq-base 10000.0 --rope-freq-scale 0.5"
        " --cache-type-k q8_0 --cache-type-v q8_0 --flash-attn off --batch-size 64 --ubatch-size 32 --cache-ram 0"
        " --check-tensors --load-mode none --embeddings --pooling rank --no-ui --cors-origins  --offline --fit off"
        " --no-context-shift --metrics --no-slots --log-verbosity 4 --log-prefix --log-timestamps --threads-http 34"
    )


def test_devices_that_it_names(tmp_path: Path) -> None:
    program = llama_server.install(tmp_path, devices="  CUDA0: NVIDIA H100 80GB (81079 MiB, 80561 MiB free)")
    assert [dict(each) for each in ask(str(program), ENV).devices] == [
        {"name": "CUDA0", "description": "NVIDIA H100 80GB", "type": "GPU", "memory_total": 81079 << 20}
    ]


@pytest.mark.parametrize("word", ["--host", "--api-key=x", "-m"])
def test_arguments_that_are_ours_are_refused(word: str) -> None:
    with pytest.raises(InvalidRequest, match=r"config.args holds -.*, which is set for each instance"):
        read_defaults({"args": [word, "1"]})
    with pytest.raises(InvalidRequest, match=r"config.args must be a list of arguments"):
        read_options({"model_path": "/m", "args": word})
