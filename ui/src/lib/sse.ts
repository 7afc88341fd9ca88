/** Server-Sent Events of a reply to fetch: a POST has no EventSource. */

export interface Frame {
  event: string;
  data: string;
}

/** The text of the frames as they come; comments (keep-alives) and frames without data are passed over. The last frame
 *  counts even if the reply ends without its blank line. */
export async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const reader = body.getReader();
  const lines = new Lines();
  const frame = new Building();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      for (const line of done ? lines.end() : lines.of(value)) {
        const whole = frame.take(line);
        if (whole) yield whole;
      }
      if (done) break;
    }
    const last = frame.take("");
    if (last) yield last;
  } finally {
    await reader.cancel().catch(() => undefined); // who stops reading lets the server know
  }
}

/** Bytes in pieces of any size -> whole lines; their ends are \n, \r\n or \r. */
class Lines {
  private readonly decoder = new TextDecoder();
  private rest = "";

  of(piece: Uint8Array): string[] {
    return this.cut(this.decoder.decode(piece, { stream: true }));
  }

  end(): string[] {
    const lines = this.cut(this.decoder.decode());
    const last = this.rest.replace(/\r$/, "");
    this.rest = "";
    return last ? [...lines, last] : lines;
  }

  private cut(text: string): string[] {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/); // a \r at the very end may be half of \r\n
    this.rest = lines.pop() ?? "";
    return lines;
  }
}

class Building {
  private event = "";
  private data: string[] = [];

  /** The frame that this line completes. */
  take(line: string): Frame | undefined {
    if (line === "") return this.done();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.event = value;
    return undefined;
  }

  private done(): Frame | undefined {
    const { event, data } = this;
    this.event = "";
    this.data = [];
    return data.length ? { event: event || "message", data: data.join("\n") } : undefined;
  }
}
