"""The word that preloaded models are asked, so that the first real answer is quick (S4-25)."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.events import InferenceStart
from lanhaven.server.prewarm import prewarm
from lanhaven.server.startup import preload
from tests.serving import serving

pytestmark = pytest.mark.anyio

REAL = """\
default_model: smol
models:
  - id: smol
    provider: llama_cpp
    enabled: true
    config: {{model_path: {smollm2}}}
    load: {{context_length: 512, slots: 1}}
  - {{id: mini, provider: llama_cpp, enabled: true, preload: true, config: {{model_path: {minilm}}}}}
"""


@pytest.mark.req("S4-25")
async def test_the_first_real_request_finds_its_beginning_computed(tmp_path: Path, smollm2: Path, minilm: Path) -> None:
    async with serving(tmp_path, REAL.format(smollm2=smollm2, minilm=minilm), mock=False) as house:
        assert await preload(house.services) == []
        await prewarm(house.services, tuple(house.services.pool.ids()))
        assert house.named(InferenceStart) == [], "it is nobody's request"
        reply = (await house.chat("Hi there", model="smol", max_tokens=1)).json()
        assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


async def test_engines_of_others_and_models_that_are_gone_are_left_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        await house.chat(model="alpha")
        await prewarm(house.services, ("alpha", "nobody"))
        assert len(house.seen) == 1
