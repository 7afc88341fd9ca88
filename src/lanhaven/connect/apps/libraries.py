"""Libraries: OpenAI's, Anthropic's and LM Studio's own, LangChain, LlamaIndex."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from lanhaven.connect import probes
from lanhaven.connect.quoting import quoted
from lanhaven.connect.recipe import Kind, Place, Probe, Recipe, Step
from lanhaven.connect.steps import code, shell


def openai_python(place: Place) -> Sequence[Step]:
    """A chat."""
    text = f"""\
from openai import OpenAI

client = OpenAI(base_url={quoted(place.v1)}, api_key={quoted(place.key)})
reply = client.chat.completions.create(
    model={quoted(place.model)},
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(reply.choices[0].message.content)
"""
    return shell("Have the library", "pip install openai"), code("In your program", "python", text)


def openai_js(place: Place) -> Sequence[Step]:
    """A chat."""
    text = f"""\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {quoted(place.v1)}, apiKey: {quoted(place.key)} }});
const reply = await client.chat.completions.create({{
  model: {quoted(place.model)},
  messages: [{{ role: "user", content: "Say hello." }}],
}});
console.log(reply.choices[0].message.content);
"""
    return shell("Have the library", "npm install openai"), code("In your program", "javascript", text)


def anthropic_python(place: Place) -> Sequence[Step]:
    """A message."""
    text = f"""\
from anthropic import Anthropic

client = Anthropic(base_url={quoted(place.url)}, api_key={quoted(place.key)})
reply = client.messages.create(
    model={quoted(place.model)},
    max_tokens=200,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(reply.content[0].text)
"""
    return shell("Have the library", "pip install anthropic"), code("In your program", "python", text)


def lmstudio_python(place: Place) -> Sequence[Step]:
    """A talk over its WebSocket."""
    text = f"""\
import lmstudio

with lmstudio.Client({quoted(urlsplit(place.url).netloc)}) as client:
    model = client.llm.model({quoted(place.model)})
    print(model.respond("Say hello."))
"""
    return shell("Have the library", "pip install lmstudio"), code("In your program", "python", text)


def lmstudio_notes(place: Place) -> Sequence[str]:
    """Read in its source: 1.5.0 sends no token."""
    if not place.key_required:
        return ()
    return ("The library sends no key: it is let in from the networks of the setting lmstudio_guests only.",)


def langchain(place: Place) -> Sequence[Step]:
    """Any of three classes."""
    text = f"""\
from langchain_openai import ChatOpenAI

chat = ChatOpenAI(model={quoted(place.model)}, base_url={quoted(place.v1)}, api_key={quoted(place.key)})
print(chat.invoke("Say hello.").text)
"""
    return shell("Have the library", "pip install langchain-openai"), code("In your program", "python", text)


def llamaindex(place: Place) -> Sequence[Step]:
    """By Ollama's API; its client finds the key in the environment."""
    context = f", context_window={place.context}" if place.context is not None else ""
    text = f"""\
import os

from llama_index.llms.ollama import Ollama

os.environ["OLLAMA_API_KEY"] = {quoted(place.key)}
llm = Ollama(model={quoted(place.model)}, base_url={quoted(place.url)}, request_timeout=300{context})
print(llm.complete("Say hello."))
"""
    return shell("Have the library", "pip install llama-index-llms-ollama"), code("In your program", "python", text)


def chat(place: Place) -> Sequence[Probe]:
    """The list, and a chat."""
    return probes.openai_models(place), probes.openai_chat(place)


def greeting() -> Probe:
    """How LM Studio's libraries look for a server."""
    return Probe("the greeting", "GET", "/lmstudio-greeting", expect="lmstudio")


LIBRARIES = (
    Recipe(
        id="openai-python",
        name="OpenAI for Python",
        about="The library openai",
        kind=Kind.CODE,
        dialect="openai",
        tested="3.52",
        steps=openai_python,
        probes=chat,
    ),
    Recipe(
        id="openai-js",
        name="OpenAI for JavaScript",
        about="The library openai, in Node.js",
        kind=Kind.CODE,
        dialect="openai",
        steps=openai_js,
        probes=chat,
    ),
    Recipe(
        id="anthropic-python",
        name="Anthropic for Python",
        about="The library anthropic",
        kind=Kind.CODE,
        dialect="anthropic",
        tested="2.11",
        steps=anthropic_python,
        probes=lambda place: (probes.message(place, stream=False),),
    ),
    Recipe(
        id="lmstudio-python",
        name="LM Studio for Python",
        about="The library lmstudio, over its WebSocket",
        kind=Kind.CODE,
        dialect="lmstudio",
        tested="1.5.0",
        steps=lmstudio_python,
        probes=lambda place: (greeting(), probes.v0_models(place)),
        notes=lmstudio_notes,
    ),
    Recipe(
        id="langchain",
        name="LangChain",
        about="ChatOpenAI, ChatOllama or ChatAnthropic",
        kind=Kind.CODE,
        dialect="openai",
        tested="1",
        steps=langchain,
        probes=lambda place: (probes.openai_chat(place),),
    ),
    Recipe(
        id="llamaindex",
        name="LlamaIndex",
        about="Its class Ollama",
        kind=Kind.CODE,
        dialect="ollama",
        tested="0.11",
        steps=llamaindex,
        probes=lambda place: (probes.ollama_chat(place, stream=False),),
    ),
)
