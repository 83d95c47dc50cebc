"""The programs that call themselves something: robots by kind, image proxies of mail hosts, mail clients.

A list of marks and names, nothing else. A mark is looked for in the lower-case user agent; `^` before it means at the beginning.
Must never hold a browser that a person looks through.
"""

from __future__ import annotations

from typing import Final

Mark = tuple[str, str]
"""(what is looked for, in lower case; the name it stands for)"""


def _marks(text: str) -> tuple[Mark, ...]:
    """`Name, mark = Name`: a name alone is its own mark."""
    found = []
    for entry in text.replace("\n", ",").split(","):
        mark, _, name = (part.strip() for part in entry.partition("="))
        if mark:
            found.append((mark.lower(), name or mark.removeprefix("^").rstrip("/")))
    return tuple(found)


IMAGE_PROXIES: Final = _marks("""
GoogleImageProxy = gmail, via ggpht.com = gmail, edge/12.246 mozilla/5.0 = gmail, YahooMailProxy = yahoo
YahooCacheSystem = yahoo, OutlookImageProxy = outlook, OutlookMobileCloudImageProxy = outlook, Outlook-ImageProxy = outlook
Microsoft-ImageProxy = outlook, SeznamEmailProxy = seznam, YandexImageResizer = yandex, YandexMailImageProxy = yandex
MailRuImageProxy = mail.ru, MRIEImageProxy = mail.ru, QQMailImageProxy = qq, NaverMailImageProxy = naver
NaverImageProxy = naver, ProtonMailImageProxy = proton, Proton-ImageProxy = proton, FastMailImageProxy = fastmail
FastMail Proxy = fastmail, UI-ImageProxy = gmx, GMXImageProxy = gmx, Zoho-ImageProxy = zoho, ZohoMailImageProxy = zoho
HEY-ImageProxy = hey, Superhuman-ImageProxy = superhuman, DuckDuckGo-EmailProxy = duckduckgo, libero-imageproxy = libero
""")
"""What fetches a mail's pictures for its reader; the machine loads them, not always because somebody looked."""

ANY_IMAGE_PROXY: Final = r"(?:image|img|mail|email)[ _-]?proxy|imageresizer"
"""An image proxy with no name of ours."""
NO_MAIL_PROXY: Final = r"slack-imgproxy|camo|discord|mattermost|imgproxy/"
"""Proxies of pictures that are not of mails."""

SCANNERS: Final = _marks("""
Barracuda, BarracudaCentral, Mimecast, Proofpoint, Symantec, MessageLabs, Norton-Safeweb, SafeLinks = Microsoft Safe Links
Microsoft-ATP = Microsoft Safe Links, OfficeAtp = Microsoft Safe Links, ms-office-safelinks = Microsoft Safe Links
IronPort = Cisco, Cisco-Umbrella = Cisco, Cisco-Talos = Cisco, TrendMicro, Trend Micro = TrendMicro, TMUFE = TrendMicro
FireEye, Trellix, Forcepoint, Websense, Sophos, FortiMail = Fortinet, FortiGuard = Fortinet, Fortinet, Avanan
Check Point = Check Point, CheckPoint = Check Point, Zscaler, Cloudmark, VadeSecure = Vade, Vade-Retro = Vade, Hornetsecurity
Retarus, SpamTitan, WebTitan, MailScanner, MailMarshal, Trustwave, GreatHorn, Ironscales, Egress Defend = Egress
Perception Point = Perception Point, PerceptionPoint = Perception Point, Abnormal Security, Darktrace, SpamAssassin, rspamd
Google-Safety, Google-PhishingProtection, SafeBrowsing, PhishTank, OpenPhish, Netcraft, NetcraftSurveyAgent, VirusTotal
URLScan, urlscan.io = URLScan, Hybrid-Analysis, JoeSandbox, ClamAV, Webroot, BrightCloud, PaloAlto = Palo Alto
Palo Alto Networks = Palo Alto, Expanse = Palo Alto, CheckPhish, LinkChecker, Link-Checker = LinkChecker, LinkValidator
W3C-checklink, Xenu Link Sleuth, SafeDNS, CleanBrowsing, ThreatSeeker
""")
"""Gateways and services that follow a link to see whether it is safe."""

