from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from importlib import resources
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from listener import i18n, schema_alerts
from listener.config_alerts import RuleType
from listener.digest_changes import Change, What
from listener.digest_lines import (
    advocate_line,
    change_line,
    context_line,
    group_line,
    news_line,
    usual_line,
)
from listener.digest_shown import Move
from listener.envelope import SIZE_LIMIT, Rendered, compose, preview_html
from listener.explain import (
    Event,
    Outcome,
    Reason,
    event_line,
    outcome_line,
    part_line,
    reason_line,
)
from listener.messages import (
    AdvocateCard,
    AlertMessage,
    ConversationCard,
    DayCount,
    DigestMessage,
    PostCard,
    PostGroup,
    SentimentCount,
    render_alert,
    render_digest,
)
from listener.scoring import FIT, WEIGHTS, Part
from listener.statement import SourceCoverage
from nlp.base import SIGNALS, STAGES

NOW = datetime(2026, 11, 21, 17, 40, tzinfo=UTC)
POST = PostCard(
    author="ana_cafe",
    reach="nano",
    source="reddit",
    published_at=NOW - timedelta(hours=3),
    text="Lumora or Cafetto for a tiny flat? We are two and the kitchen is small.",
    url="https://www.reddit.com/r/coffee/comments/abc/",
)
CARD = ConversationCard(
    title="Lumora or Cafetto for a tiny flat?",
    stage="consideration",
    probability=0.91,
    about=("Lumora", "Cafetto"),
    reasons=(
        Reason(code="early_probability", value=0.91, quote=None),
        Reason(code="signal", value="comparison", quote=None),
        Reason(code="matched", value="Cafetto", quote="Cafetto Mini"),
        Reason(code="replies", value=0, quote=None),
    ),
    post=POST,
    replies=0,
    age_hours=3.2,
    moved=False,
    language="en",
)
ALERT = AlertMessage(
    id="57",
    rule="early_funnel",
    conversation=CARD,
    timeline=(POST, replace(POST, author="pete", reach=None, text="Get a decent grinder first.")),
)
DIGEST = DigestMessage(
    day=date(2026, 11, 21),
    timezone="Europe/Madrid",
    brand="Lumora",
    mentions=62,
    mentions_usual=41.0,
    stages={"none": 18, "awareness": 9, "consideration": 14, "decision": 4, "post_purchase": 17},
    sentiment=(SentimentCount(entity="Lumora", positive=21, neutral=30, negative=11),),
    share_of_voice=(("Lumora", 60), ("Cafetto", 20)),
    join_now=(CARD, replace(CARD, title="Otra conversación", language="es", moved=True)),
    held_back=1,
    praise=(PostGroup(post=replace(POST, text="Best coffee in the office.")),),
    complaints=(
        PostGroup(post=replace(POST, text="The tray leaks."), posts=5, words=("tray", "leaks")),
    ),
    ideas=(PostGroup(post=replace(POST, text="It should warn before descaling.")),),
    unanswered=(replace(POST, text="Can the grinder be taken out?"),),
    coverage=(
        SourceCoverage(source="reddit", fetched=1412, kept=38, new=31, failed=None),
        SourceCoverage(source="rss", fetched=0, kept=0, new=0, failed="the feed did not answer"),
    ),
    changes=(Change(what="negative", name="Lumora", count=11, usual=3.0),),
    trend=tuple(
        DayCount(day=date(2026, 11, day), positive=day, neutral=2, negative=1)
        for day in range(8, 22)
    ),
    advocates=(
        AdvocateCard(post=replace(POST, author="eva", text="Get a Lumora."), posts=3, rate=0.045),
    ),
)
QUIET = replace(
    DIGEST,
    mentions=0,
    stages={},
    sentiment=(),
    share_of_voice=(),
    join_now=(),
    held_back=0,
    praise=(),
    complaints=(),
    ideas=(),
    unanswered=(),
    changes=(),
    advocates=(),
)
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a> "
    '<mj-include path="head.mjml" /><mj-raw><iframe></iframe></mj-raw>"><b>bold</b> &lt;u&gt; '
    "{{7*7}} {% include 'digest.txt' %} {# gone #} --></style></title>\r\nBcc: v@example.org\r\n"
    "\r\nbody \u202egnp.exe\u2066\u200b\u200d\x00\x1b[31m e" + "\u0301" * 40 + "\U0001f44d" * 50
)

ALLOWED_TAGS = {
    *("html", "head", "title", "meta", "style", "body", "div", "span", "p", "h1", "h2", "h3"),
    *("table", "tbody", "tr", "td", "th", "ul", "li", "a", "strong", "em", "br", "code"),
    *("blockquote", "img"),
}


def mail(rendered: Rendered, **envelope: str) -> EmailMessage:
    return compose(
        rendered,
        sender="Listener <listener@example.org>",
        recipient="Ana <ana@example.org>",
        message_id="<digest-2026-11-21@example.org>",
        date=NOW,
        **envelope,
    )


