"""The world of the fault campaign: a month of invented posts, a site that serves them, a clock.

Everything follows from a seed. The site speaks like the search of Hacker News and like an RSS feed,
on 127.0.0.1, with what sites do: posts that are indexed late, hits that come twice, figures that
grow, 429 with a time to wait, 500, answers that are cut off, hours without any answer. What it
answers depends on the simulated time only, never on how often it is asked, so that a run which is
killed and started again meets the same world as one which is not.
"""

from __future__ import annotations

import json
import mmap
import random
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape
from zlib import crc32

import httpx

from connectors.base import Connector
from connectors.hackernews import HackerNews
from connectors.http import Http
from connectors.rss import Feed, Rss
from listener import config as configuration
from listener.collect import Collected, Source
from listener.config import Config
from listener.models import Models
from listener.pipeline import Parts
from nlp.base import Tag
from nlp.matching import Matcher

START = datetime(2026, 3, 9, tzinfo=UTC)
"""A Monday; the clocks of Madrid change on the 29th."""
STEP = timedelta(hours=2)
FORUM, FEED = "hackernews", "rss"
_PAGE = 8
_LISTED = 40

CONFIG = """
[database]
path = "{folder}/listener.db"
[brand]
name = "Lumora"
[[products]]
name = "Lumora Brisa"
aliases = ["Brisa"]
[[competitors]]
name = "Moketto"
[[categories]]
name = "espresso machine"
words = {{ en = ["espresso machine"], es = ["cafetera"] }}
[sources.hackernews]
enabled = true
every_minutes = 120
[sources.rss]
enabled = true
every_minutes = 120
[[sources.rss.feeds]]
url = "http://127.0.0.1:{site}/feed"
[alerts]
max_per_day = 5
max_age_hours = 24
[[alerts.rules]]
name = "open choices"
type = "early-funnel"
[[alerts.rules]]
name = "questions"
type = "unanswered"
quiet_hours = "22:00-08:00"
[digest]
hour = 8
timezone = "Europe/Madrid"
[[recipients]]
name = "Marta"
email = "marta@example.com"
language = "es"
receives = ["digest"]
channel = "smtp"
[[recipients]]
name = "Alex"
email = "alex@example.com"
receives = ["alerts", "digest"]
channel = "smtp"
[[recipients]]
name = "Iker"
email = "iker@example.com"
language = "es"
receives = ["alerts"]
channel = "smtp"
[channels]
sender = "Listener <listener@example.com>"
[channels.outbox]
enabled = false
folder = "{folder}/outbox"
[channels.smtp]
enabled = true
host = "127.0.0.1"
port = {mail}
security = "none"
timeout_seconds = {timeout}
[upkeep]
enabled = false
[followups]
enabled = false
"""

