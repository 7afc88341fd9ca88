"""`bench`: how fast a model is here, alone and with several requests at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanhaven.cli import completing, output
from lanhaven.cli.connection import Json, Key, Server, Url, connect
from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from lanhaven.cli.bench_asking import Plan
    from lanhaven.cli.bench_figures import Level
    from lanhaven.cli.bench_subject import Subject

MOST = 100  # connections that the HTTP client opens
PROMPT, ANSWER, TEXT = 512, 128, 128  # tokens; the first two as llama-bench has them
LEAST = 16  # tokens that a request which is cut to a small context keeps
TEMPLATE = 64  # tokens that a chat's template may add beyond what was counted


def bench(
    model: Annotated[
        str, typer.Argument(help="A model, an alias or an instance.", autocompletion=completing.models_and_instances)
    ],
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", metavar="N,N", help="Requests at once, e.g. 1,4,16 (default: 1, and one for each slot)."
        ),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests", "-n", metavar="N", min=1, help="Requests of each level (default: two for each at once)."
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", metavar="SECONDS", min=0.1, help="Begin no request of a level after this time."),
    ] = None,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            "--prompt-tokens", metavar="N", min=1, help=f"Tokens of a prompt (default {PROMPT}; {TEXT} to embed)."
        ),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", metavar="N", min=2, help=f"Tokens of an answer (default {ANSWER}).")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the model in memory, if this loaded it.")] = False,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Measure how fast a model answers. Ctrl-C shows what is known so far.

    FIRST is the time to the first token. P50 and P95 are percentiles by nearest rank: the least measured value that
    50 or 95 % of the requests do not exceed. EACH: tokens a second of one answer after its first token; ALL: of all
    answers together. PROMPT/S: tokens of a prompt, divided by the time to the first token. EACH and PROMPT/S are
    medians. The engine counts the tokens. No two prompts begin alike, so that none is answered from a cache.
    """
    from lanhaven.cli.bench_subject import in_memory

    levels = _levels(concurrency)
    with connect(url, key) as server, in_memory(server, model, keep=keep) as subject:
        plan = _plan(subject, levels, requests, seconds, prompt_tokens, tokens)
        if not json:
            _introduce(subject, plan)
        _warn(subject, plan)
        _measure(server, subject, plan, json=json)


def _measure(server: Server, subject: Subject, plan: Plan, *, json: bool) -> None:
    """What is known at the end, also where the end is Ctrl-C."""
    from lanhaven.cli.bench_asking import Asking, Wording, prompts_of
    from lanhaven.cli.progress import bench_progress

    wording = Wording(subject)
    output.message("warming up")
    asking = Asking(server.target, wording, prompts_of(server, wording, plan.prompt_tokens), plan)
    try:
        with bench_progress(plan.numbers, plan.seconds) as told:
            asking.run(told)
    except KeyboardInterrupt:
        if not any(each.samples for each in asking.levels):
            output.message("stopped: nothing has been measured yet")
        raise
    finally:
        known = [each for each in asking.levels if each.samples or each.failed]
        if known:
            _show(server, subject, plan, known, json=json)
    if not any(each.samples for each in asking.levels):
        (text, _), *_ = asking.levels[0].errors.most_common(1)
        raise CliError(f"no request was answered: {text}", "lanhaven logs " + subject.name, "lanhaven doctor")


def _levels(text: str | None) -> tuple[int, ...] | None:
    """ "1,4,16" as numbers, each once, in the order given."""
    if text is None:
        return None
    words = [each.strip() for each in text.split(",")]
    if not all(each.isascii() and each.isdigit() and 1 <= int(each) <= MOST for each in words):
        raise CliError(
            f"--concurrency {text}: numbers from 1 to {MOST}, with commas", "--concurrency 1,4,16", status=Exit.USAGE
        )
    return tuple(dict.fromkeys(map(int, words)))


