export type Theme = "auto" | "light" | "dark";

const KEY = "spinward-theme";
const ORDER: Theme[] = ["auto", "light", "dark"];

export function storedTheme(): Theme {
  let stored: string | null = null;
  try {
    stored = localStorage.getItem(KEY);
  } catch {
    // Storage may be forbidden; the page then follows the system.
  }
  const theme = ORDER.find((known) => known === stored) ?? "auto";
  apply(theme);
  return theme;
}

export function nextTheme(theme: Theme): Theme {
  return ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
}

export function showTheme(theme: Theme): void {
  apply(theme);
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // As above.
  }
}

function apply(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
}
