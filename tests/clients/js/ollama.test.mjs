// Ollama's own library for JavaScript against a real server with real models.
import assert from "node:assert/strict"
import { test } from "node:test"
import { Ollama } from "ollama"

const { LANHAVEN_URL: host, LANHAVEN_KEY: key } = process.env
const ollama = new Ollama({ host, headers: { Authorization: `Bearer ${key}` } })
const messages = [{ role: "user", content: "Why is the sky blue?" }]
const options = { num_predict: 12, temperature: 0 }
const city = { type: "object", properties: { city: { type: "string", enum: ["Rome", "Oslo"] } }, required: ["city"] }

test("a chat, whole and streamed", async () => {
  const whole = await ollama.chat({ model: "smollm2", messages, options })
  assert.equal(whole.eval_count, 12)
  let said = ""
  let last
  for await (const part of await ollama.chat({ model: "smollm2:latest", messages, options, stream: true })) {
    said += part.message.content
    last = part
  }
  assert.equal(said, whole.message.content)
  assert.deepEqual([last.done, last.done_reason, last.eval_count], [true, "length", 12])
})

test("a stream that is aborted", async () => {
  const own = new Ollama({ host, headers: { Authorization: `Bearer ${key}` } })
  const stream = await own.chat({ model: "smollm2", messages, stream: true })
  await assert.rejects(
    async () => {
      for await (const part of stream) if (part.message.content) own.abort()
    },
    { name: "AbortError" },
  )
})

test("generate", async () => {
  assert.ok((await ollama.generate({ model: "smollm2", prompt: "The sea is", options })).response)
})

test("a tool, an answer of a given form", async () => {
  const tools = [{ type: "function", function: { name: "weather", description: "The weather in a city.", parameters: city } }]
  const asked = [{ role: "user", content: "What is the weather in Rome?" }]
  const reply = await ollama.chat({ model: "smollm2", messages: asked, tools, options: { num_predict: 80, temperature: 0 } })
  for (const call of reply.message.tool_calls ?? []) {
    assert.equal(call.function.name, "weather")
    assert.ok(["Rome", "Oslo"].includes(call.function.arguments.city))
  }
  assert.ok(reply.message.tool_calls || reply.message.content)
  const formed = await ollama.chat({ model: "smollm2", messages: asked, format: city, options: { num_predict: 40 } })
  assert.ok(["Rome", "Oslo"].includes(JSON.parse(formed.message.content).city))
})

test("embeddings", async () => {
  const { embeddings } = await ollama.embed({ model: "minilm", input: ["the sea", "the sky"] })
  assert.deepEqual(embeddings.map((each) => each.length), [384, 384])
})

test("lists", async () => {
  assert.ok((await ollama.list()).models.some((each) => each.model === "smollm2:latest"))
  assert.ok((await ollama.ps()).models.some((each) => each.model === "smollm2:latest"))
  assert.ok((await ollama.show({ model: "smollm2" })).capabilities.includes("completion"))
  assert.match((await ollama.version()).version, /^\d+\.\d+\.\d+$/)
  const states = []
  for await (const progress of await ollama.pull({ model: "smollm2", stream: true })) states.push(progress.status)
  assert.equal(states.at(-1), "success")
})

test("errors are the library's own", async () => {
  await assert.rejects(ollama.chat({ model: "nobody", messages }), { name: "ResponseError", status_code: 404, message: /not found/ })
  await assert.rejects(new Ollama({ host }).list(), { name: "ResponseError", status_code: 401 })
  const long = [{ role: "user", content: "word ".repeat(9000) }]
  await assert.rejects(ollama.chat({ model: "smollm2", messages: long }), { status_code: 400, message: /context/ })
})
