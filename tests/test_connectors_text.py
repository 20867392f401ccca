import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.text import canonical_url, clean_text, html_to_text, unwrap_url, web_url


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("just words", "just words"),
        # Hacker News never closes its paragraphs.
        ("one<p>two &amp; <i>three</i><p>four", "one\ntwo & three\nfour"),
        ("a<br>b<br/>c<BR />d", "a\nb\nc\nd"),
        ("<div>una</div><div>dos &ntilde;&#241;&#xF1;</div>", "una\ndos ñññ"),
        ("<ul><li>one</li>\n<li>two</li></ul>", "one\ntwo"),
        ('see <a href="https://example.com/x">this page</a>.', "see this page."),
        ("a<script>steal()</script>b<style>p{}</style>c<!-- hidden -->d", "abcd"),
        ("so   many\n\n  blanks&nbsp;here", "so many blanks here"),
        ("run<pre><code>first\n  second\n</code></pre>end", "run\nfirst\nsecond\nend"),
        ("<b>bold</b><i>er</i>", "bolder"),
        ("&lt;b&gt;kept as text&lt;/b&gt;", "<b>kept as text</b>"),
        ("unclosed <a href='x", "unclosed"),
        ("5 < 6 and 7 > 6", "5 < 6 and 7 > 6"),
        ("bell\x07 null\x00 &#7;escape&#27;", "bell null escape"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a\nb"),
        ("<html><head><title>T</title></head><body><p>B</p></body></html>", "B"),
    ],
)
def test_html_becomes_the_text_a_reader_sees(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 200_000,
        "<ul><li>" * 125_000,
        "".join(f"<b a={i}>" for i in range(80_000)),
        "<" * 1_000_000,
        "<!--" * 250_000,
        "<script>" * 125_000,
        "<p title='" * 100_000,
    ],
    ids=["div", "list", "bold", "angles", "comments", "scripts", "quotes"],
)
def test_a_megabyte_of_hostile_markup_is_survived(html: str) -> None:
    assert len(html_to_text(html)) <= len(html)


def test_long_text_with_markup_is_kept_whole_up_to_the_tag_limit() -> None:
    text = html_to_text("<p>word " * 9_000)
    assert text.split() == ["word"] * 9_000
    assert html_to_text("<p>word " * 20_000).split() == ["word"] * 10_000


@given(st.text(alphabet=st.sampled_from("<>/pbr&;#x3 \n\t\x00\x1e\ud800ñ\"'=-!a"), max_size=60))
def test_any_markup_gives_storable_text(html: str) -> None:
    text = html_to_text(html)
    text.encode("utf-8")
    assert not any(ord(c) < 32 and c not in "\n\t" for c in text)
    assert text == text.strip()


def test_plain_text_keeps_its_lines_and_loses_what_cannot_be_stored() -> None:
    assert (
        clean_text(" a\r\nb\rc\td\x00\x1b[31m <b> &amp; \udc80\x85")
        == "a\nb\nc\td[31m <b> &amp; \ufffd"
    )


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            "https://www.google.com/url?rct=j&sa=t&url=https://example.com/a%3Fb%3D1&ct=ga&cd=x",
            "https://example.com/a?b=1",
        ),
        ("https://www.google.es/url?q=http://example.org/n&sa=U", "http://example.org/n"),
        ("http://news.google.com/news/url?fd=R&url=https://example.com/n", "https://example.com/n"),
        ("https://www.google.com.mx/url?url=https://example.mx/", "https://example.mx/"),
        ("https://google.co.uk/url?q=https://example.uk/", "https://example.uk/"),
    ],
)
def test_google_links_are_unwrapped(url: str, target: str) -> None:
    assert unwrap_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://www.google.com/url?url=javascript:alert(1)",
        "https://www.google.com/url?q=data:text/html,x",
        "https://www.google.com/search?q=https://example.com/",
        "https://www.google.com.evil.example/url?url=https://example.com/",
        "https://notgoogle.com/url?url=https://example.com/",
        "https://example.com/url?url=https://example.org/",
        "https://[broken/url?url=https://example.com/",
        "",
    ],
)
def test_other_links_stay_as_they_are(url: str) -> None:
    assert unwrap_url(url) == url


def test_one_article_has_one_canonical_address() -> None:
    plain = canonical_url("https://example.com/a?b=2&a=1")
    assert canonical_url("HTTPS://Example.com:443/a?a=1&utm_source=x&b=2&fbclid=1") == plain
    assert canonical_url("https://example.com/a?a=2&b=2") != plain
    assert canonical_url("https://[broken") == "https://[broken"


def test_only_absolute_web_addresses_count() -> None:
    assert web_url("https://example.com/a") == "https://example.com/a"
    for bad in (
        "javascript:x",
        "/a",
        "https://",
        "http://a b",
        "http://[x",
        "",
        None,
        7,
        "http://a/" + "x" * 4_000,
    ):
        assert web_url(bad) is None
