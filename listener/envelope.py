"""The envelope of an e-mail: headers, transfer encoding and the page to look at in a browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

SIZE_LIMIT = 100_000
"""No composed e-mail has as many bytes; Gmail cuts off what is beyond 102 kB."""


BODY_LIMIT = SIZE_LIMIT - 8_000
"""Bytes of both encoded parts; the rest is for headers."""

_POLICY = SMTP.clone(max_line_length=998)
_BANNER = "margin:0;padding:12px 20px;background:#1f2933;color:#fff;font:600 15px sans-serif"


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """An e-mail without its envelope: subject, plain text and HTML."""

    subject: str
    text: str
    html: str


def compose(
    rendered: Rendered,
    *,
    sender: str,
    recipient: str,
    message_id: str,
    date: datetime,
    list_name: str = "listener",
) -> EmailMessage:
    """`rendered` with its envelope: multipart/alternative, shorter than `SIZE_LIMIT` bytes.

    `sender` and `recipient` are addresses with or without a name, `message_id` stands in angle
    brackets, `date` is aware.
    Raises `ValueError` for a line break in a header, a date without zone and a sender or
    recipient that is not one address.
    """
    if date.utcoffset() is None:
        raise ValueError("the date of an e-mail needs a time zone")
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = rendered.subject
    message["Date"] = date
    message["Message-ID"] = message_id
    for header in ("From", "To"):
        addresses = message[header].addresses
        if len(addresses) != 1 or not addresses[0].domain:
            raise ValueError(f"{header} needs one address, such as listener@example.org")
    message["List-Id"] = f"<{list_name}.{message['From'].addresses[0].domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.make_alternative()
    message.attach(_part(rendered.text, "plain"))
    message.attach(_part(rendered.html, "html"))
    return message


def preview_html(rendered: Rendered) -> str:
    """The HTML part as a page for a browser: subject on top, nothing may run or be loaded."""
    head, body, rest = rendered.html.partition("<body")
    attributes, close, content = rest.partition(">")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        head.replace(
            "<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">', 1
        )
        + f'{body}{attributes}{close}<p style="{_BANNER}">{escape(rendered.subject)}</p>{content}'
    )


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


def _part(text: str, subtype: str) -> EmailMessage:
    # the message's own policy would make body lines of 998 characters; RFC 2045 allows 76
    part = EmailMessage(policy=SMTP)
    part.set_content(text, subtype=subtype, charset="utf-8", cte=encoded(text)[1])
    del part["MIME-Version"]
    return part
