/** What a declared field asks of what was written into it. Pure; the server asks the same once more and has the last word. */

export interface Field {
  name: string;
  label?: string | Record<string, string>;
  type: "text" | "email" | "phone" | "textarea" | "checkbox" | "select" | "hidden";
  required?: boolean;
  min_length?: number;
  max_length?: number;
  pattern?: string;
  consent?: string;
  /** Of telephone numbers without a country code; which there are, the server knows. */
  region?: string;
  options?: (string | { value: string; label?: string })[];
}

export interface Declaration {
  form_id: string;
  form_type: string;
  fields: Field[];
  honeypot?: string;
}

export type Problem = "required" | "consent" | "email" | "phone" | "short" | "long" | "pattern" | "option";

const EMAIL = /^[^\s@<>()",;:\\]+@[^\s@.<>()",;:\\]+(\.[^\s@.<>()",;:\\]+)+$/;
const EMAIL_MAX = 254;
const NATIONAL = /^\d{3,15}$/;
const E164 = /^\+[1-9]\d{6,14}$/;
/** Longer values are not given to a declared pattern: one that backtracks would stop the page. The server's does not. */
const PATTERN_CHARS_MAX = 1_000;

/** A telephone number as E.164 writes it, as far as it can be told without knowing the country. */
export const phone = (written: string): string => written.replace(/[\s().\/-]/g, "").replace(/^00/, "+");

/** What is sent for what was written. */
export const normalised = (field: Field, value: string | boolean): string | boolean => {
  if (typeof value !== "string") return value;
  const trimmed = value.trim();
  return field.type === "phone" && trimmed ? phone(trimmed) : trimmed;
};

const matches = (pattern: string, value: string): boolean => {
  try {
    return value.length > PATTERN_CHARS_MAX || new RegExp(`^(?:${pattern})$`, "u").test(value);
  } catch {
    return true; // the server's dialect, not ours
  }
};

export const optionValue = (option: string | { value: string }): string => (typeof option === "string" ? option : option.value);

/** What is wrong with a value, after `normalised`; nothing where it may be sent. */
export const problem = (field: Field, value: string | boolean): Problem | undefined => {
  if (field.type === "checkbox") return field.required && value !== true ? (field.consent ? "consent" : "required") : undefined;
  const text = String(value);
  if (!text.trim()) return field.required ? "required" : undefined;
  const length = [...text].length;
  if (field.type === "email" && (!EMAIL.test(text) || text.length > EMAIL_MAX || text.includes(".."))) return "email";
  if (field.type === "phone" && !(field.region && !text.startsWith("+") ? NATIONAL : E164).test(text)) return "phone";
  if (length < (field.min_length ?? 0)) return "short";
  if (length > (field.max_length ?? Infinity)) return "long";
  if (field.pattern && !matches(field.pattern, text)) return "pattern";
  if (field.type === "select" && field.options && !field.options.some((option) => optionValue(option) === text)) return "option";
  return undefined;
};
