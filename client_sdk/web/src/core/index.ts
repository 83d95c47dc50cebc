/** The browser SDK's front door: reads how the page set it up, waits for consent, and puts the parts together. */

import { capture } from "./capture.ts";
import { follow, offer, on } from "./decisions.ts";
import { guard, listen } from "./guard.ts";
import { followPage, pageUrl } from "./page.ts";
import { clear, hold, push, release } from "./queue.ts";
import { flush, send, start, wake } from "./sender.ts";
import { change, consents, newId, STATE, state, step, surroundings } from "./state.ts";
import { read, write } from "./storage.ts";
import type { Forms, FormsPort, Options, Properties } from "./wire.ts";

declare const FORMS_FILE: string;
declare const FORMS_INTEGRITY: string;
declare global {
  interface Window {
    reflexarc?: unknown;
    reflexarcForms?: Forms;
    trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } };
  }
}

type Call = [name: string, ...given: unknown[]];

const script = document.currentScript as HTMLScriptElement | null;

const begin = (): void => {
  let options!: Options;
  let isOpen = false;
  let isFollowing = false;

  const keep = (type: string, given: Properties, id: string, time: number): void => {
    const kept = state();
    const properties = Object.fromEntries(Object.entries(given).filter(([, value]) => value != null && value !== ""));
    push({ w: kept.w, e: { id, type, time, properties, context: { ...surroundings(kept), screen: pageUrl() || undefined } } });
  };
  const track = (type: string, properties: Properties = {}, id = newId()): void => {
    if (!isOpen) return;
    const time = Date.now();
    const { n, s } = step(time);
    if (n < 2) keep("session", { kind: "start", channel: "web" }, s + ".start", time);
    keep(type, properties, id, time);
    flush();
  };

  // -- the second bundle -------------------------------------------------------------------------------------------

  let loading: Promise<Forms> | undefined;
  const forms = (then: (forms: Forms) => void): void => {
    loading ??= new Promise<Forms>((resolve, reject) => {
      const url = new URL(FORMS_FILE, script?.src || options.server + "sdk/").href;
      // A page may insist that such an address was looked at: ours is made of nothing that a person wrote.
      const policy = window.trustedTypes?.createPolicy("reflexarc", { createScriptURL: (given: string) => given });
      document.head.append(
        Object.assign(document.createElement("script"), {
          ...{ nonce: script?.nonce, crossOrigin: "anonymous", integrity: FORMS_INTEGRITY, src: policy?.createScriptURL(url) ?? url },
          ...{ onload: () => resolve(window.reflexarcForms!), onerror: reject },
        }),
      );
    });
    loading.then(guard(then)).catch(() => {});
  };
  const port = (): FormsPort => ({
    ...{ options, read, write, id: newId },
    open: () => isOpen,
    // Without consent a form that is sent is one person's own act, about nobody we know.
    who: () => (isOpen ? state().w : { a: newId() }),
    now: () => Date.now() + (isOpen ? state().o : 0),
  });
  const scan = (): void => {
    if (document.querySelector(isOpen ? "[data-form]" : "div[data-form]")) forms((second) => second.scan(port()));
  };

  // -- from consent on ---------------------------------------------------------------------------------------------

  const purpose = (): string => options.purpose || "analytics";
  const open = (isLate = false): void => {
    if (isOpen || !options) return;
    isOpen = true;
    change({});
    start(options, offer);
    follow(
      (id, outcome) => track("outcome", { decision_id: id, kind: outcome }, id + "." + outcome),
      options.render === "off" ? undefined : forms,
    );
    hold(flush);
    if (isFollowing) return; // consent was given, taken back and given again
    isFollowing = true;
    listen(window, "pageshow", () => isOpen && hold(flush));
    followPage(options, track, send, scan, isLate);
    if (options.auto !== "off") capture(track);
    listen(window, "pagehide", release);
    listen(window, "online", wake);
    listen(window, "storage", (event) => {
      const { key, newValue } = event as StorageEvent;
      if (key === STATE && !newValue) close();
    });
  };
  const close = (): void => {
    isOpen = false;
    start();
    release();
    clear();
  };

  /** What somebody allows or refuses, for each purpose; the one we run for opens or closes everything. */
  const consent = (given: Record<string, boolean>): void => {
    const own = given[purpose()];
    if (own) open(true);
    if (!isOpen) return;
    const { c } = state();
    change({ c: { ...c, ...given } });
    for (const purpose in given) if (c[purpose] !== given[purpose]) track("consent", { purpose, granted: given[purpose] });
    if (own === false) {
      send(); // the last word, that the server may know
      close();
    }
  };

  const init = (given: Partial<Options>): void => {
    if (options || !given.key) return;
    const server = given.server || script?.src.replace(/sdk\/.*/, "") || location.origin;
    options = { ...given, key: given.key, server: server.replace(/\/?$/, "/") };
    const run = guard(() => {
      const isAsked = options.consent === "required" || (options.gpc !== "ignore" && (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl);
      if (consents()[purpose()] ?? !isAsked) open();
      else scan();
      // Forms that came later, or before consent: somebody turns to one.
      listen(document, "focusin", (event) => (event.target as Element).closest("[data-form]") && forms((second) => second.scan(port())));
    });
    // A page that is prepared ahead is not seen yet, and perhaps never.
    if ((document as { prerendering?: boolean }).prerendering) document.addEventListener("prerenderingchange", run, { once: true });
    else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", run, { once: true });
    else run();
  };

  const reset = (): void => {
    track("reset");
    if (isOpen) change({ w: { a: newId() }, n: 0, t: 0, d: [], h: [] });
  };
  const calls = {
    init,
    reset,
    consent,
    on,
    track: (type: string, properties?: Properties) => track(type, properties),
    identify: (known: string, proof?: string) => {
      if (!isOpen || !known) return;
      const { k } = state().w;
      if (k && k !== known) reset();
      change({ w: { ...state().w, k: known, p: proof } });
      track("identify", { known_id: known }); // behind it: what says who it is goes with what proves it
    },
  };
  const call = guard(([name, ...given]: Call) => (calls[name as keyof typeof calls] as (...given: unknown[]) => void)(...given));
  const before = window.reflexarc;
  window.reflexarc = Object.fromEntries([
    ...Object.entries(calls).map(([name, body]) => [name, guard(body as () => void)]),
    ["push", call],
  ]);
  init({ ...script?.dataset } as Partial<Options>);
  if (Array.isArray(before)) before.forEach((given: Call) => call(given));
};

// Twice in one page is once.
if (!(window.reflexarc as { init?: unknown } | undefined)?.init) guard(begin)();
