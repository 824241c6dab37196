"""Learns the classifiers' weights anew, for every embedding model of the catalog, and writes them.

`python -m benchmarks.train`, after a change to `src/consilience/signals/examples`. Deterministic but
for the last bits of floating-point sums. Prints each family's share of examples that the others get
right.
"""

from __future__ import annotations

import time
from pathlib import Path

import consilience.signals.weights as kept
from consilience.signals.examples import FAMILIES, counts_share, examples_of, source_of
from consilience.signals.jailbreak import Jailbreak
from consilience.signals.learning import TextClassifier
from consilience.upstream.embedding.base import on_scale
from consilience.upstream.embedding.catalog import EMBEDDING_MODELS
from consilience.upstream.embedding.local import LocalEmbedder

EVIDENCE = {Jailbreak.family: Jailbreak.evidence}


def main() -> None:
    """Trains, writes and prints."""
    folder = Path(kept.__file__).parent
    print(f"{'model':16}{'family':16}{'examples':>9}{'left out':>10}{'seconds':>9}{'KiB':>6}")
    for model in EMBEDDING_MODELS:
        encoder = model.encoder()
        identity = LocalEmbedder(encoder, model.floor).identity
        for family in FAMILIES:
            examples = examples_of(family)
            texts = list(dict.fromkeys(example.text for example in examples))
            begun = time.perf_counter()
            rows = on_scale(encoder.encode(texts), model.floor)
            vectors = dict(zip(texts, rows, strict=True))
            trained = TextClassifier.train(
                examples, vectors, EVIDENCE.get(family), by_share=counts_share(family)
            ).learned
            content = kept.as_file(trained, identity, source_of(family))
            (folder / kept.file_name(family, identity)).write_bytes(content)
            seconds = time.perf_counter() - begun
            print(
                f"{model.name:16}{family:16}{len(examples):>9}{trained.left_out_accuracy:>10.3f}"
                f"{seconds:>9.1f}{len(content) >> 10:>6}"
            )


if __name__ == "__main__":
    main()
