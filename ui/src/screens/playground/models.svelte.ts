/** The models that chat, and which one to begin with. */
import { api } from "../../lib/api";
import { session } from "../../lib/session.svelte";
import type { AdminModels, InferenceDefaults, Model, ModelList } from "../../lib/types";

const EVERY_MS = 500;

class Models {
  all = $state.raw<Model[]>([]);
  defaults = $state.raw<Record<string, InferenceDefaults>>({});
  first = $state<string | undefined>();
  problem = $state.raw<unknown>();
  known = $state(false);

  async look(): Promise<void> {
    try {
      const [{ data }, admin] = await Promise.all([api.get<ModelList>("/v1/models"), session.may("admin") ? api.get<AdminModels>("/admin/models") : undefined]);
      this.all = data.filter((each) => chats(each) && each.status !== "error");
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

  /** Ask again and again how a model is, until the returned function is called: for keys that may not hear events. */
  watch(id: string, heard: (model: Model) => void): () => void {
    const end = new AbortController();
    const ask = async () => {
      const told = await api.get<Model>(`/v1/models/${encodeURIComponent(id)}`, { signal: end.signal }).catch(() => undefined);
      if (end.signal.aborted) return;
      if (told) heard(told);
      timer = setTimeout(ask, EVERY_MS);
    };
    let timer = setTimeout(ask, EVERY_MS);
    return () => (end.abort(), clearTimeout(timer));
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
