/** Events that wait to be sent, kept so that they outlive the page.
 *
 * Every page load has a queue of its own, so that two tabs never send the same event. What a page leaves behind is taken over
 * by the next one, under the lock that its owner held for as long as it lived. Bounded: the newest 500. */

import { guard } from "./guard.ts";
import { newId } from "./state.ts";
import { memory, names, readJson, remove, write } from "./storage.ts";
import type { Waiting } from "./wire.ts";

const EVENTS_MAX = 500;
const EVENT_CHARS_MAX = 16_000;
/** What is kept alive while a page goes may be 64 KiB in all. */
const BATCH_CHARS_MAX = 40_000;

const PREFIX = "queue.";
const name = PREFIX + newId();
let events: Waiting[] = [];
let letGo: (() => void) | undefined;
let leave: (() => void) | undefined;

const save = (): void => (events.length ? write(name, JSON.stringify(events)) : remove(name));

const add = (more: Waiting[], before: Waiting[]): void => {
  events = [...before, ...more].slice(-EVENTS_MAX);
  save();
};

export const push = (waiting: Waiting): void => {
  if (JSON.stringify(waiting).length < EVENT_CHARS_MAX) add([waiting], events);
};

/** The oldest ones that are about one person and not on their way, at most so many and so large. */
export const head = (most: number, flying: Set<string>): Waiting[] => {
  const here = events.filter(({ e }) => !flying.has(e.id));
  let chars = 0;
  return here.slice(
    0,
    here.findIndex(
      ({ w, e }, index) =>
        index >= most || JSON.stringify(w) !== JSON.stringify(here[0]!.w) || (chars += JSON.stringify(e).length) > BATCH_CHARS_MAX,
    ) >>> 0,
  );
};

/** These need not be sent any more. */
export const settle = (ids: Set<string>): void => {
  events = events.filter(({ e }) => !ids.has(e.id));
  save();
};

/** Nobody is to have any of them any more, nor anything else that we keep here. */
export const clear = (): void => {
  events = [];
  memory.clear();
  names("").forEach(remove);
};

/** Hold it as this page's own, and take over what others left; `more`: something came. */
export const hold = (more: () => void): void => {
  if (letGo) return;
  // Back from the bfcache another page may have taken over what we left: what is kept counts.
  events = readJson<Waiting[]>(name, []);
  const { locks } = navigator;
  const leaving = new AbortController();
  const ask = (lock: string, held: () => unknown): unknown =>
    // Plain HTTP has no locks. The server knows an event by its id, should two pages send it.
    locks ? locks.request("reflexarc." + lock, { signal: leaving.signal }, held).catch(() => {}) : held();
  const gone = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  ask(name, () => gone);
  names(PREFIX).forEach((left) => left === name || ask(left, guard(() => {
    add(events, readJson<Waiting[]>(left, []));
    remove(left);
    more();
  })));
  leave = () => leaving.abort();
};

/** A page that goes, into the bfcache perhaps, holds nothing. */
export const release = (): void => {
  leave?.();
  letGo?.();
  letGo = undefined;
};
