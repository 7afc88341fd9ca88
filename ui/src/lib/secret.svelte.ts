import { onSignedOut } from "./api";

/** A key that was just made or pasted, so that snippets can hold it: in this page's memory, nowhere else, until the session ends. */
class Secret {
  value = $state<string | undefined>();
  /** The key's name, where it is known. */
  name = $state<string | undefined>();

  constructor() {
    onSignedOut(() => this.forget());
  }

  keep(value: string, name?: string): void {
    this.value = value || undefined;
    this.name = name;
  }

  forget(): void {
    this.value = this.name = undefined;
  }
}

export const secret = new Secret();
