from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from listener.config import Config, default, default_text, load, parse
from listener.config_errors import ConfigError, Fault, dotted, key_lines
from listener.config_fields import Secret
from listener.config_reference import reference

ROOT = Path(__file__).parents[1]
BRAND = '[brand]\nname = "Lumora"\n'


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="config.toml")
    return caught.value.faults


RULE = BRAND + '[[alerts.rules]]\nname = "a"\n'


def only_fault(text: str) -> Fault:
    (fault,) = faults(text)
    return fault


def test_shipped_file_is_the_one_at_the_top() -> None:
    assert (ROOT / "config.toml").read_bytes() == (
        ROOT / "listener" / "default_config.toml"
    ).read_bytes()
    assert default_text() == (ROOT / "config.toml").read_text(encoding="utf-8")


def test_documentation_is_made_from_the_models() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference()


def test_every_key_has_a_meaning() -> None:
    schema = Config.model_json_schema()
    for name, model in schema["$defs"].items():
        assert model["description"], name
        for key, field in model["properties"].items():
            # a table of its own is explained above its keys
            assert "description" in field or "$ref" in field, f"{name}.{key}"


def test_default_listens_to_the_sample_and_mails_both_readers_in_their_language() -> None:
    config = default()
    assert [name for name, _ in config.sources.enabled()] == ["sample"]
    assert [person.language for person in config.receiving("digest")] == ["es", "en"]
    assert [person.language for person in config.receiving("alerts")] == ["en"]
    assert {lang for category in config.categories for lang in category.words} == {"en", "es"}


def test_commented_settings_of_the_shipped_file_work() -> None:
    lines = default_text().splitlines()
    settings = re.compile(r"# (\[.*|\w+ = .*)")
    text = "\n".join(line[2:] if settings.fullmatch(line) else line for line in lines)
    config = parse(text, file="config.toml")
    assert config.channels.smtp.host == "smtp.example.com"
    assert config.sources.rss.feeds[0].lang == "es"
    assert config.alerts.minimum == {"en": 0.7, "es": 0.7}
    assert config.nlp.model == Path("models/ours")
    assert [rule.type for rule in config.alerts.rules] == [
        "early-funnel",
        "early-funnel",
        "crisis",
        "advocate",
        "unanswered",
    ]


def test_only_a_brand_is_needed_and_the_rest_has_defaults() -> None:
    config = parse(BRAND, file="config.toml")
    assert config.alerts.stages == ("awareness", "consideration")
    assert config.channels.outbox.enabled
    assert not config.channels.smtp.enabled
    assert list(config.sources.enabled()) == []
    assert (config.digest.hour, config.digest.timezone) == (8, "Europe/Madrid")
    assert (config.retention.mentions_days, config.retention.raw_days) == (365, 30)


def test_paths_are_joined_to_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = tmp_path / "with [brackets]" / "config.toml"
    file.parent.mkdir()
    file.write_text(
        BRAND + '[nlp]\nmodel = "~/model"\n[channels.outbox]\nfolder = "/var/outbox"\n'
        '[sources.files]\npaths = ["in/*.jsonl", "/data/**/*.csv"]\n',
        encoding="utf-8",
    )
    config = load(file)
    assert config.folder == file.parent
    assert config.database.path == file.parent / "listener.db"
    assert config.channels.outbox.folder == Path("/var/outbox")
    assert config.nlp.model == tmp_path / "home" / "model"
    inside, outside = config.sources.files.paths
    assert outside == "/data/**/*.csv"
    (file.parent / "in").mkdir()
    (file.parent / "in" / "a.jsonl").touch()
    assert [path.name for path in Path("/").glob(inside.removeprefix("/"))] == ["a.jsonl"]


def test_defaults_know_the_folder_too(tmp_path: Path) -> None:
    config = default(tmp_path)
    assert config.database.path == tmp_path / "listener.db"
    assert parse(BRAND, file="x/config.toml").channels.outbox.folder == Path("x/outbox")


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf" + BRAND.replace("\n", "\r\n").encode())
    assert load(file).brand.name == "Lumora"


