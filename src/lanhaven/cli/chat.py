"""`chat`: talk with a model; with a prompt or a pipe, get one answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lanhaven.cli import completing, output, units
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit

# The admin API's sampling names as an OpenAI request spells them.
_OPENAI = {
    "maxTokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "minP": "min_p",
    "repeatPenalty": "repeat_penalty",
    "stopStrings": "stop",
}


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model or an instance; the active one if not given.", autocompletion=completing.models_and_instances
        ),
    ] = None,
    prompt: Annotated[list[str] | None, typer.Argument(help="A question, for one answer.")] = None,
    question: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="The question, where no MODEL is given.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", metavar="TEXT", help="System prompt.")] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option("--image", "-i", metavar="FILE", help="An image for the first question; repeatable."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="E.g. temperature=0.2 or maxTokens=100; repeatable."),
    ] = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Talk with a model. With a prompt, or text in a pipe, it answers once.

    A first argument with a blank in it is a prompt for the active model: no model's name has one.
    A pipe is read as the material, the prompt is put behind it: cat notes.txt | lanhaven chat smollm2 "summarise this"
    """
    from lanhaven.cli.conversation import Conversation, answer_once, talk
    from lanhaven.cli.images import data_uri

    sampling = {_OPENAI.get(name, name): value for name, value in units.read_sampling(settings).items()}
    if sampling.pop("stream", True) is False:
        output.note("stream=false makes no difference here")
    words = [question or "", *(prompt or ())]
    if model is not None and " " in model.strip():
        model, words = None, [*words, model]
    asked = " ".join(each for each in words if each)
    terminal = sys.stdin is None or sys.stdin.isatty()
    piped = "" if terminal else sys.stdin.read()
    text = "\n\n".join(each for each in (piped.strip(), asked) if each)
    if not text and (json or not terminal):
        raise _nothing_to_ask(model)
    images = [data_uri(each) for each in image or ()]
    conversation = Conversation(model=model, system=system, sampling=sampling, images=images)
    with connect(url, key) as server:
        if json:
            conversation.ask(text)
            output.document(_whole(server, conversation.body()))
        elif text:
            answer_once(server, conversation, text)
        else:
            talk(server, conversation)


def _nothing_to_ask(model: str | None) -> CliError:
    """One word is a model's name; whoever meant it as a prompt is shown how to say so."""
    why = "" if model is None else f" ({model} alone is taken for a model's name)"
    prompt = model or "Why is the sky blue?"
    return CliError(f"there is nothing to ask{why}", f'lanhaven chat -p "{prompt}"', status=Exit.USAGE)


def _whole(server: Server, body: dict[str, Any]) -> Any:
    return server.post("/v1/chat/completions", body, timeout=None)