def read_back(message: EmailMessage) -> tuple[EmailMessage, str, str]:
    raw = message.as_bytes()
    assert len(raw) < SIZE_LIMIT
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    parsed = message_from_bytes(raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    plain, page = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert plain is not None
    assert page is not None
    texts = [part.get_content().replace("\r\n", "\n") for part in (plain, page)]
    return parsed, texts[0], texts[1]


def shown(html: str) -> str:
    body = LexborHTMLParser(html).body
    assert body is not None
    return " ".join(body.text(separator=" ").split())


def spoiled(post: PostCard, text: str) -> PostCard:
    return replace(post, author=text, source=text, text=text, url=text)


def spoiled_card(text: str) -> ConversationCard:
    reasons = (Reason(code="matched", value=text, quote=text),) * 2
    return replace(
        CARD,
        title=text,
        about=(text, text),
        reasons=reasons,
        post=spoiled(POST, text),
        language=text,
    )


def spoiled_digest(text: str) -> DigestMessage:
    posts = (spoiled(POST, text),) * 4
    groups = tuple(PostGroup(post=post, posts=2, words=(text, text)) for post in posts)
    return replace(
        DIGEST,
        brand=text,
        sentiment=(SentimentCount(entity=text, positive=1, neutral=1, negative=1),),
        share_of_voice=((text, 1),),
        join_now=(spoiled_card(text),) * 3,
        missed=(spoiled_card(text),) * 4,
        changes=(Change(what="mentions", name=text, count=9, usual=1.0),),
        advocates=tuple(AdvocateCard(post=post, posts=2) for post in posts),
        praise=groups,
        complaints=groups,
        ideas=groups,
        unanswered=posts,
        coverage=(SourceCoverage(source=text, fetched=1, kept=1, new=1, failed=text),),
    )


def spoiled_alert(text: str) -> AlertMessage:
    return AlertMessage(
        id=text,
        rule=text,
        conversation=spoiled_card(text),
        timeline=(spoiled(POST, text),) * 3,
        score=1,
        parts=(Part(code="urgent", points=1, quote=text),),
        events=(Event(at=NOW, kind="option", entity=text, author=text, quote=text),) * 3,
        outcome=Outcome(outcome="other", entity=text, quote=text),
    )


def assert_harmless(rendered: Rendered) -> None:
    message, text, html = read_back(mail(rendered))
    assert "\n" not in rendered.subject
    assert message["Bcc"] is None
    tree = LexborHTMLParser(html)
    for node in tree.css("*"):
        assert node.tag in ALLOWED_TAGS
        assert not [name for name in node.attributes if name.startswith("on")]
        if node.tag == "img":
            assert str(node.attributes["src"]).removeprefix("cid:") in rendered.images
        if node.tag == "a":
            assert str(node.attributes["href"]).startswith(("https://", "http://"))
    for part in (rendered.subject, text, html):
        unseen = {char for char in part if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"}}
        assert unseen <= {"\n", "\t", "\u200d"}


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_digest_says_everything_in_its_order(language: str) -> None:
    rendered = render_digest(DIGEST, language=language)
    message, text, html = read_back(mail(rendered))
    say = {
        key: i18n.say(language, f"digest.{key}")
        for key in ("join", "complaints", "ideas", "praise", "voice", "advocates", "unanswered")
    }
    order = [i18n.long_day(language, DIGEST.day), *say.values()]
    order.append(i18n.say(language, "digest.coverage"))
    for part, headings in ((text, [order[0], *map(str.upper, order[1:])]), (shown(html), order)):
        places = [part.index(heading) for heading in headings]
        assert places == sorted(places)
        for words in ("62", CARD.title, "Otra conversación", "The tray leaks.", "reddit.com", "▲"):
            assert words in part or (words == "▲" and part is text)
        assert i18n.percent(language, 0.75) in part or part is not text
        assert change_line(language, DIGEST.changes[0], DIGEST) in part
        assert group_line(language, DIGEST.complaints[0]) in part
        assert advocate_line(language, DIGEST.advocates[0]) in part
        assert i18n.number(language, 1412) in part
        assert "the feed did not answer" in part
        assert i18n.say(language, "moved") in part
    assert message["Subject"] == rendered.subject
    assert f'lang="{language}"' in html
    assert "\n\n\n" not in text


def test_digest_reads_well_in_english_and_spanish() -> None:
    english = render_digest(DIGEST, language="en")
    spanish = render_digest(DIGEST, language="es")
    assert english.subject == "Lumora: 2 conversations to join, 21 November"
    assert spanish.subject == "Lumora: 2 conversaciones en las que participar, 21 de noviembre"
    assert english.text.startswith(
        "Lumora · daily digest\nSaturday, 21 November 2026\n\n62 mentions\n"
        "51% more than usual for a Saturday (41)\n"
        "↑ Negative mentions of Lumora: 11, usually 3 on Saturdays\n"
        "9 with a need, 14 weighing options, 4 about to buy, 17 already customers\n"
    )
    assert spanish.text.startswith(
        "Lumora · resumen del día\nSábado, 21 de noviembre de 2026\n\n62 menciones\n"
        "Un 51\u00a0% más de lo habitual para un sábado (41)\n"
        "↑ Menciones negativas de Lumora: 11; los sábados suelen ser 3\n"
        "9 con una necesidad, 14 comparando opciones, 4 a punto de comprar, 17 ya son clientes\n"
    )
    assert (
        "1. Lumora or Cafetto for a tiny flat?\n"
        "   We are two and the kitchen is small.\n"
        "   [weighing options] Reddit · ana_cafe (small, close audience) · 3 hours ago"
        " · no replies yet\n"
        "   The choice is still open: very likely (91%). Compares options.\n"
        "   https://www.reddit.com/r/coffee/comments/abc/\n"
    ) in english.text
    assert "1 more alert was held back" in english.text
    assert "Hemos retenido 1 aviso más" in spanish.text
    assert "Listened to 1 of 2 sources without a gap.\n" in english.text
    assert "De 2 fuentes, 1 se ha escuchado sin huecos.\n" in spanish.text
    assert "CUOTA DE VOZ\n" in spanish.text
    assert "Fecha y horas en la zona horaria Europe/Madrid." in spanish.text


@pytest.mark.parametrize(
    ("mentions", "usual", "line"),
    [
        (20, 40.0, "50% fewer than usual for a Saturday (40)"),
        (41, 40.0, "As usual for a Saturday"),
        (3, 0.2, "Usual for a Saturday: 0"),
        (3, None, "Not enough history yet to say what is usual"),
    ],
)
def test_the_day_is_set_against_the_usual(mentions: int, usual: float | None, line: str) -> None:
    message = replace(DIGEST, mentions=mentions, mentions_usual=usual)
    assert f"{line}\n" in render_digest(message, language="en").text


def test_a_day_without_news_is_one_honest_line_and_the_coverage() -> None:
    doubt = render_digest(QUIET, language="es")
    assert doubt.subject == "Lumora: sin novedades el 21 de noviembre"
    assert "una fuente no se ha escuchado del todo y puede faltar algo" in shown(doubt.html)
    assert "Lo habitual para un sábado: 41" in doubt.text
    assert i18n.say("es", "digest.join") not in shown(doubt.html)
    fine = render_digest(replace(QUIET, coverage=DIGEST.coverage[:1]), language="en")
    assert "Nothing new: no mention and no new open conversation." in fine.text
    assert fine.images == {}
    known = render_digest(replace(QUIET, still_open=2), language="en")
    for part in (known.text, shown(known.html)):
        assert "2 conversations you know are still open and have not moved." in part
    assert "Listened to the only source without a gap." in fine.text
    empty = render_digest(replace(QUIET, coverage=()), language="en")
    assert "No source was asked." in shown(empty.html)


@pytest.mark.parametrize("title", ["", "\u200b"])
def test_a_post_without_a_title_stands_in_its_place(title: str) -> None:
    card = replace(CARD, title=title)
    rendered = render_digest(replace(DIGEST, join_now=(card,)), language="en")
    assert f"1. {POST.text}\n   [weighing options]" in rendered.text
    assert rendered.text.count(POST.text) == shown(rendered.html).count(POST.text) == 1
    assert LexborHTMLParser(rendered.html).css("h3") == []


@pytest.mark.parametrize(
    ("state", "failed", "english", "spanish"),
    [
        ("partial", "three days missing", "Partly read: ", "Leída en parte: "),
        ("waiting", None, "Asked to wait", "Ha pedido esperar"),
        ("failed", None, "Failed", "Ha fallado"),
        ("ok", "no answer", "Failed: ", "Ha fallado: "),
        ("silent", None, "Not asked", "Sin consultar"),
    ],
)
def test_a_source_that_was_not_read_in_full_says_so(
    state: str, failed: str | None, english: str, spanish: str
) -> None:
    row = SourceCoverage(source="x", fetched=3, kept=2, new=1, failed=failed, state=state)
    coverage = (DIGEST.coverage[0], row, row)
    for language, line, total in (
        ("en", english, "Listened to 1 of 3 sources without a gap."),
        ("es", spanish, "De 3 fuentes, 1 se ha escuchado sin huecos."),
    ):
        rendered = render_digest(replace(DIGEST, coverage=coverage), language=language)
        assert rendered.text.count(f"\n  {line}{failed or ''}\n") == 2
        cells = LexborHTMLParser(rendered.html).css("td.warn")
        assert [cell.text() for cell in cells] == [line + (failed or "")] * 2
        for part in (rendered.text, shown(rendered.html)):
            assert total in part


BLIND = SourceCoverage(
    source="x",
    fetched=100,
    kept=40,
    new=12,
    failed="rate limited; next try at 2026-11-21 13:05:00 UTC",
    state="waiting",
    searches=5,
    blind_searches=5,
    blind_minutes=200,
    cut=2,
    waits_until=datetime(2026, 11, 21, 13, 5, tzinfo=UTC),
    spent=1_200_000,
    cap=20_000_000,
)

LATE = {"state": "ok", "failed": None, "cut": 0, "cap": None, "spent": 0, "blind_minutes": 45}


@pytest.mark.parametrize(
    ("change", "english", "spanish"),
    [
        (
            {},
            "Blind 3 h 20 min (asked to wait until 21 Nov, 14:05), 2 searches cut short by the "
            "budget|$1.20 of $20.00 this month",
            "Sin escuchar 3 h 20 min (ha pedido esperar hasta el 21 nov, 14:05), 2 búsquedas "
            "recortadas por el presupuesto|1,20 $ de 20,00 $ este mes",
        ),
        (
            {"state": "partial", "failed": "the budget ended", "blind_searches": 1, "cut": 1},
            "Blind 3 h 20 min in 1 of 5 searches, 1 search cut short by the budget"
            "|$1.20 of $20.00 this month",
            "Sin escuchar 3 h 20 min en 1 de 5 búsquedas, 1 búsqueda recortada por el presupuesto"
            "|1,20 $ de 20,00 $ este mes",
        ),
        (
            {"state": "ok", "failed": None, "cut": 0, "cap": None, "blind_minutes": 60},
            "Blind 1 h|$1.20 this month",
            "Sin escuchar 1 h|1,20 $ este mes",
        ),
        (
            {**LATE, "covered_until": datetime(2026, 11, 21, 13, 5, tzinfo=UTC)},
            "Blind 45 min (not asked again since 21 Nov, 14:05)",
            "Sin escuchar 45 min (sin consultar desde el 21 nov, 14:05)",
        ),
        (
            {**LATE, "lost_minutes": 45},
            "Blind 45 min (lost for good)",
            "Sin escuchar 45 min (perdido para siempre)",
        ),
        (
            {"state": "failed", "failed": "no network", "cut": 0, "cap": None, "spent": 0},
            "Blind 3 h 20 min (failed: no network)",
            "Sin escuchar 3 h 20 min (ha fallado: no network)",
        ),
        (
            {"state": "ok", "failed": None, "cut": 0, "cap": 1_234_567_890_000, "blind_minutes": 0},
            "$1.20 of $1,234,567.89 this month",
            "1,20 $ de 1 234 567,89 $ este mes",
        ),
    ],
)
def test_coverage_says_what_was_not_heard_and_what_it_cost(
    change: dict[str, Any], english: str, spanish: str
) -> None:
    row = replace(BLIND, **change)
    for language, lines in (("en", english), ("es", spanish)):
        rendered = render_digest(replace(DIGEST, coverage=(row,)), language=language)
        text = rendered.text.replace("\u00a0", " ")
        found = re.findall(r"^X: .*\n((?:  .*\n)+)", text, re.MULTILINE)
        assert [line.strip() for line in found[0].splitlines()] == lines.split("|")
        for line in lines.split("|"):
            assert line in shown(rendered.html).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("whole", "total", "english", "spanish"),
    [
        (1, 1, "Listened to the only source without", "La única fuente se ha escuchado sin huecos"),
        (3, 3, "Listened to all 3 sources without", "Las 3 fuentes se han escuchado sin huecos"),
        (4, 5, "Listened to 4 of 5 sources without", "De 5 fuentes, 4 se han escuchado sin huecos"),
        (0, 1, "The only source was not heard without", "La única fuente no se ha escuchado sin"),
        (0, 2, "None of the 2 sources was heard without", "Ninguna de las 2 fuentes se ha"),
        (0, 0, "No source was asked.", "No se ha consultado ninguna fuente."),
    ],
)
def test_sources_without_a_gap_are_counted(
    whole: int, total: int, english: str, spanish: str
) -> None:
    rows = (DIGEST.coverage[0],) * whole + (BLIND,) * (total - whole)
    for language, words in (("en", english), ("es", spanish)):
        assert words in render_digest(replace(DIGEST, coverage=rows), language=language).text


def test_a_state_without_words_is_refused() -> None:
    row = replace(DIGEST.coverage[0], state="lost")
    with pytest.raises(ValueError, match=r"no text for 'state\.lost'"):
        render_digest(replace(DIGEST, coverage=(row,)), language="en")


@pytest.mark.parametrize(
    ("count", "english", "spanish"),
    [
        (0, "0 already customers", "0 ya son clientes"),
        (1, "1 already a customer", "1 ya es cliente"),
        (2, "2 already customers", "2 ya son clientes"),
    ],
)
def test_one_customer_is_singular(count: int, english: str, spanish: str) -> None:
    message = replace(DIGEST, stages={"post_purchase": count})
    for language, words in (("en", english), ("es", spanish)):
        rendered = render_digest(message, language=language)
        assert f"{words}\n" in rendered.text
        assert words in shown(rendered.html)


@pytest.mark.parametrize(
    ("rule", "english", "spanish"),
    [
        (
            "early-funnel",
            "Rule “conversation before the purchase”",
            "Regla «conversación antes de la compra»",
        ),
        ("my-rule", "Rule “my-rule”", "Regla «my-rule»"),
    ],
)
def test_a_rule_goes_by_its_name(rule: str, english: str, spanish: str) -> None:
    for language, words in (("en", english), ("es", spanish)):
        rendered = render_alert(replace(ALERT, rule=rule), language=language, timezone="UTC")
        assert words in rendered.text
        assert words in shown(rendered.html)


def test_the_sample_has_a_name_in_both_languages() -> None:
    card = replace(CARD, post=replace(POST, source="sample"))
    alert = replace(ALERT, conversation=card)
    english, spanish = (
        render_alert(alert, language=language, timezone="UTC") for language in i18n.LANGUAGES
    )
    assert english.text.startswith("Somebody on the sample is weighing options.\nThe choice ")
    assert spanish.text.startswith("Alguien en la muestra está comparando opciones.\nAún no ")
    assert spanish.subject == "Aún no ha elegido: Lumora y Cafetto (la muestra)"


def test_mentions_without_an_open_conversation() -> None:
    rendered = render_digest(replace(DIGEST, join_now=(), mentions=1), language="es")
    assert rendered.subject == "Lumora: 1 mención el 21 de noviembre"
    assert "Hoy no hay ninguna conversación abierta." in shown(rendered.html)


@pytest.mark.parametrize(
    ("language", "subject", "lead", "time"),
    [
        (
            "en",
            "Choice still open: Lumora and Cafetto (Reddit)",
            "Somebody on Reddit is weighing options.",
            "21\u00a0Nov, 15:40",
        ),
        (
            "es",
            "Aún no ha elegido: Lumora y Cafetto (Reddit)",
            "Alguien en Reddit está comparando opciones.",
            "21\u00a0nov, 15:40",
        ),
    ],
)
def test_alert_says_what_why_and_where(language: str, subject: str, lead: str, time: str) -> None:
    rendered = render_alert(ALERT, language=language, timezone="Europe/Madrid")
    _, text, html = read_back(mail(rendered))
    assert rendered.subject == subject
    for part in (text, shown(html).replace("21 ", "21\u00a0")):
        assert lead in part
        assert part.count(POST.text) == 1
        assert "Get a decent grinder first." in part
        assert time in part
        assert "listener alerts show 57" in part
        assert i18n.say(language, "alert.above") in part
        assert i18n.quoted(language, "Cafetto Mini") in part
    link_node = LexborHTMLParser(html).css_first("a")
    assert link_node is not None
    assert link_node.attributes["href"] == POST.url


def test_alert_about_nothing_named_and_without_a_link() -> None:
    card = replace(CARD, about=(), reasons=(), post=replace(POST, url="ftp://example.org/x"))
    bare = replace(ALERT, conversation=card, timeline=())
    rendered = render_alert(bare, language="en", timezone="UTC")
    assert rendered.subject == "Choice still open: a conversation on Reddit"
    assert LexborHTMLParser(rendered.html).css("a") == []
    assert "WHY YOU GET THIS" not in rendered.text


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_hostile_text_stays_text(language: str) -> None:
    assert_harmless(render_digest(spoiled_digest(HOSTILE), language=language))
    alert = render_alert(spoiled_alert(HOSTILE), language=language, timezone="Europe/Madrid")
    assert_harmless(alert)
    for part in (alert.text, shown(alert.html)):
        assert "{{7*7}} {% include 'digest.txt' %} {# gone #}" in part
        assert '<mj-include path="head.mjml" /><mj-raw><iframe></iframe></mj-raw>' in part
        assert "&lt;u&gt;" in part
        assert "49" not in part


def test_nothing_of_a_post_reaches_a_header() -> None:
    secret = "SECRETWORDS"
    card = replace(CARD, title=secret, post=replace(POST, author=secret, text=secret))
    posts = (PostGroup(post=replace(POST, author=secret, text=secret)),)
    for rendered in (
        render_digest(replace(DIGEST, join_now=(card,), praise=posts), language="en"),
        render_alert(replace(ALERT, conversation=card), language="en", timezone="UTC"),
    ):
        headers = mail(rendered).as_bytes().partition(b"\r\n\r\n")[0]
        assert secret.encode() not in headers
        assert secret in rendered.text


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=400))
def test_any_text_makes_a_harmless_mail(text: str) -> None:
    assert_harmless(render_digest(spoiled_digest(text), language="es"))
    assert_harmless(render_alert(spoiled_alert(text), language="en", timezone="UTC"))


