"""What a program does with the Python client that openapi-generator makes: python usage.py ADDRESS."""

from __future__ import annotations

import sys

import lanhaven_generated as lanhaven


def say(*words: object) -> None:
    """One line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def main(address: str) -> None:
    """One call of each family, and an error."""
    with lanhaven.ApiClient(lanhaven.Configuration(host=address)) as client:
        models = lanhaven.OpenaiApi(client).list_models(limit=10)
        say("models", ",".join(sorted(each.id for each in models.data)))
        loaded = lanhaven.AdminApi(client).admin_load(lanhaven.LoadBody.from_dict({"modelKey": "smollm2"}))
        say("loaded", loaded.instance_id, loaded.status)
        said = {"model": "smollm2", "messages": [{"role": "user", "content": "hello there"}]}
        answer = lanhaven.OpenaiApi(client).chat(lanhaven.ChatRequest.from_dict(said))
        say("chat", answer.choices[0].message.content, answer.usage.completion_tokens)
        vectors = lanhaven.OpenaiApi(client).embed(
            lanhaven.EmbeddingRequest.from_dict({"model": "minilm", "input": "sea"})
        )
        say("embed", len(vectors.data[0].embedding.actual_instance))
        message = lanhaven.AnthropicApi(client).messages(lanhaven.MessageRequest.from_dict({**said, "max_tokens": 64}))
        say("messages", message.content[0].text, message.stop_reason)
        response = lanhaven.ResponsesApi(client).create_response(
            lanhaven.ResponseRequest.from_dict({"model": "smollm2", "input": "hello there"})
        )
        say("responses", response.output[0].content[0]["text"])
        chat = lanhaven.OllamaApi(client).ollama_chat(lanhaven.OllamaChatRequest.from_dict({**said, "stream": False}))
        say("ollama", chat.message.content)
        turn = lanhaven.LmstudioApi(client).lmstudio_chat(
            lanhaven.LMStudioChatRequest.from_dict({"model": "smollm2", "input": "hello there"})
        )
        say("lmstudio", turn.output[0].content)
        say("status", lanhaven.DebugApi(client).debug_status().active_model.model_key)
        try:
            lanhaven.OpenaiApi(client).get_model("not-here")
        except lanhaven.ApiException as error:
            say("error", error.status)


if __name__ == "__main__":
    main(sys.argv[1])
