// OpenAI's own Node SDK against the addresses for sound, pictures, responses, and MediaGenie's own one for vision.
// Not run by tests/run before those addresses are there. The demo must have the models `transcribe`, `speech`, `image`,
// `vision`, and `chat` for responses.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';

import { buyKey, startDemo } from './support.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const tools = createRequire(join(ROOT, 'tests/tools/package.json'));
const { default: OpenAI, APIError, toFile } = tools('openai');

const SECONDS = 3.5;
let demo;
let client;

before(async () => {
  demo = await startDemo();
  const { apiKey } = await buyKey(demo, 'clara@contoso.example');
  client = new OpenAI({ apiKey, baseURL: `${demo.product}/v1` });
});

after(() => demo?.stop());

const words = (text) => text.trim().split(/\s+/).join(' ');
const about = (value, expected) => assert.ok(Math.abs(value - expected) < 0.05, `${value} is not about ${expected}`);
const rejected = async (promise) => promise.then(() => assert.fail('it should have failed'), (error) => error);
async function read(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** The body has the four members of OpenAI's errors, and the SDK shows them. */
function checkError(error, name, { code = error.code, param = error.param }) {
  assert.deepEqual(Object.keys(error.error).sort(), ['code', 'message', 'param', 'type']);
  assert.deepEqual([error.constructor.name, error.code, error.param], [name, code, param]);
  assert.match(error.requestID, /^req_/);
}

/** A WAV file with a tone. */
function tone(seconds = SECONDS, rate = 16_000) {
  const samples = Math.floor(seconds * rate);
  const sound = Buffer.alloc(44 + samples * 2);
  sound.write('RIFF', 0);
  sound.writeUInt32LE(sound.length - 8, 4);
  sound.write('WAVEfmt ', 8);
  sound.writeUInt32LE(16, 16);
  sound.writeUInt16LE(1, 20);
  sound.writeUInt16LE(1, 22);
  sound.writeUInt32LE(rate, 24);
  sound.writeUInt32LE(rate * 2, 28);
  sound.writeUInt16LE(2, 32);
  sound.writeUInt16LE(16, 34);
  sound.write('data', 36);
  sound.writeUInt32LE(samples * 2, 40);
  for (let n = 0; n < samples; n += 1) sound.writeInt16LE(Math.trunc(8000 * Math.sin((2 * Math.PI * 440 * n) / rate)), 44 + n * 2);
  return sound;
}

const file = (bytes = tone(), name = 'tone.wav') => toFile(bytes, name, { type: 'audio/wav' });

/** The beginnings and ends of subtitles, in seconds. */
function cues(text) {
  const time = String.raw`(?:(\d+):)?(\d\d):(\d\d)[,.](\d{3})`;
  const seconds = (hours, minutes, seconds, thousandths) => Number(hours ?? 0) * 3600 + Number(minutes) * 60 + Number(seconds) + Number(thousandths) / 1000;
  return [...text.matchAll(new RegExp(`^${time} --> ${time}`, 'gm'))].map((match) => ({ start: seconds(...match.slice(1, 5)), end: seconds(...match.slice(5, 9)) }));
}

/** The parts follow each other within the sound. */
function checkOrder(parts) {
  assert.ok(parts.length > 0 && parts[0].start >= 0 && parts.at(-1).end <= SECONDS + 0.1);
  parts.forEach((part, place) => assert.ok(part.start <= part.end && (place === 0 || parts[place - 1].start <= part.start)));
}

// ---- Sound to text -----------------------------------------------------------------------------------------------

for (const name of ['transcriptions', 'translations']) {
  const create = async (more = {}) => client.audio[name].create({ model: 'transcribe', file: await file(), ...more });

  test(`${name}: sound becomes text in json`, async () => {
    const answer = await create();
    assert.ok(answer.text.trim());
    assert.match(answer._request_id, /^req_/);
    assert.equal((await create({ response_format: 'json' })).text, answer.text);
  });

  test(`${name}: sound becomes plain text and subtitles`, async () => {
    const spoken = words((await create()).text);
    for (const response_format of ['text', 'srt', 'vtt']) {
      let text = await create({ response_format });
      assert.equal(typeof text, 'string', response_format);
      if (response_format === 'vtt') {
        assert.ok(text.startsWith('WEBVTT\n\n'));
        text = text.slice('WEBVTT'.length);
      }
      if (response_format !== 'text') checkOrder(cues(text));
      const lines = text.split(/\r?\n/).filter((line) => line && !/^\d+$/.test(line) && !line.includes('-->'));
      assert.equal(words(lines.join(' ')), spoken);
    }
  });

  test(`${name}: sound becomes verbose json with the right duration`, async () => {
    const answer = await create({ response_format: 'verbose_json' });
    about(answer.duration, SECONDS);
    assert.ok(answer.language);
    checkOrder(answer.segments);
    for (const segment of answer.segments) {
      for (const member of ['id', 'seek', 'start', 'end', 'text', 'tokens', 'temperature', 'avg_logprob', 'compression_ratio', 'no_speech_prob']) assert.ok(member in segment, member);
    }
    assert.equal(words(answer.segments.map((segment) => segment.text).join(' ')), words(answer.text));
  });

  test(`${name}: wrong fields are named`, async () => {
    for (const [wrong, param] of [
      [{ file: await file(Buffer.from('This is no sound.')) }, 'file'],
      [{ response_format: 'xml' }, 'response_format'],
      [{ temperature: 'hot' }, 'temperature'],
    ]) checkError(await rejected(create(wrong)), 'BadRequestError', { param });
    for (const model of ['chat', 'speech', 'whisper-nothing']) {
      checkError(await rejected(create({ model })), 'NotFoundError', { code: 'model_not_found', param: 'model' });
    }
  });
}

test('a transcription tells its usage', async () => {
  const { usage } = await client.audio.transcriptions.create({ model: 'transcribe', file: await file() });
  if (usage.type === 'duration') assert.ok(usage.seconds >= Math.floor(SECONDS) && usage.seconds <= Math.ceil(SECONDS));
  else assert.equal(usage.total_tokens, usage.input_tokens + usage.output_tokens);
});

test('words have their times when they are asked for', async () => {
  const answer = await client.audio.transcriptions.create({ model: 'transcribe', file: await file(), response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] });
  checkOrder(answer.words);
  assert.equal(answer.words.length, words(answer.text).split(' ').length);
});

