// The portal's playground, budgets and limits of keys in a browser: a chat that streams, its price, stopping it, and
// what the pages look like. Tools for sound and images are tried where the demo has their models.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OUTPUT, buyActive, fits, heading, journey, openAs, startBrowser, startDemo, violations } from './support.mjs';

const CLARA = 'clara@contoso.example';
const world = {};
let subscription = '';

before(async () => {
  world.demo = await startDemo();
  world.browser = await startBrowser();
  subscription = await buyActive(world.demo, world.browser, CLARA);
});

after(async () => {
  await world.browser?.close();
  await world.demo?.stop();
});

const limit = (seconds) => ({ timeout: seconds * 1000 });
const portal = (path = '') => `${world.demo.product}/portal/subscriptions/${subscription}${path}`;
const calls = async () => (await world.demo.control('ai-calls')).calls;
const receipt = (page, name) => page.locator('.receipt').last().locator('div').filter({ has: page.locator('dt', { hasText: name }) }).locator('dd');
const say = async (page, text) => {
  await page.getByLabel('Your message').fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
};

/** What a program prints that is given as text. */
function printed(command, args, input, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, cwd, encoding: 'utf8', timeout: 30_000 });
  assert.equal(status, 0, `${error ?? ''}${stderr}\n${input}`);
  return stdout;
}
const PYTHON = "import sys; compile(sys.stdin.read(), 'sample', 'exec')";
const TOOLS = fileURLToPath(new URL('../tools/', import.meta.url));

/** A WAV file with a tone. */
function tone(seconds = 2, rate = 16_000) {
  const samples = seconds * rate;
  const sound = Buffer.alloc(44 + samples * 2);
  sound.write('RIFF', 0); sound.writeUInt32LE(sound.length - 8, 4); sound.write('WAVEfmt ', 8); sound.writeUInt32LE(16, 16);
  sound.writeUInt16LE(1, 20); sound.writeUInt16LE(1, 22); sound.writeUInt32LE(rate, 24); sound.writeUInt32LE(rate * 2, 28);
  sound.writeUInt16LE(2, 32); sound.writeUInt16LE(16, 34); sound.write('data', 36); sound.writeUInt32LE(samples * 2, 40);
  for (let at = 0; at < samples; at += 1) sound.writeInt16LE(Math.round(8000 * Math.sin(at / 6)), 44 + at * 2);
  return sound;
}

journey(world, 'a chat streams in the playground, its price is shown, and what was said goes along', limit(60), async ({ open }) => {
  const page = await open();
  await openAs(page, portal(), CLARA);
  await page.getByRole('link', { name: 'Open the playground' }).click();
  await heading(page, 'Playground').waitFor();
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('alert').getByText('Write a message first.').waitFor();
  // Every state of the answer on its way.
  await page.evaluate(() => {
    window.lengths = [];
    new MutationObserver(() => window.lengths.push(document.querySelector('.turns').textContent.length))
      .observe(document.querySelector('.turns'), { subtree: true, childList: true, characterData: true });
  });
  await say(page, 'Tell me something long enough to be cut into pieces, it’s “quoted” text');
  await receipt(page, 'Price').getByText(/^USD 0\.0\d+ at list price$/).waitFor();
  assert.match(await page.locator('.turn').nth(1).innerText(), /simulated/);
  assert.ok(new Set(await page.evaluate(() => window.lengths)).size > 5, 'it came in pieces');
  const [call] = await calls();
  assert.equal(await receipt(page, 'Used').innerText(), `${call.prompt_tokens} input tokens\n${call.completion_tokens} output tokens`);
  assert.match(await receipt(page, 'Time').innerText(), /^\d+\.\d\d s, the first piece after \d+\.\d\d s$/);
  assert.match(await receipt(page, 'Request').locator('code').innerText(), /^req_\w+$/);
  const curl = page.locator('pre').first();
  const sample = await curl.innerText();
  assert.ok(sample.includes(`${world.demo.product}/v1/chat/completions`) && sample.includes('it’s \\"quoted\\" text'.replace('\\"quoted\\"', '“quoted”')), sample);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'chat-text', 'one can go on typing');

  await page.getByLabel('Longest answer').fill('5');
  await page.getByLabel('Your message').fill("And that's next");
  await page.keyboard.press('Control+Enter');
  await page.getByText('The answer was cut at its longest length.').waitFor();
  await page.locator('.receipt').nth(1).getByText(/USD/).waitFor();
  const shell = await curl.innerText();
  assert.match(shell, /"role":"assistant"/, 'what was said goes along');
  assert.ok(shell.includes(`And that'\\''s next`) && shell.includes('"max_completion_tokens": 5'), shell);
  await page.getByRole('button', { name: 'New conversation' }).click();
  assert.equal(await page.locator('.turn').count(), 0);

  // The samples are programs that run.
  await page.getByLabel('Longest answer').fill('');
  const message = `It's "quoted", costs $5 \\ 50 % «fields» – and\nhas two lines`;
  await say(page, message);
  await receipt(page, 'Price').getByText(/USD/).waitFor();
  const samples = await page.locator('#chat pre').evaluateAll((all) => all.map((one) => one.textContent));
  await page.goto(portal('/keys'));
  await page.locator('#key-name').fill('Samples');
  await page.locator('form[action$="/keys"] button').click();
  const [key] = (await page.locator('main').innerText()).match(/mgk-[0-9a-f]{12}-[\w-]{43}/);
  const [curled, python, node] = samples.map((sample) => sample.replace('<key>', key));
  assert.match(printed('bash', ['-s'], `${curled} -sS`), /data: \[DONE\]/);
  printed('python3', ['-c', PYTHON], python);
  assert.match(printed('node', ['--input-type=module', '-'], node, TOOLS), /simulated/);
  const said = (await calls()).slice(-3).map((call) => call.prompt_tokens);
  assert.equal(new Set(said).size, 1, `the same message thrice: ${said}`);
});