_WORDS = {
    "en": "kitchen small flat morning weekend quiet steel pump pressure milk foam budget guest "
    "office grinder counter warranty repair service water filter beans roast light dark friend "
    "sister neighbour birthday move rent garden winter summer holiday train cheap sturdy simple "
    "button lever tank cleaning noise shelf present colour green copper second-hand parts manual "
    "shop courier delay refund invoice email tutorial video review scale timer thermometer",
    "es": "cocina piso pequeño mañana domingo silencio acero bomba presión leche espuma dinero "
    "visita oficina molinillo encimera garantía reparación servicio agua filtro grano tueste claro "
    "oscuro amiga hermana vecino cumpleaños mudanza alquiler jardín invierno verano vacaciones "
    "tren barato robusto sencillo botón palanca depósito limpieza ruido estante regalo color verde "
    "cobre usado recambio manual tienda mensajero retraso devolución factura correo vídeo reseña",
}
_SAYS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "ask": {
        "en": (
            "Which espresso machine should I buy for about {n} euros?",
            "Looking for an espresso machine, {n} euros at most. What would you buy?",
        ),
        "es": (
            "¿Qué cafetera me compro con unos {n} euros?",
            "Busco cafetera, {n} euros como mucho. ¿Qué comprarías tú?",
        ),
    },
    "answer": {
        "en": ("I have had the Moketto for {n} weeks, take it.", "Try the Brisa by Lumora, {n} %."),
        "es": ("Llevo {n} semanas con la Moketto, a por ella.", "Prueba la Brisa de Lumora, {n}."),
    },
    "decide": {
        "en": ("Thanks, I went with the Moketto in the end, {n} euros.",),
        "es": ("Gracias, al final compré la Lumora Brisa por {n} euros.",),
    },
    "talk": {
        "en": ("My Lumora is {n} months old today.", "The Moketto broke after {n} days, awful."),
        "es": ("Mi Lumora cumple {n} meses hoy.", "La Moketto se rompió a los {n} días, fatal."),
    },
    "other": {
        "en": ("A walk of {n} kilometres today.",),
        "es": ("Un paseo de {n} kilómetros hoy.",),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A post of the invented site; `listed_at` is when the site begins to show it."""

    number: int
    feed: bool
    kind: str
    language: str
    text: str
    author: str
    at: datetime
    listed_at: datetime
    parent: int | None = None
    root: int | None = None

    @property
    def native_id(self) -> str:
        """As the connector gives it."""
        return f"https://blog.example/{self.number}" if self.feed else str(self.number)


class Board:
    """Numbers that all processes of a campaign see, and that outlive a killed one."""

    NAMES = ("step", "now", "busy", "life", "writes", "replies", "mail", "index")

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8 * len(self.NAMES))

    def get(self, name: str) -> int:
        """The number of that name; 0 at first."""
        return int(struct.unpack_from("<q", self._shared, 8 * self.NAMES.index(name))[0])

    def put(self, name: str, value: int) -> None:
        """Set the number of that name."""
        struct.pack_into("<q", self._shared, 8 * self.NAMES.index(name), value)


@dataclass(frozen=True)
class World:
    """`days` of posts, about `talks` conversations a day."""

    seed: int
    days: float
    talks: int = 12

    @property
    def steps(self) -> int:
        """How many steps of the clock there are, the last a day after the last post."""
        return round((self.days + 1) * timedelta(days=1) / STEP)

    def at(self, step: int) -> datetime:
        """The time of a step."""
        return START + step * STEP

    @cached_property
    def posts(self) -> tuple[Post, ...]:
        """Every post, by number."""
        dice = random.Random(self.seed)
        made: list[Post] = []

        def post(kind: str, language: str, at: datetime, **rest: object) -> Post:
            number = len(made) + 1000
            line = dice.choice(_SAYS[kind][language]).format(n=dice.randint(20, 900))
            words = _WORDS[language].split()
            about = " ".join(dice.choice(words) for _ in range(dice.randint(12, 30)))
            at = at.replace(microsecond=0)
            # The connector looks again at two hours, of which steps of two hours leave nothing
            # more: what is indexed later than that is lost by its contract.
            late = timedelta(minutes=dice.choice((0, 0, 0, 5, 40, 90)))
            made.append(
                Post(
                    number=number,
                    kind=kind,
                    language=language,
                    text=f"{line} {about} {number}.",
                    author=f"user{dice.randint(1, 400)}",
                    at=at,
                    listed_at=at + late,
                    **{"feed": False, **rest},  # type: ignore[arg-type] # names of fields
                )
            )
            return made[-1]

        for _ in range(round(self.days * self.talks)):
            language = dice.choice(("en", "es"))
            at = START + timedelta(seconds=dice.uniform(0, self.days * 86_400))
            if dice.random() < 0.25:
                post(dice.choice(("ask", "talk", "other")), language, at, feed=True)
                continue
            root = post(dice.choice(("ask", "ask", "talk", "other")), language, at)
            before = root
            for place in range(dice.randint(0, 4)):
                at += timedelta(hours=dice.expovariate(1 / 5))
                kind = "decide" if place == 3 else dice.choice(("answer", "other"))
                before = post(kind, language, at, parent=before.number, root=root.number)
        end = START + timedelta(days=self.days)
        return tuple(one for one in made if one.at < end)

    def faulty(self, step: int, what: str) -> str:
        """What goes wrong with requests for `what` at a step: "", "outage", "429", "500", "cut"."""
        if crc32(f"{self.seed} outage {step // 3}".encode()) % 40 == 0:
            return "outage"
        chance = crc32(f"{self.seed} {step} {what}".encode()) % 100
        return {0: "429", 1: "429", 2: "500", 3: "500", 4: "cut", 5: "cut"}.get(chance, "")

    def search(self, term: str, low: int, high: int, page: int, now: datetime) -> list[Post]:
        """Hits of a search as the site gives them: newest first, every third page with a repeat."""
        words = [word.strip('"') for word in term.lower().split()]
        found = [
            one
            for one in self.posts
            if not one.feed
            and low <= one.at.timestamp() <= high
            and one.listed_at <= now
            and all(word in one.text.lower() for word in words)
        ]
        found.sort(key=lambda one: (-one.at.timestamp(), one.number))
        hits = found[page * _PAGE : (page + 1) * _PAGE]
        if hits and crc32(f"{low} {high} {term}".encode()) % 3 == 0:
            hits.append(hits[0])
        return hits

    def feed(self, now: datetime) -> list[Post]:
        """The entries that the feed lists, newest first."""
        listed = [one for one in self.posts if one.feed and one.listed_at <= now]
        return sorted(listed, key=lambda one: one.listed_at, reverse=True)[:_LISTED]


# -- the site


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve_site(world: World, board: Board, port: int) -> None:
    """Serve the posts until the process is ended."""
    asked: dict[tuple[int, str], int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            step, now = board.get("step"), datetime.fromtimestamp(board.get("now"), UTC)
            parts = urlsplit(self.path)
            params = {name: values[0] for name, values in parse_qs(parts.query).items()}
            what = params.get("query", parts.path)
            fault = world.faulty(step, what)
            # Of a passing fault the first answer only: asked again, the site answers.
            asked[step, what] = asked.get((step, what), 0) + 1
            if fault == "outage":
                self._answer(503, b"")
            elif fault == "429":
                self._answer(429, b"", {"Retry-After": "1800"})
            elif fault == "500" and asked[step, what] == 1:
                self._answer(500, b"")
            else:
                body = (
                    _feed(world.feed(now)) if parts.path == "/feed" else _hits(world, params, now)
                )
                kind = "application/rss+xml" if parts.path == "/feed" else "application/json"
                cut = fault == "cut" and asked[step, what] == 1
                self._answer(200, body, {"Content-Type": kind}, cut=cut)

        def _answer(
            self, status: int, body: bytes, headers: Mapping[str, str] = {}, *, cut: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - base class
            """Say nothing."""

        def handle(self) -> None:
            # Whoever asked may have been killed before it read the answer.
            with suppress(ConnectionError):
                super().handle()

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def _hits(world: World, params: Mapping[str, str], now: datetime) -> bytes:
    low, high = (int(one.partition("=")[2]) for one in params["numericFilters"].split(","))
    hits = []
    for one in world.search(params["query"], low, high, int(params["page"]), now):
        hit: dict[str, object] = {
            "objectID": str(one.number),
            "created_at_i": int(one.at.timestamp()),
            "author": one.author,
            # Figures grow with time.
            "points": int((now - one.at) / timedelta(hours=1)),
        }
        if one.parent is None:
            hit |= {"title": one.text.partition("?")[0][:80], "story_text": one.text}
        else:
            hit |= {"comment_text": one.text, "parent_id": one.parent, "story_id": one.root}
        hits.append(hit)
    return json.dumps({"hits": hits, "hitsPerPage": _PAGE, "page": int(params["page"])}).encode()


def _feed(posts: Sequence[Post]) -> bytes:
    items = "".join(
        f"<item><guid>{one.native_id}</guid><link>{one.native_id}</link>"
        f"<title>{escape(one.text[:40])}</title><description>{escape(one.text)}</description>"
        f"<author>{one.author}</author><pubDate>{format_datetime(one.at)}</pubDate></item>"
        for one in posts
    )
    head = "<title>Invented</title><link>https://blog.example/</link><description/>"
    return f'<rss version="2.0"><channel>{head}{items}</channel></rss>'.encode()


# -- the parts that meet it


class FakeTagger:
    """Tags by the wording of the invented posts, with scores that follow from the text."""

    name, version = "funnel", "chaos"
    thresholds: Mapping[str, float] = {"en": 0.5, "es": 0.5, "*": 2.0}

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """One batch in, one batch out."""
        return [self._tags(text) for text in texts]

    def _tags(self, text: str) -> tuple[Tag, ...]:
        share = crc32(text.encode()) % 1000 / 1000
        asks = "?" in text
        chose = any(word in text for word in ("went with", "compré"))
        stage = "consideration" if asks else "decision" if chose else "none"
        bad = any(word in text for word in ("awful", "fatal"))
        tags = [
            Tag(kind="stage", label=stage, score=0.6 + 0.4 * share),
            Tag(kind="intent", label="1", score=share if asks else 0.1 * share),
            Tag(kind="early", label="1", score=0.4 + 0.6 * share if asks else 0.1 * share),
            Tag(kind="promo", label="1", score=0.05),
            Tag(kind="sentiment", label="neg" if bad else "pos" if chose else "neu", score=0.8),
        ]
        if asks:
            tags.append(Tag(kind="signal", label="recommendation_request", score=0.7))
        return tuple(tags)


@dataclass(frozen=True)
class FakeModels(Models):
    """No model is loaded."""

    @cached_property
    def tagger(self) -> FakeTagger:  # type: ignore[override] # stands in for the model
        """Tags by wording."""
        return FakeTagger()


@dataclass(frozen=True)
class CampaignParts(Parts):
    """Parts whose matcher is made once, as forked processes can share it."""

    real: bool = False

    @cached_property
    def matcher(self) -> Matcher:
        """That of the vocabulary, which is the same for every world."""
        if "matcher" not in _MADE:
            _MADE["matcher"] = Parts(self.config).matcher
        return _MADE["matcher"]

    @cached_property
    def models(self) -> Models:
        """The shipped model, or the one that tags by wording."""
        return Models(self.config) if self.real else FakeModels(self.config)


_MADE: dict[str, Matcher] = {}


def settings(folder: Path, site: int, mail: int, *, timeout: float = 5, extra: str = "") -> Config:
    """The configuration of a campaign; `site` and `mail` are ports of 127.0.0.1."""
    text = CONFIG.format(folder=folder, site=site, mail=mail, timeout=timeout)
    return configuration.parse(text + extra, file="config.toml")


def sources_at(site: int) -> tuple[list[Source], list[Collected]]:
    """What `listener.sources.build` gives, for the site on 127.0.0.1, without waits."""
    # No TLS here: reading the certificates takes longer than all requests of a step.
    http = Http(httpx.HTTPTransport(verify=False), timeout=10, wait=lambda _: None)
    forum: Connector = HackerNews(http, f"http://127.0.0.1:{site}", page_size=_PAGE)
    feed: Connector = Rss(http, [Feed(f"http://127.0.0.1:{site}/feed", "Invented")])
    return [Source(name=FORUM, connector=forum), Source(name=FEED, connector=feed)], []


def wanted(world: World, matcher: Matcher) -> dict[tuple[str, str], str]:
    """Text by source and id of every post that names something we follow, so has to be stored."""
    posts = world.posts
    found = matcher.match([one.text for one in posts], [one.language for one in posts])
    return {
        (FEED if one.feed else FORUM, one.native_id): one.text
        for one, spans in zip(posts, found, strict=True)
        if spans
    }
