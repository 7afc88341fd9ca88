import { told } from "./api";

export interface Toast {
  id: number;
  kind: "good" | "bad";
  text: string;
  hint?: string | undefined;
}

const GOOD_MS = 4_000;

class Toasts {
  all = $state.raw<Toast[]>([]);
  private next = 1;

  good(text: string): void {
    const toast = this.add({ kind: "good", text });
    setTimeout(() => this.drop(toast.id), GOOD_MS);
  }

  /** An error stays until it is closed, or the screen that it is about is left: it says what to do. */
  bad(error: unknown): void {
    const { message, hint } = told(error);
    this.add({ kind: "bad", text: message, hint });
  }

  drop(id: number): void {
    this.all = this.all.filter((each) => each.id !== id);
  }

  leave(): void {
    this.all = this.all.filter((each) => each.kind === "good");
  }

  private add(toast: Omit<Toast, "id">): Toast {
    const whole = { ...toast, id: this.next++ };
    this.all = [...this.all.slice(-3), whole];
    return whole;
  }
}

export const toasts = new Toasts();