def test_models_are_frozen() -> None:
    config = default()
    with pytest.raises(ValidationError):
        config.digest.hour = 9  # type: ignore[misc]  # the point of the test


def test_handles_and_hashtags_get_their_sign() -> None:
    brand = parse(
        BRAND + 'handles = ["lumora", "@a@social.example"]\nhashtags = ["café", "#b"]\n', file="c"
    ).brand
    assert brand.handles == ("@lumora", "@a@social.example")
    assert brand.hashtags == ("#café", "#b")


def test_all_faults_come_at_once_with_key_line_and_fix() -> None:
    text = """\
[brand]
name = "Lumora"
alias = ["x"]
[[competitors]]
name = "lumora"
[sources.rss]
enabled = true
[[sources.rss.feeds]]
url = "https://a.example/feed"
[[sources.rss.feeds]]
url = "ftp://b.example"
[digest]
hour = 24
timezone = "Europe/Madird"
[[recipients]]
name = "Ana"
email = "ana"
channel = "smpt"
"""
    found = faults(text)
    assert [(fault.line, fault.key) for fault in found] == [
        (3, "brand.alias"),
        (5, "competitors[0].name"),
        (11, "sources.rss.feeds[1].url"),
        (13, "digest.hour"),
        (14, "digest.timezone"),
        (17, "recipients[0].email"),
        (18, "recipients[0].channel"),
    ]
    fixes = {fault.key: fault.fix for fault in found}
    assert fixes["brand.alias"] == "did you mean `aliases`?"
    assert fixes["digest.timezone"] == "did you mean `Europe/Madrid`?"
    assert fixes["recipients[0].channel"] == "did you mean `smtp`?"


