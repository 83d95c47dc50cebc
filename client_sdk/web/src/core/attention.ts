/** How long a page is attended to. Pure: every moment is given, in ms of a clock that never goes back. */

export interface Attention {
  /** The page is attended to from now on, or is not. */
  turn(now: number, attended: boolean): void;
  /** The person did something: not idle. */
  input(now: number): void;
  /** The time since it was last taken, ms. */
  take(now: number): number;
}

/** `idle`: without input for so long, ms, nobody is there. */
export const attention = (idle: number): Attention => {
  let attended = false;
  let since = 0;
  let lastInput = 0;
  let sum = 0;
  const settle = (now: number): void => {
    if (attended) sum += Math.max(0, Math.min(now, lastInput + idle) - since);
    since = now;
  };
  return {
    turn(now, on) {
      settle(now);
      if (on && !attended) lastInput = now;
      attended = on;
    },
    input(now) {
      settle(now);
      lastInput = now;
    },
    take(now) {
      settle(now);
      const taken = sum;
      sum = 0;
      return taken;
    },
  };
};