@pytest.mark.parametrize(
    "text",
    [
        "word " * 10_000,
        "x" * 50_000,
        "\U0001f44d \u4e2d" * 5_000,
        "<&>'\"" * 10_000,
        "\u4e2d" * 50_000,
    ],
    ids=["words", "one word", "emoji", "markup", "three bytes"],
)
def test_huge_input_stays_below_the_limit_and_says_what_is_left_out(text: str) -> None:
    url = "https://example.org/" + "&" * 470
    post = replace(POST, author=text, text=text, url=url)
    card = replace(
        CARD, title=text, about=(text,) * 50, post=post, reasons=spoiled_card(text).reasons * 20
    )
    rows = [(f"{n} {text}", n) for n in range(1, 40)]
    digest = replace(
        DIGEST,
        brand=text,
        join_now=(card,) * 60,
        missed=(card,) * 60,
        praise=(PostGroup(post=post, posts=10**9, words=(text, text)),) * 60,
        complaints=(PostGroup(post=post),) * 60,
        ideas=(PostGroup(post=post),) * 60,
        advocates=(AdvocateCard(post=post, posts=10**9, rate=1e9),) * 60,
        unanswered=(post,) * 60,
        trend=(DayCount(day=NOW.date(), positive=10**9, neutral=10**9, negative=10**9),) * 14,
        share_of_voice=tuple(rows),
        sentiment=tuple(
            SentimentCount(entity=name, positive=10**9, neutral=10**9, negative=10**9)
            for name, _ in rows
        ),
        coverage=tuple(
            SourceCoverage(source=name, fetched=10**9, kept=10**9, new=10**9, failed=text)
            for name, _ in rows
        ),
    )
    rendered = render_digest(digest, language="en")
    _, plain, html = read_back(mail(rendered))
    cards = len(LexborHTMLParser(html).css("h3"))
    assert 0 < cards < 60
    for part in (plain, shown(html)):
        assert f"and {60 - cards} more conversations" in part
    event = Event(at=NOW, kind="option", entity=text, author=text, quote=text)
    alert = replace(
        ALERT, rule=text, conversation=card, timeline=(post,) * 60, events=(event,) * 999
    )
    _, plain, _ = read_back(mail(render_alert(alert, language="es", timezone="UTC")))
    assert re.search(r"\d+ mensajes anteriores no se muestran", plain)


