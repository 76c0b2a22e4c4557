import { useEffect, useReducer } from "preact/hooks";

/** Something that changes and tells its viewers, at most once a frame. */
export class Store {
  #viewers = new Set<() => void>();
  #planned = false;

  changed(): void {
    if (this.#planned) return;
    this.#planned = true;
    const tell = () => {
      this.#planned = false;
      for (const viewer of this.#viewers) viewer();
    };
    // A hidden page draws no frames, yet its state must not go stale.
    if (document.hidden) setTimeout(tell, 100);
    else requestAnimationFrame(tell);
  }

  watch(viewer: () => void): () => void {
    this.#viewers.add(viewer);
    return () => this.#viewers.delete(viewer);
  }
}

export function useStore<T extends Store>(store: T): T {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => store.watch(() => redraw(undefined as never)), [store]);
  return store;
}

/** Redraws every second while `on`, for countdowns. Returns the wall clock in seconds. */
export function useSeconds(on: boolean): number {
  const [now, set] = useReducer((_: number, next: number) => next, Date.now() / 1000);
  useEffect(() => {
    if (!on) return;
    const timer = setInterval(() => set(Date.now() / 1000), 1000);
    return () => clearInterval(timer);
  }, [on]);
  return on ? now : Date.now() / 1000;
}