def _plan(
    subject: Subject,
    levels: tuple[int, ...] | None,
    requests: int | None,
    seconds: float | None,
    prompt_tokens: int | None,
    tokens: int | None,
) -> Plan:
    """With what was not said: as much as the context holds. CliError if what was said does not fit."""
    from lanhaven.cli.bench_asking import Plan

    prompt = prompt_tokens or (TEXT if subject.embeds else PROMPT)
    answer = 0 if subject.embeds else tokens or ANSWER
    room = None if subject.context is None else subject.context - (0 if subject.embeds else TEMPLATE)
    if room is not None and prompt + answer > room:
        answer = answer if tokens or subject.embeds else max(min(answer, room // 4), LEAST)
        prompt = prompt if prompt_tokens else max(room - answer, LEAST)
        if prompt + answer > room:
            raise _too_long(subject, prompt, answer, room)
    chosen = levels or tuple(dict.fromkeys((1, min(subject.slots or 4, MOST))))
    return Plan(chosen, prompt, answer, requests, seconds)


def _too_long(subject: Subject, prompt: int, answer: int, room: int) -> CliError:
    """The ways out: a shorter prompt or answer, or a copy with more context where the model can have it."""
    tries = []
    if room - answer >= LEAST:
        tries.append(f"lanhaven bench {subject.name} --prompt-tokens {room - answer}")
    elif room > 2 * LEAST:
        tries.append(f"lanhaven bench {subject.name} --prompt-tokens {LEAST} --tokens {room - LEAST}")
    needed = prompt + answer + (0 if subject.embeds else TEMPLATE)
    if subject.longest is not None and needed <= subject.longest:
        tries.append(f"lanhaven load {subject.name} --as long --context {needed}, and bench long")
    together = f" and an answer of {answer:,}" if answer else ""
    text = f"a prompt of {prompt:,} tokens{together}: the context of {subject.name} has {subject.context:,}"
    return CliError(text, *tries or ("a model with more context: lanhaven ls",), status=Exit.USAGE)


def _introduce(subject: Subject, plan: Plan) -> None:
    """What is measured."""
    named = any(each != subject.name for each in subject.instances)
    facts = (
        subject.provider,
        f"in memory as {', '.join(subject.instances)}" if named else None,
        f"context {subject.context:,}" if subject.context else None,
        f"{subject.slots} {'slot' if subject.slots == 1 else 'slots'}" if subject.slots else None,
        f"loaded in {subject.load_seconds:.1f} s" if subject.load_seconds is not None else None,
    )
    output.message(" · ".join((subject.name, *filter(None, facts))))
    answer = f", answers of {plan.tokens}" if plan.tokens else ""
    output.message(f"prompts of {plan.prompt_tokens} tokens{answer}")


def _warn(subject: Subject, plan: Plan) -> None:
    if subject.slots and max(plan.concurrency) > subject.slots:
        output.note(
            f"{subject.name} computes {subject.slots} at once: with {max(plan.concurrency)} the others wait for their "
            "turn, and this is measured with them"
        )
    if subject.busy:
        output.note(f"{subject.name} answers somebody else now; it would be faster alone")


def _show(server: Server, subject: Subject, plan: Plan, levels: Sequence[Level], *, json: bool) -> None:
    from lanhaven.cli.bench_table import EMBEDDINGS, TEXTS, remarks

    rows: list[dict[str, Any]] = [each.embedding_figures() if subject.embeds else each.figures() for each in levels]
    if json:
        output.document(
            {
                "url": server.target.url,
                "model": subject.name,
                "type": subject.kind,
                "provider": subject.provider,
                "instances": list(subject.instances),
                "contextLength": subject.context,
                "slots": subject.slots,
                "loadSeconds": subject.load_seconds,
                "promptTokens": plan.prompt_tokens,
                "tokens": plan.tokens or None,
                "complete": len(levels) == len(plan.concurrency) and all(each.whole for each in levels),
                "levels": rows,
            }
        )
        return
    output.rows(EMBEDDINGS if subject.embeds else TEXTS, rows, empty="")
    for remark in remarks(rows, plan.tokens):
        output.note(remark)
