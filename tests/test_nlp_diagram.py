from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from nlp.encoder import WIDTH, Floats, columns
from nlp.training.data import Row
from nlp.training.diagram import DIAGRAM, HEADS, bins, draw


def made(scores: list[float], early: list[int], lang: str = "en") -> tuple[list[Row], Floats]:
    """Rows that are `early` or not, and probabilities that give that head `scores`."""
    rows = [
        Row(f"{at}", f"text {at}", lang, "made", 0, (0, one, *[0] * 10), 0)
        for at, one in enumerate(early)
    ]
    probabilities = np.zeros((len(rows), WIDTH), np.float32)
    probabilities[:, columns("early").start] = scores
    return rows, probabilities


def test_bins_hold_mean_share_and_rows() -> None:
    rows, probabilities = made([0.02, 0.04, 0.09, 0.51, 0.59, 1.0], [0, 0, 1, 1, 1, 1])
    first, middle, last = bins(rows, probabilities, "early", "en")
    assert (first.low, first.rows, middle.low, middle.rows, last.low) == (0.0, 3, 0.5, 2, 0.9)
    assert first.mean == pytest.approx(0.05)
    assert first.share == pytest.approx(1 / 3)
    assert (middle.share, last.share) == (1, 1)
    assert bins(rows, probabilities, "early", "es") == []
    assert bins(rows, probabilities, "intent", "en")[0].rows == len(rows)


def test_bars_are_wilson_intervals() -> None:
    """Against the formula of Wilson (1927) with the 95th percentile of the normal distribution."""
    rows, probabilities = made([0.35] * 10, [1, 1, 1, *[0] * 7])
    (one,) = bins(rows, probabilities, "early", "en")
    z, n, share = 1.6448536269514722, 10, 0.3
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    assert (one.floor, one.ceiling) == pytest.approx((middle - half, middle + half))


def test_the_diagram_is_the_same_again_and_has_no_date(tmp_path: Path) -> None:
    rows, probabilities = made([0.1, 0.3, 0.8, 0.9], [0, 0, 1, 1])
    spanish, more = made([0.2, 0.7], [0, 1], "es")
    files = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        draw(tmp_path / name, [*rows, *spanish], np.concatenate([probabilities, more]))
        files.append((tmp_path / name / DIAGRAM).read_bytes())
    assert files[0] == files[1]
    assert b"date" not in files[0]
    assert len(files[0]) < 150_000
    root = ET.fromstring(files[0])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    bars = [one for one in root.iter() if (one.get("id") or "").startswith("LineCollection")]
    assert len(bars) == len(HEADS) * 2 + 2, "a language in each panel and in the legend"
    draw(tmp_path, rows, probabilities[:, ::-1].copy())
    assert (tmp_path / DIAGRAM).read_bytes() != files[0]


def test_a_language_without_rows_is_left_empty(tmp_path: Path) -> None:
    draw(tmp_path, *made([0.5], [1]))
    assert (tmp_path / DIAGRAM).read_bytes().startswith(b"<?xml")


def test_importing_loads_no_matplotlib() -> None:
    check = "import sys, nlp.training.card; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
