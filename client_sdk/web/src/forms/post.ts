/** Brings forms to the server: kept until it has answered, in the browser where that was allowed, else in memory. */

import type { FormsPort } from "../core/wire.ts";
import { guard, listen } from "../core/guard.ts";
import { language } from "./messages.ts";

export interface Sending {
  key: string;
  anonymous_id: string;
  known_id?: string;
  known_proof?: string;
  id: string;
  partial: boolean;
  values: Record<string, string | boolean>;
  page_url: string;
  time: number;
}

/** What became of it: taken, taken with mistakes named, kept to be sent again, or refused for good. */
export type Told = { is: "sent" | "kept" | "failed" } | { is: "wrong"; errors: Record<string, string> };

type Kept = Record<string, { form: string; sending: Sending }>;

const NAME = "forms";
const KEPT_MAX = 20;
const AGE_MS_MAX = 7 * 86_400_000;
const PAUSE_MS = 5_000;

export interface Post {
  send(form: string, sending: Sending): Promise<Told>;
}

export const createPost = (port: FormsPort): Post => {
  let memory: Kept = {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flying = new Set<string>();

  const kept = (): Kept => {
    try {
      return port.open() ? (JSON.parse(port.read(NAME) ?? "{}") as Kept) : memory;
    } catch {
      return {};
    }
  };
  const keep = (changed: Kept): void => {
    // In memory too: what somebody has sent goes out also when they take consent back, and the browser keeps nothing of it.
    memory = Object.fromEntries(Object.entries(changed).slice(-KEPT_MAX));
    if (port.open()) port.write(NAME, JSON.stringify(memory));
  };
  const drop = (id: string, time: number): void => {
    const { [id]: held, ...rest } = kept();
    if (held && held.sending.time <= time) keep(rest); // what was written since then is another one
  };

  const deliver = async (form: string, sending: Sending): Promise<Told> => {
    const { id, time } = sending;
    flying.add(id);
    try {
      const response = await fetch(port.options.server + "forms/" + encodeURIComponent(form), {
        ...{ method: "POST", body: JSON.stringify(sending), credentials: "omit", keepalive: true },
        headers: { "content-type": "text/plain", "accept-language": language(document.documentElement) },
      });
      const { status } = response;
      if (status === 429 || status >= 500) throw new Error();
      drop(id, time);
      if (status === 422) return { is: "wrong", errors: ((await response.json()) as { errors?: Record<string, string> }).errors ?? {} };
      return { is: response.ok ? "sent" : "failed" };
    } catch {
      clearTimeout(timer);
      timer = setTimeout(again, PAUSE_MS);
      return { is: "kept" };
    } finally {
      flying.delete(id);
    }
  };
  const again = guard(() => {
    for (const { form, sending } of Object.values(kept())) {
      if (sending.time < port.now() - AGE_MS_MAX) drop(sending.id, sending.time);
      else if (!flying.has(sending.id)) void deliver(form, sending);
    }
  });

  listen(window, "online", again);
  again();
  return {
    send(form, sending) {
      keep({ ...kept(), [sending.id]: { form, sending } });
      return deliver(form, sending);
    },
  };
};
