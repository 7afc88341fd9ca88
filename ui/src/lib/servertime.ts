/** What time it is at the server. All times that are shown are its own, and a browser's clock may be hours off: what is told of
 *  "since" and "ago" is reckoned by this one, as the head of each reply says it, to the second. */

const SLACK_MS = 2_000; // a reply's way and its whole seconds: less is no difference

export class ServerTime {
  private ahead = 0;

  constructor(private readonly clock: () => number = Date.now) {}

  /** `date`: the header of a reply that has just come. */
  heard(date: string | null): void {
    const difference = date === null ? NaN : Date.parse(date) + 500 - this.clock();
    if (Number.isFinite(difference)) this.ahead = Math.abs(difference) < SLACK_MS ? 0 : difference;
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.clock() + this.ahead;
  }
}

export const serverTime = new ServerTime();