MONITORS: Final = _marks("""
UptimeRobot, Pingdom, StatusCake, Site24x7, NewRelicPinger, NewRelicSynthetics, DatadogSynthetics, Datadog, Checkly
Better Uptime = Better Stack, BetterUptime = Better Stack, Better Stack, updown.io, Uptime-Kuma, UptimeKuma = Uptime-Kuma
Uptime.com, Catchpoint, Zabbix, check_http = Nagios, Nagios, Icinga, Blackbox Exporter = Prometheus
Blackbox-Exporter = Prometheus, Prometheus/, kube-probe, ELB-HealthChecker, GoogleHC, Amazon-Route53-Health-Check
GoogleStackdriverMonitoring, HetrixTools, Freshping, NodePing, Chrome-Lighthouse, Google Page Speed = PageSpeed, PageSpeed
PTST/ = WebPageTest, WebPageTest, GTmetrix, Yellow Lab Tools, SpeedCurve, Calibreapp, Montastic, OhDear, DynatraceSynthetic
Ruxit, Cronitor, Honeybadger, AlertSite, Dotcom-Monitor, DotcomMonitor = Dotcom-Monitor, Sematext, Pulsetic, Instatus
Hyperping, Uptimia, Monitis, AppDynamics, Elastic-Heartbeat, Grafana, k6/, HAProxy, Varnish, HealthCheck
Health-Check = HealthCheck, Sucuri, SolarWinds, Keynote, Cookiebot, OneTrust, Siteimprove, Sentry/, Wormly, WatchMouse
Binary Canary, ^Monit/, PRTG, Observium, Statuspage, Outages.io
""")

HEADLESS: Final = _marks("""
HeadlessChrome, HeadlessEdg, Headless Shell, HeadlessFirefox, PhantomJS, SlimerJS, CasperJS, TrifleJS, HtmlUnit, Zombie.js
jsdom, Puppeteer, Playwright, Selenium, WebDriver, Nightmare, Cypress, Splash/, Ghost.py, Browserless, Prerender, Rendertron
BrowserStack, SauceLabs, TestCafe, wkhtmltopdf, wkhtmltoimage, weasyprint, Ferrum, Cuprite, Lightpanda
""")
"""A browser that nobody looks through."""

PREVIEWS: Final = _marks("""
facebookexternalhit, facebookcatalog, Facebot, meta-externalfetcher, TelegramBot, Twitterbot, LinkedInBot, Slackbot
Slack-ImgProxy, Discordbot, SkypeUriPreview, MicrosoftPreview, BingPreview, Google-PageRenderer, Google-Read-Aloud
Google Web Preview, Google-StructuredData, ^WhatsApp/, Viber/URL, kakaotalk-scrap, Pinterestbot, redditbot, Embedly, Iframely
vkShare, Mastodon/, Bluesky Cardyb, Snap URL Preview = Snapchat, SnapchatAds, Zoombot, TweetmemeBot, Quora Link Preview
FlipboardProxy, OdklBot, XING-contenttabreceiver, Nuzzel, MetaInspector, Outbrain, Taboola, Yahoo Link Preview
Yahoo Ad monitoring, Synapse, Pleroma, Misskey, Akkoma, Lemmy/, BitlyBot, bitlybot, oEmbed, UnfurlerBot
""")
"""What makes a card of a link that somebody passed on."""

ASSISTANTS: Final = _marks("""
GPTBot, ChatGPT-User, OAI-SearchBot, ChatGPT Agent, ClaudeBot, Claude-User, Claude-SearchBot, Claude-Web, anthropic-ai
PerplexityBot, Perplexity-User, CCBot, Bytespider, TikTokSpider, Amazonbot, meta-externalagent, FacebookBot, Google-Extended
GoogleOther, Google-CloudVertexBot, GoogleAgent, Gemini-Deep-Research, cohere-ai, cohere-training, YouBot, Diffbot, Timpibot
ImagesiftBot, omgili, AI2Bot, Ai2Bot-Dolma, MistralAI-User, DeepSeekBot, DuckAssistBot, Kangaroo Bot, PanguBot, Webzio
ICC-Crawler, Applebot-Extended, Scrapy, FirecrawlAgent, iaskspider, img2dataset, VelenPublicWebCrawler, Andibot, PhindBot
QualifiedBot, Crawl4AI, xAI-, bedrockbot, NovaAct, SBIntuitionsBot, LinerBot, Poseidon Research
""")
"""What reads pages for a language model, for its training or for somebody who asked it."""

