"""Options that a conversation has named, by whom, and what its alerts are about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import NOW, config, store_in

from listener.options import Option, option_line, options, topic
from listener.store import Store, stamp

ASKER, MOKETTO, LUMORA = 1, "Moketto", "Lumora"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def post(
    store: Store, number: int, by: str | None, *named: tuple[str, str], advises: bool = False
) -> None:
    """One post of conversation 1 that names these kinds and names."""
    now = stamp(NOW)
    with store.write() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO conversations (id, source, root_id, title, started_at, last_at, "
            "mentions, authors, stage, state, early) VALUES (1, 'forum', 'r', 't', ?, ?, 1, 1, "
            "'consideration', 'early', 0.9)",
            (now, now),
        )
        if by is not None:
            connection.execute(
                "INSERT OR IGNORE INTO authors (source, native_id, handle) VALUES ('forum', ?, ?)",
                (by, by),
            )
        connection.execute(
            "INSERT INTO mentions (id, source, native_id, text, published_at, first_seen_at, "
            "conversation_id, author_id) VALUES (?, 'forum', ?, 'x', ?, ?, 1, "
            "(SELECT id FROM authors WHERE native_id = ?))",
            (number, str(number), now, now, by),
        )
        for kind, name in named:
            connection.execute(
                "INSERT INTO matches VALUES (?, ?, ?, ?, 0, 3)", (number, kind, name, name)
            )
            if advises:
                connection.execute(
                    "INSERT INTO conversation_events (conversation_id, mention_id, kind, "
                    "entity_kind, entity, at, score) VALUES (1, ?, 'recommendation', ?, ?, ?, 1)",
                    (number, kind, name, now),
                )


def test_options_count_people_and_not_posts(store: Store) -> None:
    post(store, ASKER, "ana", ("competitor", MOKETTO), ("brand", LUMORA), ("category", "grinder"))
    post(store, 2, "ana", ("competitor", MOKETTO))
    post(store, 3, "pete", ("competitor", MOKETTO), advises=True)
    post(store, 4, "pete", ("competitor", MOKETTO), advises=True)
    post(store, 5, None, ("competitor", MOKETTO))
    post(store, 6, None, ("competitor", MOKETTO))
    post(store, 7, "eva", ("product", "Brisa"), advises=True)
    assert options(store, 1, ASKER) == (
        Option(name=MOKETTO, ours=False, asker=True, others=3, recommended=1),
        Option(name=LUMORA, ours=True, asker=True, others=0, recommended=0),
        Option(name="Brisa", ours=True, asker=False, others=1, recommended=1),
    )


def test_a_conversation_may_name_nothing(store: Store) -> None:
    post(store, ASKER, None, ("category", "grinder"))
    assert options(store, 1, ASKER) == ()


def test_the_topic_is_that_of_the_first_alert_in_the_readers_language(store: Store) -> None:
    post(store, ASKER, "ana", ("category", "grinder"), ("brand", LUMORA))
    post(store, 2, "pete", ("competitor", MOKETTO))
    with store.write() as connection:
        for mention in (ASKER, 2):
            connection.execute(
                "INSERT INTO alerts (key, rule, conversation_id, mention_id, probability, reasons, "
                "created_at) VALUES (?, 'r', 1, ?, 0.9, '[]', ?)",
                (str(mention), mention, stamp(NOW)),
            )
    assert topic(store, 1, {}) == (LUMORA, "grinder")
    assert topic(store, 1, {"grinder": "molinillo"}) == (LUMORA, "molinillo")
    assert topic(store, 2, {}) == ()


@pytest.mark.parametrize(
    ("option", "english", "spanish"),
    [
        (
            Option(name=MOKETTO, ours=False, asker=True, others=1, recommended=1),
            "Moketto (competitor): named by the author and 1 other, 1 recommends it",
            "Moketto (competencia): la nombran quien pregunta y 1 persona más, 1 la recomienda",
        ),
        (
            Option(name=LUMORA, ours=True, asker=True, others=0, recommended=0),
            "Lumora (yours): named by the author",
            "Lumora (tuya): la nombra quien pregunta",
        ),
        (
            Option(name=LUMORA, ours=True, asker=False, others=3, recommended=2),
            "Lumora (yours): named by 3 other people, 2 recommend it",
            "Lumora (tuya): la nombran 3 personas más, 2 la recomiendan",
        ),
    ],
)
def test_an_option_is_told_in_both_languages(option: Option, english: str, spanish: str) -> None:
    assert option_line("en", option) == english
    assert option_line("es", option) == spanish


def test_categories_have_names_for_readers() -> None:
    settings = (
        '[[categories]]\nname = "kettle"\nlabels = { es = "hervidor" }\n'
        'words = { en = ["kettle"] }\n'
    )
    assert config(settings).labels("es") == {"kettle": "hervidor"}
    assert config(settings).labels("en") == {}