def test_the_error_is_readable_and_names_the_file() -> None:
    error = ConfigError(
        [Fault(key="a.b", message="is wrong", fix="mend it", line=3)], file="my.toml"
    )
    assert str(error) == "my.toml: 1 fault\n  line 3, a.b: is wrong; mend it"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("", "brand", "is missing"),
        ('brand = "Lumora"', "brand", "must be a table, not text"),
        ('[[brand]]\nname = "x"', "brand", "single brackets"),
        ('[brand]\nname = " "', "brand.name", "is empty"),
        ('[brand]\nname = "!!"', "brand.name", "no letter"),
        ('[brand]\nname = "a\\nBcc: b"', "brand.name", "line break"),
        (BRAND + 'folder = "x"', "brand.folder", "unknown key; remove it"),
        ('folder = "x"\n' + BRAND, "folder", "unknown key"),
        (BRAND + '[products]\nname = "x"', "products", "[[products]]"),
        (BRAND + 'aliases = "x"', "brand.aliases", "must be a list, not text"),
        (BRAND + "aliases = [1]", "brand.aliases[0]", "must be text, not a whole number"),
        (BRAND + 'terms = ["x"]', "brand.terms", "must be a table, not a list"),
        (BRAND + 'terms = { sp = ["x"] }', "brand.terms.sp", "two-letter code"),
        (BRAND + 'urls = ["lumora.example"]', "brand.urls[0]", "https://"),
        (BRAND + 'urls = ["https://[x"]', "brand.urls[0]", "not a web address"),
        (BRAND + 'urls = ["https://localhost/x"]', "brand.urls[0]", "no public host"),
        (BRAND + 'handles = ["a b"]', "brand.handles[0]", "not a handle"),
        (BRAND + 'hashtags = ["a b"]', "brand.hashtags[0]", "not a hashtag"),
        (BRAND + '[[categories]]\nname = "x"', "categories[0].words", "is missing"),
        (
            BRAND + '[[categories]]\nname = "x"\nwords = { en = [] }',
            "categories[0].words",
            "no words",
        ),
        (BRAND + "[sources.hackrnews]", "sources.hackrnews", "`hackernews`"),
        (BRAND + "[sources.sample]\nenabled = 1", "sources.sample.enabled", "true or false"),
        (
            BRAND + "[sources.sample]\nevery_minutes = 0",
            "sources.sample.every_minutes",
            "1 or more",
        ),
        (BRAND + "[sources.rss]\nenabled = true", "sources.rss.feeds", "yet the source is enabled"),
        (BRAND + "[sources.files]\nenabled = true", "sources.files.paths", "yet the source"),
        (BRAND + "[sources.plugins.Mine]", "sources.plugins.Mine", "lower-case"),
        (BRAND + '[nlp]\nthreads = "2"', "nlp.threads", "must be a whole number, not text"),
        (BRAND + '[nlp]\nmodel = ""', "nlp.model", "is empty"),
        (BRAND + "[alerts]\nstages = []", "alerts.stages", "at least 1"),
        (BRAND + "[database]\npath = 1", "database.path", "must be a path, not a whole number"),
        (BRAND + "[alerts]\nminimum = { en = 1.5 }", "alerts.minimum.en", "too large"),
        (BRAND + "[alerts]\nminimum = { en = nan }", "alerts.minimum.en", "ordinary number"),
        (BRAND + "[alerts]\nminimum = { eo = 0.5 }", "alerts.minimum.eo", "en, es"),
        (BRAND + '[alerts]\nstages = ["awarenes"]', "alerts.stages[0]", "`awareness`"),
        (BRAND + "[[alerts.rules]]", "alerts.rules[0].name", "is missing"),
        (BRAND + "[alerts.rules]\nname = 'a'", "alerts.rules", "[[rules]]"),
        (RULE + 'type = "crises"', "alerts.rules[0].type", "`crisis`"),
        (RULE + 'focus = ["switch"]', "alerts.rules[0].focus[0]", "`switching`"),
        (RULE + 'quiet_hours = "22-8"', "alerts.rules[0].quiet_hours", '"22:00-08:00"'),
        (RULE + 'quiet_hours = "24:00-08:00"', "alerts.rules[0].quiet_hours", "span of hours"),
        (RULE + 'quiet_hours = "08:00-08:00"', "alerts.rules[0].quiet_hours", "different times"),
        (RULE + "stages = []", "alerts.rules[0].stages", "at least 1"),
        (RULE + "minimum = { es = 2.0 }", "alerts.rules[0].minimum.es", "too large"),
        (RULE + "cooldown = 3", "alerts.rules[0].cooldown", "`cooldown_hours`"),
        (BRAND + "[digest]\nminute = 5.5", "digest.minute", "not a number with decimals"),
        (BRAND + "[digest]\nhour = 08:00:00", "digest.hour", "not a date or time"),
        (BRAND + '[digest]\ntimezone = "../etc"', "digest.timezone", "not a time zone"),
        (BRAND + '[channels]\nsender = "Listener"', "channels.sender", "no e-mail address"),
        (BRAND + "[channels.smtp]\nenabled = true", "channels.smtp.host", "is missing"),
        (BRAND + '[channels.smtp]\nsecurity = "startls"', "channels.smtp.security", "`starttls`"),
        (BRAND + '[channels.smtp]\nusername = "a"', "channels.smtp.password", "beside username"),
        (
            BRAND + '[channels.smtp]\npassword = { env = "A" }',
            "channels.smtp.password",
            "without username",
        ),
        (
            BRAND + '[channels.smtp]\nusername = "a"\npassword = { env = "a-b" }',
            "channels.smtp.password.env",
            "environment variable",
        ),
    ],
)
def test_one_fault(text: str, key: str, words: str) -> None:
    fault = only_fault(text)
    assert fault.key == key
    assert words in str(fault)


