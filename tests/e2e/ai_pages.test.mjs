// The pages about the AI API that have no test of their own: what staff see of it, and a customer's kept calls.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after, before } from 'node:test';

import { OUTPUT, Watch, buyKey, fits, openAs, startBrowser, startDemo, violations } from './support.mjs';

const CLARA = 'clara@contoso.example';
const ADA = 'ada@mediagenie.example';
let demo;
let browser;
let watch;
let customer;

before(async () => {
  demo = await startDemo();
  browser = await startBrowser();
  watch = new Watch(demo);
  customer = await buyKey(demo, CLARA);
  await mkdir(join(OUTPUT, 'screenshots'), { recursive: true });
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

async function chat(content, model = 'chat') {
  const headers = { authorization: `Bearer ${customer.apiKey}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ model, messages: [{ role: 'user', content }] });
  const answer = await fetch(`${demo.product}/v1/chat/completions`, { method: 'POST', headers, body });
  await answer.text();
  return answer;
}

/** The page in both schemes, wide and narrow, in both languages: nothing sticks out, nothing is inaccessible. */
async function looked(page, name) {
  const wrong = [];
  for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 320]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    const what = `${name}-${colorScheme}-${width}`;
    wrong.push(...await fits(page, what), ...await violations(page, what));
    await page.screenshot({ path: join(OUTPUT, 'screenshots', `${what}.png`), fullPage: true });
  }
  assert.deepEqual(wrong, []);
}

async function opened(address, email) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await watch.over(context);
  const page = await context.newPage();
  await openAs(page, address, email);
  return page;
}

test('staff see what calls earn and cost, stop a model and let it go on', async () => {
  await chat('Hello there');
  await demo.control('faults', { ai_fail_next: 1, ai_fail_status: 401 });
  await chat('Is anybody there?', 'chat-pool');
  const page = await opened(`${demo.product}/publisher/ai`, ADA);
  await page.getByText('Cooling down').first().waitFor();
  await looked(page, 'staff-ai');
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.getByLabel('Reason').fill('too expensive');
  await page.getByRole('button', { name: 'Emergency stop' }).click();
  await page.getByText('too expensive').waitFor();
  assert.equal((await chat('Still there?')).status, 503);
  await looked(page, 'staff-ai-stopped');
  await page.getByRole('button', { name: 'Let it go on' }).click();
  await page.getByText('too expensive').waitFor({ state: 'detached' });
  assert.equal((await chat('And now?')).status, 200);
  watch.check();
});

test('a customer keeps the calls of a key, reads one and removes them', async () => {
  const keys = `${demo.product}/portal/subscriptions/${customer.subscription}/keys`;
  const page = await opened(keys, CLARA);
  await page.locator('summary', { hasText: 'Keep calls' }).first().click();
  await page.getByRole('button', { name: 'For 1 hour' }).first().click();
  await page.getByText('Calls are kept until').waitFor();
  await chat('What do you really get?');
  await page.goto(`${demo.product}/portal/subscriptions/${customer.subscription}/captures`);
  await looked(page, 'captures');
  await page.locator('tbody a').first().click();
  await page.getByText('What do you really get?').first().waitFor();
  await looked(page, 'capture');
  await page.goBack();
  await page.getByRole('button', { name: 'Remove all' }).click();
  await page.getByText('Nothing is kept').waitFor();
  watch.check();
});
