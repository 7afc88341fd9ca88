"""A server with one model of each kind that the document's examples name, and its document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

MODELS = """\
default_model: smollm2
models:
  - {id: smollm2, provider: mock, enabled: true}
  - {id: minilm, provider: mock, enabled: true, config: {kind: embedding}}
  - {id: reranker, provider: mock, enabled: true, config: {kind: reranker}}
  - {id: old-model, provider: mock, enabled: true}
"""
METHODS = ("get", "post", "put", "patch", "delete", "head")
Json = dict[str, Any]


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    """Path, method and operation of everything in the document."""
    for path, methods in document["paths"].items():
        yield from ((path, method, operation) for method, operation in methods.items() if method in METHODS)


def examples(document: Mapping[str, Any]) -> dict[str, tuple[str, str, Json, str]]:
    """Operation -> method, path, the example of its body, and the body's media type."""
    found = {}
    for path, method, operation in operations(document):
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in content:
                found[operation["operationId"]] = (method, path, content["example"], media)
    return found


class Schemas:
    """Judges values by the document's schemas."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._components = document["components"]

    def problems(self, value: Any, schema: Mapping[str, Any]) -> list[str]:
        """What is wrong with a value."""
        judge = jsonschema_rs.validator_for({**schema, "components": self._components})
        return [f"{each.instance_path}: {each.message}" for each in judge.iter_errors(value)]
