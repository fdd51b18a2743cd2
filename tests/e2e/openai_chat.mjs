// A conversation through the `openai` client: thinking, a tool call and its result, streamed and
// not, and what the client makes of errors and of leaving early. The scripted model's answers are
// those of tests/scripted_checkpoint.h.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { LetheServer } from "./lethe_server.mjs";

const kKey = "a-key";
const kModel = "deepseek-flash";
const kWeather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

/// The message that a stream's deltas add up to, its finish_reason and its usage.
async function assemble(stream) {
  const message = { role: "", content: "", reasoning_content: "", tool_calls: [] };
  let finish_reason = null;
  let usage = null;
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    const { delta, finish_reason: reason } = chunk.choices[0];
    finish_reason = reason ?? finish_reason;
    message.role += delta.role ?? "";
    message.content += delta.content ?? "";
    message.reasoning_content += delta.reasoning_content ?? "";
    for (const piece of delta.tool_calls ?? []) {
      const call = (message.tool_calls[piece.index] ??= {
        id: piece.id,
        type: piece.type,
        function: { name: piece.function.name, arguments: "" },
      });
      call.function.arguments += piece.function.arguments ?? "";
    }
  }
  return { message, finish_reason, usage };
}

async function conversation(client) {
  const messages = [{ role: "user", content: "Do you remember me?" }];
  const ask = async (more) =>
    assemble(await client.chat.completions.create({ model: kModel, messages, stream: true, ...more }));

  const first = await ask({ stream_options: { include_usage: true } });
  assert.deepEqual(first.message, {
    role: "assistant",
    content: "Hello, I remember.",
    reasoning_content: "Let me see.",
    tool_calls: [],
  });
  assert.equal(first.finish_reason, "stop");
  assert.equal(first.usage.completion_tokens, 7);
  assert.equal(first.usage.completion_tokens_details.reasoning_tokens, 3);

  const { role, content, reasoning_content } = first.message;
  messages.push({ role, content, reasoning_content });
  messages.push({ role: "user", content: "What is the weather in Paris?" });
  const tools = { tools: [kWeather], thinking: { type: "disabled" } };
  const second = await ask({ ...tools, tool_choice: "required" });
  assert.equal(second.finish_reason, "tool_calls");
  assert.equal(second.message.content, "");
  assert.equal(second.message.reasoning_content, "");
  assert.equal(second.message.tool_calls.length, 1);
  const call = second.message.tool_calls[0];
  assert.ok(call.id);
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });

  messages.push({ role: "assistant", content: "", tool_calls: second.message.tool_calls });
  messages.push({ role: "tool", tool_call_id: call.id, content: "18 degrees" });
  const third = await ask(tools);
  assert.equal(third.message.content, "Hello, I remember.");
  assert.equal(third.finish_reason, "stop");
  const { prompt_tokens, prompt_tokens_details, prompt_cache_miss_tokens } = third.usage;
  assert.ok(prompt_tokens_details.cached_tokens > second.usage.prompt_tokens / 2);
  assert.equal(prompt_tokens_details.cached_tokens + prompt_cache_miss_tokens, prompt_tokens);
}

async function wholeAnswer(client) {
  const response = await client.chat.completions.create({
    model: kModel,
    messages: [{ role: "user", content: "Hi" }],
    logprobs: true,
    top_logprobs: 2,
  });
  const [choice] = response.choices;
  assert.equal(choice.message.content, "Hello, I remember.");
  assert.equal(choice.message.reasoning_content, "Let me see.");
  assert.equal(choice.logprobs.content.map((entry) => entry.token).join(""), "Hello, I remember.");
  assert.equal(response.usage.total_tokens, response.usage.prompt_tokens + 7);
}

/// The client's own assembling of streams, which checks more than ours.
async function streamHelper(client) {
  const runner = client.chat.completions.stream({
    model: kModel,
    messages: [{ role: "user", content: "What is the weather in Paris?" }],
    tools: [kWeather],
    tool_choice: "required",
    thinking: { type: "disabled" },
  });
  const { choices } = await runner.finalChatCompletion();
  assert.equal(choices[0].finish_reason, "tool_calls");
  assert.equal(choices[0].message.tool_calls[0].function.name, "get_weather");
}

async function modelList(client) {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.equal(ids[0], kModel);
  assert.equal((await client.models.retrieve(kModel)).object, "model");
}

async function leavingEarly(client, server) {
  const stream = await client.chat.completions.create({
    model: kModel,
    messages: [{ role: "user", content: "Never stop" }],
    stream: true,
    ignore_eos: true,
    max_tokens: 60_000,
  });
  let chunks = 0;
  for await (const chunk of stream) {
    assert.ok(chunk.choices);
    if (++chunks === 20) break; // which aborts the request
  }
  await server.logged(/the client left/);
}

async function errors(client, server) {
  const ask = (more) =>
    client.chat.completions.create({
      model: kModel,
      messages: [{ role: "user", content: "Hi" }],
      ...more,
    });
  await assert.rejects(ask({ n: 2 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /n: 2 is out of range/);
    return true;
  });
  await assert.rejects(ask({ stream: true, max_tokens: 65_536 }), /maximum context length is 65536/);
  await assert.rejects(ask({ temperature: "hot" }), OpenAI.UnprocessableEntityError);
  await assert.rejects(client.models.retrieve("gpt-4"), OpenAI.NotFoundError);
  const stranger = new OpenAI({ baseURL: server.baseURL, apiKey: "no", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
}

const server = await LetheServer.start("--api-key", kKey);
try {
  const client = new OpenAI({ baseURL: server.baseURL, apiKey: kKey, maxRetries: 0 });
  for (const test of [modelList, conversation, wholeAnswer, streamHelper, errors, leavingEarly]) {
    await test(client, server);
    console.log(`${test.name}: ok`);
  }
  server.closeLog();
  await wholeAnswer(client); // which nobody can be told about
  assert.equal(await server.stop(), 0);
  console.log("end: ok");
} catch (error) {
  console.error(`the server's log:\n${server.log}`);
  throw error;
} finally {
  server.kill();
}
