"""What mail programs can show, by the data of caniemail.com, which `make test-peers` fetches."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from goldens import FOLDER
from peers.running import caniemail

pytestmark = pytest.mark.peer

ALLOWED = json.loads((Path(__file__).parent / "peers/caniemail/allowed.json").read_text("utf-8"))
"""Why a feature may stay that some program does not know."""


def test_the_pages_need_nothing_that_a_usual_program_cannot_show() -> None:
    pages = sorted(FOLDER.glob("*.html"))
    assert pages
    done = subprocess.run([*caniemail(), *pages], check=True, capture_output=True, text=True)
    unseen = json.loads(done.stdout)
    new = {feature: programs for feature, programs in unseen.items() if feature not in ALLOWED}
    assert not new, "do without them, or say in tests/peers/caniemail/allowed.json why they may be"
    assert unseen.keys() == ALLOWED.keys(), "remove what no page has any more"
