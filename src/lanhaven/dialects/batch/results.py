"""The reply to a batch call, in OpenAI's shapes: completions with an index, errors in OpenAI's envelope, sums."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lanhaven.dialects.batch.prompts import Plan
from lanhaven.dialects.batch.running import Result, text_of

OBJECT = "chat.completion.batch"
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def item(result: Result, plan: Plan, request_id: str) -> dict[str, Any]:
    """A completion as of a call of its own, or `{"error": ...}`; with its index, and its times where asked for."""
    prompt = result.prompt
    entry: dict[str, Any] = {"index": prompt.index}
    if prompt.custom_id is not None:
        entry["custom_id"] = prompt.custom_id
    if not result.answer.ok:
        entry |= {"id": f"{request_id}-{prompt.index + 1}", "status": result.answer.status}
    if plan.timing:
        entry["timing"] = {"started": round(result.started, 4), "total_time": round(result.seconds, 4)}
    return {**result.body, **entry}


def summary(results: Sequence[Result], plan: Plan, request_id: str, seconds: float) -> dict[str, Any]:
    """All but the answers themselves."""
    good = [each for each in results if each.answer.ok]
    body: dict[str, Any] = {
        "id": f"chatcmpl-batch-{request_id}",
        "object": OBJECT,
        "created": int(datetime.now(UTC).timestamp()),
        "model": good[0].body.get("model") if good else plan.prompts[0].model,
        "processing_mode": plan.mode,
        "usage": usage(good),
        "batch_info": {
            "groups_processed": len(results),
            "successful": len(good),
            "failed": len(results) - len(good),
        },
    }
    if plan.timing:
        body["timing"] = {"total_time": round(seconds, 4), "average_per_group": round(seconds / len(results), 4)}
    return body


def usage(results: Sequence[Result]) -> dict[str, int]:
    """The sum of the counts."""
    said = [each.body.get("usage") or {} for each in results]
    return {name: sum(each.get(name) or 0 for each in said) for name in COUNTS}


def whole(results: Sequence[Result], plan: Plan, request_id: str, seconds: float) -> dict[str, Any]:
    """The reply that is not streamed."""
    body = summary(results, plan, request_id, seconds)
    ordered = sorted(results, key=lambda each: each.prompt.index)
    items = [item(each, plan, request_id) for each in ordered]
    if plan.individual:
        return {**body, "completions": items}
    good = [each for each in ordered if each.answer.ok]
    message = {"role": "assistant", "content": "\n\n".join(text_of(each.body) for each in good)}
    choices = [{"index": 0, "message": message, "finish_reason": _reason(good)}] if good else []
    failed = [entry for entry, each in zip(items, ordered, strict=True) if not each.answer.ok]
    return {**body, "choices": choices, "errors": failed}


def _reason(results: Sequence[Result]) -> str:
    """ "length" if any answer was cut."""
    reasons = {choice.get("finish_reason") for each in results for choice in each.body.get("choices") or ()}
    return "length" if "length" in reasons else "stop"
