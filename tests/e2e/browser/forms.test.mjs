// The second bundle in real Chromium, under a strict policy: forms, what is shown of actions, and videos.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { page, startBrowser, startIntake, startSite, until } from "./stand.mjs";

const CONTACT = {
  form_id: "contact", form_type: "contact", honeypot: "website", fields: [
    { name: "name", label: { en: "Name", de: "Ihr Name" }, type: "text", required: true, min_length: 2, max_length: 40 },
    { name: "email", label: "Email", type: "email", required: true },
    { name: "phone", label: "Phone", type: "phone" },
    { name: "code", label: "Code", type: "text", pattern: "[A-Z]{2}\\d+" },
    { name: "topic", label: "Topic", type: "select", options: ["order", { value: "other", label: "Something else" }] },
    { name: "agree", label: "I agree", type: "checkbox", required: true, consent: "marketing" },
    { name: "source", type: "hidden" },
  ],
};
const MARKUP = `<form data-form=contact><label>Name <input name=name></label><input name=email type=email aria-describedby=hint><i id=hint>h</i>
  <input name=phone><input name=code><input type=checkbox name=agree><input type=hidden name=source value=web><button>Send</button></form>`;
const ARTEFACTS = process.env.REFLEXARC_ARTEFACTS;

let browser, intake, site, context, tab;
const pages = {};
const headers = {};
const problems = [];

before(async () => { browser = await startBrowser(); });
after(() => browser.close());
beforeEach(async () => {
  intake = await startIntake();
  intake.forms.contact = CONTACT;
  headers["content-security-policy"] =
    `default-src 'none'; script-src ${intake.url}; connect-src ${intake.url}; media-src 'self'; require-trusted-types-for 'script'; trusted-types reflexarc`;
  site = await startSite(pages, headers);
  context = await browser.newContext({ viewport: { width: 900, height: 600 } });
  context.setDefaultTimeout(15_000);
  tab = await context.newPage();
  tab.on("pageerror", (error) => problems.push(error));
  tab.on("console", (line) => { if (/Content Security|Trusted/.test(line.text())) problems.push(line.text()); });
});
afterEach(async () => {
  await context.close();
  intake.close();
  site.close();
  assert.deepEqual(problems.splice(0), []);
});
const open = async (body, attributes, lang = "en") => {
  pages["/f"] = page(intake, body, attributes).replace('lang="en"', `lang="${lang}"`);
  await tab.goto(site.url + "/f");
};
const ready = () => tab.waitForSelector("form .reflexarc-status", { state: "attached" });
const invalid = () => tab.$$eval("[aria-invalid=true]", (found) => found.map(({ name }) => name));
const shot = async (name) => {
  if (!ARTEFACTS) return;
  mkdirSync(ARTEFACTS, { recursive: true });
  await tab.screenshot({ path: `${ARTEFACTS}/${name}.png` });
};

test("mistakes are said at each field, for everybody, and nothing is sent before they are mended", async () => {
  await open(MARKUP);
  await ready();
  await tab.fill("[name=phone]", "030 123");
  await tab.fill("[name=code]", "x1");
  await tab.click("button");
  assert.deepEqual(await invalid(), ["name", "email", "phone", "code", "agree"]);
  assert.equal(await tab.evaluate(() => document.activeElement.name), "name");
  const described = await tab.getAttribute("[name=email]", "aria-describedby");
  assert.match(described, /^hint reflexarc-contact-email-error$/);
  assert.match(await tab.textContent("#reflexarc-contact-email-error"), /fill this in/);
  assert.equal(await tab.textContent("[role=status]"), "Please check the marked fields.");
  await shot("form-mistakes");
  assert.equal(intake.submissions.filter(({ partial }) => !partial).length, 0);
  await tab.fill("[name=name]", "Ann");
  await tab.fill("[name=email]", "ann@example.com");
  await tab.fill("[name=phone]", "0049 (30) 123-4567");
  await tab.fill("[name=code]", "AB12");
  await tab.check("[name=agree]");
  assert.deepEqual(await invalid(), []);
  assert.equal(await tab.getAttribute("[name=email]", "aria-describedby"), "hint");
  await tab.click("button");
  const [sent] = await until(() => intake.submissions.filter(({ partial }) => !partial).length && intake.submissions.filter(({ partial }) => !partial));
  assert.deepEqual(sent.values, { name: "Ann", email: "ann@example.com", phone: "+49301234567", code: "AB12", agree: true, source: "web" });
  assert.equal(sent.page_url, site.url + "/f");
  await until(async () => (await tab.textContent("[role=status]")).startsWith("Thank you"));
  assert.equal(sent.anonymous_id, intake.batches[0].anonymous_id);
});

