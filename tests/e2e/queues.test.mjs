// The staff's page of queues in a browser: a message that is given up after five real failures, replayed and removed, and
// a job that runs.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { OUTPUT, buyKey, fits, heading, journey, openAs, startBrowser, startDemo, violations } from './support.mjs';

const CLARA = 'clara@contoso.example';
const ADA = 'ada@mediagenie.example';
const world = {};
let customer;

before(async () => {
  world.demo = await startDemo();
  world.browser = await startBrowser();
  customer = await buyKey(world.demo, CLARA);
});

after(async () => {
  await world.browser?.close();
  await world.demo?.stop();
});

const limit = (seconds) => ({ timeout: seconds * 1000 });
const wrong = [];

async function looked(page, name) {
  const folder = join(OUTPUT, 'screenshots-media');
  await mkdir(folder, { recursive: true });
  for (const language of ['en', 'zh-Hans']) {
    await page.context().addCookies([{ name: 'mediagenie-language', value: language, url: world.demo.product }]);
    await page.reload();
    for (const [width, theme] of [[1280, 'light'], [800, 'light'], [1280, 'dark'], [320, 'light']]) {
      const what = `${name}-${language}-${width}-${theme}`;
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: 900 });
      wrong.push(...await fits(page, what), ...await violations(page, what, theme === 'dark' ? ['color-contrast'] : undefined));
      await page.screenshot({ path: join(folder, `${what}.png`), fullPage: true });
    }
  }
  await page.context().addCookies([{ name: 'mediagenie-language', value: 'en', url: world.demo.product }]);
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.reload();
}

journey(world, 'what was given up is shown, replayed and removed, and running jobs are listed', limit(180), async ({ open }) => {
  const page = await open();
  await openAs(page, `${world.demo.product}/publisher`, ADA);
  await page.getByRole('link', { name: 'Queues' }).click();
  await heading(page, 'Queues and jobs').waitFor();
  await page.getByText('None.').waitFor();
  // Microsoft is away for longer than five tries.
  await world.demo.control('faults', { api_down: true, ai_delay_ms: 9_000 });
  for (let count = 0; count < 2; count += 1) await world.demo.control('act', { subscription: customer.subscription, action: 'Renew' });
  const end = Date.now() + 120_000;
  const given = page.getByRole('heading', { name: 'Given up: subscription-sync' });
  const rows = page.locator('section', { has: given }).locator('tbody tr');
  while (await rows.count() < 2) {
    assert.ok(Date.now() < end, 'nothing is given up');
    await page.waitForTimeout(1_000);
    await page.reload();
  }
  const headers = { authorization: `Bearer ${customer.apiKey}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ kind: 'speech', options: { voice: 'alloy' }, input: { text: 'This is a sentence of some forty letters. '.repeat(900) } });
  assert.equal((await fetch(`${world.demo.product}/v1/media/jobs`, { method: 'POST', headers, body })).status, 202);
  await page.reload();
  await page.getByRole('link', { name: 'Metered for Clara Contoso' }).waitFor();
  await looked(page, 'queues');
  await world.demo.control('faults', {});
  const [replayed, removed] = await rows.locator('th code').allTextContents();
  const row = (id) => rows.filter({ has: page.locator('th code', { hasText: new RegExp(`^${id}$`) }) });
  await row(replayed).getByRole('button', { name: 'Replay' }).click();
  await page.getByText('Replayed: 1').waitFor();
  assert.deepEqual([await row(replayed).count(), await row(removed).count()], [0, 1]);
  await row(removed).locator('summary').click();
  await row(removed).getByRole('button', { name: 'Delete for good' }).click();
  await page.getByText('The message is removed').waitFor();
  assert.equal(await row(removed).count(), 0);
});

test('the page fits a telephone and breaks no rule of accessibility', () => {
  if (wrong.length > 0) assert.fail(`${wrong.length} faults:\n${wrong.join('\n')}`);
});
