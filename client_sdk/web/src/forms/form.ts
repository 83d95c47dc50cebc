/** One form of the page: made of its declaration where there is none, validated, its mistakes said where they are, sent. */

import { guard } from "../core/guard.ts";
import type { FormsPort, Who } from "../core/wire.ts";
import { language, message, type Message } from "./messages.ts";
import type { Post, Sending } from "./post.ts";
import { type Declaration, type Field, normalised, optionValue, problem } from "./rules.ts";

type Input = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;
const PARTIAL_MS = 1_500;
const SETTLE_MS = 150;

export const make = <K extends keyof HTMLElementTagNameMap>(
  name: K, given: Partial<HTMLElementTagNameMap[K]> = {}, ...children: (Node | string)[]
): HTMLElementTagNameMap[K] => {
  const element = Object.assign(document.createElement(name), given);
  element.append(...children);
  return element;
};

const labelOf = ({ label, name }: Field, element: Element): string =>
  typeof label === "object" ? label[language(element)] ?? Object.values(label)[0] ?? name : label ?? name;

/** The form that a declaration describes, into an element that has none. */
export const build = (declaration: Declaration, into: Element): HTMLFormElement => {
  const form = make("form");
  for (const field of declaration.fields) {
    const { name, type } = field;
    const id = `reflexarc-${declaration.form_id}-${name}`;
    const common = { id, name, required: !!field.required };
    let input: Input;
    if (type === "textarea") input = make("textarea", common);
    else if (type === "select") {
      input = make("select", common, make("option", { value: "" }), ...(field.options ?? []).map((option) => {
        const value = optionValue(option);
        return make("option", { value }, (typeof option === "object" && option.label) || value);
      }));
    } else input = make("input", { ...common, type: type === "phone" ? "tel" : type });
    if (type === "email") input.autocomplete = "email";
    if (type === "phone") input.autocomplete = "tel";
    if (type === "hidden") form.append(input);
    else {
      const label = make("label", { htmlFor: id }, labelOf(field, into));
      form.append(make("p", {}, ...(type === "checkbox" ? [input, " ", label] : [label, " ", input])));
    }
  }
  form.append(make("p", {}, make("button", { type: "submit" }, message(into, "submit"))));
  into.append(form);
  return form;
};

/** Whose a submission is: of a person who is signed in also who that is, with what proves it. */
const whose = ({ a, k, p }: Who): Pick<Sending, "anonymous_id" | "known_id" | "known_proof"> => ({
  ...{ anonymous_id: a }, ...(k ? { known_id: k, known_proof: p ?? "" } : {}),
});