test("a form is made of its declaration, in the page's language", async () => {
  await open("<div data-form=contact></div>", "", "de");
  await ready();
  assert.equal(await tab.textContent("label[for=reflexarc-contact-name]"), "Ihr Name");
  await tab.click("button[type=submit]");
  assert.equal(await tab.textContent("#reflexarc-contact-name-error"), "Bitte füllen Sie dieses Feld aus.");
  assert.equal(await tab.textContent("#reflexarc-contact-agree-error"), "Bitte stimmen Sie zu, um fortzufahren.");
  await shot("form-declared-de");
});

test("the server's word on a field is shown where it belongs", async () => {
  intake.errors = { email: "No such domain." };
  await open(MARKUP);
  await ready();
  await tab.fill("[name=name]", "Ann");
  await tab.fill("[name=email]", "ann@nowhere.example");
  await tab.check("[name=agree]");
  await tab.click("button");
  await until(async () => (await tab.textContent("#reflexarc-contact-email-error").catch(() => "")) === "No such domain.");
  assert.deepEqual(await invalid(), ["email"]);
});

test("what was begun and left is kept, the whole one takes its place", async () => {
  await open(MARKUP);
  await ready();
  await tab.fill("[name=email]", "ann@exa");
  await tab.close({ runBeforeUnload: true });
  const [begun] = await until(() => intake.submissions.length && intake.submissions);
  assert.deepEqual([begun.partial, begun.values.email], [true, "ann@exa"]);
  tab = await context.newPage();
});

test("sent while the server is away: said, kept over a reload, delivered once", async () => {
  await open(MARKUP, 'data-partial="off"');
  await ready();
  intake.status = 503;
  await tab.fill("[name=name]", "Ann");
  await tab.fill("[name=email]", "ann@example.com");
  await tab.check("[name=agree]");
  await tab.click("button");
  await until(async () => (await tab.textContent("[role=status]")).startsWith("You are offline"));
  intake.status = 200;
  await tab.reload();
  await until(() => intake.submissions.length);
  await tab.reload();
  await ready();
  await tab.waitForTimeout(200);
  assert.equal(intake.submissions.length, 1);
  assert.equal(intake.submissions[0].partial, false);
});

test("who is signed in goes with a form, with what proves it, and no more after signing out or without consent", async () => {
  const send = async (count) => {
    await ready();
    await tab.fill("[name=name]", "Ann");
    await tab.fill("[name=email]", "ann@example.com");
    await tab.check("[name=agree]");
    await tab.click("button");
    const whole = () => intake.submissions.filter(({ partial }) => !partial);
    await until(() => whole().length === count);
    await until(async () => (await tab.textContent("[role=status]")).startsWith("Thank you"));
    const { known_id, known_proof } = whole().at(-1);
    return [known_id, known_proof];
  };
  await open(MARKUP, 'data-partial="off"');
  assert.deepEqual(await send(1), [undefined, undefined]);
  await tab.evaluate(() => window.reflexarc.identify("42", "a0ff"));
  assert.deepEqual(await send(2), ["42", "a0ff"]);
  await tab.evaluate(() => window.reflexarc.identify("43"));
  assert.deepEqual(await send(3), ["43", ""]);
  await tab.evaluate(() => window.reflexarc.reset());
  assert.deepEqual(await send(4), [undefined, undefined]);
  await tab.evaluate(() => window.reflexarc.identify("42", "a0ff"));
  await tab.evaluate(() => window.reflexarc.consent({ analytics: false }));
  assert.deepEqual(await send(5), [undefined, undefined]);
});

test("consent taken back: nothing of a form stays in the browser, what was sent goes out all the same", async () => {
  await open(MARKUP, 'data-partial="off"');
  await ready();
  intake.status = 503;
  await tab.fill("[name=name]", "Ann");
  await tab.fill("[name=email]", "ann@example.com");
  await tab.check("[name=agree]");
  await tab.click("button");
  await until(async () => (await tab.textContent("[role=status]")).startsWith("You are offline"));
  const stored = () => tab.evaluate(() => JSON.stringify(localStorage));
  assert.match(await stored(), /ann@example.com/);
  await tab.evaluate(() => window.reflexarc.consent({ analytics: false }));
  assert.equal(await stored(), "{}");
  intake.status = 200;
  await tab.evaluate(() => window.dispatchEvent(new Event("online")));
  await until(() => intake.submissions.length);
  assert.equal(intake.submissions[0].values.email, "ann@example.com");
  assert.equal(await stored(), "{}");
});

