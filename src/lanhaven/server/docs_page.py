"""`/docs`: the OpenAPI document as one page for people. No script, nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any

Json = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .6rem .8rem; border-radius: 6px; background: light-dark(#f3f3f3, #1e1e1e); }
details { margin: .3rem 0; padding: .4rem .8rem; border: 1px solid light-dark(#d5d5d5, #444); border-radius: 6px; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4rem; }
summary span { color: light-dark(#595959, #aaa); }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { padding: .15rem 1rem .15rem 0; text-align: left; vertical-align: top; }
"""

# The style is named by its hash, so the page needs no exception for inline styles.
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CSP = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)  # fmt: skip


def page(document: Json, base_url: str) -> str:
    """The HTML page of this document; `base_url` is how the reader reached the server."""
    title = f"{document['info']['title']} {document['info']['version']}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p>{_text(document['info']['description'])}</p>"
        f"<p>Base URL of OpenAI clients: <code>{escape(base_url)}/v1</code>. "
        'For generators of clients: <a href="/openapi.json">/openapi.json</a>. '
        'With examples of replies: <a href="/redoc">/redoc</a>.</p>'
        f"{''.join(_sections(document, base_url))}</body></html>"
    )


def _sections(document: Json, base_url: str) -> Iterator[str]:
    found = [
        (operation["tags"][0] if operation.get("tags") else "other", path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag, group in groupby(found, lambda each: each[0]):
        yield f"<h2>{escape(tag)}</h2>"
        yield from (_operation(document, base_url, *each[1:]) for each in group)


def _operation(document: Json, base_url: str, path: str, method: str, operation: Json) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    head = f"<b>{method.upper()}</b> <code>{escape(path)}</code> <span>{_text(operation['summary'])}</span>"
    pieces = [
        f"<summary>{head}</summary>",
        f"<p>{_text(operation.get('description', ''))}</p>" if operation.get("description") else "",
        _parameters(operation.get("parameters", ())),
        _fields(document, body["schema"], "Body") if body else "",
        _curl(base_url + path, method, body),
        _replies(operation["responses"]),
    ]
    return f'<details id="{escape(operation["operationId"])}">{"".join(pieces)}</details>'


def _parameters(parameters: Any) -> str:
    rows = [
        (each["name"], f"{each['in']}, {_kind(each['schema'])}", each.get("description", "")) for each in parameters
    ]
    return _table("Parameters", rows) if rows else ""


def _fields(document: Json, schema: Json, title: str) -> str:
    """The fields of an object, and those of the objects in it."""
    known = _resolved(document, schema)
    required = known.get("required", ())
    properties = known.get("properties", {})
    rows = [
        (name, _kind(each) + (", needed" if name in required else ""), each.get("description", ""))
        for name, each in properties.items()
    ]
    inner = [
        _fields(document, part, name)
        for name, each in properties.items()
        for part in _objects(each)
        if "properties" in _resolved(document, part)
    ]
    return _table(title, rows) + "".join(inner)


def _objects(schema: Json) -> Iterator[Json]:
    """The schemas inside this one that may be objects."""
    if "$ref" in schema or "properties" in schema:
        yield schema
    for choice in schema.get("anyOf", ()):
        yield from _objects(choice)
    if isinstance(schema.get("items"), Mapping):
        yield from _objects(schema["items"])


def _resolved(document: Json, schema: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Json = document["components"]["schemas"][name] if name else schema
    return found


def _kind(schema: Json) -> str:
    """A word or two for a schema: "number 0 to 2", "array of string"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    kind = schema.get("type", "anything")
    name = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if kind == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    bounds = [f"{word} {schema[key]:,}" for key, word in BOUNDS if key in schema]
    return " ".join((name, *bounds))


BOUNDS = (("minimum", "from"), ("exclusiveMinimum", "over"), ("maximum", "to"))


def _curl(url: str, method: str, body: Json | None) -> str:
    line = f"curl {url}"
    if method == "post":
        data = json.dumps(body["example"] if body and "example" in body else {}).replace("'", "'\\''")
        line += f" -H 'Content-Type: application/json' -d '{data}'"
    needs_more = "{" in url or (body is not None and "example" not in body)
    return "" if needs_more else f"<pre>{escape(line)}</pre>"


def _replies(responses: Json) -> str:
    rows = [(status, reply["description"], "") for status, reply in responses.items() if status != "default"]
    return _table("Replies", rows)


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{_text(said)}</td></tr>"
        for name, kind, said in rows
    )
    return f'<table><tr><th colspan="3">{escape(title)}</th></tr>{lines}</table>'


def _text(text: str) -> str:
    """Escaped, with `code` in its own type."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
