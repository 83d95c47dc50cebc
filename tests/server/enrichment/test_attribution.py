"""Attribution as another pipeline sees it: its expected page views, column by column.

Compared: host and path of the page, the five campaign columns, the click id and its network: 43 of 43 rows agree in each.
Not compared: `refr_medium` is empty in every row of the set, and its user agents were overwritten after they were read.
"""

import csv
from pathlib import Path

from reflexarc_build.reader import build_text
from reflexarc_core.event import Event
from reflexarc_server.enrichment.enriching import WebCall, enrich
from reflexarc_server.enrichment.rules import Rules

COLUMNS = {
    "page_host": "page_urlhost",
    "page_path": "page_urlpath",
    "utm_source": "mkt_source",
    "utm_medium": "mkt_medium",
    "utm_campaign": "mkt_campaign",
    "utm_term": "mkt_term",
    "utm_content": "mkt_content",
    "click_id": "mkt_clickid",
    "click_source": "mkt_network",
}


def test_expected_page_views_agree(real_sets: Path) -> None:
    with (real_sets / "web_events_snowplow" / "snowplow_web_page_views_expected.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    catalog = build_text("include: standard\nversion: t\n")
    agree = dict.fromkeys(COLUMNS, 0)
    for row in rows:
        event = Event(
            row["page_view_id"], "page_view", "anonymous:a", 0, {"page_url": row["page_url"], "referrer": row["page_referrer"]}
        )
        found = enrich(event, WebCall(row["useragent"]), Rules(), catalog).properties
        for name, column in COLUMNS.items():
            agree[name] += str(found.get(name, "")).lower() == row[column].lower()
        if row["refr_urlhost"] == "www.google.co.uk":
            assert (found["referrer_medium"], found["referrer_source"]) == ("search", "Google")
    assert len(rows) == 43 and agree == dict.fromkeys(COLUMNS, 43)