CRAWLERS: Final = _marks("""
Mediapartners-Google, AdsBot-Google, APIs-Google, FeedFetcher-Google, Google-InspectionTool, Google Favicon, DuplexWeb-Google
Googlebot-Image, Googlebot-News, Googlebot-Video, Storebot-Google, Google-Site-Verification, Google-Adwords, Googlebot
adidxbot, bingbot, msnbot, DuckDuckBot, DuckDuckGo-Favicons, YandexImages, YandexMobileBot, YandexMetrika, YandexBot
Yandex.com/bots, Baiduspider, 360Spider, HaoSouSpider, YisouSpider, PetalBot, AspiegelBot, Yahoo! Slurp, Slurp, Yeti/
NaverBot, Daumoa, SeznamBot, SeznamHomepageCrawler, Applebot, Qwantify, Qwantbot, Exabot, MojeekBot, BraveBot, Coccocbot
Mail.RU_Bot, SputnikBot, Swisscows, ia_archiver, archive.org_bot, heritrix, Wayback, Nutch, SemrushBot, AhrefsBot
AhrefsSiteAudit, MJ12bot, DotBot, rogerbot, BLEXBot, DataForSeoBot, SERanking, SEOkicks, Screaming Frog, Sitebulb, OnCrawl
DeepCrawl, Botify, JetOctopus, serpstatbot, SEMrush, Barkrowler, MegaIndex, linkdexbot, spbot, SiteAuditBot, ContentKing
seobilitybot, SeoScanners, Majestic-, CensysInspect, Shodan, zgrab, masscan, Nmap Scripting, Nikto, sqlmap, WPScan, Nuclei
Expanse, InternetMeasurement, NetSystemsResearch, LeakIX, Project25499, SecurityTrails, BitSightBot, SecurityScorecard
UpGuard, Detectify, Acunetix, Nessus, Qualys, OpenVAS, Bloglines, Feedbin, TheOldReader, MiniFeed, FreshRSS, Tiny Tiny RSS
FeedValidator, Feed43, SimplePie, UniversalFeedParser, Superfeedr, NewsGator, FeedBurner, Netvibes, BlogBridge
YahooFeedSeeker, W3C_Validator, W3C_CSS_Validator, Validator.nu, W3C-mobileOK, TurnitinBot, Copyscape, CopyRightCheck
Plagiarism, Lipperhey, Zoominfobot, Clearbit, BuiltWith, Wappalyzer, TTD-Content, IAS_crawler, ias-va, Proximic
GrapeshotCrawler, DoubleVerify, Moatbot, AdKernel, AmazonAdBot, peer39_crawler, PiplBot, Cincraw, trendiction, Meltwater
Brandwatch, Mention/, Talkwalker, Awario, BUbiNG, Genieo, Gigabot, Cliqzbot, Neevabot, PaperLiBot, Scoopit, HubSpot Crawler
Pardot, Marketo, MailChimp, Magpie-Crawler, niki-bot, Nimbostratus, ZumBot, TinEye, Vagabondo, Yacy, ZoomSpider, Teoma, Jeeves
Steeler, SurveyBot, Charlotte, ScoutJet, SearchmetricsBot, Spinn3r, Voyager/, ICCrawler, Ezooms, IstellaBot, ips-agent
panscient, wotbox, xovibot, OrangeBot, LivelapBot, DomainStatsBot, DomainTools
""")