def test_a_usual_digest_shows_every_conversation() -> None:
    cards = tuple(replace(CARD, title=f"Conversation {n}") for n in range(10))
    rendered = render_digest(replace(DIGEST, join_now=cards), language="en")
    assert len(LexborHTMLParser(rendered.html).css("h3")) == 10
    assert "more conversation" not in rendered.text


def test_catalogues_have_the_same_texts_with_the_same_gaps() -> None:
    def gaps(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english, spanish = i18n.CATALOGUES["en"], i18n.CATALOGUES["es"]
    assert english.keys() == spanish.keys()
    for key, entry in english.items():
        other = spanish[key]
        assert type(entry) is type(other), key
        assert gaps(entry if isinstance(entry, str) else entry[1]) == gaps(
            other if isinstance(other, str) else other[1]
        ), key


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_every_label_of_the_model_has_words(language: str) -> None:
    for stage in STAGES:
        assert i18n.has(language, f"stage.{stage}")
        assert i18n.has(language, f"lead.{stage}")
    lines = {
        reason_line(language, Reason(code="signal", value=name, quote=None)) for name in SIGNALS
    }
    assert len(lines) == len(SIGNALS)


@pytest.mark.parametrize(
    ("code", "value", "quote", "english", "spanish"),
    [
        (
            "early_probability",
            0.7,
            None,
            "The choice is still open: likely (70%)",
            "Aún no ha elegido: probable (70\u00a0%)",
        ),
        (
            "early_probability",
            0.4,
            None,
            "The choice is still open: uncertain (40%)",
            "Aún no ha elegido: poco seguro (40\u00a0%)",
        ),
        ("stage", "decision", None, "Stage: about to buy", "Etapa: a punto de comprar"),
        ("matched", "Cafetto", "cafetto", "Mentions Cafetto", "Menciona Cafetto"),
        (
            "signal",
            "switching",
            "adiós",
            "Is thinking of switching: “adiós”",
            "Piensa en cambiarse: «adiós»",
        ),
        ("signal", "praise", None, "Is happy with something", "Habla bien de algo"),
        ("replies", 0, None, "Nobody has answered yet", "Nadie ha contestado todavía"),
        ("replies", 1, None, "1 reply so far", "1 respuesta hasta ahora"),
        (
            "negatives",
            9,
            None,
            "9 negative posts about you",
            "9 mensajes negativos sobre tu marca",
        ),
        ("usual", 2.5, None, "Usual in these hours: 2.5", "Lo habitual a estas horas: 2,5"),
        ("usual", 2.0, None, "Usual in these hours: 2", "Lo habitual a estas horas: 2"),
        (
            "waiting",
            5,
            None,
            "Has waited 5 hours for an answer",
            "Lleva 5 horas sin respuesta",
        ),
        (
            "praises",
            2,
            None,
            "Has praised you 2 times in 90 days",
            "Ha hablado bien de tu marca 2 veces en 90 días",
        ),
    ],
)
def test_reasons_in_both_languages(
    code: str, value: str | float, quote: str | None, english: str, spanish: str
) -> None:
    reason = Reason(code=code, value=value, quote=quote)
    assert reason_line("en", reason) == english
    assert reason_line("es", reason) == spanish


PARTS = (
    Part(code="probability", points=91, value=0.91),
    Part(code="age", points=3, value=3.2),
    Part(code="reach", points=0, value=20),
    Part(code="fit", points=6, value="ours-asked", quote="Lumora"),
    Part(code="limit", points=-12),
)


@pytest.mark.parametrize(
    ("part", "english", "spanish"),
    [
        (
            PARTS[0],
            "+91 · The choice is still open: very likely (91%)",
            "+91 · Aún no ha elegido: muy probable (91\u00a0%)",
        ),
        (PARTS[1], "+3 · Posted 3 hours ago", "+3 · Publicado hace 3 horas"),
        (
            Part(code="age", points=5, value=0.4),
            "+5 · Posted less than an hour ago",
            "+5 · Publicado hace menos de una hora",
        ),
        (
            Part(code="replies", points=4, value=0),
            "+4 · Nobody has answered yet",
            "+4 · Nadie ha contestado todavía",
        ),
        (
            Part(code="replies", points=2, value=1),
            "+2 · 1 reply of others",
            "+2 · 1 respuesta de otra persona",
        ),
        (
            Part(code="options", points=0, value=0),
            "+0 · Nobody else has named an option",
            "+0 · Nadie más ha nombrado una opción",
        ),
        (
            Part(code="options", points=-4, value=2, quote="get the Cafetto"),
            "\u22124 · Others have named 2 options: “get the Cafetto”",
            "\u22124 · Otros han nombrado 2 opciones: «get the Cafetto»",
        ),
        (
            Part(code="reach", points=5, value=2500),
            "+5 · The author has 2,500 followers",
            "+5 · El autor tiene 2500 seguidores",
        ),
        (
            PARTS[3],
            "+6 · The question names you: “Lumora”",
            "+6 · La pregunta nombra tu marca: «Lumora»",
        ),
        (
            Part(code="urgent", points=5, quote="antes del viernes"),
            "+5 · Needs it soon: “antes del viernes”",
            "+5 · Lo necesita pronto: «antes del viernes»",
        ),
        (
            PARTS[4],
            "\u221212 · A score lies between 0 and 100",
            "\u221212 · La puntuación va de 0 a 100",
        ),
    ],
)
def test_parts_in_both_languages(part: Part, english: str, spanish: str) -> None:
    assert part_line("en", "early-funnel", part) == english
    assert part_line("es", "early-funnel", part) == spanish


def test_every_part_fit_and_type_has_words() -> None:
    for language in i18n.LANGUAGES:
        lines = {part_line(language, "x", Part(code="fit", points=0, value=fit)) for fit in FIT}
        assert len(lines) == len(FIT)
        for code in WEIGHTS:
            assert part_line(language, "x", Part(code=code, points=1, value=7))
        chances = {part_line(language, kind, PARTS[0]) for kind in get_args(RuleType)}
        assert len(chances) == len(get_args(RuleType))


@pytest.mark.parametrize(
    ("code", "value"), [("mood", 1), ("age", "x"), ("fit", "loose"), ("urgent", 1), ("reach", None)]
)
def test_parts_without_words_are_refused(code: str, value: float | str | None) -> None:
    with pytest.raises(ValueError, match="no text for"):
        part_line("en", "early-funnel", Part(code=code, points=1, value=value))


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_an_alert_shows_the_parts_that_count_and_their_sum(language: str) -> None:
    alert = replace(ALERT, score=88, parts=PARTS, copies=3)
    _, text, html = read_back(mail(render_alert(alert, language=language, timezone="UTC")))
    for part in (text, shown(html)):
        assert i18n.say(language, "why.score", n=88) in part
        for one in PARTS:
            line = part_line(language, "early-funnel", one).replace("\u00a0", " ")
            assert (line in part.replace("\u00a0", " ")) is (one.points != 0)
        assert i18n.say(language, "why.copies", n=3) in part
        # Said on top, in what the inbox shows, and as a part of the score.
        assert part.count(i18n.percent(language, 0.91)) <= 3
        assert i18n.say(language, "signal.comparison") in part


BEN = Event(
    at=NOW, kind="recommendation", entity="Cafetto", author="ben", quote="go for the Cafetto"
)


@pytest.mark.parametrize(
    ("event", "english", "spanish"),
    [
        (
            BEN,
            "21\u00a0Nov, 17:40 · ben: recommends Cafetto: “go for the Cafetto”",
            "21\u00a0nov, 17:40 · ben: recomienda Cafetto: «go for the Cafetto»",
        ),
        (
            replace(BEN, quote="cafetto"),
            "21\u00a0Nov, 17:40 · ben: recommends Cafetto",
            "21\u00a0nov, 17:40 · ben: recomienda Cafetto",
        ),
        (
            replace(BEN, entity="", quote=None),
            "21\u00a0Nov, 17:40 · ben: recommends something",
            "21\u00a0nov, 17:40 · ben: recomienda algo",
        ),
        (
            replace(BEN, kind="purchase", author=None, quote=None),
            "21\u00a0Nov, 17:40 · Unknown author: has bought (Cafetto)",
            "21\u00a0nov, 17:40 · Autor desconocido: ha comprado (Cafetto)",
        ),
        (
            replace(BEN, kind="request", entity="", quote=None),
            "21\u00a0Nov, 17:40 · ben: asks for advice",
            "21\u00a0nov, 17:40 · ben: pide consejo",
        ),
    ],
)
def test_events_in_both_languages(event: Event, english: str, spanish: str) -> None:
    for language, line in (("en", english), ("es", spanish)):
        moment = partial(i18n.moment, language, timezone="UTC")
        assert event_line(language, event, moment=moment) == line


def test_every_event_and_outcome_of_the_database_has_words() -> None:
    kinds, outcomes = (
        re.findall(r"'([a-z]+)'", found)
        for statement in schema_alerts.CONVERSATIONS
        for found in re.findall(r"(?:kind|outcome) IN \(([^)]*)\)", statement)
    )
    assert (len(kinds), len(outcomes)) == (8, 5)
    for language in i18n.LANGUAGES:
        moment = partial(i18n.moment, language, timezone="UTC")
        events = {event_line(language, replace(BEN, kind=kind), moment=moment) for kind in kinds}
        assert len(events) == len(kinds)
        ends = {
            outcome_line(language, Outcome(outcome=one, entity=None, quote=None))
            for one in outcomes
        }
        assert len(ends) == len(outcomes)


@pytest.mark.parametrize(
    ("outcome", "english", "spanish"),
    [
        (
            Outcome(outcome="ours", entity="Lumora Brisa", quote="al final la Brisa"),
            "Chose you (Lumora Brisa): “al final la Brisa”",
            "Ha elegido tu marca (Lumora Brisa): «al final la Brisa»",
        ),
        (Outcome(outcome="none", entity=None, quote=None), "Chose nothing", "No ha elegido nada"),
    ],
)
def test_outcomes_in_both_languages(outcome: Outcome, english: str, spanish: str) -> None:
    assert outcome_line("en", outcome) == english
    assert outcome_line("es", outcome) == spanish
    alert = replace(ALERT, outcome=outcome)
    for language, line in (("en", english), ("es", spanish)):
        rendered = render_alert(alert, language=language, timezone="UTC")
        assert line in rendered.text
        assert line in shown(rendered.html)


def test_an_alert_tells_what_happened_and_what_is_left_out() -> None:
    alert = replace(ALERT, events=(replace(BEN, quote="the very first"), *(BEN,) * 50))
    rendered = render_alert(alert, language="en", timezone="UTC")
    for part in (rendered.text, shown(rendered.html)):
        assert "1 earlier event is left out" in part
        assert "the very first" not in part
        assert part.count("go for the Cafetto") == 50
    assert "WHAT HAPPENED" not in render_alert(ALERT, language="en", timezone="UTC").text


@pytest.mark.parametrize(
    ("kind", "english", "spanish"),
    [
        ("crisis", "More criticism than usual: Lumora", "Más críticas de lo habitual: Lumora"),
        ("advocate", "Somebody speaks well of you", "Alguien habla bien de tu marca"),
        ("unanswered", "A question nobody has answered", "Una pregunta sin respuesta"),
    ],
)
def test_other_types_have_words_of_their_own(kind: str, english: str, spanish: str) -> None:
    alert = replace(ALERT, type=kind, score=91, parts=PARTS[:1])
    for language, subject in (("en", english), ("es", spanish)):
        rendered = render_alert(alert, language=language, timezone="UTC")
        assert rendered.subject.startswith(subject)
        assert rendered.text.startswith(i18n.say(language, f"lead.{kind}", source="Reddit"))
        assert i18n.say(language, f"alert.kicker.{kind}") in shown(rendered.html)
        assert part_line(language, kind, PARTS[0]) in rendered.text
        bare = replace(alert, conversation=replace(CARD, about=()))
        plain = render_alert(bare, language=language, timezone="UTC").subject
        assert plain.startswith(subject.partition(":")[0])


@pytest.mark.parametrize(("code", "value"), [("mood", "x"), ("signal", "x"), ("matched", None)])
def test_what_has_no_words_is_refused(code: str, value: str | None) -> None:
    card = replace(CARD, reasons=(Reason(code=code, value=value, quote=None),))
    with pytest.raises(ValueError, match="no text for"):
        render_digest(replace(DIGEST, join_now=(card,)), language="es")


def test_unknown_stages_and_languages_are_refused() -> None:
    with pytest.raises(ValueError, match="no text for stage"):
        render_digest(replace(DIGEST, stages={"browsing": 1}), language="en")
    with pytest.raises(ValueError, match="choose one of en, es"):
        render_digest(DIGEST, language="fr")


@pytest.mark.parametrize(
    ("names", "english", "spanish"),
    [
        ([], "", ""),
        (["Lumora"], "Lumora", "Lumora"),
        (["A", "B", "Cafetto"], "A, B and Cafetto", "A, B y Cafetto"),
        (["A", "Iberia"], "A and Iberia", "A e Iberia"),
        (["A", "Hielo"], "A and Hielo", "A y Hielo"),
    ],
)
def test_names_in_a_row(names: list[str], english: str, spanish: str) -> None:
    assert i18n.listing("en", names) == english
    assert i18n.listing("es", names) == spanish


def test_numbers_and_times_follow_language_and_zone() -> None:
    assert i18n.number("en", 1412) == "1,412"
    assert i18n.number("es", 1412) == "1412"
    assert i18n.number("es", 12_345) == "12\u00a0345"
    new_year = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert i18n.moment("es", new_year, "Europe/Madrid") == "1\u00a0ene, 00:30"
    assert i18n.moment("en", new_year, "America/Lima") == "31\u00a0Dec, 18:30"
    summer = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert i18n.moment("en", summer, "Europe/Madrid") == "1\u00a0Jul, 14:00"


def test_the_envelope() -> None:
    message, _, _ = read_back(
        mail(
            render_alert(ALERT, language="es", timezone="UTC"),
            list_name="alerts",
        )
    )
    assert message["Message-ID"] == "<digest-2026-11-21@example.org>"
    assert message["Date"].datetime == NOW
    assert message["From"] == "Listener <listener@example.org>"
    assert message["To"] == "Ana <ana@example.org>"
    assert message["List-Id"] == "<alerts.example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"


def test_body_lines_keep_to_the_limit_of_their_encoding() -> None:
    for text in ("ñandú " * 300, "\U0001f44d \u4e2d " * 300):
        rendered = Rendered(subject="x", text=text, html=f"<p>{text}</p>")
        body = mail(rendered).as_bytes().partition(b"\r\n\r\n")[2]
        assert max(len(line) for line in body.split(b"\r\n")) <= 78
        assert read_back(mail(rendered))[1].rstrip("\n") == text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sender", "nobody"),
        ("sender", "a@example.org, b@example.org"),
        ("recipient", "ana@example.org\r\nBcc: victim@example.org"),
        ("recipient", "a@example.org, b@example.org"),
        ("message_id", "<1@example.org>\nBcc: victim@example.org"),
        ("date", NOW.replace(tzinfo=None)),
    ],
)
def test_a_wrong_envelope_is_refused(field: str, value: object) -> None:
    envelope: dict[str, object] = {
        "sender": "listener@example.org",
        "recipient": "ana@example.org",
        "message_id": "<1@example.org>",
        "date": NOW,
    }
    with pytest.raises(ValueError, match=r".+"):
        compose(
            Rendered(subject="x", text="x", html="<p>x</p>"),
            **(envelope | {field: value}),  # type: ignore[arg-type]  # one of them is wrong
        )


