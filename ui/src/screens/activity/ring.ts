import { type Entry, idOf, isRow } from "./rows";

/** The last so many entries, oldest first, each found by its id. A changed entry is a new object in the same place. */
export class Ring {
  private entries: Entry[] = [];
  private gone = 0; // how many were taken from the front
  private readonly places = new Map<string, number>();

  constructor(private readonly most: number) {}

  get full(): boolean {
    return this.entries.length >= this.most;
  }

  get(id: string): Entry | undefined {
    const place = this.places.get(id);
    return place === undefined ? undefined : this.entries[place - this.gone];
  }

  put(entry: Entry): void {
    const id = idOf(entry);
    const place = this.places.get(id);
    if (place !== undefined) {
      this.entries[place - this.gone] = entry;
      return;
    }
    this.places.set(id, this.gone + this.entries.length);
    this.entries.push(entry);
    if (this.entries.length >= this.most * 1.1) this.cut(); // not one by one: moving ten thousand costs
  }

  /** The newest first, no more than there may be. */
  newest(): Entry[] {
    return this.entries.slice(-this.most).reverse();
  }

  clear(): void {
    this.entries = [];
    this.gone = 0;
    this.places.clear();
  }

  /** Entries from elsewhere come in where they belong by their time. What ended here stays so. `newest`: `others` are the
   *  last there are, so rows that are open here and unknown there are forgotten: nothing will tell their end. */
  merge(others: readonly Entry[], newest = true): void {
    const all = new Map(others.map((entry) => [idOf(entry), entry]));
    for (const entry of this.entries) {
      const forgotten = newest && isRow(entry) && entry.status === "pending";
      if (!forgotten) all.set(idOf(entry), entry);
    }
    const sorted = [...all.values()].sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
    this.clear();
    for (const entry of sorted) this.put(entry);
  }

  private cut(): void {
    const extra = this.entries.length - this.most;
    for (const entry of this.entries.slice(0, extra)) this.places.delete(idOf(entry));
    this.entries = this.entries.slice(extra);
    this.gone += extra;
  }
}
