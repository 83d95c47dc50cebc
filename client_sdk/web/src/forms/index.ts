/** The second bundle: forms, and what is shown of actions. Loaded by the first one when a page needs it. */

import type { Forms, FormsPort } from "../core/wire.ts";
import { build, takeCharge } from "./form.ts";
import { language } from "./messages.ts";
import { createPost, type Post } from "./post.ts";
import type { Declaration } from "./rules.ts";
import { show } from "./show.ts";

const taken = new WeakSet<Element>();
const declarations = new Map<string, Promise<Declaration>>();
let post: Post | undefined;

const declarationOf = (id: string, element: Element, port: FormsPort): Promise<Declaration> => {
  let asked = declarations.get(id);
  if (!asked) {
    asked = fetch(`${port.options.server}forms/${encodeURIComponent(id)}.json`, {
      ...{ credentials: "omit", headers: { "accept-language": language(element) } },
    }).then((response) => {
      if (!response.ok) throw new Error(String(response.status));
      return response.json() as Promise<Declaration>;
    });
    declarations.set(id, asked);
    // The page's own form goes on by itself; it is asked again when somebody turns to it.
    asked.catch(() => declarations.delete(id));
  }
  return asked;
};

const scan = (port: FormsPort): void => {
  post ??= createPost(port);
  document.querySelectorAll<HTMLElement>("[data-form]").forEach((element) => {
    const id = element.dataset.form;
    if (!id || taken.has(element)) return;
    taken.add(element);
    declarationOf(id, element, port)
      .then((declaration) => {
        const form = element instanceof HTMLFormElement ? element : element.querySelector("form") ?? build(declaration, element);
        takeCharge(form, declaration, port, post!);
      })
      .catch((error) => {
        console.debug(error);
        taken.delete(element);
      });
  });
};

window.reflexarcForms = { show, scan } satisfies Forms;
