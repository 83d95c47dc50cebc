"""Referrers: the open cases, families the list covers without naming each host, and texts that are no address."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_server.enrichment.referrer import Referrer, read_referrer
from reflexarc_server.enrichment.sources import PLACES


def test_the_open_cases(real_sets: Path) -> None:
    cases = json.loads((real_sets / "referrers_snowplow" / "referer-tests.json").read_text())
    wrong = []
    for case in cases:
        found = read_referrer(case["uri"])
        if (found.medium, found.source, found.term or None) != (case["medium"], case["source"], case["term"]):
            wrong.append((case["uri"], found))
    assert len(wrong) <= len(cases) * 0.1, wrong
    assert all(found.medium == "unknown" for _, found in wrong), wrong


@pytest.mark.parametrize(
    ("address", "medium", "source", "term"),
    [
        ("https://www.google.co.uk/search?q=red+shoes", "search", "Google", "red shoes"),
        ("https://www.google.com.br/search?q=caf%C3%A9", "search", "Google", "café"),
        ("https://www.google.de/", "search", "Google", ""),
        ("https://google.com/#q=old+way", "search", "Google", "old way"),
        ("android-app://com.google.android.googlequicksearchbox/", "search", "Google", ""),
        ("https://fr.search.yahoo.com/search?p=chaussures", "search", "Yahoo!", "chaussures"),
        ("https://yandex.com.tr/search/?text=ayakkab%C4%B1", "search", "Yandex", "ayakkabı"),
        ("https://www.bing.com/search?q=a%26b", "search", "Bing", "a&b"),
        ("https://duckduckgo.com/", "search", "DuckDuckGo", ""),
        ("https://old.reddit.com/r/x", "social", "Reddit", ""),
        ("https://l.instagram.com/?u=x", "social", "Instagram", ""),
        ("https://de.pinterest.com/pin/1", "social", "Pinterest", ""),
        ("https://webmail.gmx.net/mail", "email", "GMX", ""),
        ("https://mail.zoho.eu/zm/", "email", "Zoho Mail", ""),
        ("https://mail.google.com/mail/u/0", "email", "Gmail", ""),
        ("https://googleads.g.doubleclick.net/aclk?x=1", "paid", "Google", ""),
        ("https://www.perplexity.ai/search/abc", "chatbot", "Perplexity.ai", ""),
        ("https://docs.google.com/document/d/1", "unknown", "", ""),
        ("https://www.orange.fr/portail", "unknown", "", ""),
        ("https://notgoogle.com/search?q=x", "unknown", "", ""),
        ("https://google.com.evil.example/search?q=x", "unknown", "", ""),
        ("https://blog.example/post", "unknown", "", ""),
        ("javascript:alert(1)", "unknown", "", ""),
        ("http://[::1", "unknown", "", ""),
        ("", "direct", "", ""),
    ],
)
def test_an_address(address: str, medium: str, source: str, term: str) -> None:
    assert read_referrer(address) == Referrer(medium, source, term)


def test_the_sites_own_pages_are_internal() -> None:
    assert read_referrer("https://www.shop.example/a", "shop.example").medium == "internal"
    assert read_referrer("https://pay.partner.example/", "shop.example", frozenset({"partner.example"})).medium == "internal"
    assert read_referrer("https://notpartner.example/", "shop.example", frozenset({"partner.example"})).medium == "unknown"


@given(st.text(max_size=300), st.text(max_size=30))
def test_no_text_breaks_the_reading(address: str, page_host: str) -> None:
    for text in (address, f"https://{address}", f"https://google.com/search?q={address}"):
        assert read_referrer(text, page_host).medium


def test_the_list_names_nothing_twice() -> None:
    assert all(place.source and host == host.lower() for host, place in PLACES.items())
