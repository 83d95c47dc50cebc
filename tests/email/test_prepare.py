"""A prepared mail is the mail that was given, but for its links."""

import html
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_core.errors import InvalidEventError
from reflexarc_server.email.address import location, merged
from reflexarc_server.email.html import scan
from reflexarc_server.email.prepare import Message, Prepared, Preparer
from reflexarc_server.email.token import CLICK, OPEN, UNSUBSCRIBE
from tests.email.kit import BASE, MESSAGE, NOW, PREPARER, SIGNER, anchor, needs_sets, token_of, url_cases, web_hrefs


def _undone(given_html: str, prepared: Prepared) -> str:
    """The HTML with every tracked link put back by hand, and without the pixel."""
    text = prepared.html
    begin = text.index(f'<img src="{prepared.open_url}"')
    text = text[:begin] + text[text.index(">", begin) + 1 :]
    raws = [given_html[link.start : link.end] for link in scan(given_html).links]
    for link, raw in zip(reversed(scan(text).links), reversed(raws), strict=True):
        text = text[: link.start] + raw + text[link.end :]
    return text


@needs_sets
@pytest.mark.parametrize("quote", ['"', "'"])
def test_every_address_of_the_set_comes_back_as_it_was(quote: str) -> None:
    hrefs = web_hrefs()
    assert len(hrefs) == 247
    body = "<html><body>\r\n" + "\n".join(anchor(url, quote) for url in hrefs) + "</body></html>"
    prepared = PREPARER.prepare(body, "\n".join(f"<{url}>" for url in hrefs), MESSAGE)
    assert [link.url for link in prepared.links] == hrefs * 2
    assert prepared.left == ()
    for link in prepared.links:
        mark = SIGNER.read(CLICK, token_of(link.tracked_url), NOW)
        assert (mark.url, mark.position, mark.subject) == (link.url, link.position, "known:42")
        assert location(mark.url) == link.url.encode()
    assert _undone(body, prepared) == body


@needs_sets
def test_no_input_with_a_control_character_gets_a_link() -> None:
    wrong = [case["input"] for case in url_cases() if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in case["input"])]
    assert len(wrong) > 20
    refused = 0
    for url in wrong:
        try:
            prepared = PREPARER.prepare(anchor(url), "", MESSAGE)
        except InvalidEventError:
            refused += 1
        else:
            assert prepared.links == (), url
    assert refused > 10


SHELL = '<html>\r\n<style>a{{b:"<a href=x>"}}</style><body class=x>{0}\t<!-- <a href="https://no.example"> -->{1}</body></html>\n'
HREFS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30).map(
    lambda tail: "https://shop.example/" + tail.replace("\\", "")
)


@given(st.lists(HREFS, min_size=1, max_size=4), st.integers())
def test_what_is_no_link_stays_as_it_was(urls: list[str], seed: int) -> None:
    drawn = random.Random(seed)
    body = SHELL.format("é<br/>" + "".join(anchor(url, drawn.choice("\"'")) for url in urls), "&nbsp;")
    prepared = PREPARER.prepare(body, "", MESSAGE)
    assert _undone(body, prepared) == body
    left = [one.url for one in prepared.left]
    assert [link.url for link in prepared.links] == [url.strip(" ") for url in urls if url.strip(" ") not in left]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("#top", "anchor"), ("", "anchor"), ("mailto:a@b.example?subject=x", "no web address"), ("tel:+49", "no web address"),
        ("javascript:alert(1)", "no web address"), ("//evil.example", "no web address"), ("/path", "no web address"),
        ("data:text/html,x", "no web address"), ("https://x.example/{{ id }}", "placeholder"), ("*|UNSUB|*", "placeholder"),
        ("https://x.example/unsubscribe?id=1", "unsubscribe"), ("https://x.example/Opt-Out", "unsubscribe"),
        ("https://münchen.example/", "host not ASCII"), (f"{BASE}/c/abc", "already tracked"),
    ],
)  # fmt: skip
def test_some_links_are_left_alone(url: str, reason: str) -> None:
    prepared = PREPARER.prepare(anchor(url), "", MESSAGE, pixel=False)
    assert prepared.html == anchor(url)
    assert [(left.url, left.reason) for left in prepared.left] == [(url, reason)]


def test_an_author_opts_a_link_out() -> None:
    body = '<a data-reflexarc-track="off" href="https://x.example/">x</a>'
    prepared = PREPARER.prepare(body, "", MESSAGE, pixel=False)
    assert (prepared.html, prepared.left[0].reason) == (body, "opted out")


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example\\@evil.example/", "https:\\\\evil.example", "https:evil.example", "https:/evil.example", "https:///evil",
        "https://a.example/\r\nSet-Cookie: a=b", "ht\ntps://a.example/", "\x01https://a.example/", "https://a.example/\x7f",
        "https://a.example/\u2028", "https://a b.example/", "https://a%2eexample/", "https://u@/", "https://?x", "https://a.example/\x85",
        "https://a.example/" + "x" * 5_000,
    ],
)  # fmt: skip
def test_an_address_of_two_readings_is_refused_with_its_line(url: str) -> None:
    with pytest.raises(InvalidEventError, match="line 2 of the HTML"):
        PREPARER.prepare("\n" + anchor(url).replace("\n", "&#10;").replace("\r", "&#13;"), "", MESSAGE)


