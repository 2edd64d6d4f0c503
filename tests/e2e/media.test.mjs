// Files and media jobs in a browser: uploaded with a bar, started, watched to their end, played; and what the pages look
// like. The same without JavaScript.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { OUTPUT, SETTLING, badge, buyActive, comes, fits, heading, journey, openAs, startBrowser, startDemo, violations } from './support.mjs';

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
const wrong = [];

/** The page at three widths and in both schemes: nothing sticks out, nothing is inaccessible. */
async function shots(page, name) {
  const folder = join(OUTPUT, 'screenshots-media');
  await mkdir(folder, { recursive: true });
  for (const [width, theme] of [[1280, 'light'], [800, 'light'], [1280, 'dark'], [320, 'light']]) {
    const what = `${name}-${width}-${theme}`;
    await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height: 900 });
    wrong.push(...await fits(page, what), ...await violations(page, what, theme === 'dark' ? ['color-contrast'] : undefined));
    await page.screenshot({ path: join(folder, `${what}.png`), fullPage: true });
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: 'light' });
}

/** The same in both languages. */
async function looked(page, name) {
  for (const language of ['en', 'zh-Hans']) {
    await page.context().addCookies([{ name: 'mediagenie-language', value: language, url: world.demo.product }]);
    await page.reload();
    const odd = (await page.locator('body').innerText()).match(/\bundefined\b|\bNaN\b|\[object|\{(done|name|count|days|number|total|most)\}/);
    if (odd) wrong.push(`${name} shows “${odd[0]}”`);
    await shots(page, `${name}-${language}`);
  }
  await page.context().addCookies([{ name: 'mediagenie-language', value: 'en', url: world.demo.product }]);
  await page.reload();
}

/** A WAV file with a tone. */
function tone(seconds = 3, rate = 16_000) {
  const samples = seconds * rate;
  const sound = Buffer.alloc(44 + samples * 2);
  sound.write('RIFF', 0); sound.writeUInt32LE(sound.length - 8, 4); sound.write('WAVEfmt ', 8); sound.writeUInt32LE(16, 16);
  sound.writeUInt16LE(1, 20); sound.writeUInt16LE(1, 22); sound.writeUInt32LE(rate, 24); sound.writeUInt32LE(rate * 2, 28);
  sound.writeUInt16LE(2, 32); sound.writeUInt16LE(16, 34); sound.write('data', 36); sound.writeUInt32LE(samples * 2, 40);
  for (let at = 0; at < samples; at += 1) sound.writeInt16LE(Math.round(8000 * Math.sin(at / 6)), 44 + at * 2);
  return sound;
}

const over = (page) => page.locator('.title .badge', { hasText: /^Succeeded$/ }).waitFor({ timeout: SETTLING });

/** It has a length, and it moves. */
async function plays(audio) {
  await audio.waitFor();
  const played = await audio.evaluate(async (it) => {
    it.muted = true;
    if (!(it.duration > 0)) await new Promise((done, failed) => { it.onloadedmetadata = done; it.onerror = () => failed(new Error('the audio can not be read')); });
    const from = it.currentTime;
    await it.play();
    await new Promise((done) => { it.ontimeupdate = () => { if (it.currentTime > from) done(); }; });
    it.pause();
    return { duration: it.duration, moved: it.currentTime - from };
  });
  assert.ok(played.duration > 0 && played.moved > 0, JSON.stringify(played));
  return played.duration;
}

journey(world, 'files are uploaded with a bar, and listed', limit(90), async ({ open }) => {
  const page = await open();
  await openAs(page, portal(), CLARA);
  await page.getByRole('link', { name: 'See files' }).click();
  await heading(page, 'Files').waitFor();
  await looked(page, 'files-empty');
  const progress = await page.evaluateHandle(() => {
    const seen = [];
    new MutationObserver(() => seen.push(document.querySelector('[data-progress] [data-said]').textContent))
      .observe(document.querySelector('[data-progress]'), { subtree: true, childList: true, characterData: true, attributes: true });
    window.addEventListener('pagehide', () => sessionStorage.setItem('seen', JSON.stringify(seen)));
    return seen;
  });
  assert.ok(progress);
  const picture = await page.screenshot();
  await page.locator('#files').setInputFiles([
    { name: 'two people talking.wav', mimeType: 'audio/wav', buffer: tone() },
    { name: 'large recording of a whole afternoon with a long name.wav', mimeType: 'audio/wav', buffer: tone(600) },
    { name: 'page.png', mimeType: 'image/png', buffer: picture },
    { name: 'chapter.txt', mimeType: 'text/plain', buffer: Buffer.from('It was a dark and stormy night.') },
  ]);
  await page.getByRole('button', { name: 'Upload' }).click();
  await page.getByText('Uploaded: 4').waitFor();
  assert.match((await page.evaluate(() => sessionStorage.getItem('seen'))), /% sent|being stored/);
  assert.equal(await page.locator('tbody tr').count(), 4);
  await looked(page, 'files');
  const row = page.locator('tbody tr', { hasText: 'large recording' });
  const download = page.waitForEvent('download');
  await row.getByRole('link', { name: 'Download' }).click();
  assert.equal((await download).suggestedFilename(), 'large recording of a whole afternoon with a long name.wav');
  await row.locator('summary').click();
  await row.getByRole('button', { name: 'Delete for good' }).click();
  await page.getByText('The file is deleted').waitFor();
  assert.equal(await page.locator('tbody tr').count(), 3);
});

journey(world, 'a text is spoken in the background, its progress is seen, and its audio plays', limit(120), async ({ open }) => {
  const page = await open();
  await openAs(page, portal('/jobs'), CLARA);
  await looked(page, 'jobs-empty');
  await page.locator('summary', { hasText: 'Speak a long text' }).click();
  await page.locator('#speech-response_format').selectOption('wav');
  await page.locator('#speech-text').fill('This is a sentence of some forty letters. '.repeat(400));
  await world.demo.control('faults', { ai_delay_ms: 4000 });
  await page.locator('#start-speech').getByRole('button', { name: 'Start the job' }).click();
  await heading(page, 'Speech').waitFor();
  // On the way, without being loaded again.
  await page.evaluate(() => { window.same = true; });
  await page.waitForFunction(() => { const bar = document.querySelector('[data-bar]'); return bar.value > 0 && bar.value < bar.max; }, null, { timeout: SETTLING });
  assert.ok(await page.evaluate(() => window.same), 'it is the page that was opened');
  assert.match(await page.locator('[data-counts-shown]').innerText(), /^[1-5] of 6 done, 0 failed$/);
  await page.locator('.title .badge', { hasText: /^Running$/ }).waitFor();
  await shots(page, 'job-running');
  await over(page);
  assert.ok(!await page.evaluate(() => window.same), 'it was loaded again at its end');
  await world.demo.control('faults', {});
  await page.locator('.card audio').waitFor();
  assert.ok(await plays(page.locator('.card audio')) > 60);
  await looked(page, 'job-speech');
  await page.getByRole('link', { name: 'Item 1', exact: true }).click();
  await plays(page.locator('.card audio'));
  await looked(page, 'item-speech');
});

journey(world, 'a recording is transcribed, and a time leads to its place in it', limit(120), async ({ open }) => {
  const page = await open();
  await openAs(page, portal('/jobs'), CLARA);
  await page.locator('summary', { hasText: 'Transcribe recordings' }).click();
  await page.locator('#transcription-response_format').selectOption('verbose_json');
  await page.getByRole('checkbox', { name: 'two people talking.wav' }).check();
  await page.locator('#start-transcription').getByRole('button', { name: 'Start the job' }).click();
  await heading(page, 'Transcription').waitFor();
  // The page comes to its end by itself.
  await over(page);
  const bar = page.locator('[data-bar]');
  assert.deepEqual([await bar.evaluate((it) => it.value), await bar.evaluate((it) => it.max)], [1, 1]);
  await page.getByRole('link', { name: 'Look at it' }).click();
  const heard = page.locator('#heard');
  await plays(heard);
  const last = page.locator('[data-seek]').last();
  const at = Number(await last.getAttribute('data-seek'));
  await last.click();
  await page.waitForFunction((at) => document.getElementById('heard').currentTime >= at, at);
  assert.equal(new URL(page.url()).hash, '', 'the page stays');
  await heard.evaluate((it) => it.pause());
  await looked(page, 'item-transcript');
});

journey(world, 'images are looked at, and what was found is drawn and told', limit(120), async ({ open }) => {
  const page = await open();
  await openAs(page, portal('/jobs'), CLARA);
  await page.locator('summary', { hasText: 'Look at images' }).click();
  const form = page.locator('#start-image-analysis');
  await form.getByRole('checkbox', { name: 'page.png' }).check();
  for (const name of ['Objects', 'Text', 'People']) await form.getByRole('checkbox', { name, exact: true }).check();
  await form.getByRole('button', { name: 'Start the job' }).click();
  await over(page);
  await page.getByRole('link', { name: 'Look at it' }).click();
  assert.ok(await page.locator('.look polygon').count() > 0);
  assert.equal(await page.locator('.look img').evaluate((it) => it.naturalWidth), 1280);
  assert.ok(await page.locator('tbody tr').count() >= 4);
  await looked(page, 'item-image');
  await page.goto(portal('/jobs'));
  for (const summary of await page.locator('summary').all()) await summary.click();
  await shots(page, 'jobs-forms');
  await looked(page, 'jobs');
});

journey(world, 'without JavaScript a file is uploaded, a job started, watched by hand and deleted', limit(90), async ({ open }) => {
  const page = await open();
  await openAs(page, portal('/files'), CLARA);
  const bare = await open({ storageState: await page.context().storageState(), javaScriptEnabled: false });
  await bare.goto(portal('/files'));
  await bare.locator('#files').setInputFiles([{ name: 'bare.wav', mimeType: 'audio/wav', buffer: tone(1) }]);
  await bare.getByRole('button', { name: 'Upload' }).click();
  await bare.getByText('Uploaded: 1').waitFor();
  await bare.goto(portal('/jobs'));
  await bare.locator('summary', { hasText: 'Transcribe recordings' }).click();
  await bare.getByRole('checkbox', { name: 'bare.wav' }).check();
  await bare.locator('#start-transcription').getByRole('button', { name: 'Start the job' }).click();
  await heading(bare, 'Transcription').waitFor();
  const end = Date.now() + SETTLING;
  while (await bare.locator('.title .badge', { hasText: 'Succeeded' }).count() === 0) {
    assert.ok(Date.now() < end, 'it does not come to its end');
    await bare.getByRole('link', { name: 'Refresh' }).click();
    await bare.waitForTimeout(500);
  }
  await bare.locator('summary', { hasText: 'Delete' }).click();
  await bare.getByRole('button', { name: 'Delete the job and its results' }).click();
  await bare.getByText('The job and its results are deleted').waitFor();
});

test('the pages fit a telephone and break no rule of accessibility', () => {
  if (wrong.length > 0) assert.fail(`${wrong.length} faults:\n${wrong.join('\n')}`);
});

test('the product never panicked', () => {
  assert.doesNotMatch(world.demo.log(), /panicked/, world.demo.log());
});
