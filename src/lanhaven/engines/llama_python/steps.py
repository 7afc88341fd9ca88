"""Computing one request: its prompt in parts, then token by token."""

from __future__ import annotations

import heapq
import math
import secrets
from collections.abc import Callable, Generator, Sequence
from typing import Any

import llama_cpp
from llama_cpp import Llama, LlamaGrammar, LogitsProcessorList

from lanhaven.engines.serving.choice import Choice
from lanhaven.engines.serving.jobs import Job, Progress, Token
from lanhaven.engines.serving.mailbox import Mailbox


def draw(choice: Choice, number: int, bound: LlamaGrammar | None) -> dict[str, Any]:
    """The arguments of Llama.generate for answer `number`, and the seed."""
    seed = secrets.randbits(32) if choice.seed is None else choice.seed + number
    return {
        "seed": seed % (1 << 32),
        "temp": max(0.0, choice.temperature),
        "top_p": choice.top_p,
        "top_k": choice.top_k,
        "min_p": choice.min_p,
        "repeat_penalty": choice.repeat_penalty or 1.0,
        "presence_penalty": choice.presence_penalty,
        "frequency_penalty": choice.frequency_penalty,
        "grammar": bound,
        "logits_processor": LogitsProcessorList([_biased(choice.logit_bias)]) if choice.logit_bias else None,
    }


def _biased(bias: Sequence[tuple[int, float]]) -> Callable[[Any, Any], Any]:
    def process(_tokens: Any, scores: Any) -> Any:
        for token, added in bias:
            if 0 <= token < len(scores):
                scores[token] += added
        return scores

    return process


class Steps:
    """Of one model, in the thread that computes."""

    def __init__(self, llama: Llama, mailbox: Mailbox) -> None:
        self._llama, self._mailbox = llama, mailbox

    def __call__(self, job: Job) -> Generator[tuple[int, Any] | None, None, None]:
        llama, prompt = self._llama, list(job.prompt)
        drawing = job.make()
        done = job.cached = self._recall(prompt)
        while done < len(prompt):
            part = prompt[done : done + llama.n_batch]
            llama.eval(part)
            done += len(part)
            self._mailbox.tell([(job, Progress(done, len(prompt), job.cached))])
            yield None
        llama.set_seed(drawing.pop("seed"))
        for token in llama.generate(prompt, **drawing):
            yield int(token), None

    def _recall(self, prompt: Sequence[int]) -> int:
        """How many tokens of the prompt the last request left computed. The last one is never: it is what the model is
        asked with. Some architectures cannot take back what came after, and begin anew."""
        llama, known = self._llama, 0
        for ours, theirs in zip(llama.input_ids[: llama.n_tokens], prompt[:-1], strict=False):
            if ours != theirs:
                break
            known += 1
        if known and llama._ctx.kv_cache_seq_rm(-1, known, -1):
            llama.n_tokens = known
            return known
        llama.reset()
        return 0


def token_of(llama: Llama) -> Callable[[Job, int, Any, str | None], Token]:
    """What is told of a token. Its logprobs are those of the last step, which is still in the context."""

    def told(job: Job, token: int, _facts: Any, finish: str | None) -> Token:
        if job.top is None:
            return Token(token, finish)
        logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)[: llama.n_vocab()]
        most = max(logits)
        whole = most + math.log(math.fsum(math.exp(each - most) for each in logits))
        likeliest = heapq.nlargest(job.top, range(len(logits)), key=logits.__getitem__)
        return Token(token, finish, logits[token] - whole, [(each, logits[each] - whole) for each in likeliest])

    return told