journey(world, 'a stopped answer stays as far as it came, and its price is told once the model has ended it', limit(90), async ({ open }) => {
  const page = await open();
  await openAs(page, portal('/playground'), CLARA);
  const before = (await calls()).length;
  await world.demo.control('faults', { ai_delay_ms: 0, ai_chunk_delay_ms: 150 }).catch(() => {});
  await say(page, `Please go on for a long time: ${'one two three four five six seven eight nine ten '.repeat(12)}`);
  await page.locator('.turn').nth(1).locator('.turn-text').getByText(/\w/).waitFor();
  const stop = page.getByRole('button', { name: 'Stop' });
  await stop.click();
  await page.getByText('Stopped. The model still brings').waitFor();
  await stop.waitFor({ state: 'hidden' });
  await receipt(page, 'Price').getByText(/^USD/).waitFor({ timeout: 60_000 });
  const call = (await calls())[before];
  assert.ok(call.finished && !call.client_gone, 'the product reads on, so the usage is known');
  await world.demo.control('faults', {});
});

journey(world, 'what is refused says why, with its code, and the message can be sent again', limit(60), async ({ open, watch }) => {
  const page = await open();
  await openAs(page, portal('/budgets'), CLARA);
  const all = page.locator('section', { has: page.getByRole('heading', { name: 'Whole subscription' }) });
  await all.locator('summary').click();
  await all.getByLabel('Hard limit').fill('0.000001');
  await all.getByRole('button', { name: 'Set budget' }).click();
  await page.getByText('The subscription’s budget was saved').waitFor();
  watch.allow(429, `/portal/subscriptions/${subscription}/playground/chat`);
  await page.goto(portal('/playground'));
  await page.waitForTimeout(2_500);
  await say(page, 'Is there anything left?');
  const alert = page.getByRole('alert').filter({ hasText: 'The budget does not allow this call' });
  await alert.getByText(/^insufficient_quota · req_/).waitFor();
  assert.equal(await page.getByLabel('Your message').inputValue(), 'Is there anything left?');
  await page.goto(portal('/budgets'));
  await all.getByRole('button', { name: 'Remove budget' }).click();
  await page.getByText('has no budget any more').waitFor();
  // What was read of budgets a moment ago is believed for two seconds.
  await page.waitForTimeout(2_500);
  // Without a session the page says how to go on.
  await page.goto(portal('/playground'));
  await page.context().clearCookies({ name: 'mediagenie-session' });
  watch.allow(401, `/portal/subscriptions/${subscription}/playground/chat`);
  await say(page, 'Still there?');
  const again = page.getByRole('alert').getByRole('link', { name: 'Sign in' });
  await again.waitFor();
  assert.ok((await again.getAttribute('href')).includes(`/playground`));
});

