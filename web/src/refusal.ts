/** A refusal with the server's reason for it. */

import { explainToken, type Question } from "./dev";

export interface Refusal {
  code: number;
  message: string;
  /** What the code means in general, or the reason in this case where the server tells it. */
  reason: string;
  /** What to change: one of these is enough. */
  changes: string[];
}

/** What the server would decide now, if it would refuse. */
async function refusalNow(question: Question): Promise<Refusal | null> {
  const told = await explainToken(question);
  if (!told || typeof told !== "object") return null;
  const { code, message, reason, change } = told as Record<string, unknown>;
  if (typeof code !== "number" || typeof reason !== "string") return null;
  return { code, message: String(message), reason: `${reason}.`, changes: Array.isArray(change) ? change.map(String) : [] };
}

/** Asks the server for the rule behind a refusal; without an answer the general meaning stays. */
export async function explained(refusal: Refusal, question: Question): Promise<Refusal> {
  const now = await refusalNow(question);
  // Where the code is another one, it was refused for another reason.
  return now?.code === refusal.code ? { ...refusal, reason: now.reason, changes: now.changes } : refusal;
}

/** What to change so that a token connects. */
export async function changesFor(token: string): Promise<string[]> {
  return (await refusalNow({ token, action: "connect" }))?.changes ?? [];
}

const OPTIONS = /\bset (channel\.\S+?\.\w+(?: and channel\.\S+?\.\w+)*) to (true|false)/;
const HISTORY = /^set channel\.\S+\.history_size and /;
const NAMESPACE = /^add a namespace ("(?:[^"\\]|\\.)*") to channel\.namespaces/;

/** The line of a configuration file that a change asks for, or the change itself. */
export function lineOf(change: string): string {
  const options = OPTIONS.exec(change);
  if (options) {
    const names = options[1].split(" and ").map((path) => path.slice(path.lastIndexOf(".") + 1));
    return names.map((name) => `${JSON.stringify(name)}: ${options[2]}`).join(", ");
  }
  if (HISTORY.test(change)) return '"history_size": 100, "history_ttl": "1h"';
  const namespace = NAMESPACE.exec(change);
  return namespace ? `{ "name": ${namespace[1]}, "allow_subscribe_for_client": true }` : change;
}
