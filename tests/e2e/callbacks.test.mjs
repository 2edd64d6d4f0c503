// The pages of callback endpoints: a customer's, and the publisher's.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after, before } from 'node:test';

import { OUTPUT, Watch, buyKey, fits, openAs, startBrowser, startDemo, violations } from './support.mjs';

const CLARA = 'clara@contoso.example';
const ADA = 'ada@mediagenie.example';
// There is no such name, so every try fails.
const NOWHERE = 'https://receiver.invalid/a/rather/long/address/of/a/receiver/that/is/not/there';
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

/** The page in both schemes, wide and narrow: nothing sticks out, nothing is inaccessible. */
async function looked(page, name) {
  const wrong = [];
  for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 320]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    const what = `${name}-${colorScheme}-${width}`;
    wrong.push(...await fits(page, what), ...await violations(page, what));
    await page.screenshot({ path: join(OUTPUT, 'screenshots', `${what}.png`), fullPage: true });
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  assert.deepEqual(wrong, []);
}

async function opened(address, email) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await watch.over(context);
  const page = await context.newPage();
  await openAs(page, address, email);
  return page;
}

async function added(page, name) {
  await page.getByText('There is no endpoint yet').waitFor();
  await page.getByLabel('Address').fill(NOWHERE);
  await page.getByLabel('Description').fill(name);
  await page.getByRole('button', { name: 'Add endpoint' }).click();
  await page.getByText('This secret is shown only now').waitFor();
  assert.match(await page.locator('dd code', { hasText: 'whsec_' }).innerText(), /^whsec_[\w+/]{43}=$/);
}

test('a customer adds an endpoint, sees why a test does not arrive, and removes it', async () => {
  const list = `${demo.product}/portal/subscriptions/${customer.subscription}/callbacks`;
  const page = await opened(list, CLARA);
  await looked(page, 'callbacks-none');
  await added(page, 'Our workflow');
  await looked(page, 'callbacks-made');
  await page.getByRole('link', { name: 'I have saved it' }).click();
  await page.getByRole('button', { name: 'Send a test' }).click();
  // The page renews itself until the try is over.
  await page.getByText('Tries: 1').first().waitFor();
  await page.locator('summary', { hasText: 'Tries: 1' }).click();
  await page.getByText('no answer').waitFor();
  await looked(page, 'callback-failing');
  await page.locator('summary', { hasText: 'Delete' }).click();
  await page.getByLabel('Yes, delete this endpoint').check();
  await page.getByRole('button', { name: 'Delete endpoint' }).click();
  await page.getByText('The endpoint was deleted').waitFor();
  watch.check();
});

test('staff add an endpoint of the publisher and disable it', async () => {
  const page = await opened(`${demo.product}/publisher/callbacks`, ADA);
  await added(page, 'Billing');
  await page.getByRole('link', { name: 'I have saved it' }).click();
  await page.getByRole('button', { name: 'Disable' }).click();
  await page.getByText('Somebody disabled it').waitFor();
  await looked(page, 'staff-callback-disabled');
  await page.getByRole('link', { name: 'Callbacks' }).first().click();
  await looked(page, 'staff-callbacks');
  watch.check();
});