journey(world, 'sound is heard and spoken and images are looked at, where there are models', limit(90), async ({ open, t }) => {
  const page = await open();
  await openAs(page, portal('/playground'), CLARA);
  const tab = (name) => page.getByRole('link', { name, exact: true });
  if (await tab('Transcribe').count()) {
    await tab('Transcribe').click();
    await page.getByLabel('Recording').setInputFiles({ name: 'two seconds.wav', mimeType: 'audio/wav', buffer: tone() });
    await page.getByRole('button', { name: 'Transcribe' }).click();
    await page.locator('#transcribe .receipt').getByText('2 s of audio').waitFor();
    assert.match(await page.locator('#transcribe pre').nth(1).textContent(), /open\("two seconds\.wav", "rb"\)/);
    printed('python3', ['-c', PYTHON], await page.locator('#transcribe pre').nth(1).textContent());
  } else t.diagnostic('no model transcribes');
  if (await tab('Speak').count()) {
    await tab('Speak').click();
    await page.getByLabel('Format').selectOption('wav');
    await page.locator('#speak-text').fill('Good morning');
    await page.locator('#speak').getByRole('button', { name: 'Speak' }).click();
    await page.locator('#speak .receipt').getByText('12 characters').waitFor();
    await page.waitForFunction(() => document.querySelector('audio').duration > 0);
    printed('python3', ['-c', PYTHON], await page.locator('#speak pre').nth(1).textContent());
  } else t.diagnostic('no model speaks');
  if (await tab('Look at an image').count()) {
    await tab('Look at an image').click();
    const look = page.locator('#analyze');
    await look.getByRole('button', { name: 'Look at the image' }).click();
    await look.getByText('Choose a file or enter an address').waitFor();
    const picture = await page.screenshot();
    await look.getByLabel('Image file').setInputFiles({ name: 'page.png', mimeType: 'image/png', buffer: picture });
    for (const name of ['Objects', 'Text', 'People']) await look.getByRole('checkbox', { name }).check();
    await look.getByRole('button', { name: 'Look at the image' }).click();
    await look.locator('.receipt').getByText('5 image features').waitFor();
    assert.ok(await look.locator('.look polygon').count() > 0, 'places are drawn');
    assert.equal(await look.locator('.look img').evaluate((it) => it.naturalWidth), 1280, 'the image is shown');
    printed('python3', ['-c', PYTHON], await look.locator('pre').nth(1).textContent());
  } else t.diagnostic('no model looks at images');
});

