"""Signed links: what a token says, who may use it and until when, and the key that signs it."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from urllib.parse import parse_qs, urlsplit

import pytest
from builders import NOW, RECIPIENTS, config

from listener import audit, feedback
from listener.config import ConfigError
from listener.links import (
    FORM_LIFE,
    LINK_LIFE,
    MAILS,
    UNSUBSCRIBE_LIFE,
    Expired,
    Forged,
    Judged,
    LinkError,
    Signer,
    Ticket,
    open_signer,
    unsubscribe_link,
    verdict_links,
)

OLD, NEW = "o" * 32, "n" * 32
SIGNER = Signer([NEW])
ANA = "ana@example.com"
WEB = RECIPIENTS + '[web]\nbase_url = "https://listener.example.com/judge/"\n'
SECRET = RECIPIENTS + '[web]\nsecret = { env = "LINK_KEY" }\n'
SECOND = timedelta(seconds=1)


def token(number: int = 7, recipient: str = ANA) -> str:
    return SIGNER.link("feedback", number, recipient, now=NOW)


def ticket(text: str) -> Ticket:
    return SIGNER.read(text, "feedback", now=NOW)


def refused(settings: str, database: Path, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        open_signer(config(settings), database, environ)
    return str(caught.value)


def test_a_link_says_what_and_whose() -> None:
    read = ticket(token(7, "Ana@Example.com "))
    assert (read.purpose, read.number) == ("feedback", 7)
    assert SIGNER.is_for(read, ANA)
    assert not SIGNER.is_for(read, "ben@example.com")


def test_a_link_holds_no_address() -> None:
    payload = token().partition(".")[0]
    assert b"ana" not in base64.urlsafe_b64decode(payload + "==").lower()
    assert len(token()) < 100


def test_a_changed_link_is_refused_or_still_says_the_same() -> None:
    good = token()
    for place, char in enumerate(good):
        for other in {"A", "B", "_", "."} - {char}:
            changed = good[:place] + other + good[place + 1 :]
            try:
                assert ticket(changed) == ticket(good)
            except Forged:
                continue
            # The last character of the signature has bits that mean nothing.
            assert place == len(good) - 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "ñ.ñ.ñ",
        "\x00",
        "\ud800.a.b",
        "x" * 100_000,
        token()[:-1],
        token() + "A",
    ],
)
def test_what_is_no_link_is_forged(text: str) -> None:
    with pytest.raises(Forged):
        ticket(text)


def test_purposes_do_not_mix() -> None:
    form = SIGNER.form(ticket(token()), now=NOW)
    with pytest.raises(Forged):
        SIGNER.read(token(), "audit", now=NOW)
    with pytest.raises(Forged):
        ticket(form)
    with pytest.raises(Forged):
        SIGNER.read_form(token(), ticket(token()), now=NOW)


def test_a_link_works_for_sixty_days_and_no_longer() -> None:
    assert SIGNER.read(token(), "feedback", now=NOW + LINK_LIFE) == ticket(token())
    with pytest.raises(Expired, match="newer e-mail"):
        SIGNER.read(token(), "feedback", now=NOW + LINK_LIFE + SECOND)
    with pytest.raises(Forged):
        SIGNER.read(token() + "A", "feedback", now=NOW + LINK_LIFE + SECOND)


def test_a_clock_that_was_set_back_expires_nothing() -> None:
    assert SIGNER.read(token(), "feedback", now=NOW - timedelta(hours=3)) == ticket(token())


def test_both_errors_say_what_to_do() -> None:
    assert issubclass(Forged, LinkError)
    assert issubclass(Expired, LinkError)
    for error in (Forged(), Expired()):
        assert "listener feedback" in str(error)


def test_a_form_belongs_to_its_link_and_is_never_the_same() -> None:
    mine = ticket(token())
    forms = [SIGNER.form(mine, now=NOW) for _ in range(2)]
    nonces = {SIGNER.read_form(form, mine, now=NOW + FORM_LIFE) for form in forms}
    assert len(nonces) == 2
    with pytest.raises(Expired):
        SIGNER.read_form(forms[0], mine, now=NOW + FORM_LIFE + SECOND)
    for other in (ticket(token(8)), ticket(token(7, "ben@example.com"))):
        with pytest.raises(Forged):
            SIGNER.read_form(forms[0], other, now=NOW)


def test_an_older_key_still_verifies_and_a_removed_one_does_not() -> None:
    before = Signer([OLD]).link("feedback", 7, ANA, now=NOW)
    rotated = Signer([NEW, OLD])
    assert rotated.is_for(rotated.read(before, "feedback", now=NOW), ANA)
    assert ticket(rotated.link("feedback", 7, ANA, now=NOW)) == ticket(token())
    with pytest.raises(Forged):
        ticket(before)


def test_no_key_no_signer() -> None:
    with pytest.raises(ValueError, match="key"):
        Signer([])


@pytest.mark.parametrize(
    ("purpose", "choices"), [("feedback", feedback.VERDICTS), ("audit", audit.VERDICTS)]
)
def test_links_of_a_mail_lead_to_the_page_with_the_choice(
    purpose: Judged, choices: tuple[str, ...]
) -> None:
    links = verdict_links(config(WEB), SIGNER, purpose, 7, ANA, now=NOW)
    assert tuple(links) == choices
    for choice, url in links.items():
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", "listener.example.com")
        path, _, text = parts.path.rpartition("/")
        assert path == f"/judge/{purpose}"
        assert parse_qs(parts.query) == {"v": [choice]}
        assert SIGNER.is_for(SIGNER.read(text, purpose, now=NOW), ANA)


def test_without_an_address_of_the_page_mails_have_no_links() -> None:
    assert verdict_links(config(), SIGNER, "feedback", 7, ANA, now=NOW) == {}


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("listener.example.com", "start it with https://"),
        ("http://listener.example.com", "start it with https://"),
        ("https://listener.example.com/?", "end it with the host or a path"),
        ("https://listener.example.com/#x", "end it with the host or a path"),
        ("https://ana:pass@listener.example.com", "remove what stands before the @"),
    ],
)
def test_an_address_that_cannot_work_is_refused(url: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(f'[web]\nbase_url = "{url}"\n')
    assert fix in str(caught.value)
    assert "web.base_url" in str(caught.value)


def test_this_machine_needs_no_https() -> None:
    assert config('[web]\nbase_url = "http://localhost:8347/"\n').web.base_url == (
        "http://localhost:8347"
    )


def test_the_key_file_is_made_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    database = tmp_path / "listener.db"
    before = open_signer(config(), database, {}).link("feedback", 7, ANA, now=NOW)
    (file,) = tmp_path.iterdir()
    assert file.name == "listener.db.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text("ascii").strip()) == 64
    assert open_signer(config(), database, {}).read(before, "feedback", now=NOW).number == 7


def test_of_many_that_make_the_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    together = Barrier(8)

    def start(_: int) -> str:
        together.wait()
        return open_signer(config(), tmp_path / "x.db", {}).link("audit", 1, ANA, now=NOW)

    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(start, range(8)))
    assert len(tokens) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.db.key"]


def test_a_second_line_of_the_key_file_still_verifies(tmp_path: Path) -> None:
    before = Signer([OLD]).link("feedback", 7, ANA, now=NOW)
    file = tmp_path / "x.db.key"
    file.touch(mode=0o600)
    file.write_text(f"{NEW}\n{OLD}\n", "ascii")
    signer = open_signer(config(), tmp_path / "x.db", {})
    assert signer.read(before, "feedback", now=NOW).number == 7
    assert signer.link("feedback", 7, ANA, now=NOW) == token()


@pytest.mark.skipif(os.name != "posix", reason="other systems keep no such mode")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "x.db.key"
    file.write_text(NEW, "ascii")
    file.chmod(mode)
    text = refused(RECIPIENTS, tmp_path / "x.db", {})
    assert f"chmod 600 {file}" in text
    assert NEW not in text


@pytest.mark.parametrize("content", [b"", b"short", NEW.encode() + b"\nshort", b"\xff\xfe" * 40])
def test_a_damaged_key_file_is_refused_with_the_fix(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.db.key"
    file.touch(mode=0o600)
    file.write_bytes(content)
    text = refused(RECIPIENTS, tmp_path / "x.db", {})
    assert str(file) in text
    assert "restore it from a backup" in text
    assert "short" not in text.replace(str(tmp_path), "")


def test_a_folder_that_cannot_take_the_key_is_named_with_the_fix(tmp_path: Path) -> None:
    text = refused(RECIPIENTS, tmp_path / "none" / "x.db", {})
    assert "x.db.key" in text
    assert "[web] secret" in text


def test_a_key_of_the_environment_is_used_and_no_file_is_made(tmp_path: Path) -> None:
    environ = {"LINK_KEY": f"{NEW} {OLD}"}
    signer = open_signer(config(SECRET), tmp_path / "x.db", environ)
    assert signer.link("feedback", 7, ANA, now=NOW) == token()
    before = Signer([OLD]).link("feedback", 7, ANA, now=NOW)
    assert signer.read(before, "feedback", now=NOW).number == 7
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [None, "", "  ", "tooshort", f"{NEW} tooshort"])
def test_a_key_of_the_environment_that_cannot_work_is_named(
    tmp_path: Path, value: str | None
) -> None:
    environ = {} if value is None else {"LINK_KEY": value}
    text = refused(SECRET, tmp_path / "x.db", environ)
    assert "LINK_KEY" in text
    assert "set it" in text
    assert "tooshort" not in text
    assert NEW not in text


def test_the_link_that_ends_mails_says_which_and_whose_and_lasts_a_year() -> None:
    for number, mail in enumerate(MAILS, start=1):
        url = unsubscribe_link(config(WEB), SIGNER, mail, ANA, now=NOW)
        assert url is not None
        base, _, made = url.rpartition("/")
        assert base == "https://listener.example.com/judge/unsubscribe"
        assert "ana" not in url.lower()
        ticket = SIGNER.read(made, "unsubscribe", now=NOW + UNSUBSCRIBE_LIFE)
        assert (ticket.number, SIGNER.is_for(ticket, ANA)) == (number, True)
        with pytest.raises(Expired):
            SIGNER.read(made, "unsubscribe", now=NOW + UNSUBSCRIBE_LIFE + SECOND)
        with pytest.raises(Forged):
            SIGNER.read(made, "feedback", now=NOW)


def test_no_link_ends_mails_without_a_web_address() -> None:
    assert unsubscribe_link(config(RECIPIENTS), SIGNER, "digest", ANA, now=NOW) is None
    assert unsubscribe_link(config(WEB), None, "digest", ANA, now=NOW) is None
