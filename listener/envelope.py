"""The envelope of an e-mail: headers, transfer encoding and the page to look at in a browser."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.header import Header
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from html import escape
from urllib.parse import quote, urlsplit

SIZE_LIMIT = 100_000
"""No composed e-mail has as many bytes; Gmail cuts off what is beyond 102 kB."""


BODY_LIMIT = SIZE_LIMIT - 8_000
"""Bytes of all encoded parts; the rest is for headers."""

_WHOLE = frozenset({"in-reply-to", "list-id", "list-unsubscribe", "message-id", "references"})
"""Headers that are never folded: an address that is broken or encoded leads nowhere."""
_LONGEST_LINE = 998
_LONGEST_WORD = 75
_URL_LIMIT = 800
_MESSAGE_ID = re.compile(r"<[^\s<>@]+@[^\s<>@]+>")
_IMAGE_NAME = re.compile(r"[\w.-]+@[\w.-]+", re.ASCII)
_BANNER = "margin:0;padding:12px 20px;background:#1f2933;color:#fff;font:600 15px sans-serif"


class _Headers(EmailPolicy):
    """Folds addresses never and words as RFC 2047 has it: encoded ones of at most 75 characters."""

    def fold(self, name: str, value: str) -> str:
        """The whole header, lines ended and folded."""
        words = _encoded(name, value)
        if words is not None:
            return f"{name}: {words.encode(linesep=self.linesep)}{self.linesep}"
        return str(super(_Headers, self._wide(name)).fold(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        """`fold`, encoded."""
        return self.fold(name, value).encode("utf-8" if self.utf8 else "ascii", "surrogateescape")

    def _wide(self, name: str) -> _Headers:
        return self.clone(max_line_length=_LONGEST_LINE) if name.lower() in _WHOLE else self


def _encoded(name: str, value: str) -> Header | None:
    """Headers with words of people, which the policy splits so that blanks are lost; else None."""
    charset = "us-ascii" if value.isascii() else "utf-8"
    if name == "Subject":
        return Header(value, charset, _LONGEST_WORD, header_name=name)
    if name in ("From", "To") and not value.isascii() and isinstance(value, AddressHeader):
        (address,) = value.addresses
        if address.addr_spec.isascii():
            header = Header(address.display_name, "utf-8", _LONGEST_WORD, header_name=name)
            header.append(f"<{address.addr_spec}>", "us-ascii")
            return header
    return None


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """An e-mail without its envelope: subject, plain text and HTML.

    `images` are PNG files by content id, such as `voice@listener`; the HTML shows one with
    `src="cid:voice@listener"`.
    """

    subject: str
    text: str
    html: str
    images: Mapping[str, bytes] = field(default_factory=dict)


def compose(
    rendered: Rendered,
    *,
    sender: str,
    recipient: str,
    message_id: str,
    date: datetime,
    list_name: str = "listener",
    thread: str | None = None,
    unsubscribe: str | None = None,
) -> EmailMessage:
    """`rendered` with its envelope: multipart/alternative, shorter than `SIZE_LIMIT` bytes.

    `sender` and `recipient` are addresses with or without a name, `message_id` and `thread` stand
    in angle brackets, `date` is aware. E-mails with the same `thread` are shown as one
    conversation: all of them answer that Message-ID, which need not be one of an e-mail.
    `unsubscribe` is a page that takes the one-click POST of RFC 8058; the sender's address stands
    beside it or alone, where it can be reached from outside.
    Raises `ValueError` for a line break in a header, a date without zone, a sender or recipient
    that is not one address, a `thread` that is no Message-ID, an `unsubscribe` that is no web
    address of at most 800 plain characters, and an image without a good name.
    """
    if date.utcoffset() is None:
        raise ValueError("the date of an e-mail needs a time zone")
    message = EmailMessage(policy=_Headers(linesep=SMTP.linesep))
    message["From"] = sender
    message["To"] = recipient
    # What looks like an encoded word would be decoded, line breaks and all.
    message["Subject"] = rendered.subject.replace("=?", "= ?")
    message["Date"] = date
    message["Message-ID"] = message_id
    if thread is not None:
        if not _MESSAGE_ID.fullmatch(thread):
            raise ValueError("thread needs a Message-ID, such as <1@example.org>")
        message["In-Reply-To"] = thread
        message["References"] = thread
    for header in ("From", "To"):
        addresses = message[header].addresses
        if len(addresses) != 1 or not addresses[0].domain:
            raise ValueError(f"{header} needs one address, such as listener@example.org")
    (author,) = message["From"].addresses
    message["List-Id"] = f"<{list_name}.{author.domain}>"
    ways = [] if unsubscribe is None else [_checked(unsubscribe)]
    if "." in author.domain:  # no answer ever arrives at localhost
        ways.append(f"mailto:{quote(author.addr_spec, safe='@')}?subject=unsubscribe")
    if ways:
        message["List-Unsubscribe"] = ", ".join(f"<{way}>" for way in ways)
    if unsubscribe is not None:
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Auto-Submitted"] = "auto-generated"
    message["MIME-Version"] = "1.0"
    message.make_alternative()
    message.attach(_part(rendered.text, "plain"))
    page = _part(rendered.html, "html")
    for name, image in rendered.images.items():
        _attach_image(page, name, image)
    message.attach(page)
    return message


def read(message: EmailMessage) -> Rendered:
    """What `compose` was given, from a message that it made."""
    plain, page = message.get_body(("plain",)), message.get_body(("html",))
    if plain is None or page is None:
        raise ValueError("the message has no text or no HTML; it was not made by `compose`")
    images = {
        part["Content-ID"].strip("<>"): part.get_content()
        for part in message.walk()
        if part.get_content_type() == "image/png"
    }
    return Rendered(
        subject=message["Subject"],
        text=plain.get_content().replace("\r\n", "\n"),
        html=page.get_content().replace("\r\n", "\n"),
        images=images,
    )


def preview_html(rendered: Rendered) -> str:
    """The HTML part as a page for a browser: subject on top, nothing may run or be loaded."""
    html = rendered.html
    for name, image in rendered.images.items():
        data = f"data:image/png;base64,{b64encode(image).decode('ascii')}"
        html = html.replace(f'src="cid:{name}"', f'src="{data}"')
    head, body, rest = html.partition("<body")
    attributes, close, content = rest.partition(">")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        head.replace(
            "<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">', 1
        )
        + f'{body}{attributes}{close}<p style="{_BANNER}">{escape(rendered.subject)}</p>{content}'
    )


def body_size(rendered: Rendered) -> int:
    """Bytes that the encoded parts of `rendered` take, at most."""
    images = sum(len(image) * 104 // 76 + 400 for image in rendered.images.values())
    return encoded(rendered.text)[0] + encoded(rendered.html)[0] + images


def encoded(text: str) -> tuple[int, str]:
    """Bytes that `text` takes in the shorter transfer encoding, at most, and its name.

    Quoted-printable makes three bytes of one that is not plain and adds a soft line end of three to
    each 73; base64 makes four of three and adds a line end of two to each 76.
    """
    content = text.encode()
    odd = sum(byte > 126 or byte == ord("=") for byte in content)
    quoted, coded = (len(content) + 2 * odd) * 76 // 73, len(content) * 104 // 76
    # what is left: line ends that grow from one byte to two, blanks before them
    extra = 3 * content.count(b"\n") + 100
    return min((quoted + extra, "quoted-printable"), (coded + extra, "base64"))


def _checked(url: str) -> str:
    # Longer or other characters would be folded or encoded, and no mail program could follow it.
    plain = url.isascii() and url.isprintable() and not set(' <>,"') & set(url)
    if not plain or len(url) > _URL_LIMIT or urlsplit(url).scheme not in {"https", "http"}:
        raise ValueError(
            f"unsubscribe needs a plain web address of at most {_URL_LIMIT} characters"
        )
    return url


def _attach_image(page: EmailMessage, name: str, image: bytes) -> None:
    if not _IMAGE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no content id; name the image like voice@listener")
    page.add_related(
        image,
        "image",
        "png",
        cid=f"<{name}>",
        disposition="inline",
        filename=f"{name.partition('@')[0]}.png",
    )
    page.set_param("type", "text/html")  # which RFC 2387 asks for


def _part(text: str, subtype: str) -> EmailMessage:
    # the message's own policy would make body lines of 998 characters; RFC 2045 allows 76
    part = EmailMessage(policy=SMTP)
    part.set_content(text, subtype=subtype, charset="utf-8", cte=encoded(text)[1])
    del part["MIME-Version"]
    return part
