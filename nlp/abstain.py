"""When the shipped model keeps silent: it reads the Latin alphabet and no other.

A run of letters of another alphabet is one unknown token, whatever it says, so that all Japanese
posts would get the same figures. A text is therefore given only such tags as are sure enough for
the part of it that the model reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from .base import BINARY_HEADS, Tag
from .language import LINKS_AND_HANDLES

ABSTAIN = 0.6
"""Confidence below which a text that is not wholly read gets no tag: see `kept`."""
WHOLLY = 0.9
"""Share of letters from which a text counts as wholly read: a name in its own letters is no bar."""

_READ = 3_000
_LETTER = re.compile(r"[^\W\d_]")
# All but the Latin blocks up to Extended-B and Latin Extended Additional (Vietnamese).
_UNREAD = re.compile(r"[^\W\d_\x00-\u024f\u1e00-\u1eff]")
_YES_NO = frozenset(BINARY_HEADS)


def share_read(text: str) -> float:
    """Share in [0, 1] of the letters of a text that the model knows; 1 where there are none.

    Those of the Latin alphabet, in any shape that Unicode holds equal (full width, mathematical).
    Links and handles do not count: they are Latin in every language. Of a text of more than 3,000
    characters only the ends count, as only they are read.
    """
    if text.isascii():
        return 1.0
    if len(text) > _READ:
        text = f"{text[: _READ * 2 // 3]} {text[-(_READ // 3) :]}"
    plain = unicodedata.normalize("NFKC", LINKS_AND_HANDLES.sub(" ", text))
    unread = len(_UNREAD.findall(plain))
    return 1 - unread / len(_LETTER.findall(plain)) if unread else 1.0


def kept(tags: Iterable[Tag], share: float) -> tuple[Tag, ...]:
    """Those of the tags that a text with `share_read` of `share` is to get.

    All where it is at least `WHOLLY`; else those with share x confidence of at least `ABSTAIN`, in
    which the confidence of a yes/no head is that of its answer, be it yes or no. So a text with
    less than three letters in five that can be read gets none.
    """
    if share >= WHOLLY:
        return tuple(tags)
    return tuple(tag for tag in tags if share * _confidence(tag) >= ABSTAIN)


def _confidence(tag: Tag) -> float:
    return max(tag.score, 1 - tag.score) if tag.kind in _YES_NO else tag.score
