from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import InvalidRequest
from lanhaven.models_file import assigned
from lanhaven.models_file.assigning import ALONE
from lanhaven.models_file.edit import Editor
from lanhaven.models_file.fields import LOAD, SAMPLING
from lanhaven.types.models import LoadConfig, Sampling


@pytest.mark.parametrize(
    ("texts", "changes"),
    [
        (["temperature=0.2", "top_p=1"], {"defaults": {"temperature": 0.2, "topP": 1}}),
        (["contextLength=8192", "load.slots=2"], {"load": {"contextLength": 8192, "slots": 2}}),
        (["gpu_ratio=0.5"], {"load": {"gpu": {"ratio": 0.5}}}),
        (["ttl=30m", "pinned=true", "enabled=no"], {"ttl": "30m", "pinned": True, "enabled": "no"}),
        (["aliases=a, b", "tags=x"], {"aliases": ["a", "b"], "tags": ["x"]}),
        (["aliases=[a, b]"], {"aliases": ["a", "b"]}),
        (["ttl=", "temperature="], {"ttl": None, "defaults": {"temperature": None}}),
        (["description=a=b: c"], {"description": "a=b: c"}),
        (
            ["config.model_path=~/m.gguf", "config.command=[a, -p, 1]"],
            {"config": {"model_path": "~/m.gguf", "command": ["a", "-p", 1]}},
        ),
    ],
)
def test_each_goes_where_the_file_has_it(texts: list[str], changes: dict[str, Any]) -> None:
    assert assigned(texts) == changes


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("temperature", "temperature=0.5"),
        ("=1", "temperature=0.5"),
        ("temprature=1", "did you mean temperature?"),
        ("defaults.slots=1", "did you mean slots?"),
        ("id=x", None),
        ("load=x", None),
        ("config.=x", None),
    ],
)
def test_what_is_no_field_is_refused(text: str, hint: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        assigned([text])
    assert caught.value.hint
    assert hint in (None, caught.value.hint)


def test_every_field_of_an_entry_can_be_said() -> None:
    values = {"gpu_ratio": "1", "stop": "x", "context_overflow": "error", "kv_type": "f16", "provider": "mock"}
    fields = [*ALONE, *(set(LOAD) - {"gpu"}), *SAMPLING]
    truths = {"enabled", "pinned", "preload", "flash_attention", "stream"}
    texts = [f"{each}={values.get(each, 'true' if each in truths else '1')}" for each in fields if each != "ttl"]
    editor = Editor("models:\n  - {id: a, provider: b}\n", Path("models.yaml"))
    editor.update("a", assigned(texts))
    (entry,) = editor.models.entries
    assert set(entry.sampling.said()) == set(Sampling.__dataclass_fields__)
    assert set(entry.load.said()) == set(LoadConfig.__dataclass_fields__)