TOOLS: Final = _marks("""
^curl/ = curl, libcurl, ^Wget = Wget, python-requests, Python-urllib, aiohttp, python-httpx, ^httpx, ^Python/ = Python, pycurl
Go-http-client, ^Go 1. = Go-http-client, ^Java/ = Java, Apache-HttpClient, Apache-HttpAsyncClient, Jakarta Commons
^okhttp/ = okhttp, ^axios = axios, node-fetch, undici, ^got = got, ^node = node, superagent, ^Deno/ = Deno, ^Bun/ = Bun
libwww-perl, LWP::, lwp-trivial, WWW-Mechanize, Mechanize, ^Ruby = Ruby, Faraday, Typhoeus, rest-client, HTTParty, ^http.rb
^PHP/ = PHP, GuzzleHttp, ^Guzzle, Symfony, PostmanRuntime, Insomnia, HTTPie, RestSharp, PowerShell, WinHttp
Microsoft URL Control, ^reqwest = reqwest, ^hyper/ = hyper, ^Dart/ = Dart, colly, Jersey/, Jetty/, ReactorNetty, Apache-CXF
^AHC/ = AHC, Snoopy, HTTrack, WebCopier, Teleport Pro, WebZIP, Offline Explorer, SiteSucker, WebReaper, ApacheBench, JMeter
vegeta, ^wrk = wrk, Siege, Locust, Gatling, ^fasthttp, Indy Library, EventMachine HttpClient, ^lua-resty = lua-resty
^Erlang = Erlang, hackney, ^Mojolicious, urlgrabber, ^Zend, HTTP_Request, ColdFusion, aria2, ^Lynx-batch, MSIECrawler
^Mozilla/4.0 (compatible; Win32; WinHttp, ^Java1. = Java, ^Bot = Bot
""")
"""Libraries and programs that ask by themselves."""

ROBOTS: Final[tuple[tuple[str, tuple[Mark, ...]], ...]] = (
    ("scanner", SCANNERS),
    ("headless", HEADLESS),
    ("monitor", MONITORS),
    ("assistant", ASSISTANTS),
    ("preview", PREVIEWS),
    ("crawler", CRAWLERS),
    ("tool", TOOLS),
)
"""Looked through in this order: what a thing is for counts before what it is made of."""

ANY_ROBOT: Final = (
    r"(?:bot|crawler|spider|archiver|scraper|fetcher|linkcheck(?:er)?|validator|indexer|harvester|slurp)\b"
    r"|\b(?:bot|crawler|spider|robot)[-_/;)]|\+https?://|\bcrawl(?:ing)?\b|\bfeed(?:parser|fetcher|reader)?/|uptime|monitoring"
)
"""A robot with no name of ours, as RE2 reads it in lower case."""
NO_ROBOT: Final = r"cubot|tabbot|x-bot pro|^whatsapp/.* device/"
"""Makes of phones that sound like one, and an application that a person holds."""

MAIL_CLIENTS: Final = _marks("""
Outlook-iOS = Outlook for iOS, Outlook-Android = Outlook for Android, Microsoft Outlook Mail for Mac = Outlook for Mac
MacOutlook = Outlook for Mac, Microsoft Outlook = Outlook, Microsoft Office Outlook = Outlook, MSOffice = Outlook
ms-office = Outlook, Windows-Live-Mail = Windows Live Mail, Windows Live Mail, Outlook-Express = Outlook Express
Outlook Express, microsoft.windowscommunicationsapps = Windows Mail, WindowsMail = Windows Mail, Windows Mail, Thunderbird
Betterbird, Postbox, Lotus-Notes = Lotus Notes, Lotus Notes, HCL Notes, Lightning/ = Thunderbird, eM Client
eMClient = eM Client, Mailbird, SamsungEmail = Samsung Email, Samsung Email, Evolution/, KMail, The Bat!, Zimbra
YahooMobileMail = Yahoo Mail app, Superhuman, Airmail, Spark/ = Spark, Readdle = Spark, CloudMagic = Newton
Newton Mail = Newton, Eudora, Sparrow/, Polymail, Canary Mail, BlueMail, K-9 Mail, FairEmail, Roundcube, Edison Mail
Mailspring, Claws Mail, Sylpheed, SeaMonkey-Mail, Barca/, IncrediMail, Foxmail, MailMate, Missive, ProtonMail = Proton Mail
Tutanota = Tuta, Fastmail, ^HEY/ = HEY, Aqua Mail = AquaMail, AquaMail, Nine/, TypeMail = TypeApp, TypeApp
^Email/ = Android Email, GmailAndroid = Gmail app, Geary, GyazMail, AppleMail = Apple Mail
""")
PROXY_CLIENTS: Final = {"gmail": "Gmail", "yahoo": "Yahoo Mail", "outlook": "Outlook", "apple_mpp": "Apple Mail"}
"""The mail client that stands behind a proxy."""