def test_the_pixel_stands_before_the_end_of_the_body() -> None:
    prepared = PREPARER.prepare("<body><p>x</p></body>", "", MESSAGE)
    assert prepared.html.startswith(f'<body><p>x</p><img src="{BASE}/o/')
    assert prepared.html.endswith('px"></body>')
    mark = SIGNER.read(OPEN, token_of(prepared.open_url), NOW)
    assert (mark.message_id, mark.subject, mark.campaign, mark.made_time) == ("m-1", "known:42", "spring", NOW)
    assert PREPARER.prepare("", "a text", MESSAGE).html == ""


def test_a_mail_shows_its_own_unsubscribe_link() -> None:
    prepared = PREPARER.prepare('<a href="{{unsubscribe_url}}">stop</a>', "stop: {{ unsubscribe_url }}\n", MESSAGE, pixel=False)
    assert prepared.html == f'<a href="{prepared.unsubscribe_url}">stop</a>'
    assert prepared.text == f"stop: {prepared.unsubscribe_url}\n"
    assert SIGNER.read(UNSUBSCRIBE, token_of(prepared.unsubscribe_url), NOW).purpose == "email"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("see https://a.example/x?y=1#z.", ["https://a.example/x?y=1#z"]),
        ("(https://a.example/x)", ["https://a.example/x"]),
        ("https://a.example/x_(y)", ["https://a.example/x_(y)"]),
        ("<https://a.example/x.>", ["https://a.example/x."]),
        ("HTTP://A.example, https://b.example!", ["HTTP://A.example", "https://b.example"]),
        ("xhttps://a.example mailto:a@b.example ftp://c.example www.d.example", []),
        ("https://", []),
        ("\u201chttps://a.example/\u201d", ["https://a.example/"]),
    ],
)
def test_addresses_in_plain_text(text: str, urls: list[str]) -> None:
    prepared = PREPARER.prepare("", text, MESSAGE)
    assert [link.url for link in prepared.links] == urls
    undone = prepared.text
    for link in prepared.links:
        undone = undone.replace(link.tracked_url, link.url)
    assert undone == text


@pytest.mark.parametrize(
    ("url", "after"),
    [
        ("https://a.example/", "https://a.example/?utm_source=mail&utm_campaign=a%20b"),
        ("https://a.example/?", "https://a.example/?utm_source=mail&utm_campaign=a%20b"),
        ("https://a.example/?x=%20+&", "https://a.example/?x=%20+&utm_source=mail&utm_campaign=a%20b"),
        ("https://a.example/?utm_source=own#f?g", "https://a.example/?utm_source=own&utm_campaign=a%20b#f?g"),
        ("https://a.example/?utm%5Fsource&b=1", "https://a.example/?utm%5Fsource&b=1&utm_campaign=a%20b"),
        ("https://a.example/?utm_campaign=&utm_source=", "https://a.example/?utm_campaign=&utm_source="),
        ("https://a.example#/r?utm_source=1", "https://a.example?utm_source=mail&utm_campaign=a%20b#/r?utm_source=1"),
    ],
)
def test_utm_is_merged_by_the_rule_and_only_when_asked(url: str, after: str) -> None:
    utm = {"utm_source": "mail", "utm_campaign": "a b"}
    assert merged(url, utm) == after
    asked = PREPARER.prepare(anchor(url), "", Message("m-1", "known:42", utm=utm))
    assert [link.url for link in asked.links] == [after]
    assert [link.url for link in PREPARER.prepare(anchor(url), "", MESSAGE).links] == [url]


@given(HREFS, st.dictionaries(st.sampled_from(["utm_source", "utm_medium", "x"]), st.text(max_size=5)))
def test_merging_changes_nothing_that_was_there(url: str, utm: dict[str, str]) -> None:
    after = merged(url, utm)
    address, mark, fragment = url.partition("#")
    after_address, after_mark, after_fragment = after.partition("#")
    assert after_address.startswith(address)
    assert (after_mark, after_fragment) == (mark, fragment)
    assert merged(after, utm) == after


def test_a_location_says_ascii_as_it_is_and_the_rest_as_a_browser_would() -> None:
    assert location("https://a.example/ü b?q=%41ö#ß") == b"https://a.example/%C3%BC%20b?q=%41%C3%B6#%C3%9F"


def test_preparing_twice_wraps_no_link_twice() -> None:
    once = PREPARER.prepare(anchor("https://a.example/"), "https://a.example/", MESSAGE, pixel=False)
    twice = PREPARER.prepare(once.html, once.text, MESSAGE, pixel=False)
    assert (twice.html, twice.text, twice.links) == (once.html, once.text, ())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x", Message("a b", "known:42")), ("x", Message("m", "")), ("x", Message("m", "nobody")), ("\ud800", MESSAGE),
        ("x" * 2_100_000, MESSAGE), ("x", Message("m", "known:42", campaign="c" * 200)),
        (anchor("https://a.example/") * 501, MESSAGE),
    ],
)  # fmt: skip
def test_what_is_no_mail_is_refused(body: str, message: Message) -> None:
    with pytest.raises(InvalidEventError):
        PREPARER.prepare(body, "", message)


@pytest.mark.parametrize("base", ["go.example", "javascript:x", "https://", "https://a\\b"])
def test_a_base_that_nobody_could_reach_is_refused(base: str) -> None:
    with pytest.raises(InvalidEventError):
        Preparer(SIGNER, base)


def test_an_unquoted_link_stays_one_value() -> None:
    prepared = PREPARER.prepare("<a href=https://a.example/?x=1&amp;y=2 class=b>x</a>", "", MESSAGE, pixel=False)
    assert prepared.links[0].url == "https://a.example/?x=1&y=2"
    assert prepared.html == f"<a href={prepared.links[0].tracked_url} class=b>x</a>"
    assert html.unescape(prepared.html) == prepared.html
