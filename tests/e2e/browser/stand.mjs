// A site, an intake that remembers what it was sent, and a browser. Bounded waits, loopback only.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const BUNDLES = new URL("../../../server/reflexarc_server/collect/web/", import.meta.url);
const TYPES = { js: "text/javascript; charset=utf-8", html: "text/html; charset=utf-8", json: "application/json" };

const listening = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`)));
const bodyOf = async (request) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
};

/** The server's half: what came, told apart by id, as the real one does. */
export const startIntake = async () => {
  const intake = { batches: [], events: [], duplicates: 0, requests: [], decisions: [], forms: {}, submissions: [], status: 200, skew: 0, later: 0 };
  const seen = new Set();
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    const headers = { "access-control-allow-origin": "*" };
    const answer = (status, value) => response.writeHead(status, { ...headers, "content-type": TYPES.json }).end(JSON.stringify(value));
    intake.requests.push(`${request.method} ${path}`);
    if (path.startsWith("/sdk/")) {
      try {
        const body = readFileSync(new URL(path.split("/").pop(), BUNDLES));
        return response.writeHead(200, { ...headers, "content-type": TYPES.js }).end(body);
      } catch {
        return answer(404, {});
      }
    }
    if (path.startsWith("/forms/")) {
      const name = path.slice(7);
      if (request.method === "GET") return answer(200, intake.forms[name.replace(".json", "")]);
      const sent = JSON.parse(await bodyOf(request));
      if (intake.status !== 200) return answer(intake.status, {});
      intake.submissions.push({ form_id: name, ...sent });
      return intake.errors && !sent.partial ? answer(422, { errors: intake.errors }) : answer(200, { ok: true });
    }
    const text = await bodyOf(request);
    if (intake.status !== 200) return answer(intake.status, { error: "no" });
    const sent = JSON.parse(text);
    intake.batches.push(sent);
    const verdicts = sent.batch.map((event) => {
      if (intake.later-- > 0) return [event.id, "later"];
      if (seen.has(event.id)) return intake.duplicates++, [event.id, "duplicate"];
      seen.add(event.id);
      intake.events.push({ ...event, who: sent.anonymous_id, known: sent.known_id });
      return [event.id, "stored"];
    });
    const decisions = intake.decisions.filter(({ decision_id }) => intake.isForgetful || !intake.batches.some(({ handed }) => handed.includes(decision_id)));
    answer(200, { now: Date.now() + intake.skew, verdicts, decisions });
  });
  intake.url = await listening(server);
  intake.of = (type) => intake.events.filter((event) => event.type === type);
  intake.close = () => server.close();
  return intake;
};

/** The site's half: pages by path, each with the headers given. */
export const startSite = async (pages, headers = {}) => {
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    const page = pages[path];
    if (page === undefined) return response.writeHead(404).end();
    const type = typeof page === "string" ? TYPES.html : page.type;
    response.writeHead(200, { "content-type": type, "accept-ranges": "bytes", ...headers }).end(page.body ?? page);
  });
  const url = await listening(server);
  return { url, close: () => server.close() };
};

export const page = (intake, body = "", attributes = "", head = "") =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>${head}
   <script src="${intake.url}/sdk/reflexarc.js" data-key="wk_test" ${attributes} async></script></head><body>${body}</body></html>`;

export const startBrowser = () =>
  chromium.launch({ ignoreDefaultArgs: ["--disable-back-forward-cache"], executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"] });

/** Waits until it is true, at most `ms`. */
export const until = async (is, what = String(is), ms = 15_000) => {
  const end = Date.now() + ms;
  for (;;) {
    const found = await is();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not in ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
