/** What travels between page and server, and what the modules say of it to each other. Types only. */

export type Value = string | number | boolean;
export type Properties = Record<string, Value | undefined | null>;

/** One event as it is sent. `id`: unique, a retry is a duplicate. `time`: ms since the Unix epoch, by the page's clock. */
export interface WireEvent {
  id: string;
  type: string;
  time: number;
  properties: Properties;
  context: Properties;
}

/** Who an event is about: an anonymous id and, once the person is known, a known id and what proves it. */
export interface Who {
  a: string;
  k?: string | undefined;
  p?: string | undefined;
}

/** An event that waits to be sent, with who it is about: identities change while events wait. */
export interface Waiting {
  e: WireEvent;
  w: Who;
}

/** What the server decided for this person. `expire_time`: ms by the server's clock, 0 or absent: never. */
export interface Decision {
  decision_id: string;
  trigger_id: string;
  action: string;
  payload: Record<string, unknown>;
  expire_time?: number;
}

export interface Answer {
  now: number;
  verdicts: [id: string, verdict: string, reason?: string][];
  decisions?: Decision[];
  retry_after_ms?: number;
}

/** What a person did with an action. */
export type Outcome = "impression" | "click" | "dismissal";
export type Tell = (outcome: Outcome) => void;

/** How the page set us up. `server` ends with a slash. `idle`: ms without input after which time is not counted. */
export interface Options {
  key: string;
  server: string;
  consent?: string | undefined;
  purpose?: string | undefined;
  gpc?: string | undefined;
  routes?: string | undefined;
  auto?: string | undefined;
  render?: string | undefined;
  partial?: string | undefined;
  idle?: string | number | undefined;
  poll?: string | number | undefined;
}

/** What the second bundle gives to the first. */
export interface Forms {
  /** What shows an action as text, or nothing where it cannot be shown now. */
  show(decision: Decision, tell: Tell): (() => void) | undefined;
  /** Takes charge of every form of the page that names a declaration. */
  scan(port: FormsPort): void;
}

/** What the second bundle needs of the first. */
export interface FormsPort {
  options: Options;
  /** Consent was given: partial answers may be kept and sent. */
  open(): boolean;
  who(): Who;
  now(): number;
  id(): string;
  read(name: string): string | null;
  write(name: string, text: string): void;
}
