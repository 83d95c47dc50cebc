/** Brings what waits to the server, in batches, as often as it takes. One batch at a time, but for those of a page that goes. */

import { guard } from "./guard.ts";
import { head, settle } from "./queue.ts";
import { change, state } from "./state.ts";
import type { Answer, Decision, Options } from "./wire.ts";

const SOON_MS = 100;
const ANSWER_MS_MAX = 15_000;
const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 300_000;
const BATCH_EVENTS_MAX = 50;
/** What a batch set off is decided a moment after it was stored: the page asks again after so long. */
const ASK_AGAIN_MS = [400, 2_000];

const flying = new Set<string>();
let set: Options | undefined;
let decided: (decisions: Decision[]) => void;
let timer: ReturnType<typeof setTimeout> | undefined;
let due = Infinity;
let restUntil = 0;
let flights = 0;
let failures = 0;
let isAsking = false;
let asks: number[] = [];

/** Send from now on; without options, no more from this page. */
export const start = (options?: Options, heard: typeof decided = () => {}): void => {
  set = options;
  decided = heard;
};

const later = (ms: number): void => {
  clearTimeout(timer);
  due = performance.now() + ms;
  timer = setTimeout(guard(() => {
    due = Infinity;
    if (!flights) send();
  }), ms);
};

const rest = (ms: number): void => {
  restUntil = performance.now() + ms;
  later(ms);
};

/** Something waits: send it soon, as soon as the server wants it. */
export const flush = (): void => {
  const pause = Math.max(SOON_MS, restUntil - performance.now());
  if (performance.now() + pause < due) later(pause);
};

/** The network is back: no pause is worth keeping. */
export const wake = (): void => {
  failures = 0;
  rest(SOON_MS);
};

/** Send now: the page goes, and what is kept may be all that is left of it. */
export const send = (): void => {
  const waiting = head(BATCH_EVENTS_MAX, flying);
  const { w, o, h } = state();
  if (!set || !(waiting.length || h.length || isAsking)) return;
  isAsking = false;
  const ids = new Set(waiting.map(({ e }) => e.id));
  const who = waiting[0]?.w ?? w;
  const began = Date.now();
  const body = JSON.stringify({
    key: set.key,
    sent: began + o,
    anonymous_id: who.a,
    known_id: who.k,
    known_proof: who.p,
    batch: waiting.map(({ e }) => ({ ...e, time: e.time + o })),
    handed: h,
  });
  let status = 0;
  ids.forEach((id) => flying.add(id));
  flights++;
  // As text, so that the browser need not ask the server first; kept alive, so that it arrives when the page is gone.
  fetch(set.server + "e", {
    ...{ method: "POST", body, credentials: "omit", keepalive: true },
    signal: AbortSignal.timeout?.(ANSWER_MS_MAX),
  } as RequestInit)
    .then((response) => {
      status = response.status;
      return response.json() as Promise<Answer>;
    })
    // No answer, or none that is ours: all of it is sent again.
    .catch(() => undefined)
    .then((answer) => {
      ids.forEach((id) => flying.delete(id));
      flights--;
      if (!set) return;
      if (status === 200 && answer?.verdicts) take(answer, ids, h, (began + Date.now()) / 2);
      else refuse(status, ids, answer?.retry_after_ms ?? 0);
    })
    .catch(() => {});
};

const take = (answer: Answer, ids: Set<string>, handed: string[], middle: number): void => {
  failures = 0;
  change({ o: Math.round(answer.now - middle), h: state().h.filter((id) => !handed.includes(id)) });
  const told = new Set(answer.verdicts.filter(([, verdict]) => verdict !== "later").map(([id]) => id));
  settle(told);
  if (ids.size) asks = [...ASK_AGAIN_MS];
  decided(answer.decisions ?? []);
  if (answer.retry_after_ms || told.size < ids.size) rest(answer.retry_after_ms || PAUSE_MS);
  else if (head(1, flying).length || state().h.length) later(SOON_MS);
  else {
    const next = asks.shift() ?? Number(set!.poll || 0) * 1_000;
    if (next && !document.hidden) {
      isAsking = true;
      later(next);
    }
  }
};

const refuse = (status: number, ids: Set<string>, pause: number): void => {
  if (status === 401 || status === 403) start();
  else if (ids.size && [400, 413].includes(status)) {
    // The server will never take these, and nothing behind them would come through.
    settle(ids);
    later(SOON_MS);
  } else rest(pause + Math.random() * Math.min(PAUSE_MS_MAX, PAUSE_MS * 2 ** ++failures));
};
