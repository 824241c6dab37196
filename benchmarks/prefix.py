"""How much of its prompt the synthesis call does not have to read again, on a real model.

`python -m benchmarks.prefix [--rounds 3]` needs the extra `local` and `consilience models pull`.

llama.cpp reports how many prompt tokens it took from its cache. The ideal is all of the judge's
prompt: what is left to read is the new turns, which are the analysis and the writing instruction.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from consilience import Gateway, load_config

QUESTIONS = (
    "Why is the sky blue?",
    "What is the difference between a list and a tuple in Python?",
    "Why does ice float on water?",
)
EXAMPLE = Path(__file__).parents[1] / "examples" / "local.yaml"


async def measure(rounds: int) -> None:
    """Runs and prints."""
    heads = ("judge read", "wrote", "synthesis prompt", "cached", "of judge's prompt", "of its own")
    print(f"{'question':58}" + "".join(f"{head:>{len(head) + 2}}" for head in heads))
    async with Gateway(load_config(EXAMPLE)) as gateway:
        for question in QUESTIONS[:rounds]:
            reply = await gateway.complete(
                {
                    "model": "vllm-sr/fusion",
                    "messages": [{"role": "user", "content": question}],
                    "max_completion_tokens": 60,
                }
            )
            stages = (reply.fusion or {})["stages"]
            usage = {stage["stage"]: stage["usage"] for stage in stages}
            judge, own = usage["judge"]["prompt_tokens"], usage["synthesis"]["prompt_tokens"]
            cached = usage["synthesis"]["prompt_tokens_details"]["cached_tokens"]
            print(
                f"{question:58}{judge:12}{usage['judge']['completion_tokens']:7}{own:18}{cached:8}"
                f"{min(cached, judge) / judge:19.0%}{cached / own:12.0%}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(measure(parser.parse_args().rounds))