test('sound becomes diarized json', async () => {
  const answer = await client.audio.transcriptions.create({ model: 'transcribe', file: await file(), response_format: 'diarized_json', chunking_strategy: 'auto' });
  assert.equal(answer.task, 'transcribe');
  about(answer.duration, SECONDS);
  checkOrder(answer.segments);
  assert.ok(answer.segments.every((one) => one.type === 'transcript.text.segment' && one.id && one.speaker));
});

test('a streamed transcription has deltas and ends with the whole text', async () => {
  const events = await read(await client.audio.transcriptions.create({ model: 'transcribe', file: await file(), stream: true }));
  const last = events.pop();
  assert.equal(last.type, 'transcript.text.done');
  assert.ok(last.text.trim() && events.length > 0);
  assert.ok(events.every(({ type }) => ['transcript.text.delta', 'transcript.text.segment'].includes(type)));
  assert.equal(events.map((event) => (event.type === 'transcript.text.delta' ? event.delta : '')).join(''), last.text);
});

test('a file that is too large is refused', async () => {
  const large = await file(Buffer.concat([tone(), Buffer.alloc(25 * 1024 * 1024)]));
  const error = await rejected(client.audio.transcriptions.create({ model: 'transcribe', file: large }));
  assert.equal(error.status, 413);
  checkError(error, 'APIError', {});
});

// ---- Text to sound -----------------------------------------------------------------------------------------------

