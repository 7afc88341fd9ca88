"""mlx-lm's own `batch_generate` in one process, as a yardstick. Runs in the environment that has mlx-lm.

Each line on standard input is JSON: {"prompts": [...], "tokens": n}; each answer is {"tokens": n}.
"""

from __future__ import annotations

import json
import sys

import mlx_lm
from mlx_lm.generate import batch_generate


def main() -> None:
    model, tokenizer = mlx_lm.load(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        prompts = [tokenizer.encode(prompt) for prompt in asked["prompts"]]
        made = batch_generate(
            model,
            tokenizer,
            prompts,
            max_tokens=asked["tokens"],
            completion_batch_size=len(prompts),
            prefill_batch_size=len(prompts),
        )
        print(json.dumps({"tokens": made.stats.generation_tokens}), flush=True)


if __name__ == "__main__":
    main()
