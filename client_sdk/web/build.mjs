// Builds both bundles and says what is in them. `node build.mjs [folder]`
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const out = process.argv[2] ?? here + "../../server/reflexarc_server/collect/web";
const version = /^version = "(.+)"$/m.exec(readFileSync(here + "../../pyproject.toml", "utf8"))[1];

const bundle = async (entry, define) => {
  const built = await build({
    entryPoints: [here + entry],
    bundle: true, write: false, minify: true, format: "iife", target: "es2021", charset: "utf8", legalComments: "none",
    define: Object.fromEntries(Object.entries(define).map(([name, value]) => [name, JSON.stringify(value)])),
  });
  return Buffer.from(built.outputFiles[0].contents);
};
const integrity = (bytes) => "sha384-" + createHash("sha384").update(bytes).digest("base64");

const forms = await bundle("src/forms/index.ts", {});
const core = await bundle("src/core/index.ts", {
  VERSION: "web-" + version,
  FORMS_FILE: "reflexarc-forms.js",
  FORMS_INTEGRITY: integrity(forms),
});
const files = { "reflexarc.js": core, "reflexarc-forms.js": forms };
const manifest = {
  build: createHash("sha256").update(core).update(forms).digest("hex").slice(0, 16),
  files: Object.fromEntries(Object.entries(files).map(([name, bytes]) => [
    name, { integrity: integrity(bytes), bytes: bytes.length, gzip_bytes: gzipSync(bytes, { level: 9 }).length },
  ])),
};
mkdirSync(out, { recursive: true });
for (const [name, bytes] of Object.entries(files)) writeFileSync(`${out}/${name}`, bytes);
writeFileSync(`${out}/manifest.json`, JSON.stringify(manifest, null, 2) + "\n");
for (const [name, { bytes, gzip_bytes }] of Object.entries(manifest.files)) console.log(`${name}: ${bytes} bytes, ${gzip_bytes} gzipped`);