const spoken = async (more = {}) => {
  const answer = await client.audio.speech.create({ model: 'speech', voice: 'alloy', input: 'The quick brown fox jumps over the lazy dog.', ...more });
  assert.match(answer.headers.get('content-type'), /^audio\//);
  assert.match(answer.headers.get('x-request-id'), /^req_/);
  return Buffer.from(await answer.arrayBuffer());
};

test('text becomes sound in every format', async () => {
  const isMp3 = (sound) => sound.subarray(0, 3).toString() === 'ID3' || (sound[0] === 0xff && (sound[1] & 0xe0) === 0xe0 && (sound[1] & 0x06) !== 0);
  for (const [response_format, holds] of [
    [undefined, isMp3],
    ['mp3', isMp3],
    ['opus', (sound) => sound.subarray(0, 4).toString() === 'OggS' && sound.subarray(0, 64).includes('OpusHead')],
    ['aac', (sound) => sound[0] === 0xff && (sound[1] & 0xf6) === 0xf0],
    ['flac', (sound) => sound.subarray(0, 4).toString() === 'fLaC'],
    ['wav', (sound) => sound.subarray(0, 4).toString() === 'RIFF' && sound.subarray(8, 12).toString() === 'WAVE'],
    ['pcm', (sound) => sound.length % 2 === 0],
  ]) {
    const sound = await spoken({ response_format });
    assert.ok(sound.length > 100 && holds(sound), response_format);
  }
});

test('the length of a wav fits, and pcm is the same without its head', async () => {
  const [wav, pcm] = [await spoken({ response_format: 'wav' }), await spoken({ response_format: 'pcm' })];
  assert.equal(wav.readUInt32LE(4), wav.length - 8);
  let at = 12;
  while (wav.toString('latin1', at, at + 4) !== 'data') at += 8 + wav.readUInt32LE(at + 4);
  assert.equal(wav.readUInt32LE(at + 4), wav.length - at - 8);
  assert.equal(pcm.length, wav.length - at - 8);
});

test('what can not be spoken is a bad request that names the field', async () => {
  for (const [wrong, param] of [[{ input: 'x'.repeat(4097) }, 'input'], [{ input: '' }, 'input'], [{ response_format: 'midi' }, 'response_format'], [{ speed: 9 }, 'speed']]) {
    checkError(await rejected(spoken(wrong)), 'BadRequestError', { param });
  }
});

// ---- Pictures ----------------------------------------------------------------------------------------------------

const CRC = [...Array(256).keys()].map((n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});
const sum = (bytes) => (bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;

/** Width and height of a PNG whose parts are whole. */
function sizeOfPng(picture) {
  assert.equal(picture.subarray(0, 8).toString('latin1'), '\x89PNG\r\n\x1a\n');
  const names = [];
  for (let at = 8; at < picture.length;) {
    const length = picture.readUInt32BE(at);
    const part = picture.subarray(at + 4, at + 8 + length);
    assert.equal(sum(part), picture.readUInt32BE(at + 8 + length));
    names.push(part.toString('latin1', 0, 4));
    at += 12 + length;
  }
  assert.deepEqual([names[0], names.includes('IDAT'), names.at(-1)], ['IHDR', true, 'IEND']);
  return [picture.readUInt32BE(16), picture.readUInt32BE(20)];
}

test('pictures are made in the size that was asked for', async () => {
  for (const [size, wide, high] of [['1024x1024', 1024, 1024], ['1536x1024', 1536, 1024]]) {
    const answer = await client.images.generate({ model: 'image', prompt: 'A cat', n: 2, size });
    assert.match(answer._request_id, /^req_/);
    assert.deepEqual(answer.data.map((one) => sizeOfPng(Buffer.from(one.b64_json, 'base64'))), [[wide, high], [wide, high]]);
    assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
  }
  for (const [wrong, param] of [[{ n: 0 }, 'n'], [{ size: '1x1' }, 'size'], [{ prompt: '' }, 'prompt']]) {
    checkError(await rejected(client.images.generate({ model: 'image', prompt: 'A cat', ...wrong })), 'BadRequestError', { param });
  }
});

// ---- Responses ---------------------------------------------------------------------------------------------------

const WEATHER = { type: 'function', name: 'weather', description: 'The weather', strict: true, parameters: { type: 'object', properties: {}, required: [], additionalProperties: false } };

test('a response is created', async () => {
  const answer = await client.responses.create({ model: 'chat', input: 'Hello', store: false });
  assert.deepEqual([answer.object, answer.status, answer.model], ['response', 'completed', 'chat']);
  assert.match(answer.output_text, /Hello/);
  assert.match(answer._request_id, /^req_/);
  assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
});

test('a streamed response ends with its completion', async () => {
  const events = await read(await client.responses.create({ model: 'chat', input: 'Count to ten, please', store: false, stream: true }));
  const last = events.at(-1);
  assert.deepEqual([events[0].type, last.type, last.response.status], ['response.created', 'response.completed', 'completed']);
  events.forEach((event, place) => assert.ok(place === 0 || event.sequence_number > events[place - 1].sequence_number));
  const text = events.map((event) => (event.type === 'response.output_text.delta' ? event.delta : '')).join('');
  const whole = last.response.output.flatMap((item) => item.content ?? []).map((part) => part.text).join('');
  assert.equal(text, whole);
  assert.match(text, /Count to ten/);
  assert.ok(last.response.usage.total_tokens > 0);
  const final = await client.responses.stream({ model: 'chat', input: 'Hello', store: false }).finalResponse();
  assert.match(final.output_text, /Hello/);
});

test('a response calls a tool, whole and in pieces', async () => {
  const order = { model: 'chat', input: 'Use the tool', tools: [WEATHER], store: false };
  const whole = await client.responses.create(order);
  const events = await read(await client.responses.create({ ...order, stream: true }));
  for (const answer of [whole, events.at(-1).response]) {
    const [call] = answer.output.filter((item) => item.type === 'function_call');
    assert.deepEqual([call.name, call.arguments], ['weather', '{}']);
  }
});

test('a streamed response that the service breaks off raises', async () => {
  for (const fault of ['ai_cut_next', 'ai_error_in_stream_next']) {
    await demo.control('faults', { [fault]: 1 });
    const stream = await client.responses.create({ model: 'chat', input: 'Something of some length', store: false, stream: true });
    const error = await rejected(read(stream));
    assert.ok(error instanceof APIError, `${fault}: ${error}`);
    assert.equal(error.code, 'upstream_stream_interrupted');
    await demo.control('faults', {});
  }
});

test('a response of an unknown model is not found', async () => {
  for (const model of ['gpt-nothing', 'embed']) {
    checkError(await rejected(client.responses.create({ model, input: 'x' })), 'NotFoundError', { code: 'model_not_found', param: 'model' });
  }
});

// ---- Vision ------------------------------------------------------------------------------------------------------

/** A PNG of one colour. */
function picture(wide = 96, high = 64) {
  const number = (value) => Buffer.from(value.toString(16).padStart(8, '0'), 'hex');
  const part = (name, data) => Buffer.concat([number(data.length), Buffer.from(name), data, number(sum(Buffer.concat([Buffer.from(name), data])))]);
  const head = Buffer.concat([number(wide), number(high), Buffer.from([8, 2, 0, 0, 0])]);
  const line = Buffer.concat([Buffer.from([0]), ...Array(wide).fill(Buffer.from([0x20, 0x80, 0xc0]))]);
  const data = deflateSync(Buffer.concat(Array(high).fill(line)));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), part('IHDR', head), part('IDAT', data), part('IEND', Buffer.alloc(0))]);
}

test("a picture is looked at through the SDK's own transport", async () => {
  const order = { model: 'vision', image: { b64: picture().toString('base64') }, features: ['caption', 'tags', 'read'], language: 'en' };
  const answer = await client.post('/vision/analyze', { body: order });
  for (const feature of order.features) assert.ok(`${feature}Result` in answer, feature);
  for (const [wrong, param] of [[{ image: { b64: 'AAAA' } }, 'image'], [{ features: ['smell'] }, 'features'], [{ features: [] }, 'features']]) {
    const error = await rejected(client.post('/vision/analyze', { body: { ...order, ...wrong } }));
    checkError(error, 'BadRequestError', {});
    // It may say where within the field.
    assert.ok(error.param.startsWith(param));
  }
});
