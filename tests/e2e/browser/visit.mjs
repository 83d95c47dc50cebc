// One visitor of a small site, whose SDK talks to the real server at the address given. Prints what the page saw.
import { startBrowser, startSite, until } from "./stand.mjs";

const server = process.argv[2];
const pages = {};
const html = (title, body) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>
  <script src="${server}/sdk/reflexarc.js" data-key="wk_shop" data-consent="required" async></script></head><body>${body}</body></html>`;
pages["/one"] = html("One", '<section data-section="hero" data-category="tea"><button data-cta="buy">Buy</button></section>');
pages["/two"] = html("Two", '<div data-form="contact"></div>');
const site = await startSite(pages, {
  "content-security-policy": `default-src 'none'; script-src ${server}; connect-src ${server}; require-trusted-types-for 'script'; trusted-types reflexarc`,
});
const browser = await startBrowser();
const context = await browser.newContext();
const tab = await context.newPage();
const problems = [];
tab.on("pageerror", (error) => problems.push(String(error)));
tab.on("console", (line) => /Content Security|Trusted|CORS/.test(line.text()) && problems.push(line.text()));
const quiet = () => tab.evaluate(() => Object.keys(localStorage).every((name) => !name.startsWith("reflexarc.queue")));

await tab.goto(site.url + "/one");
await until(() => tab.evaluate(() => typeof window.reflexarc?.track === "function"));
await tab.evaluate(() => window.reflexarc.consent({ analytics: true, marketing: false }));
await tab.click("[data-cta]");
await until(quiet, "the first page's events are stored");
const seen = await tab.evaluate(() => performance.now());
await tab.goto(site.url + "/two");
const banner = tab.locator("section.banner strong");
await banner.waitFor({ timeout: 20_000 });
const title = await banner.textContent();
await tab.locator("section.banner .act").click();
await tab.fill("[name=email]", "ann@exa");
await tab.click("button[type=submit]");
const mistake = await tab.textContent("#reflexarc-contact-email-error");
await tab.fill("[name=email]", "ann@example.com");
await tab.click("button[type=submit]");
await until(async () => (await tab.textContent("form [role=status]")).startsWith("Thank you"), "the form is taken");
await until(quiet, "the second page's events are stored");
await tab.close({ runBeforeUnload: true });
const last = await context.newPage();
await last.goto(site.url + "/one");
await until(() => last.evaluate(() => Object.keys(localStorage).every((name) => !name.startsWith("reflexarc.queue"))), "all is stored");
console.log(JSON.stringify({ site: site.url, title, mistake, seen, problems }));
await browser.close();
site.close();
