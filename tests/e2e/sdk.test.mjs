// OpenAI's own Node SDK, unmodified, as a customer's program uses it: against the demo, with a key made in the portal.
// Not here because it would take more than ten seconds: the comments that keep a silent stream alive (after 15 s), and
// the break of a stream that is silent for good (after 180 s).
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import { buyKey, SETTLING, startDemo } from './support.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const tools = createRequire(join(ROOT, 'tests/tools/package.json'));
const { default: OpenAI, APIError } = tools('openai');

let demo;
let client;
let subscription;

before(async () => {
  demo = await startDemo();
  const bought = await buyKey(demo, 'clara@contoso.example');
  subscription = bought.subscription;
  client = new OpenAI({ apiKey: bought.apiKey, baseURL: `${demo.product}/v1` });
});

after(async () => {
  await demo?.stop();
});

const ask = (content, more = {}) => ({ model: 'chat', messages: [{ role: 'user', content }], ...more });
const strike = (faults) => demo.control('faults', faults);
const faults = () => demo.control('faults');
const calls = async () => (await demo.control('ai-calls')).calls;
const rejected = async (promise) => promise.then(() => assert.fail('it should have failed'), (error) => error);
async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** Tokens in the ledger. */
async function recorded() {
  const answer = await fetch(`${demo.product}/api/usage/resources/${subscription}`, { headers: { authorization: 'Bearer browser-test-browser-test-browser-test' } });
  if (answer.status === 404) return 0;
  const { usage } = await answer.json();
  const chat = usage.periods[0].dimensions.find((entry) => entry.dimension === 'chat_1k_tokens');
  return Math.round(Number(chat.balance.recorded) * 1000);
}

/** Tokens of the calls that the service brought to their end. */
async function counted() {
  return (await calls()).filter((call) => call.finished).reduce((sum, call) => sum + call.prompt_tokens + call.completion_tokens, 0);
}

