"""Where visits come from: search engines, social networks, mail hosts, assistants and ad networks, by the hosts they send from.

A list of hosts and names, nothing else. `name.*` stands for a name under any country's domain or .com, .net, .org; `=` before it
for that host alone (with or without www), every other entry for the hosts below it too. Behind `?` are the query parameters that
hold what was searched for. Must never hold a host that sends visits of several kinds without a way to tell them apart.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SEARCH: Final = "search"
SOCIAL: Final = "social"
EMAIL: Final = "email"
CHATBOT: Final = "chatbot"
PAID: Final = "paid"


class Place(NamedTuple):
    """What a host is. terms: names of the query parameters that hold a search, the likeliest first."""

    medium: str
    source: str
    terms: tuple[str, ...] = ()


_SEARCH = """
Google: =google.* =encrypted.google.com =ipv4.google.com =ipv6.google.com com.google.android.googlequicksearchbox ? q query
Google Images: images.google.* ? q
Google News: news.google.* ? q
Google Scholar: scholar.google.* ? q
Google Shopping: shopping.google.* ? q
Google Video: video.google.* ? q
Bing: =bing.com cn.bing.com global.bing.com ? q
Yahoo!: search.yahoo.* search.yahoo.co.jp r.search.yahoo.com =yahoo.* ? p q
Yahoo! Images: images.search.yahoo.* image.search.yahoo.* image.search.yahoo.co.jp ? p q
DuckDuckGo: duckduckgo.com ? q
Yandex: =yandex.* =ya.ru ? text
Yandex Images: images.yandex.* ? text
Baidu: =baidu.* m.baidu.com ? wd word kw bs
Brave: search.brave.com ? q
Ecosia: ecosia.org ? q
Qwant: qwant.com ? q
Startpage: startpage.com ? query q
IXquick: ixquick.com ? query q
Swisscows: swisscows.com swisscows.ch ? query
Mojeek: mojeek.com ? q
Kagi: kagi.com ? q
Presearch: presearch.com presearch.org ? q
You.com: =you.com ? q
Metager: metager.org metager.de ? eingabe
Gibiru: gibiru.com ? q
Neeva: neeva.com ? q
Naver: search.naver.com m.search.naver.com =naver.com ? query
Daum: search.daum.net m.search.daum.net ? q
Nate: search.nate.com ? q
Sogou: sogou.com ? query keyword
360.cn: so.com ? q
Shenma: sm.cn ? q
Seznam: search.seznam.cz =seznam.cz ? q
Mail.ru: go.mail.ru ? q
Rambler: nova.rambler.ru ? query
Sputnik: sputnik.ru ? q
Meta.ua: =meta.ua ? q
Coccoc: coccoc.com ? query
AOL: search.aol.* aolsearch.aol.* aolsearch.com =aol.com ? q query
Ask: ask.com search-results.com ? q
Ask Toolbar: search.tb.ask.com ? searchfor q
MyWebSearch: search.mywebsearch.com ? searchfor
Dogpile: dogpile.com ? q
WebCrawler: webcrawler.com ? q
Metacrawler: metacrawler.com ? q
InfoSpace: infospace.com ? q
Info.com: =info.com ? q
Excite: search.excite.* ? q
Lycos: search.lycos.* =lycos.* ? q query
AltaVista: altavista.com ? q
Alltheweb: alltheweb.com ? q
HotBot: hotbot.com ? q query
Babylon: search.babylon.com searchassist.babylon.com ? q
Conduit: search.conduit.com ? q
Dalesearch: dalesearch.com ? q
Snap.do: search.snapdo.com snap.do ? q
Incredimail: search.incredimail.com ? q
Delta Search: delta-search.com ? q
PriceRunner: pricerunner.* ? q
Voila: voila.fr ? kw rdata q
Orange: lemoteur.orange.fr rws.search.ke.voila.fr ? kw q
Free: search.free.fr ? q qs
La Poste: recherche.laposte.net ? q
Virgilio: ricerca.virgilio.it ? qs
Libero: ricerca.libero.it ? qs query
Tiscali: search.tiscali.it ? q key
Arcor: search.arcor.de =arcor.de ? Keywords q
T-Online: suche.t-online.de ? q
Web.de: suche.web.de ? su q
GMX: suche.gmx.net suche.gmx.* search.gmx.* ? su q
1und1: suche.1und1.de ? su q
Mail.com: search.mail.com ? q
Fireball: fireball.de fireball.com ? q
Suchnase: suchnase.de ? q
Onet: szukaj.onet.pl ? qt q
WP: szukaj.wp.pl ? szukaj q
Interia: google.interia.pl ? q
Sapo: pesquisa.sapo.pt ? q
Terra: buscador.terra.com.br buscador.terra.es ? query
UOL: busca.uol.com.br ? q
Zapmeta: zapmeta.* ? q query
Walla: search.walla.co.il ? q
Goo: search.goo.ne.jp ? MT
Rakuten: websearch.rakuten.co.jp ? qt
Biglobe: search.biglobe.ne.jp cgi.search.biglobe.ne.jp ? q
Nifty: search.nifty.com ? q Text
Comcast: search.comcast.net ? q
Verizon: search.verizon.com ? q
CenturyLink: search.centurylink.com ? q origurl
EarthLink: search.earthlink.net ? q
Charter: search.charter.net ? q
WebSearch: websearch.com ? qkw q
MSN: search.msn.com search.live.com ? q
Ekoru: ekoru.org ? q
Lilo: search.lilo.org ? q
Oceanhero: oceanhero.today ? q
Gigablast: gigablast.com ? q
Exalead: exalead.com exalead.fr ? q
Yippy: yippy.com ? query
Marginalia: search.marginalia.nu ? query
SearXNG: searx.be searx.space ? q
"""
_SOCIAL = """
Facebook: facebook.com fb.me fb.com fb.watch facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion com.facebook.katana
Messenger: messenger.com m.me com.facebook.orca
Instagram: instagram.com com.instagram.android
Threads: threads.com threads.net
Workplace: workplace.com
Twitter: twitter.com t.co x.com com.twitter.android
Bluesky: bsky.app bsky.social
Mastodon: mastodon.social mastodon.online mastodon.world mas.to mstdn.social mstdn.jp fosstodon.org hachyderm.io infosec.exchange
LinkedIn: linkedin.com lnkd.in com.linkedin.android
Pinterest: pinterest.* pin.it com.pinterest
Reddit: reddit.com redd.it com.reddit.frontpage
Tumblr: tumblr.com t.umblr.com
YouTube: youtube.com youtu.be youtube-nocookie.com com.google.android.youtube
Vimeo: vimeo.com
Dailymotion: dailymotion.com
Twitch: twitch.tv
TikTok: tiktok.com
Douyin: douyin.com
Snapchat: snapchat.com
WhatsApp: whatsapp.com wa.me com.whatsapp
Telegram: telegram.org telegram.me t.me org.telegram.messenger
Discord: discord.com discordapp.com discord.gg
Slack: slack.com com.slack
Signal: signal.me
Viber: viber.com
Line: line.me
WeChat: wechat.com weixin.qq.com
Weibo: weibo.com weibo.cn t.cn
Qzone: qzone.qq.com
Zhihu: zhihu.com
Douban: douban.com
Bilibili: bilibili.com
Xiaohongshu: xiaohongshu.com xhslink.com
Renren: renren.com
Vkontakte: vk.com vkontakte.ru vk.ru vk.me
Odnoklassniki: odnoklassniki.ru ok.ru
My.mail.ru: my.mail.ru
LiveJournal: livejournal.com livejournal.ru
Habr: habr.com habrahabr.ru
XING: xing.com
Quora: quora.com
Stack Overflow: stackoverflow.com
Stack Exchange: stackexchange.com
GitHub: github.com
Hacker News: news.ycombinator.com
Lobsters: lobste.rs
Slashdot: slashdot.org
Digg: digg.com
Flipboard: flipboard.com
Pocket: getpocket.com
Medium: medium.com
Substack: substack.com
Flickr: flickr.com
Imgur: imgur.com
DeviantArt: deviantart.com
Behance: behance.net
Dribbble: dribbble.com
SoundCloud: soundcloud.com
Last.fm: last.fm lastfm.*
Goodreads: goodreads.com
Meetup: meetup.com
Nextdoor: nextdoor.com
Foursquare: foursquare.com
Yelp: yelp.*
TripAdvisor: tripadvisor.*
Myspace: myspace.com
Hi5: hi5.com
Tagged: tagged.com
Badoo: badoo.com
Taringa!: taringa.net
Mixi: mixi.jp
Hatena: hatena.ne.jp b.hatena.ne.jp
Skyrock: skyrock.com
Viadeo: viadeo.com
Plurk: plurk.com
Gab: gab.com
Truth Social: truthsocial.com
Parler: parler.com
MeWe: mewe.com
Minds: minds.com
Clubhouse: clubhouse.com joinclubhouse.com
Patreon: patreon.com
Linktree: linktr.ee
Lnk.Bio: lnk.bio
Beacons: beacons.ai
Product Hunt: producthunt.com
StumbleUpon: stumbleupon.com
Delicious: delicious.com
Google+: plus.google.com plus.url.google.com
Orkut: orkut.com
ShareChat: sharechat.com
Kakao: story.kakao.com
"""
_EMAIL = """
Gmail: mail.google.com inbox.google.com com.google.android.gm
Yahoo! Mail: mail.yahoo.* mail.yahoo.co.jp
Outlook.com: mail.live.com outlook.live.com hotmail.com hotmail.msn.com outlook.com
Microsoft 365: outlook.office.com outlook.office365.com outlook.cloud.microsoft safelinks.protection.outlook.com
iCloud Mail: =mail.icloud.com
AOL Mail: mail.aol.com webmail.aol.com mail.aol.*
Proton: mail.proton.me mail.protonmail.com protonmail.com
Tuta: mail.tutanota.com app.tuta.com app.tutanota.com
Fastmail: =fastmail.com app.fastmail.com beta.fastmail.com
HEY: app.hey.com
Zoho Mail: mail.zoho.*
Mail.ru: e.mail.ru touch.mail.ru
Yandex Mail: mail.yandex.*
Rambler Mail: mail.rambler.ru
Ukr.net: mail.ukr.net
Seznam Email: email.seznam.cz
Naver Mail: mail.naver.com m.mail.naver.com
Daum Mail: mail.daum.net
QQ Mail: mail.qq.com exmail.qq.com wx.mail.qq.com
126 Mail: mail.126.com
163 Mail: mail.163.com
Sina Mail: mail.sina.com.cn
Rediffmail: mail.rediff.com f5mail.rediff.com
Infomaniak: mail.infomaniak.com mail.infomaniak.ch
UPC: upcmail.hispeed.ch
Mailbox.org: office.mailbox.org
Posteo: posteo.de
Superhuman: mail.superhuman.com
Missive: mail.missiveapp.com
Front: app.frontapp.com
"""
_CHATBOT = """
ChatGPT: chatgpt.com chat.openai.com com.openai.chatgpt
Claude.ai: claude.ai com.anthropic.claude
Google Gemini: gemini.google.com bard.google.com
Microsoft Copilot: copilot.microsoft.com copilot.cloud.microsoft m365.cloud.microsoft
META.ai: =meta.ai
Mistral.ai: chat.mistral.ai
Perplexity.ai: perplexity.ai ai.perplexity.app.android
Poe: =poe.com
Character.AI: character.ai
DeepSeek: chat.deepseek.com
Grok: grok.com
Qwen: chat.qwen.ai tongyi.aliyun.com
Kimi: kimi.com kimi.moonshot.cn
Doubao: doubao.com
Ernie: yiyan.baidu.com
Duck.ai: duck.ai
Phind: phind.com
Pi: =pi.ai
NotebookLM: notebooklm.google.com
Lumo: lumo.proton.me
Cohere: coral.cohere.com
Groq: chat.groq.com
"""
_PAID = """
Google: doubleclick.net googlesyndication.com googleadservices.com adsensecustomsearchads.com syndicatedsearch.goog
Microsoft: bat.bing.com adnxs.com
Amazon: amazon-adsystem.com
Meta: an.facebook.com
Criteo: criteo.com criteo.net
Taboola: taboola.com
Outbrain: outbrain.com paid.outbrain.com
AdRoll: adroll.com
The Trade Desk: adsrvr.org
Rubicon: rubiconproject.com
PubMatic: pubmatic.com
OpenX: openx.net
Index Exchange: casalemedia.com
Adform: adform.net
Yandex: an.yandex.ru yabs.yandex.ru
Awin: awin1.com zenaid.com
CJ: anrdoezrs.net dpbolvw.net jdoqocy.com kqzyfj.com tkqlhce.com
Rakuten Advertising: click.linksynergy.com
Tradedoubler: clk.tradedoubler.com
ShareASale: shareasale.com
Impact: impactradius.com
Quantcast: quantserve.com
Teads: teads.tv
Zemanta: zemanta.com
RevContent: revcontent.com
MGID: mgid.com
"""

MAIL_PROVIDERS: Final = {
    "gmx.*": "GMX", "web.de": "Web.de", "1und1.*": "1und1", "1and1.*": "1und1", "ionos.*": "Ionos", "mail.com": "Mail.com",
    "bluewin.ch": "Bluewin", "orange.*": "Orange Webmail", "t-online.de": "T-online", "tim.it": "TIM", "alice.it": "TIM",
    "vodafone.*": "Vodafone", "arcor.de": "Vodafone", "freenet.de": "Freenet", "libero.it": "Libero",
    "virgilio.it": "Virgilio", "tiscali.it": "Tiscali", "aruba.it": "Aruba", "free.fr": "Free", "sfr.fr": "SFR",
    "laposte.net": "La Poste", "bbox.fr": "Bouygues", "numericable.fr": "SFR", "ovh.net": "OVH", "gandi.net": "Gandi",
    "strato.de": "Strato", "hosteurope.de": "Host Europe", "one.com": "One.com", "telenet.be": "Telenet",
    "skynet.be": "Proximus", "proximus.be": "Proximus", "kpnmail.nl": "KPN", "ziggo.nl": "Ziggo", "xs4all.nl": "XS4ALL",
    "sunrise.ch": "Sunrise", "upc.ch": "UPC", "hispeed.ch": "UPC", "a1.net": "A1", "magenta.at": "Magenta",
    "comcast.net": "Comcast", "xfinity.com": "Comcast", "cox.net": "Cox", "att.net": "AT&T", "verizon.net": "Verizon",
    "charter.net": "Spectrum", "spectrum.net": "Spectrum", "earthlink.net": "EarthLink", "centurylink.net": "CenturyLink",
    "optonline.net": "Optimum", "shaw.ca": "Shaw", "rogers.com": "Rogers", "bell.net": "Bell", "videotron.com": "Videotron",
    "bigpond.com": "Bigpond", "optuszoo.com.au": "Optus", "iinet.net.au": "iiNet", "xtra.co.nz": "Xtra",
    "btinternet.com": "BT", "bt.com": "BT", "virginmedia.com": "Virgin Media", "talktalk.co.uk": "TalkTalk",
    "sky.com": "Sky", "uol.com.br": "UOL", "bol.com.br": "BOL", "terra.com.br": "Terra", "ig.com.br": "iG",
    "locaweb.com.br": "Locaweb", "onet.pl": "Onet", "wp.pl": "WP", "o2.pl": "O2", "interia.pl": "Interia",
    "centrum.cz": "Centrum", "volny.cz": "Volny", "telia.com": "Telia", "telenor.no": "Telenor", "online.no": "Telenor",
    "tdc.dk": "TDC", "sapo.pt": "Sapo", "telefonica.net": "Movistar", "movistar.es": "Movistar", "ono.com": "Vodafone",
    "freemail.hu": "Freemail", "abv.bg": "ABV", "nifty.com": "Nifty", "godaddy.com": "GoDaddy",
    "secureserver.net": "GoDaddy", "rackspace.com": "Rackspace", "infomaniak.com": "Infomaniak", "proton.me": "Proton",
    "yandex.*": "Yandex Mail", "rediff.com": "Rediffmail",
}  # fmt: skip
"""Providers that are more than mail: their visits are of mail where the host below them says so (`MAIL_LABELS`)."""
MAIL_LABELS: Final = (
    r"^(?:[a-z0-9]{0,3}|light|rich-?|up?c?)mail|^e?-?mail|mail(?:er)?\d*$|^messag|^3c(?:$|-)|^rich-v|^navigator-|^owa\d*$"
)

PATHS: Final = {
    ("google.*", "/imgres"): Place(SEARCH, "Google Images", ("q", "query")),
    ("google.*", "/maps"): Place("", ""),
    ("bing.com", "/images"): Place(SEARCH, "Bing Images", ("q",)),
    ("bing.com", "/news"): Place(SEARCH, "Bing News", ("q",)),
    ("bing.com", "/videos"): Place(SEARCH, "Bing Videos", ("q",)),
    ("bing.com", "/chat"): Place(CHATBOT, "Microsoft Copilot"),
    ("yandex.*", "/images"): Place(SEARCH, "Yandex Images", ("text",)),
    ("huggingface.co", "/chat"): Place(CHATBOT, "HuggingChat"),
}
"""Hosts of several kinds whose path tells which: (host without www, beginning of the path)."""


def _places(medium: str, text: str) -> dict[str, Place]:
    found = {}
    for line in text.strip().splitlines():
        name, _, rest = line.partition(": ")
        hosts, _, terms = rest.partition("?")
        for host in hosts.split():
            if "/" not in host:
                found[host] = Place(medium, name, tuple(terms.split()))
    return found


PLACES: Final = {
    **_places(PAID, _PAID),
    **_places(SEARCH, _SEARCH),
    **_places(SOCIAL, _SOCIAL),
    **_places(EMAIL, _EMAIL),
    **_places(CHATBOT, _CHATBOT),
}
