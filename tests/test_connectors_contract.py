"""What every connector promises, checked over all of them."""

import ast
import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
import test_connectors_appstore
import test_connectors_bluesky
import test_connectors_discourse
import test_connectors_hackernews
import test_connectors_jetstream
import test_connectors_mastodon
import test_connectors_reddit
import test_connectors_rss
import test_connectors_x
import test_connectors_youtube

from connectors.base import Budget, BudgetSpent, Connector, Cursor, Page, Query
from connectors.bluesky import BlueskyNotifications, BlueskySearch
from connectors.files import Csv, JsonLines
from connectors.mastodon import MastodonMentions, MastodonTags
from connectors.mastodon_search import MastodonSearch
from connectors.sample import Sample
from connectors.twarc import Twarc
from connectors.x import Mentions, Search

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FREE = Budget()
PACKAGE = Path(__file__).parents[1] / "connectors"
DATE = "2024-05-06T07:08:09Z"


class Case(Protocol):
    @property
    def connector(self) -> Connector: ...
    @property
    def query(self) -> Query | None: ...
    @property
    def now(self) -> datetime: ...
    @property
    def expected_ids(self) -> set[str]: ...


@dataclass(frozen=True)
class FileCase:
    connector: Connector
    expected_ids: set[str]
    query: Query | None = None
    now: datetime = NOW


def jsonl(folder: Path) -> Case:
    posts: list[object] = [
        {"id": str(n), "text": f"post {n} \ud800\x00", "date": DATE} for n in range(25)
    ]
    posts[7] = {"id": "7", "text": "post", "comments": [{"id": "7a", "text": "ñ"}]}
    posts[9] = {"odd": True}
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in [*posts, "odd"]), encoding="utf-8")
    expected = {str(n) for n in range(25)} - {"9"} | {"7a"}
    return FileCase(JsonLines(path, page_size=4), expected)


def table(folder: Path) -> Case:
    rows = "".join(f'{n};"línea\n{n}";{DATE}\n' for n in range(25))
    path = folder / "a.csv"
    path.write_text(f"id;texto;fecha\n{rows}odd\n", encoding="utf-8")
    return FileCase(Csv(path, page_size=4), {str(n) for n in range(25)})


def twarc(folder: Path) -> Case:
    def line(first: int) -> str:
        data = [
            {"id": str(n), "text": f"post {n}", "author_id": "1", "created_at": DATE}
            for n in range(first, first + 3)
        ]
        return json.dumps({"data": [*data, {"odd": 1}], "includes": {}, "meta": {}}) + "\n"

    path = folder / "pages.jsonl"
    path.write_text("".join(map(line, range(0, 30, 3))) + "odd\n", encoding="utf-8")
    return FileCase(Twarc(path, page_size=6), {str(n) for n in range(30)})


def sample(folder: Path) -> Case:
    rows = (PACKAGE / "data" / "sample.jsonl").read_bytes().split(b"\n")
    return FileCase(Sample(), {json.loads(row)["id"] for row in rows if row})


def hackernews(folder: Path) -> Case:
    return test_connectors_hackernews.make_contract_case()


def reddit(folder: Path) -> Case:
    return test_connectors_reddit.make_search_case()


def reddit_new(folder: Path) -> Case:
    return test_connectors_reddit.make_new_case()


def mastodon_tags(folder: Path) -> Case:
    return test_connectors_mastodon.make_contract_case(MastodonTags)


def mastodon_search(folder: Path) -> Case:
    return test_connectors_mastodon.make_contract_case(MastodonSearch)


def mastodon_mentions(folder: Path) -> Case:
    return test_connectors_mastodon.make_contract_case(MastodonMentions)


def bluesky(folder: Path) -> Case:
    return test_connectors_bluesky.make_contract_case(BlueskySearch)


def bluesky_notifications(folder: Path) -> Case:
    return test_connectors_bluesky.make_contract_case(BlueskyNotifications)


def jetstream(folder: Path) -> Case:
    return test_connectors_jetstream.make_contract_case()


def rss(folder: Path) -> Case:
    return test_connectors_rss.make_contract_case()


def x(folder: Path) -> Case:
    return test_connectors_x.make_contract_case(Search)


def x_mentions(folder: Path) -> Case:
    return test_connectors_x.make_contract_case(Mentions)


def youtube(folder: Path) -> Case:
    return test_connectors_youtube.make_contract_case()


def discourse(folder: Path) -> Case:
    return test_connectors_discourse.make_contract_case()


def appstore(folder: Path) -> Case:
    return test_connectors_appstore.make_contract_case()


@pytest.fixture(
    params=[
        sample,
        jsonl,
        table,
        twarc,
        hackernews,
        reddit,
        reddit_new,
        mastodon_tags,
        mastodon_search,
        mastodon_mentions,
        bluesky,
        bluesky_notifications,
        jetstream,
        rss,
        x,
        x_mentions,
        appstore,
        discourse,
        youtube,
    ],
    ids=lambda make: make.__name__,
)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    make: Callable[[Path], Case] = request.param
    return make(tmp_path)


