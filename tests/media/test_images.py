"""The images of a request: found, refused by size, head or Base64, and put back ready for a model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from lanhaven.errors import GatewayError, InvalidRequest, PayloadTooLarge, UnsupportedFeature
from lanhaven.media.fetch import Fetcher
from lanhaven.media.images import Images
from lanhaven.media.sources import Limits
from lanhaven.media.workers import Workers
from lanhaven.types.images import Sizing
from tests.media.pictures import asking, base64, data_uri, opened, part, picture
from tests.media.test_pixels import png

pytestmark = pytest.mark.anyio

ANY = Sizing()


def images_of(workers: Workers, *, longest: int = 0, installed: bool = True, **limits: int) -> Images:
    return Images(workers, limits=Limits(**limits), longest=longest, fetcher=None, installed=installed)


async def settled(images: Images, *sources: Any, sizing: Sizing = ANY) -> list[str]:
    body = {"messages": asking(*sources)}
    await images.settle(images.find(body), sizing)
    return [each["image_url"]["url"] for each in body["messages"][0]["content"] if "image_url" in each]


async def refusal(images: Images, *sources: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await settled(images, *sources)
    return caught.value


@pytest.mark.req("S4-26")
async def test_every_form_becomes_a_data_uri_of_png_or_jpeg(workers: Workers) -> None:
    images = images_of(workers)
    plain, webp = data_uri(picture()), picture("WEBP")
    given = [plain, data_uri(webp, "image/webp"), f"data:;base64,{base64(picture())}", picture(), webp]
    got = await settled(images, *given)
    assert got[0] == plain
    assert got[2] == got[3] == plain
    assert got[1] == got[4]
    assert opened(got[1]).format == "JPEG"


async def test_the_type_that_was_said_is_not_believed(workers: Workers) -> None:
    (got,) = await settled(images_of(workers), data_uri(picture("JPEG"), "image/png"))
    assert got == data_uri(picture("JPEG"), "image/jpeg")


async def test_images_are_found_wherever_messages_have_them(workers: Workers) -> None:
    images, uri = images_of(workers), data_uri(picture("BMP"), "image/bmp")
    messages: list[Any] = [
        {"role": "system", "content": "see"},
        {"role": "user", "content": [{"type": "image_url", "image_url": uri}, {"type": "text", "text": "x"}]},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": [part(uri), {"type": "image_url", "image_url": {"url": uri, "detail": "low"}}]},
    ]
    slots = images.find({"messages": messages})
    assert [slot.place for slot in slots] == [
        "messages[1].content[0].image_url", "messages[3].content[0].image_url", "messages[3].content[1].image_url",
    ]  # fmt: skip
    await images.settle(slots, Sizing())
    assert messages[1]["content"][0]["image_url"].startswith("data:image/png")
    assert messages[3]["content"][1]["image_url"]["detail"] == "low"
    assert images.find({"prompt": "x"}) == images.find({"messages": [{"role": "user", "content": "x"}]}) == []


@pytest.mark.req("S4-30")
async def test_sizes_are_those_of_the_request_within_the_servers(workers: Workers) -> None:
    images, big = images_of(workers, longest=100), data_uri(picture("JPEG", size=(300, 200)), "image/jpeg")
    sizes = [
        opened((await settled(images, big, sizing=sizing))[0]).size
        for sizing in (Sizing(), Sizing(longest=500), Sizing(longest=60), Sizing(height=20))
    ]
    assert sizes == [(100, 67), (100, 67), (60, 40), (30, 20)]


@pytest.mark.req("F-165")
@pytest.mark.parametrize(
    "source",
    [
        "data:", "data:,", "data:image/png", "data:image/png,AAAA", "data:image/png;base64", "data:text/html;base64,PGI+",
        "data:image/png;charset=x;base64;x,AAAA", "DATA:IMAGE/PNG;BASE64;,AAAA", "data:" + "x" * 100_000 + ";base64,AAAA",
        "data:image/png;base64,", "data:image/png;base64,!!!!", "data:image/png;base64,iVBORw0KGgo",
        "data:image/png;base64,iVBORw0K%67o=", "data:image/png;base64,\ud800", "data:image/png;base64,ｉＶＢＯ",
        "data:image/png;base64,PHN2Zy8+", "data:image/svg+xml;base64,PHN2Zy8+", None, 3, [], {}, True,
    ],
)  # fmt: skip
async def test_what_is_no_image(workers: Workers, source: Any) -> None:
    error = await refusal(images_of(workers), source)
    assert isinstance(error, InvalidRequest)
    assert error.message.startswith("Image 1 ")
    assert error.param == "messages[0].content[0].image_url"
    assert error.retry is False


@pytest.mark.req("F-165")
async def test_broken_base64_behind_a_good_beginning(workers: Workers) -> None:
    good = data_uri(picture("BMP", size=(300, 300)), "image/bmp")
    for bad in (good[:-5] + "\u00e9" + good[-4:], good[:-8] + "=AAA" + good[-4:], good[:-2]):
        assert (await refusal(images_of(workers), bad)).message == "Image 1 is not Base64."


@pytest.mark.req("F-165")
async def test_more_bytes_than_an_image_may_have(workers: Workers) -> None:
    images = images_of(workers, most_bytes=1000)
    for source in (data_uri(bytes(2000)), picture("BMP")):
        error = await refusal(images, source)
        assert isinstance(error, PayloadTooLarge)
        assert (error.status, error.message) == (413, "Image 1 has more than 1000 bytes.")


@pytest.mark.req("S4-x10")
async def test_more_images_than_a_request_may_have(workers: Workers) -> None:
    images = images_of(workers, most_images=2)
    assert len(await settled(images, *[data_uri(picture())] * 2)) == 2
    error = await refusal(images, *[data_uri(picture())] * 3)
    assert error.message == "A request may bring at most 2 images, this one has 3."


async def test_images_of_earlier_turns_do_not_count_as_new_ones(workers: Workers) -> None:
    images = images_of(workers, most_images=2)
    two = asking(*[data_uri(picture())] * 2)
    turn = [*two, {"role": "assistant", "content": "I see."}]
    assert len(images.find({"messages": [*turn * 3, *two]})) == 8
    assert len(images.find({"messages": [*turn, *two, {"role": "assistant", "content": "It shows"}]})) == 4
    with pytest.raises(InvalidRequest, match="at most 2 images, this one has 4") as failed:
        images.find({"messages": [*turn, *two, *two]})
    assert failed.value.param == "messages[3].content[0].image_url"
    with pytest.raises(InvalidRequest, match="A conversation may hold at most 20 images, this one has 22") as failed:
        images.find({"messages": [*turn * 10, *two]})
    assert failed.value.hint is not None


async def test_one_bad_image_ends_them_all(workers: Workers) -> None:
    error = await refusal(images_of(workers), data_uri(picture()), data_uri(picture()[:60]), data_uri(picture()))
    assert error.message == "Image 2 is damaged."
    assert len(await settled(images_of(workers), data_uri(picture()))) == 1


async def test_without_pillow_the_command_that_installs_it(workers: Workers) -> None:
    error = await refusal(images_of(workers, installed=False), data_uri(picture()))
    assert isinstance(error, UnsupportedFeature)
    assert error.hint == "pip install 'lanhaven[vision]'"


HOSTILE: Sequence[tuple[str, bytes]] = (
    ("more pixels than there is memory", png(60_000, 60_000)),
    ("a long thin line", png(1 << 30, 1)),
    ("pixels that are not there", png(7000, 7000)),
    ("a GIF that is wider than it is", b"GIF89a" + b"\xff" * 4 + bytes(20)),
    ("a JPEG of 65535 x 65535", b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(200)),
    ("a BMP of minus 2 billion lines", b"BM" + bytes(12) + b"\x28\0\0\0" + b"\1\0\0\0" + b"\0\0\0\x80" + bytes(40)),
    ("a WEBP that is a film of nothing", b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\2\0\0\0" + b"\xff" * 6 + bytes(20)),
    ("a vector image", b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><svg>&a;</svg>"),
    ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run"),
    ("a program", b"\x7fELF" + bytes(100)),
)


@pytest.mark.req("F-166")
async def test_images_made_to_exhaust_memory(workers: Workers) -> None:
    images, this = images_of(workers), psutil.Process(os.getpid())
    await settled(images, data_uri(picture("WEBP")))
    before = this.memory_info().rss
    for name, data in HOSTILE:
        for source in (data_uri(data), data):
            error = await refusal(images, source)
            assert (error.status, error.retry) == (400, False), name
            assert error.message in {
                "Image 1 has more than 50000000 pixels, or a side of more than 16384.",
                "Image 1 is no JPEG, PNG, WEBP, BMP or GIF.",
                "Image 1 is damaged.",
            }, name
    assert this.memory_info().rss - before < 20 << 20
    assert (await settled(images, data_uri(picture()))) == [data_uri(picture())]


async def test_addresses_that_are_fetched_are_read_like_all_others(workers: Workers) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        data = picture("WEBP")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/webp\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fetcher = Fetcher([f"127.0.0.1:{port}"], lambda address: True, most_bytes=1 << 20)
    images = Images(workers, limits=Limits(), longest=0, fetcher=fetcher, installed=True)
    async with server:
        got = await settled(images, f"http://127.0.0.1:{port}/a.webp", data_uri(picture()))
        assert opened(got[0]).format == "JPEG"
        error = await refusal(images, "http://10.0.0.1/a.webp")
        assert error.param == "messages[0].content[0].image_url"
    await fetcher.aclose()
