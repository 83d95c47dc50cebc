"""What a user agent says: browser, operating system, device, and whether a machine asked on nobody's behalf.

Owns the reading of one text, with a bounded memory of those read before. Browser, system and device families come from the open
rules that `ua-parser` compiles (linear in time, so a hostile text costs no more than its length); robots, image proxies and mail
clients from `agents`. Knows no call and no event: web hits and e-mail opens are read alike. Must never raise on any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from reflexarc_server.enrichment import agents

TEXT_LENGTH_MAX: Final = 1_024
"""Characters that are looked at; a browser says what it is in 400."""
REMEMBERED_MAX: Final = 8_192
"""Texts whose reading is remembered, of whoever was seen last: some megabytes."""

MOBILE: Final = "mobile"
TABLET: Final = "tablet"
DESKTOP: Final = "desktop"
TV: Final = "tv"
CONSOLE: Final = "console"
WEARABLE: Final = "wearable"
BOT: Final = "bot"
UNKNOWN: Final = ""
DEVICE_CLASSES: Final = (MOBILE, TABLET, DESKTOP, TV, CONSOLE, WEARABLE, BOT)

APPLE_MPP: Final = "apple_mpp"
OTHER: Final = "other"
PROXY: Final = "proxy"
CLIENT: Final = "client"


@dataclass(frozen=True, slots=True)
class UserAgent:
    """Each field empty where the text does not say.

    browser, os, device: families as the open rules name them (`Mobile Safari`, `iOS`, `iPhone`). browser_version, os_version:
    dotted. device_class: one of DEVICE_CLASSES; empty for a proxy, whose machine is not the reader's. bot: the robot's name;
    bot_kind: scanner, headless, monitor, assistant, preview, crawler, tool or other. proxy: the image proxy that loaded a mail's
    pictures: gmail, yahoo, outlook, apple_mpp, ... or other. mail_client: the program that showed a mail.
    """

    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    device: str = ""
    device_class: str = UNKNOWN
    bot: str = ""
    proxy: str = ""
    mail_client: str = ""
    bot_kind: str = ""

    @property
    def is_machine(self) -> bool:
        """Whether this request alone is no sign that a person looked."""
        return bool(self.bot or self.proxy)


NOBODY: Final = UserAgent()


def read_user_agent(text: str) -> UserAgent:
    """Read a `User-Agent` header's text; an empty one says nothing. Remembered, so the same text costs a look-up."""
    if not text:
        return NOBODY
    if len(text) > TEXT_LENGTH_MAX:
        text = text[:TEXT_LENGTH_MAX]
    return _read(text)


@lru_cache(maxsize=REMEMBERED_MAX)
def _read(text: str) -> UserAgent:
    # What is no text (a lone surrogate) cannot be handed to the compiled rules.
    text = text.encode("utf-8", "replace").decode("utf-8")
    found = _rules().parse(text)
    browser, system, device = found.user_agent, found.os, found.device
    lower = text.lower()
    marks = _marks().in_text(lower)
    proxy = _proxy(lower, marks)
    is_spider = device is not None and device.family == "Spider"
    bot, bot_kind = ("", "") if proxy else _robot(lower, marks, is_spider, browser.family if browser else "")
    os_family = system.family if system else ""
    family = device.family if device else ""
    return UserAgent(
        browser=browser.family if browser else "",
        browser_version=_dotted(browser.major, browser.minor, browser.patch) if browser else "",
        os=os_family,
        os_version=_dotted(system.major, system.minor, system.patch, system.patch_minor) if system else "",
        device="" if is_spider else family,
        device_class=BOT if bot else UNKNOWN if proxy else _device_class(lower, os_family, family),
        bot=bot,
        proxy=proxy,
        mail_client=agents.PROXY_CLIENTS.get(proxy) or _mail_client(lower, marks),
        bot_kind=bot_kind,
    )


