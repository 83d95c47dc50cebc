/** Shows an action as text: a banner, a modal dialog, or in a place that the page keeps for it. Never as markup. */

import { guard } from "../core/guard.ts";
import type { Decision, Tell } from "../core/wire.ts";
import { make } from "./form.ts";
import { message } from "./messages.ts";

const STYLE = `:host{all:initial}
.box{font:16px/1.45 system-ui,sans-serif;color:var(--reflexarc-color,#1c1c1e);background:var(--reflexarc-background,#fff);
border:1px solid var(--reflexarc-border,#d0d0d5);border-radius:10px;padding:1em 3em 1em 1.2em;position:relative;box-sizing:border-box}
.banner{position:fixed;z-index:2147483647;left:1em;right:1em;bottom:1em;max-width:40em;margin:0 auto;box-shadow:0 6px 24px #0003}
.modal{max-width:min(32em,90vw);margin:auto;box-shadow:0 6px 24px #0006}
.modal::backdrop{background:#0007}
strong,p{display:block;margin:0 0 .4em}
a,.act{font:inherit;display:inline-block;color:var(--reflexarc-on-accent,#fff);background:var(--reflexarc-accent,#1a56db);
border:0;border-radius:6px;padding:.45em 1em;text-decoration:none;cursor:pointer}
.close{font:inherit;font-size:1.3em;line-height:1;position:absolute;top:.3em;right:.3em;width:1.8em;height:1.8em;background:none;
border:0;color:inherit;cursor:pointer}
:focus-visible{outline:3px solid #4c8dff;outline-offset:2px}`;

let shown: Element | undefined;

const text = (value: unknown): string => (typeof value === "string" || typeof value === "number" ? String(value) : "");

/** An address that a person may be led to; nothing that runs. */
const address = (value: unknown): string => {
  try {
    const url = new URL(text(value), location.href);
    return text(value) && /^https?:$/.test(url.protocol) ? url.href : "";
  } catch {
    return "";
  }
};

/** What shows it, or nothing where it cannot be shown now: without words, without its place, while another one is there. */
export const show = ({ payload }: Decision, tell: Tell): (() => void) | undefined => {
  const place = text(payload.place) || "banner";
  const slot = place === "slot" ? document.querySelector(`[data-slot="${CSS.escape(text(payload.slot))}"]`) : document.body;
  if (!slot || (place !== "slot" && shown?.isConnected)) return;
  const [title, words, label, url] = [text(payload.title), text(payload.text), text(payload.label), address(payload.url)];
  return () => {
    const host = make("div");
    host.lang = document.documentElement.lang;
    const root = host.attachShadow({ mode: "open" });
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
    } catch {} // without style it can still be read
    const box = make(place === "modal" ? "dialog" : "section", { className: "box " + place });
    box.part.add("box");
    box.setAttribute("data-ignore", "");
    box.setAttribute("aria-label", title || words);
    const end = guard((outcome: "click" | "dismissal") => {
      tell(outcome);
      if (outcome === "click" && place === "slot") return;
      watching.disconnect();
      host.remove();
    });
    if (title) box.append(make("strong", {}, title));
    if (words) box.append(make("p", {}, words));
    if (url) box.append(make("a", { href: url, onclick: () => end("click") }, label || title));
    else if (label) box.append(make("button", { type: "button", className: "act", onclick: () => end("click") }, label));
    const close = make("button", { type: "button", className: "close", onclick: () => end("dismissal") }, "×");
    close.setAttribute("aria-label", message(document.documentElement, "close"));
    box.append(close);
    box.addEventListener("cancel", () => end("dismissal"));
    const watching = new IntersectionObserver(guard((seen: IntersectionObserverEntry[]) => {
      if (!seen.some(({ isIntersecting }) => isIntersecting)) return;
      watching.disconnect();
      tell("impression");
    }), { threshold: 0.5 });
    root.append(box);
    slot.append(host);
    if (box instanceof HTMLDialogElement) box.showModal();
    if (place !== "slot") shown = host;
    watching.observe(box);
  };
};
