/** All keys as they are now, and what is done with them. */
import { api } from "../../lib/api";
import { live } from "../../lib/live.svelte";
import { secret } from "../../lib/secret.svelte";
import { serverTime } from "../../lib/servertime";
import { session } from "../../lib/session.svelte";
import { toasts } from "../../lib/toasts.svelte";
import type { ApiKey, NewApiKey } from "../../lib/types";
import { change, newKey, type KeyForm } from "./form";

const EVERY_MS = 5_000;
const SOON_MS = 800;

class Keys {
  all = $state.raw<ApiKey[]>([]);
  known = $state(false);
  problem = $state.raw<unknown>();
  now = $state(serverTime.now());
  /** The key that was just made: shown until it is closed. */
  fresh = $state.raw<NewApiKey | undefined>();
  private soon: ReturnType<typeof setTimeout> | undefined;

  /** Keep them fresh until the returned function is called: their use changes with every request. */
  watch(): () => void {
    void this.look();
    const stop = session.may("debug") ? live.listen(() => (this.soon ??= setTimeout(() => void this.look(), SOON_MS))) : () => {};
    const timer = setInterval(() => document.hidden || void this.look(), EVERY_MS);
    return () => {
      stop();
      clearInterval(timer);
      this.fresh = undefined; // shown once
    };
  }

  async look(): Promise<void> {
    try {
      this.all = (await api.get<{ keys: ApiKey[] }>("/admin/keys")).keys;
      this.problem = undefined;
      this.known = true;
    } catch (error) {
      this.problem = error;
    } finally {
      this.now = serverTime.now();
      clearTimeout(this.soon);
      this.soon = undefined;
    }
  }

  /** Make a key; throws, for the form that asked. */
  async make(form: KeyForm): Promise<void> {
    await this.shown(api.post<NewApiKey>("/admin/keys", newKey(form)));
  }

  async edit(name: string, form: KeyForm): Promise<void> {
    await api.patch<ApiKey>(path(name), change(form));
    toasts.good(`${name} is changed: it holds from the next request on`);
    await this.look();
  }

  async rotate(name: string, graceSeconds: number): Promise<void> {
    await this.shown(api.post<NewApiKey>(`${path(name)}/rotate`, { graceSeconds }));
  }

  async revoke(name: string): Promise<void> {
    const own = session.state?.key?.name === name;
    try {
      await api.delete(path(name) + (own ? "?force=true" : ""));
      toasts.good(`${name} is revoked; what runs goes on to its end`);
      if (this.fresh?.name === name) this.fresh = undefined;
      if (secret.name === name) secret.forget();
      await Promise.all([session.look(), this.look()]);
    } catch (error) {
      toasts.bad(error);
    }
  }

  private async shown(order: Promise<NewApiKey>): Promise<void> {
    this.fresh = await order;
    secret.keep(this.fresh.key, this.fresh.name);
    await Promise.all([session.look(), this.look()]); // the first key closes an open server
  }
}

function path(name: string): string {
  return `/admin/keys/${encodeURIComponent(name)}`;
}

export const keys = new Keys();
