export type Theme = "auto" | "light" | "dark";

const NAME = "lanhaven.theme";
const THEMES: readonly Theme[] = ["auto", "light", "dark"];

function kept(): Theme {
  try {
    return THEMES.find((each) => each === localStorage.getItem(NAME)) ?? "auto";
  } catch {
    return "auto"; // a browser that keeps nothing
  }
}

class Themes {
  chosen = $state<Theme>(kept());

  constructor() {
    this.show();
  }

  get dark(): boolean {
    return this.chosen === "dark" || (this.chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      /* as above */
    }
    this.show();
  }

  private show(): void {
    if (this.chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.chosen;
  }
}

export const themes = new Themes();
