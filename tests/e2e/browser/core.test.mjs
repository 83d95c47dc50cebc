// The first bundle in real Chromium: page views and their time, what is captured, delivery, consent.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { page, startBrowser, startIntake, startSite, until } from "./stand.mjs";

let browser, intake, site, context, tab;
const pages = {};
const problems = [];

before(async () => { browser = await startBrowser(); });
after(() => browser.close());
beforeEach(async () => {
  intake = await startIntake();
  site = await startSite(pages);
  context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  tab = await context.newPage();
  tab.on("pageerror", (error) => problems.push(error));
});
afterEach(async () => {
  await context.close();
  intake.close();
  site.close();
  assert.deepEqual(problems.splice(0), []);
});
const open = async (body, attributes, head, path = "/a", query = "") => {
  pages[path] = page(intake, body, attributes, head);
  await tab.goto(site.url + path + query);
};
const wait = (ms) => tab.waitForTimeout(ms);
const stored = () => tab.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("reflexarc.queue")).length);

test("a page view has its url, title, referrer and campaign, a session and the moment's context", async () => {
  await open("", "", '<meta name="reflexarc:content-id" content="x">', "/a", "?utm_source=mail&utm_campaign=spring#part");
  const [view] = await until(() => intake.of("page_view").length && intake.of("page_view"));
  assert.equal(view.properties.page_url, site.url + "/a?utm_source=mail&utm_campaign=spring");
  assert.equal(view.properties.title, "A page");
  assert.equal(view.properties.utm_source, "mail");
  assert.equal(view.properties.utm_campaign, "spring");
  assert.equal(view.context.session_step, 1);
  assert.equal(view.context.device_class, "desktop");
  assert.match(view.context.session_id, /^[0-9a-f]{16}$/);
  assert.equal(intake.of("session").length, 1);
  assert.ok(Math.abs(view.time - Date.now()) < 5_000);
});

test("time on page of a closed tab arrives, right within 250 ms, and the page was counted once", async () => {
  await open("hello");
  await until(() => intake.of("page_view").length);
  await wait(900);
  const spent = await tab.evaluate(() => performance.now() - performance.getEntriesByType("navigation")[0].responseStart);
  await tab.close({ runBeforeUnload: true });
  const [left] = await until(() => intake.of("page_leave").length && intake.of("page_leave"));
  assert.ok(Math.abs(left.properties.time_on_page * 1000 - spent) < 250, `${left.properties.time_on_page} beside ${spent}`);
  assert.equal(intake.of("page_view").length, 1);
  tab = await context.newPage();
});

test("routes of an application are pages, each with the time it was seen and the one before as referrer", async () => {
  await open("<button id=go>go</button>");
  await until(() => intake.of("page_view").length);
  await tab.evaluate(() => { history.pushState({}, "", "/b"); document.title = "B"; });
  await until(() => intake.of("page_view").length === 2);
  await tab.evaluate(() => { history.replaceState({}, "", "/b#part"); });
  await tab.evaluate(() => { history.back(); });
  await until(() => intake.of("page_view").length === 3);
  const [, b, back] = intake.of("page_view");
  assert.equal(b.properties.title, "B");
  assert.equal(b.properties.referrer, site.url + "/a");
  assert.equal(back.properties.page_url, site.url + "/a");
  await until(() => intake.of("page_leave").length === 2);
  assert.deepEqual(intake.of("page_leave").map(({ properties }) => properties.page_url), [site.url + "/a", site.url + "/b"]);
});

test("calls to action and downloads are captured with their place, nothing is that says so", async () => {
  await open(`<nav><a href="/x?a=1#t">First</a></nav><section data-section="hero" data-category="shoes">
    <button>One</button><button data-cta="buy">Two</button><a id=file href="/price.pdf" onclick="return false">Prices</a>
    <button id=no data-ignore>No</button></section>`);
  await tab.click("#no");
  await tab.click("[data-cta]");
  await tab.click("#file");
  await until(() => intake.of("button_click").length === 2);
  const [cta, file] = intake.of("button_click").map(({ properties }) => properties);
  assert.deepEqual([cta.kind, cta.label, cta.section, cta.position, cta.category], ["cta", "buy", "hero", 2, "shoes"]);
  assert.deepEqual([file.kind, file.target], ["download", site.url + "/price.pdf"]);
});

test("offline nothing is lost: what was done arrives once when the network is back", async () => {
  await open("<button>b</button>");
  await until(() => intake.of("page_view").length);
  await context.setOffline(true);
  for (let count = 0; count < 5; count++) await tab.evaluate((n) => window.reflexarc.track("product_interaction", { kind: "view", product_id: "p" + n }), count);
  await wait(300);
  assert.equal(intake.of("product_interaction").length, 0);
  assert.equal(await stored(), 1);
  await context.setOffline(false);
  await until(() => intake.of("product_interaction").length === 5);
  assert.deepEqual(intake.of("product_interaction").map(({ properties }) => properties.product_id), ["p0", "p1", "p2", "p3", "p4"]);
  await until(async () => (await stored()) === 0);
});

