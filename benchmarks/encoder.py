"""Speed of the encoder beside that of the bare runtime on the same batches, cut and padded before.

    python -m benchmarks.encoder
    python -m benchmarks.encoder --texts ../shared/labels/dev.jsonl

Texts that are the same to the model are taken once. Both sides run the same sorted batches, one
core a batch and as many at once as threads; they take turns.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Callable, Generator, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from nlp.batches import Ids, each, padded
from nlp.encoder import MODEL_FOLDER, Encoder
from nlp.reading import prepare
from nlp.runtime import onnx_session

Padded = tuple[Ids, Ids]


def read(path: Path | None, limit: int | None) -> list[str]:
    """Distinct texts of a JSON Lines file of objects with `text`, or of the built-in sample."""
    lines = path or files("connectors").joinpath("data/sample.jsonl")
    with lines.open(encoding="utf-8") as rows:  # splitlines would cut at U+2028 too
        found = [str(json.loads(row)["text"]) for row in rows]
    return list({prepare(text): text for text in found}.values())[:limit]


def bare(batches: Sequence[Padded], threads: int) -> Callable[[], None]:
    """What runs the batches in onnxruntime and nothing else."""
    session = onnx_session(MODEL_FOLDER / "model.onnx")

    def one(batch: Padded) -> None:
        session.run(["logits", "embedding"], {"input_ids": batch[0], "attention_mask": batch[1]})

    def waiting() -> Generator[Padded, None, None]:
        yield from batches

    return lambda: each(one, waiting(), threads=threads)


def seconds(run: Callable[[], object]) -> float:
    """How long it takes."""
    start = perf_counter()
    run()
    return perf_counter() - start


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--limit", type=int, help="no more texts than this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    texts = read(given.texts, given.limit)
    encoder = Encoder(threads=given.threads)
    encoder.run(texts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    start = process_time()
    cut = list(encoder.batches([prepare(text) for text in texts]))
    alone = process_time() - start
    tokens = sum(len(one.ids) for batch in cut for one in batch.values())
    batches = [padded([one.ids for one in batch.values()]) for batch in cut]
    places = sum(ids.size for ids, _ in batches)
    runtime = bare(batches, given.threads)
    runtime()
    times = [(seconds(runtime), seconds(lambda: encoder.run(texts))) for _ in range(given.rounds)]
    without, whole = (median(side) for side in zip(*times, strict=True))
    ratio = median(one / other for one, other in times)

    print(f"{len(texts)} texts, {tokens / len(texts):.0f} tokens each, {len(batches)} batches")
    print(f"padding: {1 - tokens / places:.1%} of what the model reads")
    print(f"bare runtime: {len(texts) / without:.0f} texts/s, median of {given.rounds}")
    print(f"encoder: {len(texts) / whole:.0f} texts/s, median of {given.rounds}")
    print(f"speed of the encoder: {ratio:.1%} of the bare runtime's, median of the turns")
    print(f"preparation and tokens: {alone / (whole * given.threads):.1%} of the processor time")
    print(f"peak memory of the encoder: {peak:.0f} MB, {given.threads} threads")


if __name__ == "__main__":
    main()