class _Marks:
    """Every mark of `agents`, looked for in one pass over a text."""

    def __init__(self) -> None:
        import re2

        robots = [(kind, mark, name) for kind, marks in agents.ROBOTS for mark, name in marks]
        proxies = [(PROXY, mark, name) for mark, name in agents.IMAGE_PROXIES]
        clients = [(CLIENT, mark, name) for mark, name in agents.MAIL_CLIENTS]
        self._names = [(kind, name) for kind, _, name in (*proxies, *robots, *clients)]
        self._set = re2.Set.SearchSet()
        for _, mark, _ in (*proxies, *robots, *clients):
            start = "^" if mark.startswith("^") else ""
            self._set.Add(start + re2.escape(mark.removeprefix("^")))
        self._set.Compile()
        self.any_robot = re2.compile(agents.ANY_ROBOT)
        self.no_robot = re2.compile(agents.NO_ROBOT)
        self.any_proxy = re2.compile(agents.ANY_IMAGE_PROXY)
        self.no_mail_proxy = re2.compile(agents.NO_MAIL_PROXY)

    def in_text(self, lower: str) -> dict[str, str]:
        """Kind -> the first name of the list that stands in a lower-case text, kinds in the order of the lists."""
        found: dict[str, str] = {}
        for number in sorted(self._set.Match(lower) or ()):
            found.setdefault(*self._names[number])
        return found


@lru_cache(maxsize=1)
def _marks() -> _Marks:
    return _Marks()


@lru_cache(maxsize=1)
def _rules() -> Any:
    # Loaded by the first who asks: 20 ms and some megabytes that a server without an open side never needs.
    from ua_parser import Parser
    from ua_parser.loaders import load_builtins
    from ua_parser.regex import Resolver

    return Parser(Resolver(load_builtins()))


def _dotted(*parts: str | None) -> str:
    """The parts up to the first that is missing."""
    known: list[str] = []
    for part in parts:
        if not part:
            break
        known.append(part)
    return ".".join(known)


def _proxy(lower: str, marks: dict[str, str]) -> str:
    if PROXY in marks:
        return marks[PROXY]
    if lower == "mozilla/5.0":
        return APPLE_MPP  # all that Apple's relay says of itself
    patterns = _marks()
    if patterns.any_proxy.search(lower) and not patterns.no_mail_proxy.search(lower):
        return OTHER
    return ""


def _robot(lower: str, marks: dict[str, str], is_spider: bool, browser: str) -> tuple[str, str]:
    patterns = _marks()
    if patterns.no_robot.search(lower):
        return "", ""
    for kind, name in marks.items():
        if kind not in (PROXY, CLIENT):
            return name, kind
    found = patterns.any_robot.search(lower)
    if found is None:
        return (browser or OTHER, OTHER) if is_spider else ("", "")
    return _name_around(lower, found.start(), found.end()) or browser or OTHER, OTHER


def _name_around(lower: str, start: int, end: int) -> str:
    """The word that ends where a mark ends: what the robot calls itself. Empty when the mark is no part of a name."""
    if not lower[start].isalpha() or lower[end - 1] not in _LETTERS:
        return ""
    while start and lower[start - 1] in _NAME:
        start -= 1
    return lower[start:end]


def _mail_client(lower: str, marks: dict[str, str]) -> str:
    if CLIENT in marks:
        return marks[CLIENT]
    if lower.endswith("(khtml, like gecko)") and "macintosh" in lower:
        return "Apple Mail"  # the web view alone: a browser would go on with its own name
    if lower.startswith(("mozilla/5.0 (iphone;", "mozilla/5.0 (ipad;")) and _IOS_VIEW_END.search(lower):
        return "Apple Mail"
    return ""


_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME: Final = _LETTERS | frozenset("0123456789._-")

_IOS_VIEW_END: Final = re.compile(r"\(khtml, like gecko\) mobile/\w+$")