/** Waits until these many calls have ended and the ledger has what the service counted; gives the service's books. */
async function settled(least = 0) {
  for (const end = Date.now() + SETTLING; ;) {
    const all = await calls();
    const over = all.length >= least && all.every((call) => call.finished || call.cut || call.blocked || call.client_gone);
    if (over && (await recorded()) === (await counted())) return all;
    assert.ok(Date.now() < end, `the ledger has ${await recorded()}, and the service counted ${await counted()}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** The body has the four members of OpenAI's errors, and the SDK shows them. */
function checkError(error, name, code, param = null) {
  assert.deepEqual(Object.keys(error.error).sort(), ['code', 'message', 'param', 'type']);
  assert.deepEqual([error.constructor.name, error.code, error.param], [name, code, param]);
  assert.equal(error.type, error.error.type);
  assert.match(error.requestID, /^req_/);
}

test('the models are listed, and one is found', async () => {
  const ids = (await client.models.list()).data.map((model) => model.id);
  for (const id of ['chat', 'embed', 'transcribe', 'speech', 'vision']) assert.ok(ids.includes(id), id);
  assert.equal((await client.models.retrieve('chat')).id, 'chat');
  checkError(await rejected(client.models.retrieve('nothing')), 'NotFoundError', 'model_not_found', 'model');
});

test('a slash at the end of the base address does not matter', async () => {
  const slashed = new OpenAI({ apiKey: client.apiKey, baseURL: `${demo.product}/v1/` });
  assert.equal((await slashed.models.retrieve('chat')).id, 'chat');
});

test('a chat is answered, with usage and a request id', async () => {
  const answer = await client.chat.completions.create(ask('Hello'));
  assert.match(answer.choices[0].message.content, /simulated/);
  assert.equal(answer.model, 'chat');
  assert.ok(answer.usage.total_tokens > 0);
  assert.match(answer._request_id, /^req_/);
});

test('a stream comes in pieces, with usage only when it was asked for', async () => {
  for (const include_usage of [false, true]) {
    const more = include_usage ? { stream: true, stream_options: { include_usage } } : { stream: true };
    const chunks = await read(await client.chat.completions.create(ask('Count to ten, please', more)));
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
    assert.equal(text, 'This is a simulated answer to: Count to ten, please');
    // The service's own first chunk has no choices, no id and no model.
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    assert.ok(chunks.every((chunk) => chunk.id && chunk.model === 'chat'));
    assert.ok(chunks.every((chunk) => 'usage' in chunk === include_usage));
    assert.equal(chunks.filter((chunk) => chunk.usage).length, include_usage ? 1 : 0);
    assert.equal(chunks.filter((chunk) => chunk.choices.length === 0).length, include_usage ? 1 : 0);
  }
});

test('a tool is called, whole and in pieces', async () => {
  const tool = { type: 'function', function: { name: 'weather', description: 'The weather', parameters: { type: 'object', properties: {} } } };
  const whole = await client.chat.completions.create(ask('Use the tool', { tools: [tool] }));
  assert.equal(whole.choices[0].message.tool_calls[0].function.name, 'weather');
  const chunks = await read(await client.chat.completions.create(ask('Use the tool', { tools: [tool], stream: true })));
  const names = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? []).map((call) => call.function?.name).filter(Boolean);
  assert.deepEqual(names, ['weather']);
});

test('the SDK puts a stream together by itself', async () => {
  const final = await client.chat.completions.stream(ask('Hello')).finalChatCompletion();
  assert.equal(final.choices[0].message.content, 'This is a simulated answer to: Hello');
});

test('an answer that the filter ends has a delta and says why', async () => {
  const chunks = await read(await client.chat.completions.create(ask('[filtered] please', { stream: true })));
  const last = chunks.at(-1).choices[0];
  assert.deepEqual([last.finish_reason, typeof last.delta], ['content_filter', 'object']);
});

test('a stream that breaks off raises, however and wherever it breaks, and costs nothing', async () => {
  const before = await recorded();
  for (const fault of ['ai_cut_next', 'ai_no_done_next', 'ai_error_in_stream_next']) {
    for (const ai_cut_after_chunks of [0, 3, null]) {
      await strike({ [fault]: 1, ai_cut_after_chunks });
      const stream = await client.chat.completions.create(ask('Something of some length to be broken in the middle', { stream: true }));
      const error = await rejected(read(stream));
      assert.ok(error instanceof APIError, `${fault}: ${error}`);
      assert.deepEqual([error.code, error.type], ['upstream_stream_interrupted', 'server_error']);
      await strike({});
    }
  }
  await settled();
  assert.equal(await recorded(), before);
});

test('an answer that can not be read is a server error and costs nothing', async () => {
  const before = await recorded();
  for (const [fault, stream] of [['ai_html_next', false], ['ai_html_next', true], ['ai_cut_next', false]]) {
    await strike({ [fault]: 1 });
    checkError(await rejected(client.chat.completions.create(ask('Hello', { stream }), { maxRetries: 0 })), 'InternalServerError', 'upstream_invalid');
  }
  await strike({ ai_down: true });
  checkError(await rejected(client.chat.completions.create(ask('Hello'), { maxRetries: 0 })), 'InternalServerError', 'upstream_unavailable');
  await strike({});
  assert.equal(await recorded(), before);
});

test('a wait that the service asks for is kept', async () => {
  for (const stream of [false, true]) {
    const before = (await calls()).length;
    await strike({ ai_fail_next: 1, ai_fail_status: 429, ai_retry_after_ms: 700 });
    const started = performance.now();
    const answer = await client.chat.completions.create(ask('Hello again', { stream }));
    // Timers may be a little early.
    assert.ok(performance.now() - started >= 690, 'the SDK waited as told');
    if (stream) await read(answer);
    // Two calls: one was refused, and one was worked on.
    assert.equal((await faults()).ai_fail_next, 0);
    assert.equal((await settled()).length, before + 1);
  }
  await strike({});
});

test('a long wait is told as one that the SDK keeps', async (t) => {
  // Above 60 s the SDK would choose a wait of its own. Its minute is written down instead of slept.
  const { setTimeout } = globalThis;
  const waits = [];
  t.mock.method(globalThis, 'setTimeout', (call, wait, ...more) => {
    if (wait === 60_000) waits.push(wait);
    return setTimeout(call, wait === 60_000 ? 0 : wait, ...more);
  });
  for (const ai_retry_after_ms of [90_000, 130_000, 86_400_000]) {
    await strike({ ai_fail_next: 1, ai_fail_status: 429, ai_retry_after_ms });
    const answer = await client.chat.completions.create(ask('Hello'));
    assert.ok(answer.choices.length > 0);
  }
  assert.equal(waits.length, 3);
  await strike({});
});

test('when every try is refused, the last refusal is raised', async () => {
  await strike({ ai_fail_next: 5, ai_fail_status: 429, ai_retry_after_ms: 50 });
  const error = await rejected(client.chat.completions.create(ask('Hello')));
  checkError(error, 'RateLimitError', 'rate_limit_exceeded');
  assert.deepEqual([error.headers.get('retry-after-ms'), error.headers.get('retry-after')], ['50', '1']);
  assert.equal((await faults()).ai_fail_next, 2, 'the SDK tries three times');
  await strike({});
});

test('a stream that is left early is billed whole', async () => {
  for (const taken of [1, 2, 9]) {
    const before = (await calls()).length;
    await strike({ ai_chunk_delay_ms: 20 });
    const stream = await client.chat.completions.create(ask('Something of some length that nobody will read to its end today', { stream: true }));
    let number = 0;
    for await (const chunk of stream) if (chunk && ++number === taken) break;
    const all = await settled();
    assert.equal(all.length, before + 1);
    assert.ok(all.at(-1).finished && !all.at(-1).client_gone && all.at(-1).completion_tokens > taken);
  }
  await strike({});
});

test('a program that does not wait for the answer is billed once', async () => {
  const before = (await calls()).length;
  await strike({ ai_delay_ms: 1000 });
  const error = await rejected(client.chat.completions.create(ask('Hello'), { timeout: 400, maxRetries: 0 }));
  assert.equal(error.constructor.name, 'APIConnectionTimeoutError');
  const all = await settled(before + 1);
  assert.deepEqual([all.length, all.at(-1).finished], [before + 1, true]);
  await strike({});
});

test('embeddings come as numbers, also from base64', async () => {
  const plain = await client.embeddings.create({ model: 'embed', input: ['one', 'two'], encoding_format: 'float' });
  const packed = await client.embeddings.create({ model: 'embed', input: ['one', 'two'] });
  assert.equal(plain.data.length, 2);
  for (const [index, { embedding }] of plain.data.entries()) {
    assert.equal(embedding.length, packed.data[index].embedding.length);
    embedding.forEach((number, place) => assert.ok(Math.abs(number - packed.data[index].embedding[place]) < 1e-6));
  }
});

test('errors are those that the SDK knows', async () => {
  const wrong = new OpenAI({ apiKey: 'mgk-000000000000-nothing', baseURL: `${demo.product}/v1` });
  checkError(await rejected(wrong.chat.completions.create(ask('x'))), 'AuthenticationError', 'invalid_api_key');
  checkError(await rejected(client.chat.completions.create({ ...ask('x'), model: 'gpt-nothing' })), 'NotFoundError', 'model_not_found', 'model');
  const filtered = await rejected(client.chat.completions.create(ask('[blocked]')));
  assert.deepEqual([filtered.constructor.name, filtered.code], ['BadRequestError', 'content_filter']);
  for (const [field, value, code] of [['messages', 'Hello', null], ['model', 7, 'invalid_value'], ['stream', 'yes', 'invalid_value'], ['n', 0, 'invalid_value']]) {
    checkError(await rejected(client.chat.completions.create({ ...ask('x'), [field]: value })), 'BadRequestError', code, field);
  }
  checkError(await rejected(client.fineTuning.jobs.list()), 'NotFoundError', 'not_found');
});

test('a body that is no JSON object is a bad request', async () => {
  for (const body of ['{', '', '[]', '"Hello"']) {
    const headers = { authorization: `Bearer ${client.apiKey}`, 'content-type': 'application/json' };
    const answer = await fetch(`${demo.product}/v1/chat/completions`, { method: 'POST', headers, body });
    const { error } = await answer.json();
    assert.deepEqual([answer.status, error.type, error.param, error.code], [400, 'invalid_request_error', null, 'invalid_json']);
    assert.match(answer.headers.get('x-request-id'), /^req_/);
  }
});

test('the ledger has what the service counted', async () => {
  await settled();
  assert.ok((await recorded()) > 0);
});
