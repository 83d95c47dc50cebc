/** The page that is seen: when it is entered and left, how long it was attended to, how far it was read. */

import { attention, type Attention } from "./attention.ts";
import { listen } from "./guard.ts";
import { newId } from "./state.ts";
import type { Options, Properties } from "./wire.ts";

export type Track = (type: string, properties: Properties, id?: string) => void;

const IDLE_S = 60;
let time: Attention;
let url = "";

const now = (): number => performance.now();
const seconds = (ms: number): number => Math.round(ms) / 1_000;
const meta = (name: string): string | undefined =>
  document.querySelector<HTMLMetaElement>(`meta[name="reflexarc:${name}"]`)?.content;
const near = (element: Element | undefined, name: string): string | undefined =>
  element?.closest(`[data-${name}]`)?.getAttribute("data-" + name) || meta(name);

/** The person did something, as one does whose video plays. */
export const input = (): void => time.input(now());

export const pageUrl = (): string => url;

/** What an element, or else the page itself, is about. */
export const about = (element?: Element): Properties => ({
  page_url: url,
  content_id: near(element, "content-id"),
  category: near(element, "category"),
});

/** Follow the page from now on. `gone`: send at once, what is kept may be all that is left. `entered`: a page was entered.
 * `isLate`: time counts from now on, otherwise from when there was something of the page to see, before our script had come. */
export const followPage = (options: Options, track: Track, gone: () => void, entered: () => void, isLate: boolean): void => {
  const address = (): string => (options.routes === "hash" ? location.href : location.href.replace(/#.*/, ""));
  let view = "";
  let referrer = document.referrer;
  let part = 0;
  let depth = 0;
  let isExiting = false;

  const measure = (): void => {
    depth = Math.max(depth, Math.min(1, (scrollY + innerHeight) / document.documentElement.scrollHeight || 0));
  };
  const turn = (at = now()): void => time.turn(at, !document.hidden && document.hasFocus());

  const enter = (): void => {
    url = address();
    view = newId();
    part = depth = 0;
    isExiting = false;
    time.take(now());
    turn();
    const asked = new URLSearchParams(location.search);
    const [utm_source, utm_medium, utm_campaign] = ["source", "medium", "campaign"].map((name) => asked.get("utm_" + name));
    const of = about();
    track("page_view", { ...of, title: document.title, referrer, utm_source, utm_medium, utm_campaign }, view);
    if (of.content_id) track("content_view", { ...of, page_url: undefined }, view + ".c");
    entered();
  };
  const leave = (): void => {
    if (!view) return;
    measure();
    const spent = seconds(time.take(now()));
    if (part && !spent) return;
    const of = about();
    track("page_leave", {
      ...{ ...of, view_id: view, part: ++part, time_on_page: spent, scroll_depth: +depth.toFixed(2) },
      time_spent: of.content_id && spent,
    }, view + "." + part);
  };
  const route = (): void => {
    if (!view || address() === url) return;
    leave();
    referrer = url;
    view = "";
    // The application names its new page a moment later.
    setTimeout(() => view || enter(), 0);
  };

  time = attention(Number(options.idle ?? IDLE_S) * 1_000);
  const [load] = performance.getEntriesByType("navigation") as (PerformanceNavigationTiming & { activationStart?: number })[];
  // Whatever the application does with its history, the original comes first, and what it gives or throws is passed on.
  const { navigation } = window as { navigation?: EventTarget };
  if (navigation) listen(navigation, "currententrychange", route);
  else {
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      history[name] = function (...given) {
        original.apply(this, given);
        try {
          route();
        } catch {}
      };
    }
    listen(window, "popstate hashchange", route);
  }
  listen(window, "focus blur", () => turn());
  listen(document, "visibilitychange", () => {
    turn();
    if (document.hidden) {
      leave();
      gone();
    }
  });
  listen(window, "pagehide", () => {
    view || enter();
    time.turn(now(), false); // before it is left: what sending takes is no time that anybody spent here
    leave();
    gone();
  });
  listen(window, "pageshow", (event) => (event as PageTransitionEvent).persisted && enter());
  listen(document, "keydown pointerdown pointermove", input);
  listen(document, "scroll", () => {
    input();
    measure();
  });
  listen(document, "mouseout", (event) => {
    const { relatedTarget, clientY } = event as MouseEvent;
    if (isExiting || relatedTarget || clientY > 0) return;
    isExiting = true;
    track("exit_intent", { page_url: url }, view + ".x");
  });
  enter();
  turn(isLate ? now() : load?.activationStart || load?.responseStart);
};
