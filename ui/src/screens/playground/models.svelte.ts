/** The models that chat, and which one to begin with. */
import { api } from "../../lib/api";
import { session } from "../../lib/session.svelte";

export interface Model {
  id: string;
  state?: string; // "loaded", "not-loaded"
  kind?: string | null;
  capabilities?: string[] | null;
  loaded_context_length?: number | null;
  max_context_length?: number | null;
}

interface Admin {
  loaded: { path: string; active: boolean; defaultInference: Record<string, unknown> }[];
  downloaded: { path: string; default: boolean; available: boolean }[];
}

class Models {
  all = $state.raw<Model[]>([]);
  defaults = $state.raw<Record<string, Record<string, unknown>>>({});
  first = $state<string | undefined>();
  problem = $state.raw<unknown>();
  known = $state(false);

  async look(): Promise<void> {
    try {
      const { data } = await api.get<{ data: Model[] }>("/v1/models");
      const admin = session.may("admin") ? await api.get<Admin>("/admin/models") : undefined;
      const unavailable = new Set(admin?.downloaded.filter((each) => !each.available).map((each) => each.path));
      this.all = data.filter((each) => chats(each) && !unavailable.has(each.id));
      this.defaults = Object.fromEntries((admin?.loaded ?? []).map((each) => [each.path, each.defaultInference]));
      const wished = [
        admin?.loaded.find((each) => each.active)?.path,
        admin?.downloaded.find((each) => each.default)?.path,
        this.all.find((each) => each.state === "loaded")?.id,
        this.all[0]?.id,
      ];
      this.first = wished.find((id) => this.all.some((each) => each.id === id));
      this.problem = undefined;
    } catch (error) {
      this.problem = error;
    } finally {
      this.known = true;
    }
  }

  get(id: string | undefined): Model | undefined {
    return this.all.find((each) => each.id === id);
  }

  /** Whether images may be sent: nobody knows of some models, and they are given a try. */
  sees(id: string | undefined): boolean {
    const able = this.get(id)?.capabilities;
    return !able?.length || able.includes("vision");
  }

  get seeing(): string[] {
    return this.all.filter((each) => each.capabilities?.includes("vision")).map((each) => each.id);
  }
}

function chats(model: Model): boolean {
  return model.capabilities?.length ? model.capabilities.includes("chat") : model.kind !== "embedding" && model.kind !== "reranker";
}

export const models = new Models();
