"""LangChain's three ways in, and `llm` with llm-ollama. Run by an interpreter that has them, against a real server:

    python frameworks.py URL KEY

Each check that went well is named on a line of its own. Not a test module: tests/conformance/test_programs.py runs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

URL, KEY = sys.argv[1:3]
BEARER = {"headers": {"Authorization": f"Bearer {KEY}"}, "trust_env": False}
SHORT, ENOUGH = 8, 80  # tokens: for an answer, for a call of `add`
QUESTION = "Why is the sky blue?"
SCHEMA = {
    "title": "Sky",
    "description": "The colour of the sky.",
    "type": "object",
    "properties": {"sky": {"type": "string", "enum": ["blue", "green"]}},
    "required": ["sky"],
    "additionalProperties": False,
}


@tool
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


def chats(model: BaseChatModel) -> None:
    """Whole and streamed; both say how many tokens there were."""
    reply = model.invoke(QUESTION)
    assert str(reply.text).strip()
    assert reply.usage_metadata["input_tokens"] > 0
    chunks = list(model.stream([HumanMessage(QUESTION)]))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert str(total.text).strip()
    assert len(chunks) > 2
    assert total.usage_metadata["output_tokens"] > 0


def calls_a_tool(model: BaseChatModel, **choice: str) -> None:
    reply = model.bind_tools([add], **choice).invoke("Use the tool add to add 2 and 3.")
    assert isinstance(reply, AIMessage)
    assert all(call["name"] == "add" and set(call["args"]) <= {"a", "b"} for call in reply.tool_calls)
    assert reply.tool_calls or not choice


def answers_in_a_form(model: BaseChatModel) -> None:
    assert model.with_structured_output(SCHEMA, method="json_schema").invoke(QUESTION)["sky"] in ("blue", "green")


def fails(ask: Callable[[], object], words: str) -> None:
    said = "it did not fail"
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - three libraries, three trees of errors
        said = str(error)
    assert words in said, said


def openai() -> Iterator[str]:
    def chat(model: str = "smollm2", limit: int = SHORT, **more: object) -> ChatOpenAI:
        settings = {"max_tokens": limit, "temperature": 0, "max_retries": 0, "stream_usage": True, **more}
        return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=KEY, **settings)

    chats(chat())
    yield "ChatOpenAI chats"
    calls_a_tool(chat(limit=ENOUGH), tool_choice="any")
    yield "ChatOpenAI calls a tool"
    answers_in_a_form(chat(limit=ENOUGH))
    yield "ChatOpenAI answers in a form"
    chats(chat(use_responses_api=True))
    yield "ChatOpenAI chats by Responses"
    fails(lambda: chat("nobody").invoke("hi"), "nobody")
    fails(lambda: chat().invoke("word " * 9000), "context")
    yield "ChatOpenAI fails in words"
    # Otherwise it counts tokens itself, with a table that it would have to download.
    vectors = OpenAIEmbeddings(
        model="minilm", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False
    ).embed_documents(["the sea", "the sky"])
    assert [len(each) for each in vectors] == [384, 384]
    yield "OpenAIEmbeddings"


def ollama() -> Iterator[str]:
    def chat(model: str = "smollm2", limit: int = SHORT) -> ChatOllama:
        return ChatOllama(model=model, base_url=URL, client_kwargs=BEARER, num_predict=limit, temperature=0)

    chats(chat())
    yield "ChatOllama chats"
    calls_a_tool(chat(limit=ENOUGH))
    yield "ChatOllama calls a tool"
    answers_in_a_form(chat(limit=ENOUGH))
    yield "ChatOllama answers in a form"
    fails(lambda: chat("nobody").invoke("hi"), "not found")
    fails(lambda: chat().invoke("word " * 9000), "context")
    yield "ChatOllama fails in words"
    vectors = OllamaEmbeddings(model="minilm", base_url=URL, client_kwargs=BEARER).embed_documents(["the sea", "sky"])
    assert [len(each) for each in vectors] == [384, 384]
    yield "OllamaEmbeddings"


def anthropic() -> Iterator[str]:
    def chat(model: str = "smollm2", limit: int = SHORT) -> ChatAnthropic:
        return ChatAnthropic(model=model, base_url=URL, api_key=KEY, max_tokens=limit, max_retries=0)

    chats(chat())
    yield "ChatAnthropic chats"
    calls_a_tool(chat(limit=ENOUGH), tool_choice="any")
    yield "ChatAnthropic calls a tool"
    answers_in_a_form(chat(limit=ENOUGH))
    yield "ChatAnthropic answers in a form"
    counted = chat().get_num_tokens_from_messages([HumanMessage(QUESTION)])
    assert counted == chat().invoke(QUESTION).usage_metadata["input_tokens"]
    yield "ChatAnthropic counts"
    fails(lambda: chat("nobody").invoke("hi"), "nobody")
    fails(lambda: chat().invoke("word " * 9000), "prompt is too long")
    yield "ChatAnthropic fails in words"


def llm_ollama() -> Iterator[str]:
    """The plugin takes the host from the environment, and a key only as the password in its address."""
    os.environ["OLLAMA_HOST"] = URL.replace("://", f"://llm:{KEY}@")
    import llm  # it looks at the environment

    model = llm.get_model("ollama/smollm2:latest")
    reply = model.prompt(QUESTION, num_predict=20)
    assert "".join(reply).strip()
    assert reply.usage().output > 0
    yield "llm chats"
    told = model.prompt(QUESTION, schema=SCHEMA, num_predict=ENOUGH, stream=False).text()
    assert '"sky"' in told
    yield "llm answers in a form"
    assert len(llm.get_embedding_model("ollama/minilm").embed("the sea")) == 384
    yield "llm embeds"


for program in (openai, ollama, anthropic, llm_ollama):
    for done in program():
        sys.stdout.write(f"{done}\n")
