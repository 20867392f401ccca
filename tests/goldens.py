"""Whole e-mails kept as files in tests/golden, to be read: headers and text, and the page beside.

`REWRITE_GOLDEN=1 pytest tests/test_golden_*.py` writes them anew; look at the difference before
you keep it.
"""

from __future__ import annotations

import os
import re
from email.message import EmailMessage
from pathlib import Path

from listener.envelope import SIZE_LIMIT, read

FOLDER = Path(__file__).parent / "golden"


def assert_golden(name: str, message: EmailMessage) -> None:
    """Compare `message` with `name`.txt and `name`.html, or write both when asked to."""
    assert len(message.as_bytes()) < SIZE_LIMIT
    for path, found in (
        (FOLDER / f"{name}.txt", _letter(message)),
        (FOLDER / f"{name}.html", _page(message)),
    ):
        if os.environ.get("REWRITE_GOLDEN"):
            path.write_text(found, encoding="utf-8", newline="\n")
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        assert found == kept, f"{path.name} has changed; see tests/goldens.py to write it anew"


def _letter(message: EmailMessage) -> str:
    """Headers as they are sent, the parts, and the text."""
    head = message.as_bytes().partition(b"\r\n\r\n")[0].decode("ascii").replace("\r\n", "\n")
    parts = [
        " ".join(filter(None, (part.get_content_type(), part["Content-ID"])))
        for part in message.walk()
    ]
    # Boundaries are drawn by chance.
    return "\n".join(
        [
            re.sub(r"={15}\d+==", "BOUNDARY", head),
            "",
            *(f"[{part}]" for part in parts),
            "",
            message["Subject"],
            "",
            read(message).text,
        ]
    )


def _page(message: EmailMessage) -> str:
    """The page with a line for each tag."""
    return re.sub(r">\s*<", ">\n<", read(message).html)