export const takeCharge = (form: HTMLFormElement, declaration: Declaration, port: FormsPort, post: Post): void => {
  const { form_id, fields, honeypot } = declaration;
  let id = port.id();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let told = "";
  let isSending = false;
  const refused: Record<string, { value: string | boolean | undefined; text: string }> = {};
  const status = make("p", { className: "reflexarc-status" });
  status.setAttribute("role", "status");
  const trap = make("input", { name: honeypot ?? "", tabIndex: -1, autocomplete: "off" });

  const inputOf = (field: Field): Input | undefined => {
    const found = form.elements.namedItem(field.name);
    return (found instanceof RadioNodeList ? found[0] : found) as Input | undefined;
  };
  const valueOf = (field: Field): string | boolean | undefined => {
    const found = form.elements.namedItem(field.name);
    if (!found) return undefined;
    return normalised(field, field.type === "checkbox" ? (found as HTMLInputElement).checked : (found as Input | RadioNodeList).value);
  };
  const values = (): Sending["values"] => {
    const found: Sending["values"] = honeypot && trap.value ? { [honeypot]: trap.value } : {};
    for (const field of fields) {
      const value = valueOf(field);
      if (value !== undefined) found[field.name] = value;
    }
    return found;
  };
  const sending = (partial: boolean): Sending => ({
    ...whose(port.who()),
    ...{ key: port.options.key, id, partial, values: values(), page_url: location.href.replace(/#.*/, ""), time: port.now() },
  });

  // -- what is wrong, said where it is -------------------------------------------------------------------------------

  const say = (field: Field, text: string): void => {
    const input = inputOf(field);
    if (!input) return;
    const errorId = `reflexarc-${form_id}-${field.name}-error`;
    let error = form.querySelector("#" + CSS.escape(errorId));
    const described = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((name) => name && name !== errorId);
    if (text) {
      if (!error) {
        error = make("span", { id: errorId, className: "reflexarc-error" });
        (input.closest("label") ?? input).after(error);
      }
      described.push(errorId);
    }
    if (error) error.textContent = text;
    input.setAttribute("aria-invalid", String(!!text));
    if (described.length) input.setAttribute("aria-describedby", described.join(" "));
    else input.removeAttribute("aria-describedby");
  };
  const check = (field: Field): boolean => {
    const value = valueOf(field);
    const found = value === undefined ? undefined : problem(field, value);
    // What the server said of a value holds until it is another one.
    const { [field.name]: refusal } = refused;
    say(field, found ? message(form, found, found === "short" ? field.min_length : field.max_length) : refusal && refusal.value === value ? refusal.text : "");
    return !found;
  };
  const fieldOf = (event: Event): Field | undefined => fields.find(({ name }) => name === (event.target as Input).name);
  const report = (name: Message | ""): void => {
    status.textContent = name && ((name === "sent" && form.dataset.thanks) || message(form, name));
  };
  const point = (wrong: Field[]): void => {
    report("check");
    inputOf(wrong[0]!)?.focus();
  };

  // -- what was begun ------------------------------------------------------------------------------------------------

  const keepPartial = (): void => {
    clearTimeout(timer);
    const now = sending(true);
    const written = JSON.stringify(now.values);
    const isSomething = fields.some(({ type, name }) => type !== "hidden" && type !== "select" && now.values[name]);
    if (isSending || !isSomething || written === told || !port.open() || port.options.partial === "off") return;
    told = written;
    void post.send(form_id, now);
  };

  const submit = async (): Promise<void> => {
    if (isSending) return;
    const wrong = fields.filter((field) => !check(field));
    if (wrong.length) return point(wrong);
    isSending = true;
    clearTimeout(timer);
    report("");
    const outcome = await post.send(form_id, sending(false));
    isSending = false;
    if (outcome.is === "wrong") {
      const { errors } = outcome;
      const named = fields.filter(({ name }) => errors[name]);
      named.forEach((field) => {
        refused[field.name] = { value: valueOf(field), text: String(errors[field.name]) };
        check(field);
      });
      return named.length ? point(named) : report("failed");
    }
    report(outcome.is);
    if (outcome.is === "failed") return;
    form.reset();
    id = port.id();
    told = "";
    form.dispatchEvent(new CustomEvent("reflexarc:sent", { bubbles: true, detail: { form_id, kept: outcome.is === "kept" } }));
  };

  form.noValidate = true; // the browser's own bubbles would say the same a second time
  if (honeypot) {
    // Out of sight for people and what reads to them; robots fill in what has a name.
    const hidden = make("div", {}, trap);
    hidden.setAttribute("aria-hidden", "true");
    Object.assign(hidden.style, { position: "absolute", left: "-9999px", width: "1px", height: "1px", overflow: "hidden" });
    form.append(hidden);
  }
  form.append(status);
  form.addEventListener("submit", guard((event: Event) => {
    event.preventDefault();
    submit().catch(() => report("failed"));
  }));
  form.addEventListener("focusout", guard((event: Event) => {
    const field = fieldOf(event);
    // A message that appears moves what is under it: not while somebody presses the button there.
    if (field && valueOf(field) && !((event as FocusEvent).relatedTarget instanceof HTMLButtonElement)) setTimeout(guard(() => check(field)), SETTLE_MS);
  }));
  form.addEventListener("input", guard((event: Event) => {
    const field = fieldOf(event);
    if (field && (event.target as Input).getAttribute("aria-invalid") === "true") check(field);
    clearTimeout(timer);
    timer = setTimeout(guard(keepPartial), PARTIAL_MS);
  }));
  const leave = guard(keepPartial);
  window.addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.hidden && leave());
};
