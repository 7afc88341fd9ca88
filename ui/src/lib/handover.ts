/** What one screen gives the next, in memory: a request that is to be tried again in the playground. */
class Handover {
  private request: unknown;

  give(request: unknown): void {
    this.request = request;
  }

  /** The request, once. */
  take(): unknown {
    const given = this.request;
    this.request = undefined;
    return given;
  }
}

export const handover = new Handover();