def test_the_preview_shows_the_subject_and_forbids_scripts() -> None:
    rendered = replace(render_digest(DIGEST, language="en"), subject="<b>Lumora</b>")
    page = preview_html(rendered)
    tree = LexborHTMLParser(page)
    policy = tree.css_first("meta[http-equiv=Content-Security-Policy]")
    assert policy is not None
    assert str(policy.attributes["content"]).startswith("default-src 'none'")
    assert shown(page).index("<b>Lumora</b>") < shown(page).index("62 mentions")


def test_the_pages_load_nothing() -> None:
    for rendered in (
        render_digest(DIGEST, language="en"),
        render_alert(ALERT, language="en", timezone="UTC"),
    ):
        assert not re.search(r"\bsrc\s*=(?!\"cid:)|url\(|@import|<link", rendered.html)
        assert 'name="color-scheme"' in rendered.html
        assert "prefers-color-scheme: dark" in rendered.html


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_charts_travel_inside_and_are_told_without_them(language: str) -> None:
    digest = replace(DIGEST, share_of_voice=(("Lumora", 60), ("Cafetto", 20)))
    rendered = render_digest(digest, language=language)
    message, text, html = read_back(mail(rendered))
    images = [part for part in message.walk() if part.get_content_type() == "image/png"]
    pictures = LexborHTMLParser(html).css("img")
    assert [part["Content-ID"].strip("<>") for part in images] == [
        str(node.attributes["src"]).removeprefix("cid:") for node in pictures
    ]
    assert len(images) == 2
    for part in images:
        assert part.get_content().startswith(b"\x89PNG")
        assert len(part.get_content()) < 25_000
    volume, voice = (str(node.attributes["alt"]) for node in pictures)
    assert "8: 1/2/8, 9: 1/2/9," in volume
    assert volume in text
    share = i18n.percent(language, 0.75)
    assert f"Lumora 60 · {share}, Cafetto 20" in voice
    assert f"Lumora: 60 ({share})" in text
    assert 'src="data:image/png;base64,' in preview_html(rendered)


