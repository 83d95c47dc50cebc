"""What the address of a page says of the campaign that led to it: UTM parameters and the click ids of ad networks.

Owns the names of those parameters. Must never raise on any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

UTM: Final = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
CLICK_IDS: Final = {
    "gclid": "google", "gbraid": "google", "wbraid": "google", "dclid": "google", "msclkid": "microsoft", "fbclid": "meta",
    "igshid": "meta", "ttclid": "tiktok", "twclid": "x", "li_fat_id": "linkedin", "epik": "pinterest", "rdt_cid": "reddit",
    "ScCid": "snapchat", "yclid": "yandex", "ysclid": "yandex", "awc": "awin", "irclickid": "impact", "cjevent": "cj",
    "tblci": "taboola", "obclid": "outbrain", "qclid": "quora", "mc_eid": "mailchimp", "_kx": "klaviyo",
}  # fmt: skip
"""Parameter -> who puts it there."""
VALUE_LENGTH_MAX: Final = 512
_PARAMETERS_MAX: Final = 256


def parameters_of(query: str) -> dict[str, str]:
    """The first value of each parameter, decoded as UTF-8, `+` as a space; nothing of a text that is no query."""
    if not query:
        return {}
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, max_num_fields=_PARAMETERS_MAX)
    except ValueError:
        return {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def campaign_of(parameters: Mapping[str, str]) -> dict[str, str]:
    """`utm_…`, and `click_id` with its `click_source`, of a page's parameters; what is not there is left out."""
    said = {name: parameters[name][:VALUE_LENGTH_MAX] for name in UTM if parameters.get(name)}
    for name, source in CLICK_IDS.items():
        if parameters.get(name):
            said["click_id"], said["click_source"] = parameters[name][:VALUE_LENGTH_MAX], source
            break
    return said