def collect(
    case: Case, cursor: Cursor | None = None, *, budget: Budget = FREE
) -> tuple[list[Page], bool]:
    """The pages of one call, and whether its budget was spent."""
    pages: list[Page] = []
    try:
        pages.extend(case.connector.collect(case.query, cursor, budget=budget, now=case.now))
    except BudgetSpent:
        return pages, True
    return pages, False


def ids(pages: list[Page]) -> set[str]:
    """Ids as the source has them: without the mark of a file that names no source."""
    found = {mention.native_id for page in pages for mention in page.mentions}
    return {re.sub(r"^[0-9a-f]{8}:", "", native_id) for native_id in found}


def stored(page: Page) -> Cursor | None:
    """The cursor of a page as the database gives it back."""
    text = json.dumps(page.cursor, allow_nan=False)
    cursor: Cursor | None = json.loads(text)
    assert json.dumps(cursor) == text
    return cursor


def test_it_has_the_shape_of_a_connector(case: Case) -> None:
    assert isinstance(case.connector, Connector)
    capabilities = case.connector.capabilities()
    assert capabilities.gives
    assert capabilities.needs
    assert capabilities.by_query == (case.query is not None)


def test_it_gives_every_post_and_no_other(case: Case) -> None:
    pages, spent = collect(case)
    assert not spent
    assert ids(pages) == case.expected_ids
    assert not pages[-1].more
    assert sum(page.returned for page in pages) >= len(case.expected_ids)


def test_every_mention_can_be_stored(case: Case) -> None:
    for page in collect(case)[0]:
        for mention in page.mentions:
            assert mention.published_at.utcoffset() == timedelta(0)
            assert mention.source == case.connector.source
            assert mention.native_id == mention.native_id.strip() != ""
            author = mention.author
            texts = [mention.text, mention.title, mention.url, mention.parent_id, mention.root_id]
            texts += [author.native_id, author.handle, author.name] if author else []
            for text in texts:
                assert text is None or isinstance(text, str)
                (text or "").encode("utf-8")
                assert "\x00" not in (text or "")
            assert isinstance(mention.text, str)
            assert mention.text or mention.title
            assert mention.url is None or mention.url.startswith(("https://", "http://"))
            assert json.loads(json.dumps(mention.raw)) == mention.raw


def test_cursors_are_json_and_going_on_from_any_of_them_skips_nothing(case: Case) -> None:
    pages, _ = collect(case)
    for done in range(1, len(pages) + 1):
        rest, _ = collect(case, stored(pages[done - 1]))
        assert ids(pages[:done]) | ids(rest) == case.expected_ids


def test_going_on_from_the_end_gives_nothing_new(case: Case) -> None:
    pages, _ = collect(case)
    again, _ = collect(case, stored(pages[-1]))
    assert ids(again) <= ids(pages)
    if case.connector.capabilities().prefiltered:
        assert again == []


def test_a_cursor_given_is_not_changed(case: Case) -> None:
    pages, _ = collect(case)
    for page in pages:
        cursor = stored(page)
        before = copy.deepcopy(cursor)
        collect(case, cursor)
        assert cursor == before


def test_one_page_at_a_time_comes_to_the_end(case: Case) -> None:
    whole, _ = collect(case)
    found: set[str] = set()
    cursor: Cursor | None = None
    for _ in range(2 * len(whole) + 2):
        pages, spent = collect(case, cursor, budget=Budget(pages=1))
        assert len(pages) <= 1
        assert spent or not any(page.more for page in pages)
        found |= ids(pages)
        cursor = stored(pages[-1]) if pages else cursor
    assert found == case.expected_ids


def test_a_spent_budget_gives_no_page(case: Case) -> None:
    assert collect(case, budget=Budget(pages=0)) == ([], True)


def test_now_without_a_zone_is_refused(case: Case) -> None:
    naive = case.now.replace(tzinfo=None)
    with pytest.raises(ValueError, match="zone"):
        list(case.connector.collect(case.query, None, budget=FREE, now=naive))


def test_check_is_one_line_that_names_no_post(case: Case) -> None:
    line = case.connector.check(now=case.now)
    assert line
    assert "\n" not in line
    assert not any(text in line for page in collect(case)[0] for text in _long_texts(page))


def _long_texts(page: Page) -> list[str]:
    return [mention.text for mention in page.mentions if len(mention.text) > 20]


def imported(path: Path) -> set[str]:
    """Names of the packages that a module imports anywhere, relative imports left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_no_module_knows_of_tags_storage_schedule_or_terminal(path: Path) -> None:
    above = {"nlp", "listener", "sqlite3", "sqlite_utils", "click", "rich", "apscheduler"}
    assert not imported(path) & above


def test_the_import_check_sees_imports() -> None:
    assert {"json", "connectors", "pytest"} <= imported(Path(__file__))
