// Segment's own Node library, unchanged, against our intake. Prints one JSON object: the messages as the library sent them.
// usage: node segment_client.js ADDRESS WRITE_KEY
const { Analytics, FetchHTTPClient } = require("@segment/analytics-node");

const [address, writeKey] = process.argv.slice(2);
const sent = [];
const answers = [];

// The library's own HTTP client; it is only listened to.
class Listening extends FetchHTTPClient {
  async makeRequest(options) {
    const given = typeof options.body === "string" ? JSON.parse(options.body) : options.body || options.data;
    if (given && given.batch) sent.push(...given.batch);
    const answer = await super.makeRequest(options);
    answers.push(answer.status);
    return answer;
  }
}

async function main() {
  const analytics = new Analytics({
    writeKey, host: `http://${address}`, path: "/v1/batch", flushAt: 20, flushInterval: 200, httpClient: new Listening(), maxRetries: 1,
  });
  const failed = [];
  analytics.on("error", (error) => failed.push(String(error.reason || error)));
  const context = { ip: "203.0.113.9", locale: "nl-NL", page: { url: "https://shop.example/" }, deep: [{ a: null }] };
  const timestamp = new Date("2026-11-01T12:30:15.250Z");
  const common = { context, timestamp, integrations: { All: true } };
  analytics.identify({ userId: "u1", anonymousId: "anon-1", traits: { email: "a@shop.example", logins: 5 }, ...common });
  analytics.track({ userId: "u1", event: "Trial Started", properties: { plan: "pro", price: 9.5, seats: 3, x: { y: null } }, ...common });
  analytics.track({ userId: "u1", event: "Order Completed", properties: { order_id: "o", total: 27.5, products: [{ sku: "s" }] }, ...common });
  analytics.page({ userId: "u1", name: "Home", category: "docs", properties: { url: "https://shop.example/a" }, ...common });
  analytics.screen({ userId: "u1", name: "Start", properties: { a: 1 }, ...common });
  analytics.group({ userId: "u1", groupId: "g1", traits: { name: "Shop" }, ...common });
  analytics.alias({ userId: "u1", previousId: "anon-2", ...common });
  await analytics.closeAndFlush({ timeout: 10000 });
  console.log(JSON.stringify({ sent, answers, failed }));
}

main();