test("what a tab left behind while offline the next page sends, in its own time", async () => {
  await open("");
  await until(() => intake.of("page_view").length);
  intake.status = 503;
  await tab.evaluate(() => window.reflexarc.track("purchase", { order_id: "o1" }));
  await wait(300);
  const done = Date.now();
  await tab.goto("about:blank");
  intake.status = 200;
  await open("", "", "", "/c");
  const [purchase] = await until(() => intake.of("purchase").length && intake.of("purchase"));
  assert.ok(purchase.time < done);
  assert.equal(intake.of("purchase").length, 1);
});

test("two tabs send each event once", async () => {
  await open("");
  const second = await context.newPage();
  await second.goto(site.url + "/a");
  await until(() => intake.of("page_view").length === 2);
  intake.status = 503;
  await tab.evaluate(() => window.reflexarc.track("purchase", { order_id: "one" }));
  await second.evaluate(() => window.reflexarc.track("purchase", { order_id: "two" }));
  await wait(200);
  const third = await context.newPage(); // it sees what waits in the others, which are alive
  await third.goto(site.url + "/a");
  await wait(200);
  intake.status = 200;
  for (const each of [tab, second, third]) await each.evaluate(() => dispatchEvent(new Event("online")));
  await until(() => intake.of("purchase").length === 2 && intake.of("page_view").length === 3, "both");
  await wait(300);
  assert.equal(intake.duplicates, 0);
  assert.equal(intake.of("session").length, 1);
  assert.equal(new Set(intake.events.map(({ who }) => who)).size, 1);
});

test("consent that is required and not given: no request, nothing kept; given, then taken back", async () => {
  await open("<button>b</button><form data-form=f><input name=n></form>", 'data-consent="required"');
  await tab.click("button");
  await tab.evaluate(() => window.reflexarc.track("purchase", {}));
  await wait(500);
  assert.deepEqual(intake.requests.filter((line) => line !== "GET /sdk/reflexarc.js"), []);
  assert.deepEqual(await tab.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);
  await tab.evaluate(() => window.reflexarc.consent({ analytics: false }));
  await wait(200);
  assert.equal(await tab.evaluate(() => localStorage.length), 0);
  await tab.evaluate(() => window.reflexarc.consent({ analytics: true, marketing: false }));
  await until(() => intake.of("page_view").length && intake.of("consent").length === 2);
  assert.equal(intake.of("purchase").length, 0);
  await tab.evaluate(() => window.reflexarc.consent({ analytics: false }));
  await until(() => intake.of("consent").length === 3);
  assert.equal(await tab.evaluate(() => localStorage.length), 0);
  const count = intake.requests.length;
  await tab.click("button");
  await wait(300);
  assert.equal(intake.requests.length, count);
});

test("a browser that asks not to be followed is not", async () => {
  await context.addInitScript(() => Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { value: true }));
  await open("");
  await wait(400);
  assert.deepEqual(intake.requests, ["GET /sdk/reflexarc.js"]);
  assert.equal(await tab.evaluate(() => localStorage.length), 0);
});

test("blocked storage: everything goes on, from memory", async () => {
  await context.addInitScript(() => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("no", "SecurityError"); } }));
  await open("<button>b</button>");
  await tab.click("button");
  await until(() => intake.of("button_click").length === 1 && intake.of("page_view").length === 1);
  assert.equal(new Set(intake.events.map(({ who }) => who)).size, 1);
});

test("a page back from the bfcache is seen anew and holds what it left", async () => {
  await open("<a href=/z>z</a>");
  pages["/z"] = "<!doctype html><title>z</title>";
  await until(() => intake.of("page_view").length);
  await tab.evaluate(() => { window.mark = 1; addEventListener("pageshow", (event) => { window.restored = event.persisted; }); });
  await tab.goto(site.url + "/z");
  await tab.goBack({ waitUntil: "commit" });
  await until(() => tab.evaluate(() => window.restored).catch(() => false), "restored from the bfcache");
  await until(() => intake.of("page_view").length === 2);
});

test("an older browser's routes are followed through its history, which goes on as it was", async () => {
  await context.addInitScript(() => { delete window.navigation; });
  await open("");
  await until(() => intake.of("page_view").length);
  assert.equal(await tab.evaluate(() => { history.pushState({ n: 1 }, "", "/b"); return history.state.n; }), 1);
  await until(() => intake.of("page_view").length === 2);
  await tab.goBack();
  await until(() => intake.of("page_view").length === 3);
  assert.ok(await tab.evaluate(() => { try { history.pushState({}, "", "https://elsewhere.example/"); } catch (error) { return error.name === "SecurityError"; } }));
});

