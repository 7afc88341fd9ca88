"""What the lines of LM Studio's server log become, and what of them stays there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lanhaven.lmstudio.log_events import LMStudioLog
from lanhaven.lmstudio.server_log import ServerLog
from lanhaven.server.debug import event_json

CANARY = "the-prompt-of-somebody"
# As LM Studio 0.3.18 writes it: lmstudio-bug-tracker, issues 597 and 778.
REQUEST = f"""\
[2025-07-19 20:33:32][DEBUG] Received request: POST to /v1/chat/completions with body {{
  "messages": [
    {{
      "role": "user",
      "content": "{CANARY}"
    }}
  ]
}}
[2025-07-19 20:33:33][INFO][LM STUDIO SERVER] Running chat completion on conversation with 9 messages.
[2025-07-19 20:33:33][DEBUG] Sampling params:\trepeat_last_n = 64, repeat_penalty = 1.100, frequency_penalty = 0.000
\tdry_multiplier = 0.000, dry_base = 1.750, dry_allowed_length = 2, dry_penalty_last_n = -1
\ttop_k = 40, top_p = 1.000, top_n_sigma = -1.000, temp = 0.500
[2025-07-19 20:33:33][DEBUG] Sampling:\x20
logits -> logit-bias -> penalties -> dry -> top-k -> dist\x20
Generate: n_ctx = 4096, n_batch = 512, n_predict = -1, n_keep = 42
[2025-07-19 20:33:33][DEBUG] Looking for non-prefix contiguous prompt sequences of size >= 256 to reuse from cache
Cache reuse summary: 2158/5889 of prompt (36.6446%), 2158 prefix, 0 non-prefix
Total prompt tokens: 5889
Prompt tokens to decode: 3731
[2025-07-19 20:33:33][DEBUG]\x20
BeginProcessingPrompt
[2025-07-19 20:33:34][INFO][qwen3-4b] Prompt processing progress: 45.3%
[2025-07-19 20:33:35][DEBUG][Client=x][Endpoint=y] Generated prediction: {{"content": "{CANARY}"}}
[2025-07-19 20:33:35][INFO] Finished streaming response
"""


def told(lines: Sequence[str], host: str = "pc") -> list[LMStudioLog]:
    log = ServerLog(host)
    return [*log.read(lines), *log.rest()]


def facts(event: LMStudioLog) -> dict[str, Any]:
    """As the debug stream has it, without what all of them have."""
    left_out = {"timestamp", "host", "loggedAt", "level", "source", "message"}
    return {name: value for name, value in event_json(event).items() if name not in left_out}


def test_one_chat() -> None:
    found = {each.name: each for each in told(REQUEST.splitlines())}
    assert facts(found["lmstudio_chat_start"]) == {"messages": 9}
    assert facts(found["lmstudio_sampling_params"]) == {
        "repeat_last_n": 64,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0,
        "dry_multiplier": 0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": -1,
        "top_k": 40,
        "top_p": 1,
        "top_n_sigma": -1,
        "temp": 0.5,
    }
    assert facts(found["lmstudio_token_info"]) == {
        "n_ctx": 4096,
        "n_batch": 512,
        "n_predict": -1,
        "n_keep": 42,
        "totalPromptTokens": 5889,
        "promptTokensToDecode": 3731,
    }
    assert facts(found["lmstudio_cache_stats"]) == {
        "reused": 2158,
        "total": 5889,
        "percentage": 36.6446,
        "prefix": 2158,
        "nonPrefix": 0,
    }
    assert facts(found["lmstudio_prompt_progress"]) == {"progress": 45.3}
    assert facts(found["lmstudio_processing_start"]) == {}
    progress = found["lmstudio_prompt_progress"]
    assert (progress.host, progress.level, progress.source) == ("pc", "INFO", "qwen3-4b")
    assert progress.logged_at == "2025-07-19 20:33:34"


def test_each_line_with_a_date_is_told_and_no_other() -> None:
    lines = [each for each in told(REQUEST.splitlines()) if each.name == "lmstudio_log"]
    assert [each.message for each in lines] == [
        "Received request: POST to /v1/chat/completions",
        "Running chat completion on conversation with 9 messages",
        "Sampling params:",
        None,
        None,
        None,
        "Prompt processing progress: 45.3%",
        None,
        "Finished streaming response",
    ]


@pytest.mark.req("S0-x10", "P20")
def test_no_prompt_leaves_it() -> None:
    shown = "".join(str(event_json(each)) for each in told(REQUEST.splitlines()))
    assert CANARY not in shown


@pytest.mark.parametrize(
    "line",
    [
        f"[2025-07-19 20:33:33][INFO] {CANARY}",
        f"[2025-07-19 20:33:33][INFO][{CANARY}] something",
        f"[2025-07-19 20:33:33][INFO] Running chat completion on {CANARY}",
        f"[2025-07-19 20:33:33][INFO] Running chat completion on conversation with 2 messages. {CANARY}",
        f"[2025-07-19 20:33:33][INFO] Received request: GET to /v1/models?q={CANARY}",
        f"[2025-07-19 20:33:33][DEBUG] Sampling params: top_k = 4, {CANARY} = x",
        f"[2025-07-19 20:33:33][DEBUG] Sampling params: {CANARY}",
        f"Generate: n_ctx = 4096, {CANARY}",
        f"Cache reuse summary: 1/2 of prompt (50%), 1 prefix, 0 non-prefix {CANARY}",
        f"BeginProcessingPrompt {CANARY}",
        f"[2025-07-19 20:33:33][INFO][a] Prompt processing progress: 45.3% {CANARY}",
    ],
)
def test_lines_that_only_look_known(line: str) -> None:
    events = told([line])
    assert CANARY not in "".join(str(event_json(each)) for each in events)
    assert {each.name for each in events} <= {"lmstudio_log"}


@pytest.mark.parametrize(
    "line",
    ["", "[", "[2025-07-19 20:33:33]", "[2025-07-19 20:33:33][info] x", "\x00\ufffd", "[x][INFO] y", "[[[[[" * 50],
)
def test_what_is_no_line(line: str) -> None:
    assert told([line]) == []


def test_a_list_that_goes_on_in_the_next_batch() -> None:
    log = ServerLog("pc")
    first = list(log.read(["[2025-07-19 20:33:33][DEBUG] Sampling params:\ttop_k = 40"]))
    assert [each.name for each in first] == ["lmstudio_log"]
    (event,) = log.read(["\ttemp = 0.500", "Generate: n_ctx = 1"])
    assert facts(event) == {"top_k": 40, "temp": 0.5}
    assert list(log.rest()) == []