test("robots fill in what people never see", async () => {
  await open(MARKUP);
  await ready();
  assert.equal(await tab.evaluate(() => { const trap = document.querySelector("[name=website]"); return trap.tabIndex === -1 && !!trap.closest("[aria-hidden=true]"); }), true);
  await tab.evaluate(() => { document.querySelector("[name=website]").value = "spam"; });
  await tab.fill("[name=name]", "Bot");
  await tab.fill("[name=email]", "b@example.com");
  await tab.check("[name=agree]");
  await tab.click("button");
  await until(() => intake.submissions.some(({ partial, values }) => !partial && values.website === "spam"));
});

test("without consent nothing of a form is kept or sent before it is sent, about nobody known", async () => {
  await open(MARKUP, 'data-consent="required"');
  await tab.waitForTimeout(300);
  assert.deepEqual(intake.requests, ["GET /sdk/reflexarc.js"]);
  await tab.fill("[name=name]", "Ann");
  await ready();
  await tab.fill("[name=email]", "ann@example.com");
  await tab.check("[name=agree]");
  await tab.waitForTimeout(1_700);
  assert.equal(intake.submissions.length, 0);
  await tab.click("button");
  await until(() => intake.submissions.length === 1);
  assert.equal(await tab.evaluate(() => localStorage.length), 0);
});

const decision = (id, payload) => ({ decision_id: id, trigger_id: "t", action: "offer", payload, expire_time: 0 });

test("a banner is text and nothing else, its impression and click are told, it comes once", async () => {
  intake.decisions = [decision("d1", { title: "<img src=x onerror=alert(1)>", text: "Ten percent off", label: "See it", url: "javascript:alert(1)" })];
  await open("<p>page</p>");
  const box = tab.locator("section.banner");
  await box.waitFor();
  assert.equal(await box.locator("strong").textContent(), "<img src=x onerror=alert(1)>");
  assert.equal(await box.locator("img").count(), 0);
  assert.equal(await box.locator("a").count(), 0);
  await until(() => intake.of("outcome").length === 1);
  await shot("action-banner");
  await box.locator(".act").click();
  await until(() => intake.of("outcome").length === 2);
  assert.deepEqual(intake.of("outcome").map(({ properties }) => properties.kind), ["impression", "click"]);
  await tab.reload();
  await until(() => intake.of("page_view").length === 2);
  await tab.waitForTimeout(600);
  assert.equal(await box.count(), 0);
});

test("a modal is closed with the keyboard, a slot is filled in the page, a missing slot waits", async () => {
  intake.decisions = [decision("m", { place: "modal", title: "Before you go", text: "Stay a little.", label: "OK" }),
    decision("s", { place: "slot", slot: "offer", title: "Here", url: "/f2", label: "Go" }), decision("n", { place: "slot", slot: "none", title: "Nowhere" })];
  await open("<main><div data-slot=offer></div></main>");
  await tab.locator("dialog.modal").waitFor();
  await tab.locator("[data-slot=offer] section").waitFor();
  await shot("action-modal");
  await tab.keyboard.press("Escape");
  await until(() => intake.of("outcome").some(({ properties }) => properties.decision_id === "m" && properties.kind === "dismissal"));
  assert.equal(await tab.locator("[data-slot=offer] a").getAttribute("href"), site.url + "/f2");
  const handed = () => intake.batches.flatMap(({ handed }) => handed);
  await until(() => handed().includes("s"));
  assert.ok(!handed().includes("n"));
});

test("a video tells its start, each quarter that was watched, and its end", async () => {
  const rate = 8_000, seconds = 1.6, bytes = rate * seconds, wav = Buffer.alloc(44 + bytes, 128);
  wav.write("RIFF", 0); wav.writeUInt32LE(36 + bytes, 4); wav.write("WAVEfmt ", 8); wav.writeUInt32LE(16, 16); wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22); wav.writeUInt32LE(rate, 24); wav.writeUInt32LE(rate, 28); wav.writeUInt16LE(1, 32); wav.writeUInt16LE(8, 34);
  wav.write("data", 36); wav.writeUInt32LE(bytes, 40);
  pages["/v.wav"] = { type: "audio/wav", body: wav };
  await open('<section id=film><video data-video="kettle" src="/v.wav"></video></section>');
  await until(() => intake.of("page_view").length);
  await tab.evaluate(() => document.querySelector("video").play());
  await until(() => intake.of("button_click").length === 5);
  const told = intake.of("button_click").map(({ properties }) => properties);
  assert.deepEqual(told.map(({ progress }) => progress), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual([told[0].kind, told[0].label, told[0].section, told[0].target], ["video", "kettle", "film", site.url + "/v.wav"]);
});
