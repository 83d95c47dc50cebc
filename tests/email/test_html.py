"""The scan finds what a mail client shows as links, and nothing else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_server.email.html import attribute_text, scan


def _values(text: str) -> list[str]:
    return [link.value for link in scan(text).links]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('<a href="u">', ["u"]),
        ("<a href='u'>", ["u"]),
        ("<a href=u>", ["u"]),
        ("<a href=u/>", ["u/"]),
        ('<A\n\tHREF = "u" >', ["u"]),
        ('<a class="b"href="u">', ["u"]),
        ('<a/href="u">', ["u"]),
        ('<area shape=rect href="u">', ["u"]),
        ('<a title="a > b" href="u">', ["u"]),
        ("<a title='<a href=no>' href=u>", ["u"]),
        ('<a href="u" href="second">', ["u"]),
        ('<a data-href="no">', []),
        ("<a href>", [""]),
        ("<a href=>x", [""]),
        ('<a href="">', [""]),
        ('<abbr href="no"><link href="no"><base href="no"><img src="no">', []),
        ('<!-- <a href="no"> --><a href="u">', ["u"]),
        ('<!--> <a href="u"> -->', ["u"]),
        ('<!---> <a href="u"> -->', ["u"]),
        ('<!-- a --!> <a href="u">', ["u"]),
        ('<!-- never closed <a href="no">', []),
        ('<!--[if mso]><a href="u"><![endif]-->', ["u"]),
        ('<!--[if !mso]><!--><a href="u"><!--<![endif]-->', ["u"]),
        ('<![if !mso]><a href="u"><![endif]>', ["u"]),
        ('<!doctype html><?xml <a href="no"?><a href="u">', ["u"]),
        ('<style>a { content: "<a href=no>" }</style><a href="u">', ["u"]),
        ("<script>'<a href=no>'</script><a href=u>", ["u"]),
        ("<script><!-- <script></script><a href=no></script><a href=u>", ["u"]),
        ("<script></scripty><a href=no></script ><a href=u>", ["u"]),
        ("<title><a href=no></title><textarea><a href=no></TEXTAREA><a href=u>", ["u"]),
        ("<noscript><a href=u></noscript>", ["u"]),
        ("<template><template><a href=no></template><a href=no></template><a href=u>", ["u"]),
        ("<plaintext><a href=no>", []),
        ("a < b <a href=u>", ["u"]),
        ("</ <a href=no><a href=u>", ["u"]),
        ('<a href="never closed', []),
        ("<a href=u", []),
        ("<svg><a href=u></a></svg>", ["u"]),
        ("<a =href=no href=u>", ["u"]),
    ],
)  # fmt: skip
def test_the_links_of_a_text(text: str, values: list[str]) -> None:
    assert _values(text) == values


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("?a=1&amp;b=2", "?a=1&b=2"),
        ("?a=1&b=2", "?a=1&b=2"),
        ("?a=1&copy=2&reg;", "?a=1&copy=2®"),
        ("?a&copy", "?a©"),
        ("?a&notit;", "?a&notit;"),
        ("&#38;&#x26;&#X26", "&&&"),
        ("&#128;&#0;&#xD800;&#x110000;&#99999999999999999999;", "€���" + "�"),
        ("&#10;", "\n"),
        ("&amp;amp;", "&amp;"),
        ("&nosuch; & &; &#; &#x;", "&nosuch; & &; &#; &#x;"),
        ("&lang=de", "&lang=de"),
        ("&lt=1&lt;", "&lt=1<"),
    ],
)
def test_references_are_those_of_attributes(raw: str, text: str) -> None:
    assert attribute_text(raw) == text


def test_the_body_ends_outside_comments() -> None:
    text = "<html><body>x</body><!-- </body> --><!--[if mso]></body><![endif]--></html>"
    assert scan(text).body_end == text.index("</body>")
    assert scan("<p>x</p></html>\n").body_end == len("<p>x</p>")
    assert scan("<p>x</p>").body_end == len("<p>x</p>")


PIECES = st.lists(
    st.sampled_from(
        ["<a href=", "<a ", '"', "'", ">", "<!--", "-->", "<!--[if mso]>", "<script", "</script>", "<style>", "</style>",
         "&amp", ";",
         "<template>", "</template>", "href", "=", " ", "\n", "/", "<", "</", "<!", "http://e.example", "\x00",
         "é", "<textarea>", "&#"]
    ),
    max_size=60,
).map("".join)  # fmt: skip


@given(PIECES | st.text(max_size=200))
def test_a_scan_never_fails_and_names_places_in_order(text: str) -> None:
    found = scan(text)
    upto = 0
    for link in found.links:
        assert upto <= link.start <= link.end <= len(text)
        upto = link.end
    assert 0 <= found.body_end <= len(text)


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<a ",
        "<a href=",
        '<a href="',
        "<!--",
        "<!--[if ",
        "<!--[if -->",
        "<script>",
        "<script><!--<script>",
        "&#1",
        "<a b=c ",
    ],
)
def test_a_long_text_of_one_piece_takes_no_longer_than_its_length(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    begun = time.process_time()
    scan(text)
    assert time.process_time() - begun < 3.0
