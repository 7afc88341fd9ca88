"""POST /v1/chat/completions/multipart: what a form holds, and forms made to hurt."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.dialects.forms import MOST_PARTS
from lanhaven.dialects.openai.multipart import SLOT, Form, Part, body_of
from lanhaven.errors import GatewayError, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from tests.media.pictures import asking, data_uri, opened, part, picture
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: eyes
models:
  - {id: eyes, provider: mock, enabled: true, config: {kind: vlm}}
  - {id: blind, provider: mock, enabled: true}
"""
PATH = "/v1/chat/completions/multipart"
LINE = "--x"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, anyio_backend: object) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), MODELS, max_images_per_request=3) as house:
        yield house


def form(*fields: tuple[str, bytes], end: str = f"{LINE}--\r\n") -> bytes:
    parts = (
        f'{LINE}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in fields
    )
    return b"".join(parts) + end.encode()


async def read(data: bytes, *, step: int = 7, boundary: str = "x") -> list[Part]:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), step):
            yield data[at : at + step]

    headers = [(b"content-type", f"multipart/form-data; boundary={boundary}".encode())]
    return list(await Form(headers).read(pieces()))


async def asked(**fields: bytes) -> dict[str, Any]:
    return body_of(await read(form(*fields.items())))


async def test_a_form_in_pieces_of_any_size() -> None:
    data = form(("messages", b"[]"), ("images", bytes(range(256)) + b"\r\n--y"), ("empty", b""))
    expected = [Part("messages", b"[]"), Part("images", bytes(range(256)) + b"\r\n--y"), Part("empty", b"")]
    for step in (1, 2, 13, 10_000):
        assert await read(data, step=step) == expected


@pytest.mark.req("S4-x11")
async def test_fields_are_what_json_would_have_made_of_them() -> None:
    body = await asked(
        model=b"7", messages=b'[{"role": "user", "content": "x"}]', temperature=b"0.5", max_tokens=b"12",
        stream=b"true", stop=b"END", seed=b"3", response_format=b'{"type": "text"}', resize_max=b"64", user=b"12",
    )  # fmt: skip
    assert body == {
        "model": "7", "messages": [{"role": "user", "content": "x"}], "temperature": 0.5, "max_tokens": 12,
        "stream": True, "stop": "END", "seed": 3, "response_format": {"type": "text"}, "resize_max": 64, "user": "12",
    }  # fmt: skip
    assert (await asked(messages=b"[]", stop=b'["a", "b"]'))["stop"] == ["a", "b"]


def filled(messages: list[Any], *images: bytes, name: str = "images") -> list[Any]:
    told: list[Any] = body_of(
        [Part("messages", json.dumps(messages).encode()), *(Part(name, image) for image in images)]
    )["messages"]
    return told


def test_images_take_their_places_in_their_order() -> None:
    given = [*asking(SLOT, "data:,kept"), {"role": "user", "content": [{"type": "image_url", "image_url": SLOT}]}]
    for name in ("images", "images[]"):
        got = filled(given, b"1", b"2", name=name)
        assert got[0]["content"][:2] == [part(b"1"), part("data:,kept")]
        assert got[1]["content"] == [part(b"2")]


def test_without_places_they_belong_to_the_last_message_of_the_user() -> None:
    text = {"type": "text", "text": "x"}
    asked = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    assert filled(asked, b"1", b"2")[0]["content"] == [text, part(b"1"), part(b"2")]
    assert filled([{"role": "user", "content": [text]}], b"1")[0]["content"] == [text, part(b"1")]


@pytest.mark.parametrize(
    ("messages", "images", "param"),
    [
        (asking(SLOT), [], "images"),
        (asking(SLOT), [b"1", b"2"], "images"),
        ([{"role": "system", "content": "x"}], [b"1"], "messages"),
        ({}, [], "messages"),
    ],
)
def test_places_and_images_that_do_not_match(messages: Any, images: list[bytes], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        filled(messages, *images)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "fields",
    [{}, {"messages": b"["}, {"messages": b"\xff"}, {"messages": b"[]", "stop": b"\xff"}],
)
async def test_what_cannot_be_read(fields: dict[str, bytes]) -> None:
    with pytest.raises(InvalidRequest):
        await asked(**fields)


async def test_a_field_stands_once() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        body_of(await read(form(("messages", b"[]"), ("seed", b"1"), ("seed", b"2"))))


HEAD = f'{LINE}\r\nContent-Disposition: form-data; name="a"\r\n'


