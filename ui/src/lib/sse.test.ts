import { expect, test } from "vitest";
import { frames, type Frame } from "./sse";

function stream(...pieces: (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
      controller.close();
    },
  });
}

async function read(...pieces: (string | Uint8Array)[]): Promise<Frame[]> {
  const all: Frame[] = [];
  for await (const frame of frames(stream(...pieces))) all.push(frame);
  return all;
}

const data = (all: Frame[]) => all.map((frame) => frame.data);

test("frames come in pieces of any size", async () => {
  const text = 'data: {"a":1}\n\nevent: error\ndata: {"error":"é"}\n\ndata: [DONE]\n\n';
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size < 12; size++) {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
    expect(await read(...pieces)).toEqual([
      { event: "message", data: '{"a":1}' },
      { event: "error", data: '{"error":"é"}' },
      { event: "message", data: "[DONE]" },
    ]);
  }
});

test("comments, ids and empty frames are passed over", async () => {
  expect(data(await read(": keep-alive\n\n", "id: 7\nretry: 3\n\n", "data: x\n\n", ":\n\n"))).toEqual(["x"]);
});

test("all line ends, and several lines of data", async () => {
  expect(data(await read("data: a\r\ndata: b\r\n\r\ndata: c\r\rdata:d\n\n"))).toEqual(["a\nb", "c", "d"]);
  expect(data(await read("data: a\r", "\n\r", "\ndata: b\n\n"))).toEqual(["a", "b"]);
});

test("a frame that nothing ends counts", async () => {
  expect(data(await read("data: x\n\ndata: y"))).toEqual(["x", "y"]);
  expect(data(await read("data: y\r"))).toEqual(["y"]);
});

test("who stops reading cancels the stream", async () => {
  let cancelled = false;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode("data: x\n\n")),
    cancel: () => void (cancelled = true),
  });
  for await (const _ of frames(endless)) break;
  expect(cancelled).toBe(true);
});
