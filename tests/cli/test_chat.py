"""`chat`: one answer, a pipe, a talk."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.scripted import Asked, Cli, Handler, Scripted
from tests.cli.test_failures import tries

CHAT = "/v1/chat/completions"
COMPLETION = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Blue."}}]}


def chunk(**delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def streams(*pieces: str) -> Any:
    def answer(handler: Handler, asked: Asked) -> None:
        handler.begin_events()
        for piece in pieces:
            handler.event(chunk(content=piece))
        handler.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        handler.event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": len(pieces)}})
        handler.event("[DONE]")

    return answer


@pytest.mark.req("S0-39", "S0-70")
def test_a_prompt_gets_one_answer_on_stdout(cli: Cli, server: Scripted) -> None:
    server.does("POST", CHAT, streams("The sky ", "is blue."))
    done = cli("chat", "smollm2", "why", "blue?", "-s", "Be brief.", "--set", "temperature=0", "--set", "topP=0.5")
    assert (done.status, done.out, done.err) == (0, "The sky is blue.\n", "")
    assert server.bodies(CHAT) == [
        {
            "model": "smollm2",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why blue?"}],
            "temperature": 0,
            "top_p": 0.5,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


def test_thoughts_are_no_data(cli: Cli, server: Scripted) -> None:
    def answer(handler: Handler, asked: Asked) -> None:
        handler.begin_events()
        handler.event(chunk(reasoning_content="let me see"))
        handler.event(chunk(content="Blue."))
        handler.event("[DONE]")

    server.does("POST", CHAT, answer)
    done = cli("chat", "smollm2", "why?")
    assert (done.out, done.err) == ("Blue.\n", "")
    assert cli.on_terminal("chat", "smollm2", "why?").lines == ["let me see", "", "Blue."]


@pytest.mark.parametrize("words", [("-p", "Why is it blue?"), ("Why is it blue?",)])
def test_without_a_model_the_active_one_answers(cli: Cli, server: Scripted, words: tuple[str, ...]) -> None:
    server.does("POST", CHAT, streams("ok"))
    assert cli("chat", *words).out == "ok\n"
    body = server.bodies(CHAT)[0]
    assert "model" not in body
    assert body["messages"] == [{"role": "user", "content": "Why is it blue?"}]


def test_a_pipe_is_material_and_the_prompt_stands_behind_it(cli: Cli, server: Scripted) -> None:
    server.does("POST", CHAT, streams("ok"))
    assert cli("chat", "smollm2", "Summarise", "this", stdin="long text\n").status == 0
    assert cli("chat", "smollm2", stdin="just this\n").status == 0
    contents = [body["messages"][0]["content"] for body in server.bodies(CHAT)]
    assert contents == ["long text\n\nSummarise this", "just this"]


def test_nothing_to_ask_is_wrong_usage(cli: Cli) -> None:
    done = cli("chat", "smollm2")
    assert done.status == 2
    assert tries(done)


def test_json_is_the_whole_completion(cli: Cli, server: Scripted) -> None:
    server.says("POST", CHAT, COMPLETION)
    assert cli("chat", "smollm2", "why?", "--json").json == COMPLETION
    assert "stream" not in server.bodies(CHAT)[0]


def test_an_error_in_the_stream_ends_with_1_after_what_came(cli: Cli, server: Scripted) -> None:
    def answer(handler: Handler, asked: Asked) -> None:
        handler.begin_events()
        handler.event(chunk(content="The sky"))
        handler.event({"error": {"message": "the engine crashed", "code": "engine_crashed"}})

    server.does("POST", CHAT, answer)
    done = cli("chat", "smollm2", "why?")
    assert (done.status, done.out) == (1, "The sky\n")
    assert "error: the engine crashed" in done.err
    assert tries(done)


def test_an_answer_that_breaks_off_is_a_failure(cli: Cli, server: Scripted) -> None:
    def answer(handler: Handler, asked: Asked) -> None:
        handler.begin_events()
        handler.event(chunk(content="The sky"))

    server.does("POST", CHAT, answer)
    done = cli("chat", "smollm2", "why?")
    assert (done.status, done.out) == (1, "The sky\n")
    assert "the answer broke off" in done.err


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(404, "model_not_found", 5), (503, "insufficient_memory", 6), (401, "invalid_api_key", 4), (429, "queue_full", 1)],
)
def test_statuses(cli: Cli, server: Scripted, status: int, code: str, expected: int) -> None:
    server.says("POST", CHAT, {"error": {"message": "no", "type": "x", "code": code}}, status)
    done = cli("chat", "nope", "why?")
    assert done.status == expected
    assert done.err.startswith("error: no\n")
    assert tries(done)


def test_an_answer_cannot_steer_the_terminal(cli: Cli, server: Scripted) -> None:
    server.does("POST", CHAT, streams("a\x1b]0;title\x07b", "\tc\nd\x9b2J", " é 漢 👍🏽"))
    assert cli("chat", "smollm2", "why?").out == "a]0;titleb\tc\nd2J é 漢 👍🏽\n"


def shown(text: str, *images: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": each}} for each in images]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


def test_images_go_with_the_question(cli: Cli, server: Scripted) -> None:
    (cli.home / "a.png").write_bytes(b"one")
    (cli.home / "photo").write_bytes(b"two")
    server.does("POST", CHAT, streams("A boat."))
    assert cli("chat", "seeing", "What is it?", "--image", "a.png", "-i", "photo").out == "A boat.\n"
    uris = ("data:image/png;base64,b25l", "data:application/octet-stream;base64,dHdv")
    assert server.bodies(CHAT)[0]["messages"] == [shown("What is it?", *uris)]


def test_2_an_image_that_is_not_there(cli: Cli, server: Scripted) -> None:
    done = cli("chat", "seeing", "What is it?", "--image", "gone.png")
    assert (done.status, done.out) == (2, "")
    assert "gone.png cannot be read: No such file" in done.err
    assert tries(done)
    assert not server.asked


def test_a_failure_with_an_image_tells_the_question_alone(cli: Cli, server: Scripted) -> None:
    (cli.home / "a.png").write_bytes(b"one")
    server.says("POST", CHAT, {"error": {"message": "no", "code": "model_not_found"}}, 404)
    assert tries(cli("chat", "nope", "What is it?", "--image", "a.png")) == [
        "lanhaven ls",
        'lanhaven chat -p "What is it?"',
    ]


def test_in_a_talk_an_image_is_shown_once_and_forgotten_with_the_rest(cli: Cli, server: Scripted) -> None:
    (cli.home / "a.png").write_bytes(b"one")
    server.does("POST", CHAT, streams("ok"))
    with cli.terminal("chat", "seeing", "--image", "a.png", NO_COLOR="1") as terminal:
        for line in ("one", "two", "/clear", "three"):
            terminal.until(">>> ")
            terminal.type(f"{line}\n")
            terminal.until("forgotten" if line == "/clear" else "1 tokens")
        terminal.until(">>> ")
        terminal.type("/exit\n")
        assert terminal.finish().status == 0
    first, second, third = server.bodies(CHAT)
    image = shown("one", "data:image/png;base64,b25l")
    assert first["messages"] == [image]
    assert second["messages"][0::2] == [image, {"role": "user", "content": "two"}]
    assert third["messages"] == [{"role": "user", "content": "three"}]


def test_the_talk_keeps_what_was_said(cli: Cli, server: Scripted) -> None:
    server.does("POST", CHAT, streams("First ", "answer."))
    with cli.terminal("chat", "smollm2", NO_COLOR="1") as terminal:
        terminal.until(">>> ")
        terminal.type("one\n")
        terminal.until("2 tokens")
        terminal.until(">>> ")
        terminal.type("/system Be kind.\n")
        terminal.until("system prompt changed")
        terminal.until(">>> ")
        terminal.type("two\n")
        terminal.until("2 tokens")
        terminal.until(">>> ")
        terminal.type("/clear\n")
        terminal.until("forgotten")
        terminal.until(">>> ")
        terminal.type("/model other\n")
        terminal.until(">>> ")
        terminal.type("three\n")
        terminal.until("2 tokens")
        terminal.until(">>> ")
        terminal.type("/exit\n")
        assert terminal.finish().status == 0
    first, second, third = server.bodies(CHAT)
    assert first["messages"] == [{"role": "user", "content": "one"}]
    assert second["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "First answer."},
        {"role": "user", "content": "two"},
    ]
    assert third["messages"][1:] == [{"role": "user", "content": "three"}]
    assert third["model"] == "other"


def test_ctrl_c_stops_the_answer_and_the_talk_goes_on(cli: Cli, server: Scripted) -> None:
    def endless(handler: Handler, asked: Asked) -> None:
        handler.begin_events()
        handler.event(chunk(content="and then"))
        handler.wait_for_leaving()

    server.does("POST", CHAT, endless)
    with cli.terminal("chat", NO_COLOR="1") as terminal:
        assert "talking with smollm2" in terminal.until(">>> ")
        terminal.type("tell me a story\n")
        terminal.until("and then")
        terminal.interrupt()
        terminal.until("(stopped)")
        assert server.left.wait(30)
        terminal.until(">>> ")
        terminal.interrupt_until("/exit leaves")
        terminal.until("/exit leaves")
        terminal.until(">>> ")
        terminal.type("\x04")
        assert terminal.finish().status == 0


def test_a_failed_question_is_told_and_forgotten(cli: Cli, server: Scripted) -> None:
    server.says("POST", CHAT, {"error": {"message": "the queue is full", "code": "queue_full"}}, 429)
    with cli.terminal("chat", NO_COLOR="1") as terminal:
        terminal.until(">>> ")
        terminal.type("one\n")
        terminal.until("the queue is full")
        terminal.until("Try")
        terminal.until(">>> ")
        server.does("POST", CHAT, streams("ok"))
        terminal.type("two\n")
        terminal.until("1 tokens")
        terminal.type("/exit\n")
        terminal.finish()
    assert server.bodies(CHAT)[1]["messages"] == [{"role": "user", "content": "two"}]