def test_a_day_without_a_past_or_rivals_has_no_chart() -> None:
    alone = replace(DIGEST, trend=DIGEST.trend[:1], share_of_voice=(("Lumora", 60),))
    rendered = render_digest(alone, language="en")
    assert rendered.images == {}
    assert LexborHTMLParser(rendered.html).css("img") == []


@pytest.mark.parametrize(
    ("change", "english", "spanish"),
    [
        (
            Change(what="mentions", name="Cafetto", count=2, usual=25.4),
            "↓ Mentions of Cafetto: 2, usually 25 on Saturdays",
            "↓ Menciones de Cafetto: 2; los sábados suelen ser 25",
        ),
        (
            Change(what="awareness", name="", count=20, usual=2.5),
            "↑ Posts of people with a need: 20, usually 2.5 on Saturdays",
            "↑ Mensajes de gente con una necesidad: 20; los sábados suelen ser 2,5",
        ),
    ],
)
def test_changes_in_both_languages(change: Change, english: str, spanish: str) -> None:
    assert change_line("en", change, DIGEST) == english
    assert change_line("es", change, DIGEST) == spanish
    longer = replace(DIGEST, days=3)
    assert change_line("en", change, longer).endswith("in these days")
    assert "en estos días" in change_line("es", change, longer)