PERSON = '[[recipients]]\nname = "Ana"\nemail = "ana@example.com"\n'


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (BRAND + PERSON + 'channel = "smtp"', "recipients[0].channel", "[channels.smtp]"),
        (
            BRAND + PERSON + "[channels.outbox]\nenabled = false",
            "recipients[0].channel",
            "`outbox` is off",
        ),
        (BRAND + PERSON + 'language = "fr"', "recipients[0].language", "en, es"),
        (
            BRAND
            + PERSON
            + PERSON.upper()
            .replace("NAME", "name")
            .replace("EMAIL", "email")
            .replace("RECIPIENTS", "recipients"),
            "recipients[1].email",
            "repeats recipients[0].email",
        ),
        (
            BRAND + '[[products]]\nname = "x"\n[[competitors]]\nname = "X "',
            "competitors[0].name",
            "repeats products[0].name",
        ),
    ],
)
def test_one_fault_between_tables(text: str, key: str, words: str) -> None:
    fault = only_fault(text)
    assert fault.key == key
    assert words in str(fault)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('recipients = ["Ana"]', "recipients[0]", '`Ana` does not receive alerts; add "alerts"'),
        ('recipients = ["Benn"]', "recipients[0]", "did you mean `Ben`?"),
        ('recipients = ["x"]', "recipients[0]", "write one of: Ana, ana@example.com, Ben"),
        ("hours = 3", "hours", "it is for type crisis or unanswered"),
        ('type = "crisis"\nfocus = ["product"]', "focus", "for a rule of type crisis"),
        ('type = "advocate"\nfactor = 2.0', "factor", "remove it; it is for type crisis"),
        ('type = "unanswered"\npraises = 2', "praises", "it is for type advocate"),
    ],
)
def test_a_rule_at_odds_with_its_type_or_its_readers(text: str, key: str, words: str) -> None:
    ben = PERSON.replace("Ana", "Ben").replace("ana@", "ben@") + 'receives = ["alerts"]\n'
    fault = only_fault(BRAND + PERSON + ben + "[[alerts.rules]]\nname = 'a'\n" + text)
    assert fault.key == f"alerts.rules[0].{key}"
    assert words in str(fault)


def test_readers_of_a_rule_go_by_name_or_address_in_any_case() -> None:
    ben = PERSON.replace("Ana", "Ben") + 'receives = ["alerts"]\n'
    rule = '[[alerts.rules]]\nname = "a"\nrecipients = ["BEN", " Ana@Example.com "]'
    (found,) = parse(BRAND + ben + rule, file="config.toml").alerts.rules
    assert found.recipients == ("BEN", "Ana@Example.com")


def test_without_recipients_a_named_reader_is_told_of() -> None:
    fault = only_fault(BRAND + "[[alerts.rules]]\nname = 'a'\nrecipients = ['Ana']")
    assert "add [[recipients]]" in fault.fix


def test_rules_have_names_of_their_own() -> None:
    rule = "[[alerts.rules]]\nname = '{}'\n"
    fault = only_fault(BRAND + rule.format("a") + rule.format("A "))
    assert (fault.key, fault.message) == ("alerts.rules[1].name", "repeats alerts.rules[0].name")


def test_a_wrong_switch_of_a_channel_is_not_blamed_on_the_recipient() -> None:
    text = BRAND + PERSON + 'channel = "smtp"\n[channels.smtp]\nenabled = "yes"\nhost = "h"'
    assert only_fault(text).key == "channels.smtp.enabled"


