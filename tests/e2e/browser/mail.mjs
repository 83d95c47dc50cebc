// A reader of mail: opens the page of argument 2, a delivered mail, follows its first link to the shop (argument 1), reads, and buys.
// Prints what they saw; screenshots go into the folder of argument 3, where one is given.
import { startBrowser, until } from "./stand.mjs";

const [shop, mail, pictures] = process.argv.slice(2);
const browser = await startBrowser();
// A headless browser says so, and is held for the robot that it is.
const userAgent = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${browser.version()} Safari/537.36`;
const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1000, height: 720 }, userAgent });
const tab = await context.newPage();
const told = { problems: [], hops: [] };
tab.on("pageerror", (error) => told.problems.push(String(error)));
tab.on("console", (line) => /Content Security|Trusted|CORS|integrity/i.test(line.text()) && told.problems.push(line.text()));
tab.on("response", (answer) => answer.request().isNavigationRequest() && answer.url().startsWith("http") && told.hops.push([answer.status(), new URL(answer.url()).pathname.split("/")[1]]));
const settled = () => until(() => tab.evaluate(() => Object.keys(localStorage).every((name) => !name.startsWith("reflexarc.queue"))).catch(() => false), "all is stored");
const picture = (name) => pictures && tab.screenshot({ path: `${pictures}/${name}.png` });

const pixel = tab.waitForResponse((answer) => answer.url().includes("/o/"));
await tab.goto(mail);
told.pixel = [(await pixel).status(), (await pixel).headers()["content-type"]];
told.loaded = await tab.evaluate(() => [...document.images].every((image) => image.complete && image.naturalWidth === 1));
await picture("mail");
await tab.click("a");
await tab.waitForURL(`${shop}/**`);
told.landed = await tab.evaluate(() => location.href);
await tab.click("#consent button[value=yes]");
await settled();
await tab.goto(`${shop}/products/sencha`);
await tab.click("[data-add]");
await settled();
await tab.goto(`${shop}/checkout`);
await tab.click("#checkout button");
await settled();
await picture("bought");
console.log(JSON.stringify(told));
await browser.close();