_CLASS_BY_SYSTEM: Final = {
    "iOS": MOBILE, "Windows Phone": MOBILE, "Windows Mobile": MOBILE, "BlackBerry OS": MOBILE, "Symbian OS": MOBILE,
    "KaiOS": MOBILE, "Symbian^3": MOBILE, "Symbian^3 Anna": MOBILE, "Symbian^3 Belle": MOBILE, "Nokia Series 40": MOBILE,
    "Nokia Series 60": MOBILE, "Nokia Series 30 Plus": MOBILE, "Bada": MOBILE, "MeeGo": MOBILE, "Maemo": MOBILE,
    "Firefox OS": MOBILE, "Brew MP": MOBILE, "BREW": MOBILE, "webOS": MOBILE, "HarmonyOS": MOBILE,
    "BlackBerry Tablet OS": TABLET, "tvOS": TV, "ATV OS X": TV, "Roku": TV, "Google TV": TV, "Chromecast": TV,
    "FireTV": TV, "WatchOS": WEARABLE, "Mac OS X": DESKTOP, "Mac OS": DESKTOP, "Windows": DESKTOP, "Chrome OS": DESKTOP,
    "Linux": DESKTOP, "Ubuntu": DESKTOP, "Fedora": DESKTOP, "Debian": DESKTOP, "FreeBSD": DESKTOP, "OpenBSD": DESKTOP,
    "NetBSD": DESKTOP, "Solaris": DESKTOP, "Gentoo": DESKTOP, "Red Hat": DESKTOP, "SUSE": DESKTOP,
}  # fmt: skip
_TV: Final = (
    "smart-tv", "smarttv", "smart tv", "hbbtv", "googletv", "google tv", "android tv", "androidtv", "appletv",
    "apple tv", "bravia", "netcast", "inettv", "crkey", "roku", "web0s", "aftb", "aftt", "aftm", "afts", "fire tv",
    "viera", "aquos", "dlnadoc", "nettv", "opera tv", "tv safari", "ce-html", "mibox", "shield android",
)  # fmt: skip
_WINDOWS_PHONES: Final = ("windows ce", "windows phone", "windows mobile", "iemobile", "(windows; u; wds")
_CONSOLE: Final = ("playstation", "xbox", "nintendo", "psp (", "ps vita")
_TABLET: Final = (
    "ipad", "tablet;", "tablet ", "playbook", "kindle", "silk/", "nexus 7", "nexus 9", "nexus 10", "galaxy tab", "sm-t",
    "sm-x", "gt-p", "xoom", "mi pad", "mediapad", "matepad", "transformer", "lenovo tab", "pixel tablet", "pixel c",
)  # fmt: skip
_MOBILE: Final = (
    "iphone", "ipod", "mobile", "mobi/", "phone", "opera mini", "midp", "blackberry", "symbian", "wap", "j2me", "palm",
)  # fmt: skip


def _device_class(lower: str, system: str, device: str) -> str:
    if "watch" in device.lower() or "watchos" in lower or "wear os" in lower:
        return WEARABLE
    if any(mark in lower for mark in _WINDOWS_PHONES):
        return MOBILE
    if any(mark in lower for mark in _CONSOLE):
        return CONSOLE
    if any(mark in lower for mark in _TV):
        return TV
    if device in ("iPad", "iPhone", "iPod"):
        return TABLET if device == "iPad" else MOBILE  # said by the model alone, where a browser pretends to be a desktop's
    is_windows = system == "Windows"  # `Tablet PC` stands in the text of any desktop with a pen driver
    if not is_windows and any(mark in lower for mark in _TABLET):
        return TABLET
    if "android" in lower:
        return MOBILE if "mobile" in lower or "phone" in lower or "mozilla" not in lower else TABLET
    if not is_windows and any(mark in lower for mark in _MOBILE):
        return MOBILE
    known = _CLASS_BY_SYSTEM.get(system, UNKNOWN)
    # The open rules name few things that are no phone and have no system: a make and a model alone is an old phone.
    return known or {"": UNKNOWN, "Other": UNKNOWN, "Mac": DESKTOP}.get(device, MOBILE)