test("a page that is left for another is left once, however long sending takes", async () => {
  await open("");
  await until(() => intake.of("page_view").length);
  await tab.evaluate(() => {
    const { stringify } = JSON;
    JSON.stringify = (...given) => { const until = performance.now() + 5; while (performance.now() < until); return stringify(...given); };
  });
  await tab.goto(`${site.url}/a?again`);
  await until(() => intake.of("page_view").length === 2);
  assert.deepEqual(intake.of("page_leave").map(({ properties }) => [properties.page_url, properties.part]), [[`${site.url}/a`, 1]]);
});

test("time without focus does not count", async () => {
  await open("");
  await until(() => intake.of("page_view").length);
  const seen = await tab.evaluate(() => { document.hasFocus = () => false; dispatchEvent(new Event("blur")); return performance.now() - performance.getEntriesByType("navigation")[0].responseStart; });
  await wait(700);
  await tab.close({ runBeforeUnload: true });
  const [left] = await until(() => intake.of("page_leave").length && intake.of("page_leave"));
  assert.ok(Math.abs(left.properties.time_on_page * 1000 - seen) < 250, `${left.properties.time_on_page} beside ${seen}`);
  tab = await context.newPage();
});

test("a page that is prepared ahead is no page view before it is shown", async () => {
  await context.addInitScript(() => Object.defineProperty(document, "prerendering", { value: true, configurable: true }));
  await open("");
  await wait(300);
  assert.deepEqual(intake.requests, ["GET /sdk/reflexarc.js"]);
  await tab.evaluate(() => { delete document.prerendering; document.dispatchEvent(new Event("prerenderingchange")); });
  await until(() => intake.of("page_view").length);
});

test("a clock that is wrong is put right by the server's answer", async () => {
  intake.skew = -3_600_000;
  await open("");
  await until(() => intake.of("page_view").length);
  await tab.evaluate(() => window.reflexarc.track("purchase", {}));
  const [purchase] = await until(() => intake.of("purchase").length && intake.of("purchase"));
  assert.ok(Math.abs(purchase.time - (Date.now() - 3_600_000)) < 2_000);
});

test("people change: identify, then somebody else", async () => {
  await open("");
  await tab.evaluate(() => { window.reflexarc.identify("ann"); window.reflexarc.track("purchase", {}); window.reflexarc.reset(); window.reflexarc.track("purchase", {}); });
  await until(() => intake.of("purchase").length === 2);
  const [first, second] = intake.of("purchase");
  assert.deepEqual([first.known, second.known], ["ann", undefined]);
  assert.notEqual(first.who, second.who);
  const [said] = intake.of("identify");
  assert.deepEqual([said.properties, said.known], [{ known_id: "ann" }, "ann"], "it goes with who it names, and with the proof of that");
});

test("leaving by the upper edge is an exit intent, once", async () => {
  await open("");
  await until(() => intake.of("page_view").length);
  const out = () => tab.evaluate(() => document.dispatchEvent(new MouseEvent("mouseout", { clientY: -1, bubbles: true })));
  await out();
  await out();
  await until(() => intake.of("exit_intent").length);
  await wait(200);
  assert.equal(intake.of("exit_intent").length, 1);
});

test("an action of the server reaches the page's own code once, and what came of it is told", async () => {
  intake.isForgetful = true; // it offers them again and again: the page itself must know
  intake.decisions = [{ decision_id: "d1", trigger_id: "t", action: "offer", payload: { code: 7 }, expire_time: Date.now() + 60_000 },
    { decision_id: "d0", trigger_id: "t", action: "offer", payload: { code: 8 }, expire_time: Date.now() - 1 }];
  await open("");
  await until(() => intake.of("page_view").length);
  await tab.evaluate(() => {
    window.got = [];
    window.reflexarc.on("offer", (offer) => { window.got.push(offer.payload.code); offer.impression(); offer.click(); });
  });
  await until(() => intake.of("outcome").length === 2);
  await tab.reload();
  await until(() => intake.of("page_view").length === 2);
  await tab.evaluate(() => { window.got = []; window.reflexarc.on("offer", (offer) => window.got.push(offer.payload.code)); });
  await wait(900);
  assert.deepEqual(await tab.evaluate(() => window.got), []);
  assert.deepEqual(intake.of("outcome").map(({ properties }) => [properties.decision_id, properties.kind]), [["d1", "impression"], ["d1", "click"]]);
  assert.ok(intake.batches.some(({ handed }) => handed.includes("d1")));
});
