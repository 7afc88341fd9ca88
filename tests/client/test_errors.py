"""Errors: every class of the server comes back as itself, and whatever else a server may say as something of the tree."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

import lanhaven
from lanhaven import errors, wire
from lanhaven.client._errors import error_class
from lanhaven.client._protocol import Call, check_version, error_of, refusal, retry_after
from lanhaven.client._settings import ClientSettings
from lanhaven.dialects.base import retry_headers
from lanhaven.dialects.openai.errors import error_body
from lanhaven.errors import GatewayError
from lanhaven.server.native import error_json
from tests.client.both import Both, client
from tests.client.plain import HANG_UP, SILENT, Answer, plain_server, whole
from tests.serving import serving

pytestmark = pytest.mark.anyio
Kind = type[lanhaven.Client] | type[lanhaven.AsyncClient]
CALL = Call("POST", "/v1/chat/completions")
SETTINGS = ClientSettings(base_url="http://h:1")
CHAT = "/v1/chat/completions"
PEM = Path(__file__).parents[1] / "upstream" / "localhost.pem"
ASK = {"messages": [{"role": "user", "content": "x"}]}


def tree(root: type[GatewayError]) -> list[type[GatewayError]]:
    return [root, *(each for child in root.__subclasses__() for each in tree(child))]


CLASSES = [
    each
    for each in tree(GatewayError)
    if each.__module__ == "lanhaven.errors"
    and not any((each.code, each.__module__) == (child.code, child.__module__) for child in each.__subclasses__())
]


def come_back(error: GatewayError, body: bytes) -> GatewayError:
    headers = {name.decode(): value.decode() for name, value in retry_headers(error)}
    return refusal(error.status, body, CALL, SETTINGS, {**headers, "x-request-id": "r1"})


@pytest.mark.req("S3-24", "S3-25", "S3-26", "S3-x3", "S3-41")
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_tree_is_the_same_on_both_sides(kind: type[GatewayError]) -> None:
    error = kind("It did not work.", param="model", retry_after=7, retry=True, facts={"needed_bytes": 5})
    for body in (error_body(error), wire.encode(error_json(error))):
        found = come_back(error, body)
        assert type(found) is kind
        assert found.message == "It did not work."
        assert found.retry_after == 7
        assert found.retry is True
        assert found.context["status"] == kind.status
        assert found.context["code"] == kind.code
        assert found.context["endpoint"] == "http://h:1/v1/chat/completions"
        assert found.context["request_id"] == "r1"
        if kind is not errors.ModelNotFound:
            assert 5 in (found.facts.get("needed_bytes"), found.facts.get("neededBytes"))


def test_every_code_of_the_server_is_known() -> None:
    assert {each.code for each in CLASSES} == {
        each.code for each in tree(GatewayError) if each.__module__ == "lanhaven.errors"
    }


@pytest.mark.req("S3-x3")
def test_the_six_names() -> None:
    six = (
        *(lanhaven.ConnectionFailed, lanhaven.ValidationFailed, lanhaven.StreamingFailed),
        *(lanhaven.UnsupportedVersion, lanhaven.FeatureUnavailable, lanhaven.LanHavenError),
    )
    assert len(set(six)) == 6
    for each in six:
        assert issubclass(each, lanhaven.LanHavenError)
        assert each("x").context["code"] == each.code
    assert issubclass(errors.ModelNotFound, lanhaven.ValidationFailed)
    assert issubclass(errors.UnsupportedFeature, lanhaven.FeatureUnavailable)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (422, {"error": {"message": "no", "param": "n"}}, errors.InvalidRequest, "no"),
        (418, {"message": "teapot"}, errors.ClientError, "teapot"),
        (599, {}, errors.ProviderError, "status 599"),
        (500, b"<html>", errors.InternalError, "status 500"),
        (302, b"", errors.ProviderError, "status 302"),
        (429, {"error": {"message": "guessing", "code": "too_many_attempts"}}, errors.Unauthorized, "guessing"),
        (401, {"error": "no key"}, errors.Unauthorized, "no key"),
        (404, {"error": {"message": "x", "code": "model_not_found"}}, errors.ModelNotFound, "x"),
        (404, [1], errors.NotFound, "status 404"),
    ],
)  # fmt: skip
def test_other_servers_words_are_understood(status: int, body: Any, kind: type[GatewayError], words: str) -> None:
    found = refusal(status, body if isinstance(body, bytes) else json.dumps(body).encode(), CALL, SETTINGS, {})
    assert type(found) is kind
    assert words in found.message
    assert found.context["status"] == status


def test_an_error_within_a_stream_is_known_by_its_code() -> None:
    for error, kind in (
        ({"message": "x", "code": "engine_crashed"}, errors.EngineCrashed),
        ({"message": "x", "code": 500}, errors.InternalError),
        ({"message": "x", "code": 7}, errors.UpstreamError),
        ("x", errors.UpstreamError),
    ):
        found = error_of(200, {"error": error}, CALL, SETTINGS)
        assert type(found) is kind
        assert found.message == "x"
    assert error_class(404, None) is errors.NotFound


@pytest.mark.req("S3-25")
async def test_a_failed_validation_names_its_fields(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        with pytest.raises(lanhaven.ValidationFailed, match=r"loadConfig\.contextLength") as caught:
            await sdk.do("load_model", "alpha", load_config={"contextLength": -1})
        assert caught.value.context["errors"][0]["path"] == ["loadConfig", "contextLength"]


@pytest.mark.req("S3-11", "S3-37")
async def test_keys(tmp_path: Path, kind: Kind) -> None:
    key = "k" * 40
    async with serving(tmp_path, key=key) as house:
        async with client(kind, house.url) as sdk:
            with pytest.raises(errors.Unauthorized) as caught:
                await sdk.do("list_models")
            assert caught.value.context["status"] == 401
            assert await sdk.do("health")
        async with client(kind, house.url, api_key=key, extra_headers={"X-Team": "a"}) as sdk:
            assert len(await sdk.do("list_models")) >= 3


# The connection


@pytest.mark.req("S3-24", "S3-27", "S3-34")
async def test_a_server_that_is_not_there(kind: Kind) -> None:
    async with plain_server({}) as gone:
        url = gone.url
    async with client(kind, url, max_retries=1) as sdk:
        with pytest.raises(lanhaven.ConnectionFailed, match="No server at") as caught:
            await sdk.do("chat_completion", ASK)
        assert caught.value.context["endpoint"] == f"{url}{CHAT}"
        assert caught.value.hint
        with pytest.raises(lanhaven.ConnectionFailed):
            await sdk.every(sdk.plain.stream_chat_completion(ASK))
        assert not await sdk.do("health")


@pytest.mark.req("S3-15")
async def test_certificates_are_checked_unless_told_otherwise(kind: Kind) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(PEM)
    async with plain_server({CHAT: [Answer(whole("x"))]}, own) as server:
        url = server.url.replace("http:", "https:")
        async with client(kind, url, max_retries=0) as sdk:
            with pytest.raises(lanhaven.ConnectionFailed, match=r"(?i)certificate"):
                await sdk.do("chat_completion", ASK)
        async with client(kind, url, verify_tls=False) as sdk:
            assert (await sdk.do("chat_completion", ASK)).text == "x"


@pytest.mark.req("S3-14", "S3-27", "C4")
async def test_a_broken_connection_is_tried_again_twice(kind: Kind) -> None:
    async with plain_server({CHAT: [HANG_UP, HANG_UP, Answer(whole("x"))]}) as server, client(kind, server.url) as sdk:
        assert (await sdk.do("chat_completion", ASK)).text == "x"
        assert len(server.asked) == 3
    async with plain_server({CHAT: [HANG_UP]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(lanhaven.ConnectionFailed, match="broke off"):
            await sdk.do("chat_completion", ASK)
        assert len(server.asked) == 3


@pytest.mark.req("S3-12", "S3-24", "S3-38", "C3")
async def test_too_slow_an_answer_is_not_computed_again(kind: Kind) -> None:
    async with plain_server({CHAT: [SILENT]}) as server, client(kind, server.url, timeout=0.05) as sdk:
        with pytest.raises(lanhaven.ConnectionFailed, match=r"within 0\.05 s") as caught:
            await sdk.do("chat_completion", ASK)
        assert caught.value.hint == "a longer timeout"
        assert len(server.asked) == 1


async def test_the_timeout_is_for_the_whole_answer(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    async with plain_server({CHAT: [Answer(whole("x"))]}) as server, client(kind, server.url) as sdk:
        clock = iter(range(0, 10_000, 100))
        with monkeypatch.context() as patch:
            for module in ("lanhaven.client._sync.exchange", "lanhaven.client._async.exchange"):
                patch.setattr(f"{module}.time.monotonic", lambda: float(next(clock)))
            with pytest.raises(lanhaven.ConnectionFailed, match="too slowly"):
                await sdk.do("chat_completion", ASK)


BUSY = {"error": {"message": "busy", "code": "queue_full"}}


@pytest.mark.req("S3-14", "S3-27", "C4")
@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (Answer(BUSY, 429), 3),
        (Answer(BUSY, 503, {"retry-after": "0"}), 3),
        (Answer(b"<html>", 502), 3),
        (Answer(BUSY, 503, {"x-should-retry": "false"}), 1),
        (Answer(BUSY, 500, {"x-should-retry": "true"}), 3),
        (Answer(BUSY, 503, {"retry-after": "3600"}), 1),
        (Answer({"error": {"message": "x", "code": "internal_error"}}, 500), 1),
        (Answer({"error": {"message": "x", "code": "model_not_found"}}, 404), 1),
        (Answer({"error": {"message": "x", "code": "too_many_attempts"}}, 429), 1),
    ],
)  # fmt: skip
async def test_what_is_asked_for_again(kind: Kind, answer: Answer, times: int) -> None:
    async with plain_server({CHAT: [answer]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(GatewayError):
            await sdk.do("chat_completion", ASK)
        assert len(server.asked) == times
        with pytest.raises(GatewayError):
            await sdk.every(sdk.plain.stream_chat_completion(ASK))
        assert len(server.asked) == 2 * times


LOAD = "/admin/models/load"


@pytest.mark.req("C4")
@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (HANG_UP, 1),
        (SILENT, 1),
        (Answer(BUSY, 503), 1),
        (Answer(b"", 504, {"retry-after": "0"}), 1),
        (Answer(BUSY, 503, {"retry-after": "0"}), 3),
    ],
)  # fmt: skip
async def test_a_load_that_may_have_begun_is_not_sent_again(kind: Kind, answer: Answer, times: int) -> None:
    async with plain_server({LOAD: [answer]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(GatewayError):
            await sdk.do("load_model", "alpha", timeout=0.05 if answer is SILENT else None)
        assert len(server.asked) == times


async def test_an_error_whose_body_breaks_off_is_still_an_error(kind: Kind) -> None:
    answer = Answer(BUSY, 404, cut=True)
    async with plain_server({CHAT: [answer]}) as server, client(kind, server.url, max_retries=0) as sdk:
        for ask in (sdk.do("chat_completion", ASK), sdk.every(sdk.plain.stream_chat_completion(ASK))):
            with pytest.raises(GatewayError):
                await ask


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:09 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 9),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:09 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


# Strangers and old versions


@pytest.mark.parametrize("body", [b"<html>router</html>", b"[1]", b'"x"', {"choices": "x"}, {"choices": [{}]}])
async def test_what_is_no_answer_is_told(kind: Kind, body: Any) -> None:
    async with plain_server({CHAT: [Answer(body)]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(errors.UpstreamError):
            await sdk.do("chat_completion", ASK)


@pytest.mark.req("C5")
async def test_an_error_with_status_200_is_an_error(kind: Kind) -> None:
    absent = Answer({"error": "Unexpected endpoint or method. (POST /v1/responses)"})
    async with plain_server({CHAT: [absent], "/v1/responses": [absent]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(lanhaven.FeatureUnavailable, match="Unexpected endpoint"):
            await sdk.do("create_response", lanhaven.ResponseRequest("m", "x"))
        with pytest.raises(lanhaven.FeatureUnavailable, match="Unexpected endpoint"):
            await sdk.every(sdk.plain.stream_chat_completion(ASK))


@pytest.mark.req("S3-03", "S3-x7")
@pytest.mark.parametrize(
    ("version", "feature", "good"),
    [
        ("0.2.17", None, False),
        ("0.2.18", None, True),
        ("0.2.18", "streaming", True),
        ("0.2.19", "audio", False),
        ("0.2.20", "audio", True),
        ("v0.2.20+7", "images", False),
        ("0.3.5-beta", "images", True),
        (None, "images", True),
        ("unknown", "images", True),
    ],
)
def test_versions(version: str | None, feature: str | None, good: bool) -> None:
    if good:
        check_version(version, feature)
    else:
        with pytest.raises(lanhaven.UnsupportedVersion) as caught:
            check_version(version, feature)
        assert caught.value.context["version"] == version


@pytest.mark.req("S3-x7")
async def test_a_version_is_learnt_from_headers(kind: Kind) -> None:
    answer = Answer({"data": []}, headers={"x-lmstudio-version": "0.2.17"})
    async with plain_server({"/v1/models": [answer]}) as server, client(kind, server.url) as sdk:
        assert len(await sdk.do("list_models")) == 0
        with pytest.raises(lanhaven.UnsupportedVersion, match="audio"):
            await sdk.do("create_speech", lanhaven.SpeechRequest("m", "x"))
        with pytest.raises(lanhaven.UnsupportedVersion, match="streaming"):
            sdk.plain.stream_chat_completion(ASK)


# What is not there


@pytest.mark.req("S3-x1", "S3-x3", "C9")
async def test_what_the_server_cannot_do_is_told(tmp_path: Path, kind: Kind) -> None:
    sound = lanhaven.TranscriptionRequest(file=("a.wav", b"RIFF"), model="w", language="en", temperature=0.5)
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        for name, request in (
            ("create_transcription", sound),
            ("create_translation", sound),
            ("create_speech", lanhaven.SpeechRequest("m", "hello", "alloy")),
            ("create_image", lanhaven.ImageRequest("m", "a boat")),
        ):
            with pytest.raises(lanhaven.FeatureUnavailable) as caught:
                await sdk.do(name, request)
            assert caught.value.context["status"] == 501, name


@pytest.mark.req("S3-x5")
async def test_what_is_switched_off_is_not_asked_for(kind: Kind) -> None:
    async with plain_server({}) as server, client(kind, server.url, enable_audio=False, enable_images=False) as sdk:
        for name, request in (
            ("create_transcription", lanhaven.TranscriptionRequest(file=("a", b""))),
            ("create_speech", lanhaven.SpeechRequest()),
            ("create_image", lanhaven.ImageRequest()),
        ):
            with pytest.raises(lanhaven.FeatureUnavailable, match="switched off"):
                await sdk.do(name, request)
        assert not server.asked


@pytest.mark.req("S3-x1")
async def test_where_a_server_can_it_works(tmp_path: Path, kind: Kind) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"RIFF1234")
    answers = {
        "/v1/audio/transcriptions": [Answer({"text": "hello"})],
        "/v1/audio/translations": [Answer({"text": "hallo"})],
        "/v1/audio/speech": [Answer(b"ID3")],
        "/v1/images/generations": [Answer({"created": 1, "data": [{"b64_json": "AA=="}]})],
        "/v1/responses": [Answer({"id": "r", "error": None, "output": [
            {"type": "reasoning", "content": None},
            {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]})],
    }  # fmt: skip
    async with plain_server(answers) as server, client(kind, server.url) as sdk:
        request = lanhaven.TranscriptionRequest(file=recording, model="w")
        assert (await sdk.do("create_transcription", request)).text == "hello"
        assert b"RIFF1234" in server.asked[0].raw
        assert b'name="model"' in server.asked[0].raw
        assert server.asked[0].headers["content-type"].startswith("multipart/form-data")
        assert (await sdk.do("create_translation", request)).text == "hallo"
        assert await sdk.do("create_speech", lanhaven.SpeechRequest("m", "x", "v")) == b"ID3"
        assert (await sdk.do("create_image", lanhaven.ImageRequest("m", "x"))).data[0].b64_json == "AA=="
        assert (await sdk.do("create_response", lanhaven.ResponseRequest("m", "x"))).text == "hi"
        with pytest.raises(errors.InvalidRequest, match="cannot be read"):
            await sdk.do("create_transcription", lanhaven.TranscriptionRequest(file=tmp_path / "none"))


async def test_a_route_that_is_not_there_is_a_missing_feature(kind: Kind) -> None:
    async with plain_server({}) as server, client(kind, server.url) as sdk:
        assert isinstance(sdk, Both)
        for ask in (
            sdk.do("create_response", {"input": "x"}),
            sdk.do("list_loaded"),
            sdk.do("load_model", "m"),
            sdk.every(sdk.plain.events()),
        ):
            with pytest.raises(lanhaven.FeatureUnavailable):
                await ask
