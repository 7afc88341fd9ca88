import { api, onSignedOut } from "./api";
import type { BrowserSession } from "./types";
import { secret } from "./secret.svelte";

class Session {
  state = $state.raw<BrowserSession | undefined>();
  problem = $state.raw<unknown>();
  /** It was, and ended without being asked to: the key was revoked or replaced, or is too old. */
  ended = $state(false);

  private readonly leaving = new Set<() => void>();

  constructor() {
    onSignedOut(() => {
      if (!this.state?.signedIn) return;
      this.state = { ...this.state, signedIn: false };
      this.ended = true;
    });
  }

  /** Whether what this scope allows may be done: always without keys. */
  may(scope: "inference" | "admin" | "debug"): boolean {
    return Boolean(this.state?.signedIn && (!this.state.key || this.state.key.scopes.includes(scope)));
  }

  async look(): Promise<void> {
    try {
      this.state = await api.get<BrowserSession>("/ui/session");
      this.problem = undefined;
    } catch (error) {
      this.problem = error;
    }
  }

  /** Whether the session is still good, when something was refused that cannot say why. A server that is down changes nothing. */
  async check(): Promise<void> {
    const told = await api.get<BrowserSession>("/ui/session").catch(() => undefined);
    if (!told) return;
    this.ended ||= Boolean(this.state?.signedIn && !told.signedIn);
    this.state = told;
  }

  async signIn(key: string): Promise<void> {
    await api.post("/ui/session", { key });
    this.ended = false;
    await this.look();
  }

  /** Called when the person signs out: what is theirs goes. (A session that ends by itself takes nothing away.) */
  onLeave(forget: () => void): void {
    this.leaving.add(forget);
  }

  async signOut(): Promise<void> {
    await api.delete("/ui/session");
    secret.forget();
    for (const forget of this.leaving) forget();
    try {
      sessionStorage.clear();
    } catch {
      /* a browser that keeps nothing */
    }
    await this.look();
    this.ended = false;
  }
}

export const session = new Session();
