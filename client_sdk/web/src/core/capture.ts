/** What is done on a page, without a line of code per button: calls to action, downloads, videos. */

import { listen } from "./guard.ts";
import { about, input, type Track } from "./page.ts";
import type { Properties } from "./wire.ts";

const CLICKABLE = "a[href],button,[role=button],[type=submit],[type=button],[data-cta],[data-video]:not(video)";
const FILE = /\.(pdf|zip|gz|7z|dmg|exe|msi|apk|csv|(xls|doc|ppt)x?|od[tsp]|epub|mp[34]|mov|webm)$/i;
const QUARTERS = [0.25, 0.5, 0.75, 1];
/** A player's last frames are not always played. */
const WHOLE = 0.97;
const TEXT_MAX = 120;

/** Listen to the page: every click on something that can be clicked, and how far a video was watched. */
export const capture = (track: Track): void => {
  const started = new WeakMap<Element, number>();

  const tell = (kind: string, element: HTMLElement, label: string | null | undefined, more: Properties): void => {
    if (element.closest("[data-ignore]")) return;
    const container = element.closest("[data-section],section,article,nav,header,footer,aside,main,form") ?? document.body;
    track("button_click", {
      ...{ kind, label: label?.replace(/\s+/g, " ").trim().slice(0, TEXT_MAX) },
      section: container.getAttribute("data-section") || container.id || container.localName,
      position: [...container.querySelectorAll(CLICKABLE)].indexOf(element) + 1 || undefined,
      ...about(element),
      ...more,
    });
  };

  listen(document, "click auxclick", (event) => {
    if (event.type === "auxclick" && (event as MouseEvent).button !== 1) return;
    const link = (event.composedPath()[0] as Element).closest<HTMLAnchorElement>(CLICKABLE);
    if (!link) return;
    const { cta, video } = link.dataset;
    const isFile = link.hasAttribute("download") || FILE.test(link.pathname);
    tell(
      video !== undefined ? "video" : isFile ? "download" : "cta",
      link,
      cta || video || link.ariaLabel || link.textContent || (link as unknown as HTMLInputElement).value,
      { target: link.href?.replace(/#.*/, "") || link.id },
    );
  });

  listen(document, "play timeupdate ended", (event) => {
    const video = event.target as HTMLVideoElement;
    if (video.localName !== "video") return;
    input();
    const { duration, played } = video;
    let watched = 0;
    for (let at = played.length; at--; ) watched += played.end(at) - played.start(at);
    const reached = QUARTERS.filter((quarter) => watched / duration >= Math.min(quarter, WHOLE)).length;
    for (let next = started.get(video) ?? 0; next <= reached; started.set(video, ++next)) {
      tell("video", video, video.dataset.video || video.ariaLabel || video.title, {
        target: video.currentSrc.replace(/[?#].*/, ""),
        progress: QUARTERS[next - 1] ?? 0,
      });
    }
  });
};
