import { Store } from "./store";

export type Kind = "conn" | "sub" | "pub" | "join" | "leave" | "call" | "error";

export interface Entry {
  id: number;
  at: number;
  kind: Kind;
  channel: string;
  /** One line in our own words or the payload itself. */
  text: string;
  /** What an opened entry shows; `undefined` when the line says it all. */
  detail?: unknown;
  offset?: number;
}

const KEPT = 1000;

/** The newest events of this page; older ones are dropped, so that a fast stream cannot fill the memory. */
export class Log extends Store {
  entries: Entry[] = [];
  dropped = 0;
  #next = 1;

  add(kind: Kind, channel: string, text: string, more: { detail?: unknown; offset?: number } = {}): void {
    this.entries.push({ id: this.#next++, at: Date.now(), kind, channel, text, ...more });
    if (this.entries.length > KEPT * 1.2) {
      this.dropped += this.entries.length - KEPT;
      this.entries = this.entries.slice(-KEPT);
    }
    this.changed();
  }

  clear(): void {
    this.entries = [];
    this.dropped = 0;
    this.changed();
  }
}
