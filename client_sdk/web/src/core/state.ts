/** What all pages of the site share: who the person is, the session, the server's clock, consent. Kept in one text. */

import { read, readJson, write } from "./storage.ts";
import type { Properties, Who } from "./wire.ts";

const NAME = "state";
/** The state among what the site stores. */
export const STATE = "reflexarc." + NAME;
const SESSION_GAP_MS = 1_800_000;

/** w: who. s, n, t: session, its step, time of its newest event. o: server's clock minus ours, ms. c: consents.
 * h: decisions taken, which the server has not heard of. d: decisions taken, newest last. */
interface State {
  w: Who;
  s?: string;
  n: number;
  t: number;
  o: number;
  c: Record<string, boolean>;
  h: string[];
  d: string[];
}

/** 128 random bits in hex: where `crypto.randomUUID` is not to be had (plain HTTP), this is. */
export const newId = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => (byte + 256).toString(16).slice(1)).join("");

/** The state as it is kept now: another tab may have changed it. */
export const state = (): State => ({
  ...{ n: 0, t: 0, o: 0, c: {}, h: [], d: [] },
  ...readJson<Partial<State>>(NAME, {}),
  ...(read(NAME) ? {} : { w: { a: newId() } }),
}) as State;

/** Changes the state and keeps it. */
export const change = (changed: Partial<State>): State => {
  const kept = { ...state(), ...changed };
  write(NAME, JSON.stringify(kept));
  return kept;
};

/** The next step of the session; a new session after a gap. */
export const step = (now: number): State => {
  const { s, n, t } = state();
  const goesOn = s && Math.abs(now - t) < SESSION_GAP_MS;
  return change({ s: goesOn ? s : newId().slice(16), n: goesOn ? n + 1 : 1, t: now });
};

/** The consents that are kept; reading them keeps nothing. */
export const consents = (): Record<string, boolean> => readJson<Partial<State>>(NAME, {}).c ?? {};

/** What is true of this moment on this device. */
export const surroundings = (kept: State): Properties => ({
  session_id: kept.s,
  session_step: kept.n,
  locale: navigator.language,
  offset_minutes: -new Date().getTimezoneOffset(),
  device_class: matchMedia("(pointer:coarse)").matches ? (Math.min(screen.width, screen.height) < 600 ? "mobile" : "tablet") : "desktop",
  online: navigator.onLine,
  sdk_version: VERSION,
});

declare const VERSION: string;