@pytest.mark.req("F-112")
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (form(*[("a", b"")] * 10_000), InvalidRequest),
        (form(*((str(number), b"") for number in range(MOST_PARTS + 1))), InvalidRequest),
        ((HEAD + "X: " + "y" * (1 << 20) + "\r\n\r\n").encode(), InvalidRequest),
        ((HEAD + "X: y\r\n" * 100_000 + "\r\n").encode(), InvalidRequest),
        (form(("a", b"x"), end=""), InvalidRequest),
        (form(("images", b"x" * 100), end=LINE), InvalidRequest),
        (b"", InvalidRequest),
        (b"\0" * 10_000, InvalidRequest),
        (b"--" * 100_000, InvalidRequest),
        (f"{LINE}\r\nContent-Type: text/plain\r\n\r\nx\r\n{LINE}--\r\n".encode(), InvalidRequest),
        (form(("a", bytes(100_000))), PayloadTooLarge),
        (form(("messages", b" " * ((8 << 20) + 1))), PayloadTooLarge),
    ],
)
async def test_forms_made_to_hurt(data: bytes, kind: type[GatewayError]) -> None:
    before = time.process_time()
    with pytest.raises(kind) as caught:
        body_of(await read(data, step=1 << 16))
    assert caught.value.status in (400, 413)
    assert time.process_time() - before < 1  # seconds of CPU: the fault says so


@pytest.mark.req("F-112")
@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary=" + "-" * 100_000]
)  # fmt: skip
async def test_types_that_are_not_taken(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        Form([(b"content-type", content_type.encode())])


async def post(house: House, messages: Any, *images: bytes, **fields: str) -> httpx2.Response:
    files = [("images", ("a", image, "application/octet-stream")) for image in images]
    fields_ = {"messages": json.dumps(messages), **fields}
    return await house.http.post(PATH, data=fields_, files=files or {"none": (None, "")})


def shown(house: House) -> list[str]:
    """The images that the model got."""
    parts = house.seen[-1].body["messages"][-1]["content"]
    return [each["image_url"]["url"] for each in parts if "image_url" in each]


@pytest.mark.req("S4-14", "S4-30", "S4-x11")
async def test_the_model_gets_what_a_chat_would_have_brought(house: House) -> None:
    files = [picture("PNG"), picture("WEBP"), picture("JPEG", size=(640, 480))]
    reply = await post(
        house, asking(SLOT, SLOT, SLOT), *files, resize_max="64", temperature="0.5", preserve_alpha="false"
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["object"] == "chat.completion"
    by_form, form_body = shown(house), house.seen[-1].body
    assert by_form[0] == data_uri(files[0])
    assert [opened(each).size for each in by_form] == [(32, 32), (32, 32), (64, 48)]
    uris = [data_uri(each) for each in files]
    reply = await house.http.post(
        "/v1/chat/completions", json={"messages": asking(*uris), "resize_max": 64, "temperature": 0.5}
    )
    assert reply.status_code == 200, reply.text
    assert (shown(house), house.seen[-1].body) == (by_form, form_body)


async def test_it_streams_and_has_a_short_path(house: House) -> None:
    data = {"messages": json.dumps(asking(SLOT)), "stream": "true"}
    reply = await house.http.post(PATH.removeprefix("/v1"), data=data, files={"images": picture()})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")


async def test_it_is_refused_as_a_chat_would_be(house: House) -> None:
    for reply, status, param in (
        (await post(house, asking(SLOT), picture(), temperature="hot"), 400, "temperature"),
        (await post(house, asking(SLOT), picture(), resize_max="0"), 400, "resize_max"),
        (await post(house, asking(SLOT), b"no image"), 400, "messages[0].content[0].image_url"),
        (await post(house, asking(*[SLOT] * 4), *[picture()] * 4), 400, "messages[0].content[3].image_url"),
        (await post(house, asking(SLOT), picture(), model="blind"), 400, "messages[0].content[0].image_url"),
        (await post(house, [{"role": "user", "content": "x"}], model="nobody"), 404, "model"),
    ):
        assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text
    assert (await house.http.post(PATH, json={"messages": []})).status_code == 415
    assert (await house.http.get(PATH)).status_code == 405


async def test_its_length_is_bounded(tmp_path: Path) -> None:
    async with serving(tmp_path, MODELS, max_body_bytes=20_000) as house:
        assert (await post(house, asking(SLOT), bytes(30_000))).status_code == 413
        assert (await post(house, asking(SLOT), picture())).status_code == 200


@pytest.mark.req("S4-26")
async def test_who_cannot_see_says_who_can(house: House) -> None:
    reply = await house.http.post(
        "/v1/chat/completions", json={"model": "blind", "messages": asking(data_uri(picture()))}
    )
    assert reply.status_code == 400
    assert "Model blind cannot see images." in reply.json()["error"]["message"]
    assert "eyes" in reply.json()["error"]["message"]
