/** Text kept in this browser for this site; in memory where storage is blocked or full. Never throws. */

const PREFIX = "reflexarc.";
export const memory = new Map<string, string>();

export const read = (name: string): string | null => {
  try {
    return memory.get(name) ?? localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
};

export const remove = (name: string): void => {
  memory.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {}
};

export const write = (name: string, text: string): void => {
  try {
    localStorage.setItem(PREFIX + name, text);
    memory.delete(name);
  } catch {
    memory.set(name, text);
  }
};

/** The names kept that begin so. */
export const names = (beginning: string): string[] => {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(PREFIX + beginning)).map((name) => name.slice(PREFIX.length));
  } catch {
    return [];
  }
};

/** The value kept as JSON, or the other one when there is none that can be read. */
export const readJson = <T>(name: string, otherwise: T): T => {
  try {
    return (JSON.parse(read(name) ?? "null") as T) ?? otherwise;
  } catch {
    return otherwise;
  }
};