def test_faults_between_tables_show_beside_others() -> None:
    text = '[brand]\nname = "x"\n[[products]]\nname = "x"\nurl = "y"'
    assert [fault.key for fault in faults(text)] == ["products[0].name", "products[0].url"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb =\n", 2), ("[brand\n", 1), ("a = 1\na = 2\n", 2), ('a = 1\nx = """\n\n', 4)],
)
def test_a_syntax_error_has_its_line(text: str, line: int) -> None:
    fault = only_fault(text)
    assert fault.line == line
    assert "not valid TOML" in fault.message
    assert "(at line" not in fault.message


def test_a_missing_unreadable_or_binary_file_is_a_fault(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b'[brand]\nname = "\xff"\n')
    for path, words in [
        (tmp_path / "none.toml", "`listener init`"),
        (tmp_path, "cannot be read"),
        (binary, "line 2, file: is not UTF-8"),
    ]:
        with pytest.raises(ConfigError, match=re.escape(words)) as caught:
            load(path)
        assert caught.value.file == str(path)


LITERALS = [
    '[channels.smtp]\nusername = "a"\npassword = "hunter2"',
    '[channels.smtp]\nusername = "a"\npassword = ["hunter2"]',
    '[channels.smtp]\nusername = "a"\npassword = { env = "hunter2 !" }',
    '[channels.smtp]\npasword = "hunter2"',
    '[sources.plugins.mine]\noptions = { api_key = "hunter2" }',
    '[sources.plugins.mine]\noptions = { account = { tokens = [], access_token = "hunter2" } }',
    '[sources.plugins.mine]\noptions = { key = { env = "hunter2 !" } }',
    '[[sources.rss.feeds]]\nurl = "https://ana:hunter2@a.example"',
]


@pytest.mark.parametrize("text", LITERALS)
def test_a_literal_secret_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(BRAND + text, file="config.toml")
    error = caught.value
    assert len(error.faults) == 1
    assert "hunter2" not in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None


def test_a_secret_is_read_from_the_environment_and_not_shown() -> None:
    text = BRAND + '[channels.smtp]\nusername = "a"\npassword = { env = "SMTP_PASSWORD" }'
    config = parse(text, file="c")
    password = config.channels.smtp.password
    assert password is not None
    assert password.reveal({"SMTP_PASSWORD": "hunter2"}) == "hunter2"
    assert "hunter2" not in repr(config)
    for environ in ({}, {"SMTP_PASSWORD": ""}):
        with pytest.raises(ConfigError, match="SMTP_PASSWORD"):
            password.reveal(environ)


def test_a_plugin_gets_its_options_with_secrets_in_any_depth() -> None:
    text = """
[sources.plugins.forum]
enabled = true
every_minutes = 10
options = { board = "café", tokenizer = "words", login = [{ password = { env = "FORUM" } }] }
"""
    ((name, source),) = parse(BRAND + text, file="c").sources.enabled()
    assert (name, source.every_minutes) == ("forum", 10)
    options = source.model_dump()["options"]
    assert options["board"] == "café"
    plugin = parse(BRAND + text, file="c").sources.plugins["forum"]
    assert plugin.options["login"] == ({"password": Secret(env="FORUM")},)


def test_lines_of_keys_in_every_form_of_table() -> None:
    text = '''\
top = 1
[a]
x = """
[not.a.table]
y = 2
"""
"b c".d = [
  "]",  # [still.not.one]
  "z = 3",
]
[[a.list]]
k = { l = 1 }
[a.list.sub]
m = 1
[[a.list]]
k = 2
'''
    tomllib.loads(text)
    assert {dotted(location): line for location, line in key_lines(text).items()} == {
        "top": 1,
        "a": 2,
        "a.x": 3,
        'a."b c"': 7,
        'a."b c".d': 7,
        "a.list[0]": 11,
        "a.list[0].k": 12,
        "a.list[0].k.l": 12,
        "a.list[0].sub": 13,
        "a.list[0].sub.m": 14,
        "a.list[1]": 15,
        "a.list[1].k": 16,
    }


@pytest.mark.parametrize("value", ["1", '"x"', "-1.5", "[[]]", "{ x = 1 }", "1979-05-27", "inf"])
def test_a_wrong_value_of_any_key_is_a_fault_of_that_line_in_plain_words(value: str) -> None:
    lines = default_text().splitlines()
    places = [number for number, line in enumerate(lines) if re.match(r"\w+ = [^\[]*$", line)]
    assert len(places) > 40
    errors: list[tuple[int, ConfigError]] = []
    for number in places:
        key = lines[number].partition(" = ")[0]
        text = "\n".join([*lines[:number], f"{key} = {value}", *lines[number + 1 :]])
        try:
            parse(text, file="config.toml")
        except ConfigError as error:
            errors.append((number + 1, error))
    assert len(errors) > len(places) / 3
    for line, caught in errors:
        assert line in {fault.line for fault in caught.faults}
        assert "correct this value" not in str(caught)