def test_every_change_and_move_has_words() -> None:
    card = replace(CARD, moved=True)
    for language in i18n.LANGUAGES:
        lines = {
            change_line(language, Change(what=what, name="x", count=9, usual=1), DIGEST)
            for what in get_args(What)
        }
        assert len(lines) == len(get_args(What)) == 7
        codes = ("stage", "outcome", "urgent", "others", "engagement")
        news = {news_line(language, replace(card, news=(Move(code=one),))) for one in codes}
        assert len(news) == 5
        assert news_line(language, card) == i18n.say(language, "moved")
        assert news_line(language, CARD) == ""


def test_late_posts_are_told_and_not_held_against_the_usual() -> None:
    late = replace(DIGEST, mentions=46, mentions_late=5)
    assert usual_line("en", late) == (
        "As usual for a Saturday. 5 of them are older and were found late"
    )
    longer = replace(DIGEST, days=3)
    assert usual_line("es", longer) == "Lo habitual en estos 3 días: 41"


@pytest.mark.parametrize(
    ("given", "english", "spanish"),
    [
        ({}, "", ""),
        (
            {"answered": 1, "answerers": ("ben",)},
            "Answered by ben; no brand was named",
            "Ha contestado ben; sin nombrar ninguna marca",
        ),
        (
            {"answered": 4, "answerers": ("ben", "cleo"), "options": ("Cafetto", "Iberia")},
            "Answered by ben, cleo and 2 others; named: Cafetto and Iberia",
            "Han contestado ben, cleo y 2 personas más; se ha nombrado: Cafetto e Iberia",
        ),
        (
            {"answered": 2, "joined": True},
            "You are in it already; answered by 2 people; no brand was named",
            "Ya participas; han contestado 2 personas; sin nombrar ninguna marca",
        ),
    ],
)
def test_who_has_answered_in_both_languages(
    given: dict[str, Any], english: str, spanish: str
) -> None:
    card = replace(CARD, **given)
    assert context_line("en", card) == english
    assert context_line("es", card) == spanish
    if english:
        assert (
            f"   {english}.\n"
            in render_digest(replace(DIGEST, join_now=(card,)), language="en").text
        )


def test_colours_of_text_have_contrast() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        darker, lighter = sorted((luminance(one), luminance(other)))
        return (lighter + 0.05) / (darker + 0.05)

    folder = resources.files("listener") / "templates"
    source = "".join(
        (folder / name).read_text("utf-8") for name in ("parts.html", "digest.mjml", "alert.mjml")
    )
    colours = set(re.findall(r'(?<![-\w])color[:=]"?(#[0-9a-f]{6})', source)) - {"#ffffff"}
    assert len(colours) >= 3
    for colour in colours:
        assert contrast(colour, "#e9edf0") >= 4.5, colour
    dark = (folder / "head.mjml").read_text("utf-8").partition("prefers-color-scheme")[2]
    for colour in set(re.findall(r"(?<![-\w])color: (#[0-9a-f]{6})", dark)) - {"#0d1b1a"}:
        assert contrast(colour, "#242d36") >= 4.5, colour
