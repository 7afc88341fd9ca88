"""Downloads as jobs: progress with bytes and rate, one per model, failures with their reason, a clean end."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lanhaven import packed
from lanhaven.downloads import REMEMBERED, Downloads, DownloadStatus
from lanhaven.errors import GatewayError, ModelNotFound, NotFound, ProviderUnavailable, ServerShutdown
from lanhaven.packed import PACKED, PackedModel, Progress

pytestmark = pytest.mark.anyio

SIZE = PACKED["smollm2"].wheel.size


@dataclass
class Source:
    """A fetch in steps: each runs when the test lets it."""

    seconds: float = 0.0  # the clock
    fetched: list[str] = field(default_factory=list)
    registered: list[tuple[str, Path]] = field(default_factory=list)
    failure: GatewayError | None = None
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def fetch(self, name: str, progress: Progress) -> Path:
        self.fetched.append(name)
        for stage, done in (("downloading", SIZE // 4), ("downloading", SIZE // 2), ("unpacking", 1)):
            self.seconds += 1.0
            progress(stage, done, SIZE)
            assert self.go.acquire(timeout=20)
        if self.failure is not None:
            raise self.failure
        return Path(f"/models/{name}.gguf")

    async def register(self, model: PackedModel, path: Path) -> None:
        self.registered.append((model.name, path))

    def clock(self) -> float:
        return self.seconds


@asynccontextmanager
async def downloading(source: Source) -> AsyncIterator[Downloads]:
    downloads = Downloads(source.fetch, source.register, clock=source.clock)
    try:
        yield downloads
    finally:
        source.go.release(100)
        await downloads.aclose()


async def test_a_download_from_start_to_end() -> None:
    source = Source()
    async with downloading(source) as downloads:
        job = downloads.start("smollm2")
        assert (job.status, job.total_bytes, job.downloaded_bytes) == (DownloadStatus.DOWNLOADING, SIZE, 0)
        states = []
        async for state in downloads.follow(job.job_id):
            states.append(state)
            if state.downloaded_bytes:
                source.go.release()
        quarter, half, whole, *_, last = (each for each in states if each.downloaded_bytes)
        assert (quarter.downloaded_bytes, quarter.bytes_per_second) == (SIZE // 4, SIZE // 4)
        assert quarter.seconds_left == pytest.approx(3, abs=0.01)
        assert (half.downloaded_bytes, half.bytes_per_second) == (SIZE // 2, SIZE // 2 / 2)
        assert (whole.stage, whole.downloaded_bytes) == ("unpacking", SIZE)
        assert (last.status, last.error, last.seconds_left) == (DownloadStatus.COMPLETED, None, None)
        assert last.completed_at is not None
        assert last.completed_at >= last.started_at
        assert downloads.job(job.job_id) == last
        assert source.registered == [("smollm2", Path("/models/smollm2.gguf"))]


async def test_one_job_a_model() -> None:
    source = Source()
    async with downloading(source) as downloads:
        first = downloads.start("smollm2")
        again = downloads.start("SmolLM2-135M-Instruct")  # an alias
        other = downloads.start("minilm")
        assert again.job_id == first.job_id != other.job_id
        source.go.release(100)
        async for _ in downloads.follow(first.job_id):
            pass
        assert downloads.start("smollm2").job_id != first.job_id
    assert sorted(source.fetched) == ["minilm", "smollm2", "smollm2"]


async def test_a_failure_has_its_reason() -> None:
    source = Source(failure=ProviderUnavailable("No way to the registry.", hint="Go online."))
    source.go.release(3)
    async with downloading(source) as downloads:
        job = downloads.start("smollm2")
        *_, last = [state async for state in downloads.follow(job.job_id)]
        assert (last.status, last.error) == (DownloadStatus.FAILED, "No way to the registry. Go online.")
        assert not source.registered


async def test_the_end_of_the_server_stops_it() -> None:
    source = Source()
    downloads = Downloads(source.fetch, source.register, clock=source.clock)
    job = downloads.start("smollm2")
    async for state in downloads.follow(job.job_id):
        if state.downloaded_bytes:
            break
    source.go.release()  # as pip's next look at its files
    await downloads.aclose()
    assert downloads.job(job.job_id).status is DownloadStatus.FAILED
    assert not source.registered
    with pytest.raises(ServerShutdown):
        downloads.start("smollm2")


async def test_unknown_names() -> None:
    async with downloading(Source()) as downloads:
        with pytest.raises(ModelNotFound) as caught:
            downloads.start("https://huggingface.co/x/y")
        assert "smollm2, minilm" in str(caught.value.hint)
        with pytest.raises(NotFound):
            downloads.job("job_x")


async def test_old_jobs_are_forgotten() -> None:
    async def register(model: PackedModel, path: Path) -> None:
        pass

    fetch: Callable[[str, Progress], Path] = lambda name, progress: Path(name)  # noqa: E731
    downloads = Downloads(fetch, register)
    ids = []
    for _ in range(REMEMBERED + 2):
        ids.append(downloads.start("smollm2").job_id)
        async for _state in downloads.follow(ids[-1]):
            pass
    assert downloads.job(ids[2]).status is DownloadStatus.COMPLETED
    with pytest.raises(NotFound):
        downloads.job(ids[1])
    await downloads.aclose()


async def test_a_packed_model_that_lies_there_is_fetched_at_once(tmp_path: Path, smollm2: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / smollm2.name).symlink_to(smollm2)
    source = Source()
    downloads = Downloads(lambda name, progress: packed.fetch(name, tmp_path, progress), source.register)
    job = downloads.start("smollm2")
    *_, last = [state async for state in downloads.follow(job.job_id)]
    assert last.status is DownloadStatus.COMPLETED
    assert last.downloaded_bytes == last.total_bytes
    assert source.registered == [("smollm2", tmp_path / "models" / smollm2.name)]
    await downloads.aclose()
