/** The second bundle: forms and what is shown of actions. */
import type { Forms } from "../core/wire.ts";
window.reflexarcForms = { show: () => false, scan() {} } satisfies Forms;
