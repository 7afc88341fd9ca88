"""The example programs of the other guides, as they are written there but for addresses and keys.

The commands are those of the gateway in front of LM Studio; the program is that of the typed client, in Python.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from lanhaven import (
    ChatCompletionRequest,
    ChatMessage,
    ChatRole,
    Client,
    ConnectionFailed,
    LanHavenError,
    ListModelsFilter,
    SdkContract,
    ValidationFailed,
)
from tests.e2e.conftest import SMALL
from tests.house_process import HouseProcess

LOAD_FULLY = r"""
curl -X POST http://localhost:8002/admin/models/load \
  -H "Content-Type: application/json" \
  -H "X-API-Key: change-me-please" \
  -d '{
    "modelKey": "qwen2-1.5b-instruct",
    "instanceId": "primary",
    "loadConfig": {
      "contextLength": 8192,
      "gpu": {
        "ratio": 1.0,
        "layers": 32
      },
      "cpuThreads": 4
    },
    "defaultInference": {
      "temperature": 0.7,
      "maxTokens": 1024
    },
    "activate": true
  }'
"""
UNLOAD = r"""
curl -X POST http://localhost:8002/admin/models/unload \
  -H "Content-Type: application/json" \
  -H "X-API-Key: change-me-please" \
  -d '{
    "modelKey": "qwen2-1.5b-instruct",
    "instanceId": "primary"
  }'
"""
HIGH_CONTEXT = r"""
curl -X POST http://localhost:8002/admin/models/load \
  -H "Content-Type: application/json" \
  -H "X-API-Key: change-me-please" \
  -d '{
    "modelKey": "qwen2-1.5b-instruct",
    "instanceId": "high-context",
    "loadConfig": {
      "contextLength": 32768,
      "gpu": {"ratio": 0.5}
    }
  }'
"""
HIGH_GPU = r"""
curl -X POST http://localhost:8002/admin/models/load \
  -H "Content-Type: application/json" \
  -H "X-API-Key: change-me-please" \
  -d '{
    "modelKey": "qwen2-1.5b-instruct",
    "instanceId": "high-gpu",
    "loadConfig": {
      "contextLength": 4096,
      "gpu": {"ratio": 1.0}
    }
  }'
"""
HEALTH = r"""
curl -H "X-API-Key: change-me-please" \
  http://localhost:8002/health
"""
LOAD = r"""
curl -X POST http://localhost:8002/admin/models/load \
  -H "Content-Type: application/json" \
  -H "X-API-Key: change-me-please" \
  -d '{
    "modelKey": "qwen2-1.5b-instruct",
    "activate": true
  }'
"""
MODELS = r"""
curl -H "X-API-Key: change-me-please" \
  http://localhost:8002/admin/models
"""
CHAT = r"""
curl -X POST http://localhost:8002/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "X-API-Key: change-me-please" \
  -d '{
    "messages": [
      {"role": "user", "content": "Hello!"}
    ]
  }'
"""


def run(house: HouseProcess, command: str) -> dict[str, object]:
    """What the command prints. Beside the address it is only told to be quiet, and to fail where the server refuses."""
    line = command.replace("http://localhost:8002", house.url).replace("curl ", "curl --silent --show-error --fail ", 1)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.req("S1-18")
def test_the_commands_that_load_and_unload(house: HouseProcess) -> None:
    loaded = run(house, LOAD_FULLY)
    assert (loaded["status"], loaded["modelKey"], loaded["instanceId"]) == ("loaded", SMALL, "primary")
    assert house.loaded()["primary"]["contextLength"] == 8192
    unloaded = run(house, UNLOAD)
    assert (unloaded["status"], unloaded["modelKey"]) == ("unloaded", SMALL)
    assert house.loaded() == {}


@pytest.mark.req("S1-24")
def test_the_commands_that_load_one_model_twice(house: HouseProcess) -> None:
    run(house, HIGH_CONTEXT)
    run(house, HIGH_GPU)
    contexts = {name: each["contextLength"] for name, each in house.loaded().items()}
    assert contexts == {"high-context": 8192, "high-gpu": 4096}, "no model holds more than it was made for"


@pytest.mark.req("S1-49")
def test_the_commands_that_try_it_out(house: HouseProcess) -> None:
    assert run(house, HEALTH)["status"] == "ok"
    assert run(house, LOAD)["activated"] is True
    assert SMALL in json.dumps(run(house, MODELS)["loaded"])
    answer = run(house, CHAT)
    assert answer["model"] == SMALL, "the active model's name is filled in"


def environment(house: HouseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the typed client's guide."""
    monkeypatch.setenv("LM_STUDIO_BASE_URL", house.url)
    monkeypatch.setenv("LM_STUDIO_API_KEY", "your-api-key-here")
    monkeypatch.setenv("LM_STUDIO_TIMEOUT", "30")
    monkeypatch.setenv("LM_STUDIO_CONNECT_TIMEOUT", "10")
    monkeypatch.setenv("LM_STUDIO_MAX_RETRIES", "2")
    monkeypatch.setenv("LM_STUDIO_VERIFY_TLS", "true")
    monkeypatch.setenv("LM_STUDIO_DEFAULT_MODEL", SMALL)


def question(**more: object) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model=SMALL,
        messages=(ChatMessage(ChatRole.USER, "What is Laravel?"),),
        stream=False,
        temperature=0.7,
        max_tokens=24,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.req("S3-12", "S3-20", "S3-21", "S3-22", "S3-23", "S3-28")
def test_the_typed_clients_program(house: HouseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(house, monkeypatch)
    with Client() as client:
        sdk: SdkContract = client
        response = sdk.create_chat_completion(question())
        assert response.choices[0].message.text

        shown, types = "", []
        for event in client.inference.start(question()).events():
            types.append(event.type)
            if event.type == "chunk":
                shown += event.payload["content"]
            elif event.type == "completed":
                assert event.payload["content"] == shown
        assert types[-1] == "completed"
        assert shown

        everything = sdk.list_models()
        ready = sdk.list_models(ListModelsFilter(owned_by="llama_cpp", status="ready", limit=10))
        assert SMALL in {each.id for each in everything}
        assert {each.id for each in ready} == {SMALL}
        health = sdk.health_check()
        assert health.models_loaded == 1


@pytest.mark.req("S3-24", "S3-25")
def test_the_typed_clients_errors(house: HouseProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(house, monkeypatch)
    with Client() as client, pytest.raises(ValidationFailed) as refused:
        client.create_chat_completion({"model": SMALL, "messages": "no list"})
    assert isinstance(refused.value, LanHavenError)
    assert refused.value.context["errors"]

    with Client(base_url="http://127.0.0.1:9", max_retries=0) as client, pytest.raises(ConnectionFailed) as failed:
        client.create_chat_completion(question())
    assert str(failed.value.context["endpoint"]).startswith("http://127.0.0.1:9")
