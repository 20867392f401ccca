"""Take the pictures of e-mails in docs/images: `python docs/pictures.py`. It needs Chromium.

Alerts of tests/golden are shown as a mail program shows them that loads no images, digests of
tests/digests_written.py with their charts; light and dark, 600 pixels wide, and 375 as on a phone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from listener.envelope import preview_html
from listener.messages import render_digest

ROOT = Path(__file__).parents[1]
PICTURES = (
    ("alert-en", "alert-plain-en", 600),
    ("alert-es-phone", "alert-plain-es", 375),
)
"""Name of the picture, of the page, and its width."""
DIGESTS = (("digest-en", "en", 600), ("digest-es-phone", "es", 375))
"""Name of the picture, language and width."""
SCHEMES = {"": 1, "-dark": 0}
"""End of the name, and what Chromium calls it."""
_TALL = 3_000
_COLOURS = 48


def picture(page: Path, width: int, scheme: int, *, images: bool) -> Image.Image:
    """`page` as it is seen, cut off below its last line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A window of Chromium is never narrower than 500 pixels; a frame in it may be.
        (folder / "frame.html").write_text(
            f'<body style="margin:0"><iframe src="{page.as_uri()}" width="{width}" '
            f'height="{_TALL}" style="border:0"></iframe>',
            encoding="utf-8",
        )
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                f"--user-data-dir={folder / 'profile'}",
                f"--blink-settings=preferredColorScheme={scheme},imagesEnabled={str(images).lower()}",
                f"--window-size={max(width, 500)},{_TALL}",
                f"--screenshot={folder / 'shot.png'}",
                (folder / "frame.html").as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        shot = Image.open(folder / "shot.png").convert("RGB").crop((0, 0, width, _TALL))
    empty = Image.new("RGB", shot.size, shot.getpixel((0, _TALL - 1)))
    box = ImageChops.difference(shot, empty).getbbox()
    return shot.crop((0, 0, width, min((box[3] if box else 0) + 24, _TALL)))


def take(page: Path, name: str, width: int, *, images: bool) -> None:
    """Write the pictures of a page, light and dark."""
    for end, scheme in SCHEMES.items():
        shot = picture(page, width, scheme, images=images)
        shot.quantize(_COLOURS).save(ROOT / f"docs/images/{name}{end}.png", optimize=True)


def main() -> None:
    """Write every picture."""
    for name, page, width in PICTURES:
        take(ROOT / f"tests/golden/{page}.html", name, width, images=False)
    sys.path.insert(0, str(ROOT / "tests"))
    from digests_written import DIGESTS as WRITTEN

    for name, language, width in DIGESTS:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "digest.html")
            rendered = render_digest(WRITTEN["small"], language=language)
            page.write_text(preview_html(rendered), encoding="utf-8")
            take(page, name, width, images=True)


if __name__ == "__main__":
    main()