journey(world, 'the pages of the playground, of budgets and of keys fit a telephone and break no rule of accessibility', limit(200), async ({ open, watch }) => {
  // Of its own: the journeys clear theirs, perhaps at the same time.
  const folder = join(OUTPUT, 'screenshots-portal');
  await mkdir(folder, { recursive: true });
  const page = await open({ reducedMotion: 'reduce' });
  await openAs(page, portal('/keys'), CLARA);
  const wrong = [];
  const take = async (name, language) => {
    const odd = (await page.locator('body').innerText()).match(/\bundefined\b|\bNaN\b|\[object|\{(n|s|name|first|price)\}/);
    if (odd) wrong.push(`${name} shows “${odd[0]}”`);
    for (const [width, height, theme] of [[1280, 900, 'light'], [1280, 900, 'dark'], [320, 640, 'light']]) {
      const what = `${name}-${width}-${theme}-${language}`;
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height });
      wrong.push(...await fits(page, what), ...await violations(page, what, theme === 'dark' ? ['color-contrast'] : undefined));
      await page.screenshot({ path: join(folder, `${what}.png`), fullPage: true });
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  };
  for (const language of ['en', 'zh-Hans']) {
    await page.context().addCookies([{ name: 'mediagenie-language', value: language, url: world.demo.product }]);
    await page.goto(portal('/keys'));
    await page.locator('#key-name').fill('Call centre');
    await page.locator('input[name=scope-chat]').check();
    await page.locator('#key-parallel').fill('4');
    await page.locator('form[action$="/keys"] button').click();
    await page.locator('.notice-warn').waitFor();
    await take('portal-keys-limited', language);
    watch.allow(400, `/portal/subscriptions/${subscription}/keys`);
    await page.goto(portal('/keys'));
    await page.locator('#key-name').fill('Wrong');
    await page.locator('#key-parallel').fill('0');
    await page.locator('form[action$="/keys"]').evaluate((it) => { it.noValidate = true; });
    await page.locator('form[action$="/keys"] button').click();
    await page.locator('.notice-error').waitFor();
    await take('portal-keys-wrong-limit', language);

    await page.goto(portal('/budgets'));
    await take('portal-budgets-none', language);
    const set = async (at, unit, soft, hard) => {
      await page.goto(portal('/budgets'));
      const form = page.locator(`form[action$="/budgets/${at}"]`);
      await form.evaluate((it) => { it.closest('details').open = true; });
      await form.locator('[name=unit]').selectOption(unit);
      await form.locator('[name=soft]').fill(soft);
      await form.locator('[name=hard]').fill(hard);
      await form.locator('button').click();
    };
    await set('all', 'chat_tokens', '20', '400');
    await page.locator('.notice-ok').waitFor();
    await page.waitForTimeout(2_500);
    await page.goto(portal('/playground'));
    await page.locator('#chat-most').fill('40');
    await page.locator('#chat-text').fill('Hello there, tell me about <b>budgets</b>');
    await page.locator('#chat button[type=submit]').click();
    await page.locator('.receipt strong').waitFor();
    await take('portal-playground-chat', language);
    for (const name of ['transcribe', 'speak', 'analyze']) {
      if (await page.locator(`[data-tab=${name}]`).count() === 0) continue;
      await page.locator(`[data-tab=${name}]`).click();
      if (name === 'transcribe') await page.locator('#transcribe-file').setInputFiles({ name: 'a.wav', mimeType: 'audio/wav', buffer: tone() });
      if (name === 'speak') await page.locator('#speak-text').fill('Good morning');
      if (name === 'analyze') {
        await page.locator('#analyze-file').setInputFiles({ name: 'page.png', mimeType: 'image/png', buffer: await page.screenshot() });
        for (const box of await page.locator('#analyze [name=features]').all()) await box.check();
      }
      await page.locator(`#${name} button[type=submit]`).click();
      await page.locator(`#${name} .receipt strong`).waitFor();
      await take(`portal-playground-${name}`, language);
    }
    const key = await page.goto(portal('/budgets')).then(() => page.locator('form[action*="/budgets/"]').nth(2).getAttribute('action'));
    await set(key.split('/').pop(), 'money', '', '25.5');
    await page.locator('.notice-ok').waitFor();
    await take('portal-budgets', language);
    watch.allow(400, `/portal/subscriptions/${subscription}/budgets/all`);
    await set('all', 'money', '9', '5');
    await page.locator('.notice-error').waitFor();
    await take('portal-budgets-wrong', language);
    await page.goto(portal());
    await page.locator('.notice-warn').waitFor();
    await take('portal-budget-reached', language);
    await page.goto(portal('/budgets'));
    for (const at of ['all', key.split('/').pop()]) {
      await page.locator(`form[action$="/budgets/${at}/remove"] button`).click();
      await page.locator('.notice-ok').waitFor();
    }
  }
  if (wrong.length > 0) assert.fail(`${wrong.length} faults:\n${wrong.join('\n')}`);
});

journey(world, 'without JavaScript the playground says so and still has the code', limit(40), async ({ open }) => {
  const page = await open();
  await openAs(page, portal('/playground'), CLARA);
  await heading(page, 'Playground').waitFor();
  const bare = await open({ storageState: await page.context().storageState(), javaScriptEnabled: false });
  await bare.goto(portal('/playground'));
  assert.match(await bare.locator('noscript').innerText(), /Trying models here needs JavaScript/);
  assert.equal(await bare.locator('form[data-tool]:visible').count(), 0);
  assert.match(await bare.locator('pre').first().innerText(), /chat\/completions/);
});

test('the product never panicked', () => {
  assert.doesNotMatch(world.demo.log(), /panicked/, world.demo.log());
});
