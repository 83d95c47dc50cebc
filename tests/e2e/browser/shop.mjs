// Visitors of the example shop (argument 1), whose pages stand under a strict policy. Prints what they saw; screenshots go into the
// folder of argument 2, where one is given.
import { startBrowser, until } from "./stand.mjs";

const [shop, pictures] = process.argv.slice(2);
const browser = await startBrowser();
const problems = [];
const told = { problems };

const visitor = async (options = {}) => {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1000, height: 720 }, ...options });
  const requests = [];
  context.on("request", (request) => request.url().startsWith(shop) || requests.push(new URL(request.url()).pathname));
  const tab = await context.newPage();
  tab.on("pageerror", (error) => problems.push(String(error)));
  tab.on("console", (line) => /Content Security|Trusted|CORS|integrity/i.test(line.text()) && problems.push(line.text()));
  return { context, tab, requests };
};
const settled = (tab) => until(() => tab.evaluate(() => Object.keys(localStorage).every((name) => !name.startsWith("reflexarc.queue"))).catch(() => false), "all is stored");
const picture = (tab, name) => pictures && tab.screenshot({ path: `${pictures}/${name}.png` });
const answer = (tab, value) => tab.click(`#consent button[value=${value}]`);

// Who refuses leaves no trace: nothing but the SDK's own file is asked for, and nothing is kept.
{
  const { context, tab, requests } = await visitor();
  await tab.goto(`${shop}/`);
  await tab.waitForSelector("#consent[open]");
  await picture(tab, "consent");
  await answer(tab, "no");
  await tab.goto(`${shop}/products/sencha?ask=no`);
  await tab.click("[data-add]");
  await tab.goto(`${shop}/articles/water?ask=no`);
  told.refused = {
    sent: requests.filter((path) => !path.startsWith("/sdk/")),
    kept: await tab.evaluate(() => [...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie].filter(Boolean)),
  };
  await context.close();
}

// Who agrees looks at three teas, and is helped to choose.
{
  const { context, tab } = await visitor();
  await tab.goto(`${shop}/`);
  await answer(tab, "yes");
  for (const tea of ["sencha", "assam", "oolong"]) {
    await tab.goto(`${shop}/products/${tea}`);
    await settled(tab);
  }
  const banner = tab.locator("section.banner strong");
  await banner.waitFor({ timeout: 20_000 });
  told.banner = await banner.textContent();
  await picture(tab, "banner");
  await tab.locator("section.banner a").click();
  await tab.waitForURL("**/tea-finder");
  await tab.click("[data-taste][href$=strong]"); // a route of an application, not a page
  await tab.waitForFunction(() => document.title.startsWith("strong"));
  await tab.click("[data-taste][href$=flowery]");
  await settled(tab);

  // Offline: what happens is kept, and told once when the network is back.
  await tab.goto(`${shop}/articles/brewing`);
  await settled(tab);
  await context.setOffline(true);
  await tab.evaluate(() => { // a click that is told, and a link that stays: without a network it leads to the browser's own page
    addEventListener("click", (event) => event.preventDefault(), { once: true });
    document.querySelector("[data-cta=read-on]").click();
  });
  await context.setOffline(false);
  await tab.goto(`${shop}/articles/water`);
  await tab.evaluate(() => void setTimeout(() => history.back())); // out of the back-forward cache nothing loads
  await until(() => tab.evaluate(() => location.pathname.endsWith("/brewing")).catch(() => false), "the page is back");
  await settled(tab);

  await tab.goto(`${shop}/downloads`);
  const [file] = await Promise.all([tab.waitForEvent("download"), tab.click("a[download]")]);
  await file.cancel();
  await tab.goto(`${shop}/video`);
  await tab.evaluate(() => { const video = document.getElementById("kettle"); video.muted = true; return video.play(); });
  await tab.waitForFunction(() => document.getElementById("kettle").ended, undefined, { timeout: 20_000 });
  await settled(tab);

  await tab.goto(`${shop}/wholesale`);
  await tab.fill("[name=company]", "Café Example");
  await tab.fill("[name=email]", "ann@exa");
  await tab.click("main button[type=submit]");
  told.mistake = await tab.textContent("#reflexarc-wholesale-email-error");
  await picture(tab, "form");
  await tab.fill("[name=email]", "ann@example.com");
  await tab.click("main button[type=submit]");
  await until(async () => (await tab.textContent("main form [role=status]")).startsWith("Thank you"), "the form is taken");
  await settled(tab);

  // A second tab of the same person, and a first one that is closed in the middle.
  const second = await context.newPage();
  await second.goto(`${shop}/products/sencha`);
  await settled(second);
  await second.bringToFront();
  await second.waitForTimeout(1_200);
  told.seen_ms = await second.evaluate(() => performance.now() - performance.getEntriesByType("navigation")[0].responseStart);
  await second.close({ runBeforeUnload: true });
  await tab.bringToFront();
  await tab.goto(`${shop}/checkout`);
  await tab.click("#checkout button");
  await settled(tab);
  await context.close();
}
console.log(JSON.stringify(told));
await browser.close();
