/** What keeps the page whole: no exception of ours ever reaches it. */

/** The function, wrapped: it returns nothing and never throws. */
export const guard =
  <A extends unknown[]>(body: (...given: A) => unknown) =>
  (...given: A): void => {
    try {
      body(...given);
    } catch (error) {
      // The page is more important than what we would have learnt.
      console.debug(error);
    }
  };

/** Listens to some events (names parted by blanks), in the capture phase and never in the way. */
export const listen = (target: EventTarget, types: string, heard: (event: Event) => unknown): void =>
  types.split(" ").forEach((type) => target.addEventListener(type, guard(heard), { capture: true, passive: true }));
