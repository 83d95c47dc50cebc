/** What the server decided: taken once, handed to the page's own code or shown, and what came of it told.
 *
 * A decision is marked as taken, for all tabs, before anybody acts on it: it may be lost with a page, it is never acted on twice. */

import { guard } from "./guard.ts";
import { flush } from "./sender.ts";
import { change, state } from "./state.ts";
import type { Decision, Forms, Outcome } from "./wire.ts";

const KEPT_MAX = 200;

/** A decision as the page's own code gets it, with what it has to say of it. */
export interface Handed extends Decision {
  impression(): void;
  click(): void;
  dismiss(): void;
}
export type Handler = (handed: Handed) => void;

const handlers = new Map<string, Handler>();
const waiting = new Map<string, Decision>();
let tell: (decisionId: string, outcome: Outcome) => void;
let forms: ((then: (forms: Forms) => void) => void) | undefined;

/** `told`: an outcome becomes an event. `second`: loads what shows actions; without it they wait for a handler. */
export const follow = (told: typeof tell, second: typeof forms): void => {
  tell = told;
  forms = second;
};

const claim = (id: string, act: () => void): void => {
  const mark = guard(() => {
    const { d, h } = state();
    if (d.includes(id)) return;
    change({ d: [...d, id].slice(-KEPT_MAX), h: [...h, id].slice(-100) });
    flush();
    act();
  });
  if (navigator.locks) navigator.locks.request("reflexarc.taken", mark).catch(() => {});
  else mark();
};

const look = (decision: Decision): void => {
  const { decision_id: id, payload, expire_time: expires } = decision;
  // Nobody would see it in a hidden tab; the server offers it again.
  if (document.hidden || (expires && expires < Date.now() + state().o)) return;
  const handler = handlers.get(decision.action) ?? handlers.get("*");
  const say = (outcome: Outcome) => (): void => tell(id, outcome);
  waiting.delete(id);
  if (handler) {
    claim(id, () => handler({ ...decision, impression: say("impression"), click: say("click"), dismiss: say("dismissal") }));
  } else if (forms && (payload?.title || payload?.text)) {
    forms((second) => {
      const show = second.show(decision, (outcome) => tell(id, outcome));
      if (show) claim(id, show);
    });
  } else waiting.set(id, decision);
};

export const offer = (decisions: Decision[]): void => decisions.forEach(look);

export const on = (action: string, handler: Handler): void => {
  handlers.set(action, handler);
  waiting.forEach(look);
};
