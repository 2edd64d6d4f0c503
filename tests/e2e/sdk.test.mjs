// OpenAI's own Node SDK, unmodified, as a customer's program uses it: against the demo, with a key made in the portal.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import { badge, comes, openAs, startBrowser, startDemo } from './support.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const tools = createRequire(join(ROOT, 'tests/tools/package.json'));
const { default: OpenAI, APIError } = tools('openai');

const CLARA = 'clara@contoso.example';
let demo;
let browser;
let client;
let subscription;

before(async () => {
  demo = await startDemo();
  browser = await startBrowser();
  subscription = await demo.buy({ plan: 'metered', buyer: CLARA });
  const page = await browser.newPage();
  await openAs(page, `${demo.microsoft}/configure/${subscription}`, CLARA);
  await page.getByRole('button', { name: 'Activate subscription' }).click();
  await comes(badge(page, 'Active'));
  await page.goto(`${demo.product}/portal/subscriptions/${subscription}/keys`);
  await page.getByLabel('Name').first().fill('SDK');
  await page.locator('form[action$="/keys"] button').click();
  const apiKey = (await page.locator('main').innerText()).match(/mgk-[0-9a-f]{12}-[\w-]{43}/)[0];
  client = new OpenAI({ apiKey, baseURL: `${demo.product}/v1` });
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

const ask = (content, more = {}) => ({ model: 'chat', messages: [{ role: 'user', content }], ...more });
const strike = (faults) => demo.control('faults', faults);
const rejected = async (promise) => promise.then(() => assert.fail('it should have failed'), (error) => error);
async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

test('the models are listed, and one is found', async () => {
  const ids = (await client.models.list()).data.map((model) => model.id);
  assert.deepEqual(ids, ['chat', 'embed']);
  assert.equal((await client.models.retrieve('chat')).id, 'chat');
  assert.equal((await rejected(client.models.retrieve('nothing'))).status, 404);
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
    assert.match(text, /Count to ten/);
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

test('a stream that breaks off raises, however it breaks', async () => {
  for (const fault of ['ai_cut_next', 'ai_no_done_next', 'ai_error_in_stream_next']) {
    await strike({ [fault]: 1 });
    const stream = await client.chat.completions.create(ask('Something of some length to be broken in the middle', { stream: true }));
    const error = await rejected(read(stream));
    assert.ok(error instanceof APIError, `${fault}: ${error}`);
    assert.equal(error.code, 'upstream_stream_interrupted');
    await strike({});
  }
});

test('a wait that the service asks for is kept', async () => {
  await strike({ ai_fail_next: 1, ai_fail_status: 429, ai_retry_after_ms: 1200 });
  const started = Date.now();
  const answer = await client.chat.completions.create(ask('Hello again'));
  assert.ok(answer.choices.length > 0);
  assert.ok(Date.now() - started >= 1200, 'the SDK waited as told');
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
  const unknown = await rejected(wrong.chat.completions.create(ask('x')));
  assert.deepEqual([unknown.constructor.name, unknown.code], ['AuthenticationError', 'invalid_api_key']);
  const missing = await rejected(client.chat.completions.create({ ...ask('x'), model: 'gpt-nothing' }));
  assert.deepEqual([missing.constructor.name, missing.code, missing.param], ['NotFoundError', 'model_not_found', 'model']);
  const filtered = await rejected(client.chat.completions.create(ask('[blocked]')));
  assert.deepEqual([filtered.constructor.name, filtered.code], ['BadRequestError', 'content_filter']);
});

test('the ledger has what the service counted', async () => {
  const calls = (await (await fetch(`${demo.microsoft}/simulator/ai-calls`)).json());
  const list = Array.isArray(calls) ? calls : calls.calls;
  const tokens = list.filter((call) => call.finished).reduce((sum, call) => sum + call.prompt_tokens + call.completion_tokens, 0);
  const answer = await fetch(`${demo.product}/api/usage/resources/${subscription}`, { headers: { authorization: 'Bearer browser-test-browser-test-browser-test' } });
  const { usage } = await answer.json();
  const chat = usage.periods[0].dimensions.find((entry) => entry.dimension === 'chat_1k_tokens');
  assert.equal(Number(chat.balance.recorded), tokens / 1000);
});
