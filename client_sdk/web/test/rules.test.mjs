// What needs no browser: the rules of fields, and the time that a page is attended to.
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildSync } from "esbuild";

const load = (entry) => {
  const { outputFiles } = buildSync({ entryPoints: [new URL("../src/" + entry, import.meta.url).pathname], bundle: true, write: false, format: "esm" });
  return import("data:text/javascript," + encodeURIComponent(outputFiles[0].text));
};
const { normalised, problem } = await load("forms/rules.ts");
const { attention } = await load("core/attention.ts");
const asked = (field, value) => problem({ name: "x", ...field }, normalised({ name: "x", ...field }, value));

test("each rule of a declaration is asked", () => {
  for (const [field, value, expected] of [
    [{ type: "text", required: true }, "  ", "required"], [{ type: "text" }, "", undefined],
    [{ type: "email" }, "a@b.example", undefined], [{ type: "email" }, "a@b", "email"], [{ type: "email" }, "a b@c.de", "email"], [{ type: "email" }, "a..b@c.de", "email"],
    [{ type: "phone" }, "+49 (30) 123-456", undefined], [{ type: "phone" }, "0049 30 123456", undefined], [{ type: "phone" }, "030 123456", "phone"],
    [{ type: "phone", region: "DE" }, "030 123456", undefined], [{ type: "phone", region: "DE" }, "abc", "phone"], [{ type: "phone" }, "+0123456789", "phone"],
    [{ type: "text", min_length: 2 }, "é", "short"], [{ type: "text", max_length: 2 }, "😀😀", undefined], [{ type: "text", max_length: 2 }, "abc", "long"],
    [{ type: "text", pattern: "[A-Z]+" }, "ABc", "pattern"], [{ type: "text", pattern: "(?i)a" }, "A", undefined],
    [{ type: "checkbox", required: true, consent: "news" }, false, "consent"], [{ type: "checkbox", required: true }, false, "required"],
    [{ type: "checkbox" }, false, undefined], [{ type: "select", options: ["a", { value: "b" }] }, "b", undefined], [{ type: "select", options: ["a"] }, "z", "option"],
  ]) assert.equal(asked(field, value), expected, JSON.stringify([field, value]));
});

test("time counts while somebody is there: not hidden, not idle, and each moment once", () => {
  const time = attention(60_000);
  time.turn(0, true);
  assert.equal(time.take(1_000), 1_000);
  time.turn(1_500, false);
  assert.equal(time.take(9_000), 500);
  time.turn(10_000, true);
  time.input(100_000);
  time.turn(101_000, false);
  assert.equal(time.take(200_000), 61_000);
  time.turn(300_000, true);
  assert.equal(time.take(300_000), 0);
  assert.equal(time.take(400_000), 60_000);
});
