// The whole product in a browser, against the simulated Microsoft of `mediagenie demo`.
//
//   node --test tests/e2e/            (from Node 22 on: tests/e2e/*.test.mjs)
//
// MEDIAGENIE names another binary than target/debug/mediagenie, CHROMIUM another browser than /usr/bin/chromium.
// Pictures of every page are in tests/output/screenshots, of pages on which a test failed in tests/output/failures.
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { after, before } from 'node:test';
import {
  OUTPUT, badge, comes, event, fact, fits, heading, journey, openAs, pick, reloadUntil, startBrowser, startDemo, violations,
} from './support.mjs';
import { day, file, prepareUsage, usageOf } from './usage.mjs';

const CLARA = 'clara@contoso.example';
const FIONA = 'fiona@fabrikam.example';
const PETRA = 'petra@outlook.example';
const ADMIN = 'ada@mediagenie.example';
const READER = 'ravi@mediagenie.example';
const TEAM = 'Team for Clara Contoso';

const world = {};
/** The subscription of the first three journeys. */
let bought = '';

before(async () => {
  await rm(join(OUTPUT, 'failures'), { recursive: true, force: true });
  world.demo = await startDemo();
  world.browser = await startBrowser();
});

after(async () => {
  await world.browser?.close();
  await world.demo?.stop();
});

const limit = (seconds) => ({ timeout: seconds * 1000 });
const portal = (demo, id) => `${demo.product}/portal/subscriptions/${id}`;

/** A purchase that its buyer has confirmed; ends on its page in the portal, active. */
async function activated({ demo, open }, order, email) {
  const id = await demo.buy({ buyer: email, ...order });
  const page = await open();
  await openAs(page, `${demo.microsoft}/configure/${id}`, email);
  await page.getByRole('button', { name: 'Activate subscription' }).click();
  await comes(badge(page, 'Active'));
  return { id, page };
}

// ---- 1 to 3: one subscription from purchase to end ---------------------------------------------------------------

journey(world, 'a person buys a per-seat subscription and activates it', limit(60), async ({ demo, open }) => {
  const page = await open();
  await page.goto(demo.microsoft);
  const offer = page.getByRole('region', { name: 'Team' });
  await offer.getByRole('combobox', { name: 'Buyer' }).selectOption(CLARA);
  await offer.getByLabel('Billing term').selectOption('P1M');
  await offer.getByLabel('Seats').fill('5');
  await offer.getByRole('button', { name: 'Subscribe to Team' }).click();

  await heading(page, TEAM).waitFor();
  await page.getByText('PendingFulfillmentStart', { exact: true }).waitFor();
  bought = page.url().split('/').pop();
  await page.getByRole('link', { name: 'Configure account' }).click();
  await pick(page, CLARA);

  await heading(page, 'Check and activate your subscription').waitFor();
  assert.match(page.url(), /\/marketplace\/landing\?visit=/, 'the purchase token has left the address');
  await fact(page, 'Name').getByText(TEAM).waitFor();
  await fact(page, 'Seats').getByText('5', { exact: true }).waitFor();
  await fact(page, 'Price').getByText('USD 95', { exact: true }).waitFor();
  await fact(page, 'Price').getByText('5 × USD 19 per seat and month').waitFor();
  await fact(page, 'Purchaser').getByText(CLARA).waitFor();
  const activate = page.getByRole('button', { name: 'Activate subscription' });
  const { y, height } = await activate.boundingBox();
  assert.ok(y + height <= 800, 'the button is seen without scrolling');
  await activate.click();

  await page.waitForURL(`${portal(demo, bought)}?from=landing`);
  await comes(badge(page, 'Active'));
  await page.getByText('Billing by Microsoft has begun.').waitFor();
  await fact(page, 'Seats').getByText('5', { exact: true }).waitFor();
  await event(page, 'Microsoft accepted the activation.').waitFor();
  const { subscriptions } = await demo.control('subscriptions');
  assert.equal(subscriptions.find((one) => one.id === bought).saasSubscriptionStatus, 'Subscribed', 'Microsoft knows it as active');
});

journey(world, 'the customer changes seats and plan in the portal and sees each arrive', limit(100), async ({ demo, open }) => {
  const page = await open();
  await openAs(page, portal(demo, bought), CLARA);
  await page.getByLabel('Number of seats').fill('8');
  await page.getByRole('button', { name: 'Change seats' }).click();
  await page.waitForURL(/done=1/);
  // The page renews itself until Microsoft is done: nothing is pressed here.
  await comes(fact(page, 'Seats').getByText('8', { exact: true }));
  await comes(page.getByRole('button', { name: 'Change seats' }));
  await event(page, 'Asked for: change to 8 seats.').getByText('Clara Contoso').waitFor();
  await event(page, 'Finished: change to 8 seats. Result: Succeeded.').waitFor();
  await page.getByRole('status').getByText('The number of seats was changed to 8').waitFor();
  assert.equal(await event(page, /announced|told|Accepted:/).count(), 0, 'how we talk with Microsoft is for staff');

  await page.getByRole('radio', { name: 'Starter' }).check();
  await page.getByRole('button', { name: 'Change plan' }).click();
  await page.waitForURL(/done=1/);
  await comes(fact(page, 'Plan').getByText('Starter', { exact: true }));
  await comes(page.getByRole('button', { name: 'Change plan' }));
  await event(page, 'The plan changed from Team to Starter.').waitFor();
  await page.getByRole('status').getByText('The plan was changed to Starter').waitFor();
  assert.equal(await page.getByLabel('Number of seats').count(), 0, 'a flat plan has no seats to change');

  await page.goto(`${demo.microsoft}/purchases/${bought}`);
  await page.getByText('Starter (starter)').waitFor();
});

journey(world, 'what Microsoft does to a subscription arrives in the portal and in its timeline', limit(120), async ({ demo, open }) => {
  const page = await open();
  const microsoft = await page.context().newPage();
  const act = async (name) => {
    await demo.control('settle', {});
    await microsoft.goto(`${demo.microsoft}/purchases/${bought}`);
    await microsoft.getByRole('button', { name, exact: true }).click();
    assert.equal(await microsoft.getByRole('alert').count(), 0, `Microsoft takes ${name}`);
  };
  await openAs(page, portal(demo, bought), CLARA);
  await badge(page, 'Active').waitFor();

  await act('Suspend');
  await reloadUntil(page, badge(page, 'Suspended'));
  await page.getByText('A payment is missing', { exact: true }).waitFor();
  assert.equal(await page.getByText(/Renews/).count(), 0, 'what is suspended does not say that it renews');
  await reloadUntil(page, event(page, 'The status changed from “Active” to “Suspended”.'));
  assert.equal(await page.getByRole('button', { name: 'Change plan' }).count(), 0, 'nothing is changed while it is suspended');

  await act('Reinstate');
  await reloadUntil(page, badge(page, 'Active'));
  await reloadUntil(page, event(page, 'The status changed from “Suspended” to “Active”.'));

  const term = await fact(page, 'Term').innerText();
  await act('Renew');
  await reloadUntil(page, event(page, 'A new term began'));
  assert.notEqual(await fact(page, 'Term').innerText(), term, 'the new term is shown');

  // A change that was ordered at Microsoft, not here.
  await microsoft.goto(`${demo.microsoft}/purchases/${bought}`);
  await microsoft.getByLabel('New plan').selectOption('team');
  await microsoft.getByRole('button', { name: 'Change plan' }).click();
  await demo.control('settle', {});
  await reloadUntil(page, fact(page, 'Plan').getByText('Team', { exact: true }));
  await reloadUntil(page, event(page, 'The plan changed from Starter to Team.'));

  await act('Unsubscribe');
  await reloadUntil(page, badge(page, 'Ended'));
  await reloadUntil(page, event(page, 'The status changed from “Active” to “Ended”.'));
  assert.equal(await page.getByRole('button', { name: /Change|Cancel/ }).count(), 0, 'nothing can be done with it any more');
});

// ---- 4: the customer ends it -------------------------------------------------------------------------------------

journey(world, 'the customer cancels a subscription by typing its name, and a wrong name is refused', limit(60), async ({ demo, open, watch }) => {
  const { id, page } = await activated({ demo, open }, { plan: 'starter', name: 'Ada’s <b>desk</b> & "more"' }, CLARA);
  watch.allow(400, `/portal/subscriptions/${id}/cancel`);
  const type = async (name) => {
    const field = page.getByLabel('Name of the subscription');
    if (!(await field.isVisible())) await page.getByText('Cancel now…').click();
    await field.fill(name);
    await page.getByRole('button', { name: 'Cancel the subscription' }).click();
  };
  await type('Something else');
  const alert = page.getByRole('alert');
  await alert.getByText('Nothing was cancelled').waitFor();
  assert.ok(await alert.evaluate((element) => element === document.activeElement), 'what is wrong is read first');
  const field = page.getByLabel('Name of the subscription');
  assert.equal(await field.inputValue(), 'Something else', 'what was typed is kept, and its part is open');
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  const described = (await field.getAttribute('aria-describedby')).split(' ');
  assert.match(await page.locator(`#${described[0]}`).innerText(), /Type it exactly as shown/);
  await alert.getByRole('link', { name: 'Go to the form' }).click();
  assert.ok(await field.evaluate((element) => element === document.activeElement), 'the alert leads to the field');
  await page.getByRole('button', { name: '中文' }).click();
  await page.waitForURL(portal(demo, id));
  await page.getByRole('button', { name: 'English' }).click();
  await badge(page, 'Active').waitFor();

  await type('Ada’s <b>desk</b> & "more"');
  await page.waitForURL(/done=1/);
  await comes(badge(page, 'Ended'));
  await event(page, 'Asked for: cancel the subscription.').waitFor();
  await page.getByRole('navigation', { name: 'Where you are' }).getByRole('link').click();
  await page.getByRole('listitem').filter({ hasText: 'Ada’s <b>desk</b> & "more"' }).getByText('Ended', { exact: true }).waitFor();
});

journey(world, 'a number of seats that is not possible is refused beside its field', limit(60), async ({ demo, open, watch }) => {
  const { id, page } = await activated({ demo, open }, { plan: 'team', quantity: 3 }, CLARA);
  watch.allow(400, `/portal/subscriptions/${id}/quantity`);
  const field = page.getByLabel('Number of seats');
  // As a browser would that does not look at the limits.
  await field.evaluate((element) => element.form.noValidate = true);
  await field.fill('999');
  await page.getByRole('button', { name: 'Change seats' }).click();
  await page.getByRole('alert').getByText('This number of seats is not possible').waitFor();
  assert.equal(await field.inputValue(), '999', 'what was typed is kept');
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  assert.equal(await page.locator('details[open]').count(), 0, 'the other forms stay as they were');
  await field.fill('4');
  await page.getByRole('button', { name: 'Change seats' }).click();
  await page.waitForURL(/done=1/);
  await comes(page.getByRole('status').getByText('The number of seats was changed to 4'));
});

journey(world, 'what Microsoft refuses is told with its reason, at once and when the page is opened again', limit(60), async ({ demo, open, watch }) => {
  const { id, page } = await activated({ demo, open }, { plan: 'team', quantity: 3 }, CLARA);
  watch.allow(409, `/portal/subscriptions/${id}/quantity`);
  await demo.control('faults', { fail_next: 3, fail_status: 400 });
  await page.getByLabel('Number of seats').fill('7');
  await page.getByRole('button', { name: 'Change seats' }).click();
  await page.getByRole('alert').getByText('Microsoft refused the change').waitFor();
  await demo.control('faults', {});
  await page.goto(`${portal(demo, id)}?done=1`);
  const told = page.locator('.notice-warn');
  await told.getByText('Microsoft refused: change to 7 seats').waitFor();
  await told.getByText('Nothing was changed. Reason:').waitFor();
  assert.equal(await page.locator('.notice-ok').count(), 0, 'nothing claims success');
});

// ---- 5: staff ----------------------------------------------------------------------------------------------------

journey(world, 'staff find a subscription, read its story, take it along as CSV and ask Microsoft', limit(60), async ({ demo, open, watch }) => {
  const { id, page: customer } = await activated({ demo, open }, { plan: 'team', quantity: 3, name: 'Rossum’s robots' }, FIONA);
  await demo.control('act', { subscription: id, action: 'Renew' });
  await reloadUntil(customer, event(customer, 'A new term began'));

  const page = await open({ acceptDownloads: true });
  await openAs(page, `${demo.product}/publisher`, ADMIN);
  await page.waitForURL(`${demo.product}/publisher/subscriptions`);
  await page.getByRole('searchbox', { name: 'Search' }).fill('rossum');
  await page.getByRole('button', { name: 'Search' }).click();
  const rows = page.locator('tbody tr');
  await rows.getByText('Rossum’s robots').waitFor();
  assert.equal(await rows.count(), 1, 'the search leaves one');

  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download CSV' }).click()]);
  assert.equal(download.suggestedFilename(), 'subscriptions.csv');
  const lines = (await text(await download.createReadStream())).trim().split(/\r?\n/);
  assert.equal(lines.length, 2, 'the CSV follows the search');
  const row = Object.fromEntries(lines[0].split(',').map((name, at) => [name, lines[1].split(',')[at]]));
  const { subscription_id, name, plan, quantity, status, purchaser_email } = row;
  assert.deepEqual({ subscription_id, name, plan, quantity, status, purchaser_email },
    { subscription_id: id, name: 'Rossum’s robots', plan: 'team', quantity: '3', status: 'Subscribed', purchaser_email: FIONA });

  await page.getByRole('link', { name: 'Rossum’s robots' }).click();
  await heading(page, 'Rossum’s robots').waitFor();
  await badge(page, 'Subscribed').waitFor();
  await event(page, 'Activation of plan team was asked for.').getByText('Fiona Fabrikam').waitFor();
  await reloadUntil(page, event(page, 'Renewal ended. Result: Succeeded.'));
  await page.getByText('Message as received: Renewal').click();
  await page.locator('pre', { hasText: '"action": "Renew"' }).or(page.locator('pre', { hasText: '"action":"Renew"' })).waitFor();

  // Microsoft suspends it, and the message about it is lost on the way: only asking helps.
  await demo.control('faults', { drop_next_webhooks: 1 });
  await demo.control('act', { subscription: id, action: 'Suspend' });
  await page.getByRole('button', { name: 'Ask Microsoft now' }).click();
  await page.getByText('Microsoft was asked', { exact: true }).waitFor();
  await badge(page, 'Suspended').waitFor();
  await event(page, 'The status changed from “Subscribed” to “Suspended”.').getByText('checked by staff').waitFor();
  await demo.control('faults', {});

  await page.getByRole('link', { name: 'Webhooks' }).click();
  await page.getByRole('heading', { level: 1, name: 'Webhooks of' }).waitFor();
  const entry = page.locator('tbody tr').filter({ has: page.getByTitle(id, { exact: true }) }).filter({ hasText: 'Renewal' });
  await entry.getByRole('link').click();
  await heading(page, 'Rossum’s robots').waitFor();

  const reader = await open();
  await openAs(reader, page.url(), READER);
  await heading(reader, 'Rossum’s robots').waitFor();
  await reader.getByText('You may look but not act.').waitFor();
  assert.equal(await reader.getByRole('button', { name: 'Ask Microsoft now' }).count(), 0, 'a reader has no button for it');
  watch.allow(403, `/publisher/subscriptions/${id}/sync`);
  const refused = await reader.evaluate(async (path) => {
    const csrf = document.querySelector('input[name=csrf]').value;
    return (await fetch(path, { method: 'POST', body: new URLSearchParams({ csrf }) })).status;
  }, `/publisher/subscriptions/${id}/sync`);
  assert.equal(refused, 403, 'nor does asking without the button work');

  for (const path of ['/publisher', '/publisher/subscriptions', `/publisher/subscriptions/${id}`, '/publisher/subscriptions.csv', '/publisher/webhooks']) {
    watch.allow(404, path);
    await customer.goto(demo.product + path);
    await heading(customer, 'There is nothing here').waitFor();
  }
  await customer.goto(`${demo.product}/portal`);
  assert.equal(await customer.getByRole('link', { name: 'Webhooks' }).count(), 0, 'customers see no way to the staff pages');
});

// ---- 5b: usage ---------------------------------------------------------------------------------------------------

journey(world, 'staff enter usage by hand and from a file, and the customer sees what it comes to', limit(60), async ({ demo, open, watch }) => {
  const { id, page: customer } = await activated({ demo, open }, { plan: 'metered', name: 'Hotline' }, FIONA);
  const page = await open();
  await openAs(page, `${demo.product}/publisher/usage`, ADMIN);
  await page.getByRole('searchbox', { name: 'Open a subscription or managed application' }).fill(id);
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await heading(page, 'Hotline').waitFor();

  const form = page.locator('form[action$="/record"]');
  const path = `/publisher/usage/resources/${id}/record`;
  watch.allow(400, path);
  await form.getByLabel('What').selectOption('dimension:speech_minutes');
  await form.getByLabel('Quantity').fill('twelve');
  await form.getByLabel('Reason').fill('Reported by telephone');
  await form.getByRole('button', { name: 'Record' }).click();
  await page.getByRole('alert').getByText('This is no quantity').waitFor();
  assert.equal(await form.getByLabel('Reason').inputValue(), 'Reported by telephone', 'what was typed is kept');
  assert.equal(await form.getByLabel('Quantity').getAttribute('aria-invalid'), 'true');
  await form.getByLabel('Quantity').fill('1200');
  await form.getByRole('button', { name: 'Record' }).dblclick();
  await page.getByText(/It counts in the open hour|It counts once/).waitFor();
  const balance = page.locator('.balance tbody tr').filter({ hasText: 'Speech, minutes' });
  assert.match(await balance.innerText(), /1,200\s+1,000\s+of 1,000/, 'a double click counts once');

  await page.locator('tr').filter({ hasText: 'Reported by telephone' }).getByRole('link', { name: /^Correct/ }).click();
  assert.equal(await form.getByLabel('Quantity').inputValue(), '-1200', 'the correction is filled in');
  await form.getByLabel('Quantity').fill('-100');
  await form.getByLabel('Reason').fill('Counted twice');
  await form.getByRole('button', { name: 'Record' }).click();
  await page.getByText('It counts in the open hour').waitFor();
  assert.match(await balance.innerText(), /1,100\s+1,000\s+of 1,000/);

  await page.getByRole('link', { name: 'Usage', exact: true }).first().click();
  await page.getByRole('link', { name: 'Import CSV' }).click();
  const text = `id,subscription,dimension,quantity\na-1,${id},vision_images,2500\na-2,${id},pictures,1\n`;
  await page.getByLabel('File').setInputFiles({ name: 'usage.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
  await page.getByText('Read: usage.csv').waitFor();
  assert.equal(await page.getByLabel('Text', { exact: true }).inputValue(), text);
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText('Nothing was recorded yet.').waitFor();
  await page.locator('tbody tr').filter({ hasText: 'a-2' }).getByText('Refused', { exact: true }).waitFor();
  assert.equal(await page.getByLabel('Text', { exact: true }).inputValue(), text.trim(), 'the text stays for recording');
  await page.getByRole('button', { name: 'Record', exact: true }).click();
  await page.getByText('Some lines were not recorded').waitFor();

  await customer.reload();
  const usage = customer.getByRole('region', { name: 'Usage' });
  await usage.getByText('1,100 of 1,000 included').waitFor();
  await usage.getByText('USD 2.00', { exact: true }).waitFor();
  await usage.getByText('2,500 left; 50 % used').waitFor();
  for (const address of ['/publisher/usage', `/publisher/usage/resources/${id}`, '/publisher/usage/losses']) {
    watch.allow(404, address);
    await customer.goto(demo.product + address);
    await heading(customer, 'There is nothing here').waitFor();
  }
});

// ---- 6: what goes wrong ------------------------------------------------------------------------------------------

journey(world, 'a purchase link that does not work and a purchase of somebody else say what to do', limit(60), async ({ demo, open, watch }) => {
  const page = await open();
  watch.allow(400, '/marketplace/landing');
  watch.allow(403, '/marketplace/landing');
  watch.allow(404, '/portal/subscriptions/00000000-0000-4000-8000-000000000000');
  await openAs(page, `${demo.product}/marketplace/landing?token=not-a-token`, FIONA);
  await heading(page, 'This purchase link no longer works').waitFor();
  await page.getByText('That makes a new link.').waitFor();

  const id = await demo.buy({ plan: 'starter', buyer: CLARA });
  watch.allow(404, `/portal/subscriptions/${id}`);
  await page.goto(`${demo.microsoft}/configure/${id}`);
  await heading(page, 'This purchase belongs to another organisation').waitFor();
  assert.equal(await page.getByText('Starter for Clara').count(), 0, 'nothing about the purchase is told');
  await page.goto(portal(demo, id));
  await heading(page, 'There is nothing here').waitFor();
  await page.goto(portal(demo, '00000000-0000-4000-8000-000000000000'));
  await heading(page, 'There is nothing here').waitFor();

  // Another account, and the same visit goes on: Microsoft need not be asked for a new link.
  await page.goto(`${demo.microsoft}/configure/${id}`);
  await page.waitForURL(/\/marketplace\/landing\?visit=/);
  const visit = page.url();
  await page.getByRole('button', { name: 'Sign out and switch account' }).click();
  await pick(page, CLARA);
  await heading(page, 'Check and activate your subscription').waitFor();
  assert.equal(page.url(), visit, 'back at the same visit');
});

journey(world, 'without a session the portal leads to sign-in and back, and after sign-out again', limit(60), async ({ demo, open, watch }) => {
  const page = await open();
  const wanted = `${portal(demo, bought)}?before=9`;
  await page.goto(wanted);
  watch.allow(400, '/sign-in/callback');
  await page.getByRole('link', { name: 'Cancel' }).click();
  await heading(page, 'The sign-in did not succeed').waitFor();

  await openAs(page, wanted, CLARA);
  await heading(page, TEAM).waitFor();
  assert.equal(page.url(), wanted, 'back where the person wanted to go');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(`${demo.product}/`);
  await page.getByRole('link', { name: 'Sign in', exact: true }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Pick an account' }).waitFor();
});

journey(world, 'Chinese stays once it is chosen, through sign-in and until English is chosen', limit(60), async ({ demo, open }) => {
  const page = await open();
  const speaks = async (language) => assert.equal(await page.locator('html').getAttribute('lang'), language, page.url());
  await page.goto(`${demo.product}/docs`);
  await speaks('en');
  await page.getByRole('button', { name: '中文' }).click();
  await page.waitForURL(`${demo.product}/docs`);
  await page.getByRole('link', { name: '我的订阅' }).click();
  await pick(page, CLARA);
  await heading(page, '我的订阅').waitFor();
  await speaks('zh-Hans');
  await page.goto(portal(demo, bought));
  await badge(page, '已结束').waitFor();
  await event(page, '状态从“有效”变为“已暂停”。').waitFor();
  await page.getByRole('button', { name: '退出登录' }).click();
  await page.getByRole('link', { name: '登录', exact: true }).waitFor();
  await speaks('zh-Hans');
  await page.getByRole('button', { name: 'English' }).click();
  await page.getByRole('link', { name: 'Sign in', exact: true }).waitFor();
  await speaks('en');

  const chinese = await open({ locale: 'zh-CN' });
  await chinese.goto(demo.product);
  assert.equal(await chinese.locator('html').getAttribute('lang'), 'zh-Hans', 'a Chinese browser need not choose');
});

// ---- 7: without a mouse ------------------------------------------------------------------------------------------

journey(world, 'a purchase is confirmed with the keyboard alone, and the focus is always seen', limit(60), async ({ demo, open }) => {
  const id = await demo.buy({ plan: 'team', quantity: 2, buyer: CLARA });
  const page = await open();
  await page.goto(`${demo.microsoft}/configure/${id}`);
  /** Presses Tab until the element is reached; every stop on the way must be seen. */
  const tabTo = async (target) => {
    const stops = [];
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press('Tab');
      const stop = await page.evaluate(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return {
          name: `${element.tagName} ${element.getAttribute('aria-label') ?? element.textContent.trim().slice(0, 40)}`,
          outlined: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !outlineColor.endsWith(', 0)'),
          inView: box.width > 0 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth,
          onTop: !!at && (element.contains(at) || at.contains(element)),
        };
      });
      stops.push(stop);
      if (await target.evaluate((element) => element === document.activeElement)) return stops;
    }
    assert.fail(`Tab does not lead to ${target}: ${stops.map((stop) => stop.name).join(', ')}`);
  };
  await page.getByRole('heading', { name: 'Pick an account' }).waitFor();
  await tabTo(page.getByRole('link', { name: CLARA }));
  await page.keyboard.press('Enter');
  await heading(page, 'Check and activate your subscription').waitFor();

  const stops = await tabTo(page.getByRole('button', { name: 'Activate subscription' }));
  assert.equal(stops[0].name, 'A Skip to content', 'the first stop leads past the navigation');
  assert.deepEqual(stops.filter((stop) => !stop.outlined || !stop.inView || !stop.onTop), [], 'every stop shows that it has the focus');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${portal(demo, id)}?from=landing`);
  await comes(badge(page, 'Active'));

  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main', 'the skip link leads to the content');
  // Cancelling: open the part, type, Enter.
  await tabTo(page.getByText('Cancel now…'));
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.type(TEAM);
  await page.keyboard.press('Enter');
  await comes(badge(page, 'Ended'));
});

// ---- Pictures ----------------------------------------------------------------------------------------------------

const VIEWS = [
  { width: 1280, height: 900, theme: 'light' },
  { width: 1280, height: 900, theme: 'dark' },
  { width: 768, height: 1024, theme: 'light' },
  { width: 320, height: 640, theme: 'light' },
];

journey(world, 'every page is kept as a picture, fits a telephone and breaks no rule of accessibility', limit(400), async ({ demo, open, watch }) => {
  const folder = join(OUTPUT, 'screenshots');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });

  // Signed in once per person; every window after that begins there.
  const sessions = { nobody: undefined };
  const window = async (who, language) => {
    const page = await open({ storageState: sessions[who], reducedMotion: 'reduce', viewport: VIEWS[0] });
    const context = page.context();
    await context.addCookies([{ name: 'mediagenie-language', value: language, url: demo.product }]);
    // A page that renews itself must hold still for its picture.
    await context.addInitScript(() => {
      const real = window.setTimeout;
      window.setTimeout = (call, delay, ...more) => (delay >= 1000 ? 0 : real(call, delay, ...more));
    });
    return page;
  };
  await Promise.all([CLARA, FIONA, PETRA, ADMIN, READER].map(async (email) => {
    const page = await window('nobody', 'en');
    await openAs(page, `${demo.product}/portal`, email);
    await heading(page, 'My subscriptions').waitFor();
    sessions[email] = await page.context().storageState();
    await page.context().close();
  }));

  // The states, prepared by the control API and the forms of the pages.
  const configure = (id) => `${demo.microsoft}/configure/${id}`;
  const activate = async (page, order) => {
    const id = await demo.buy({ buyer: FIONA, ...order });
    await page.goto(configure(id));
    await page.getByRole('button', { name: 'Activate subscription' }).click();
    await page.waitForURL(`${portal(demo, id)}?from=landing`);
    return id;
  };
  const preparing = await window(FIONA, 'en');
  const active = await activate(preparing, { plan: 'team', quantity: 12, term: 'P1Y', name: 'Speech for the call centre' });
  const metered = await activate(preparing, { plan: 'metered' });
  const refusedUsage = await activate(preparing, { plan: 'metered', name: 'Archive' });
  const unused = await activate(preparing, { plan: 'metered', name: 'Never used' });
  const trial = await activate(preparing, { plan: 'trial', free_trial: true, auto_renew: false });
  const suspended = await activate(preparing, { plan: 'starter', name: 'Verylongnamewithoutanyblank'.repeat(3) });
  const ended = await activate(preparing, { plan: 'starter' });
  const busy = await activate(preparing, { plan: 'team', quantity: 4 });
  const csp = await activate(preparing, { plan: 'starter', csp: true, buyer: 'nora@northwind.example', beneficiary: FIONA });
  const pending = await demo.buy({ buyer: FIONA, plan: 'team', quantity: 3 });
  const foreign = await demo.buy({ buyer: CLARA, plan: 'starter' });
  await demo.control('act', { subscription: active, action: 'ChangeQuantity', quantity: 14 });
  await demo.control('settle', {});
  await demo.control('act', { subscription: suspended, action: 'Suspend' });
  await demo.control('act', { subscription: ended, action: 'Unsubscribe' });
  for (const [id, state] of [[suspended, 'Suspended'], [ended, 'Ended'], [metered, 'Active'], [trial, 'Active'], [csp, 'Active'], [busy, 'Active']]) {
    await preparing.goto(portal(demo, id));
    await reloadUntil(preparing, badge(preparing, state));
  }
  await preparing.goto(portal(demo, active));
  await reloadUntil(preparing, event(preparing, 'The number of seats changed from 12 to 14.'));
  await preparing.goto(portal(demo, busy));
  await preparing.getByLabel('Number of seats').fill('5');
  await preparing.getByRole('button', { name: 'Change seats' }).click();
  await reloadUntil(preparing, preparing.getByText('The number of seats was changed to 5', { exact: true }));
  await prepareUsage(demo, await window(ADMIN, 'en'), metered, refusedUsage);
  await demo.control('faults', { activation_delay_seconds: 86_400 });
  const activating = await activate(preparing, { plan: 'starter' });
  await demo.control('faults', {});

  const p = demo.product;
  const wrongName = async (page) => {
    await page.locator('details summary', { hasText: /Cancel now|立即取消/ }).click();
    await page.locator('#confirm-name').fill('x');
    await page.locator('.btn-danger').click();
    await page.locator('.notice-error').waitFor();
  };
  const unfold = (page) => page.evaluate(() => { for (const part of document.querySelectorAll('details')) part.open = true; });
  const check = async (page) => {
    await page.locator('#file').setInputFiles({ name: 'usage.csv', mimeType: 'text/csv', buffer: Buffer.from(file(metered)) });
    await page.waitForFunction(() => document.getElementById('csv').value !== '');
    await page.locator('button[value=check]').click();
    await page.locator('#result').waitFor();
    await unfold(page);
  };
  const wrongEntry = async (page) => {
    await page.locator('#quantity').fill('twelve');
    await page.locator('#note').fill('x');
    await page.locator('form[action$="/record"] button').click();
    await page.locator('.notice-error').waitFor();
  };
  const keysOf = (id) => `${portal(demo, id)}/keys`;
  const createKey = (name, days) => async (page) => {
    await page.locator('#key-name').fill(name);
    await page.locator('#key-expires').selectOption(days);
    await page.locator('form[action$="/keys"] button').click();
    await page.locator('.notice-warn, .notice-error').waitFor();
  };
  const notConfirmed = async (page) => {
    await createKey('Call centre', 'never')(page);
    await page.locator('.btn-primary[href$="/keys"]').click();
    const form = page.locator('form[action$="/revoke"]').first();
    watch.allow(400, await form.getAttribute('action'));
    await form.evaluate((it) => { it.noValidate = true; it.closest('details').open = true; });
    await form.locator('button').click();
    await page.locator('.notice-error').waitFor();
    await unfold(page);
  };
  const pages = [
    { name: 'product', who: 'nobody', url: p },
    { name: 'product-without-token', who: 'nobody', url: `${p}/marketplace/landing` },
    { name: 'product-signed-in', who: ADMIN, url: p },
    { name: 'docs', who: 'nobody', url: `${p}/docs` },
    { name: 'landing-pending', who: FIONA, url: configure(pending) },
    { name: 'landing-activating', who: FIONA, url: configure(activating) },
    { name: 'landing-active', who: FIONA, url: configure(active) },
    { name: 'landing-suspended', who: FIONA, url: configure(suspended) },
    { name: 'landing-ended', who: FIONA, url: configure(ended) },
    { name: 'landing-expired', who: FIONA, url: `${p}/marketplace/landing?token=not-a-token`, status: 400 },
    { name: 'landing-wrong-tenant', who: FIONA, url: configure(foreign), status: 403 },
    { name: 'portal-empty', who: PETRA, url: `${p}/portal` },
    { name: 'portal-list', who: FIONA, url: `${p}/portal` },
    { name: 'portal-just-activated', who: FIONA, url: `${portal(demo, active)}?from=landing` },
    { name: 'portal-active', who: FIONA, url: portal(demo, active) },
    { name: 'portal-done', who: FIONA, url: `${portal(demo, busy)}?done=1` },
    { name: 'portal-cancelling', who: FIONA, url: portal(demo, metered), then: (page) => page.locator('details summary', { hasText: /Cancel now|立即取消/ }).click() },
    { name: 'portal-trial', who: FIONA, url: portal(demo, trial) },
    { name: 'portal-pending', who: FIONA, url: portal(demo, pending) },
    { name: 'portal-activating', who: FIONA, url: `${portal(demo, activating)}?from=landing` },
    { name: 'portal-suspended', who: FIONA, url: portal(demo, suspended) },
    { name: 'portal-ended', who: FIONA, url: portal(demo, ended) },
    { name: 'portal-reseller', who: FIONA, url: portal(demo, csp) },
    { name: 'problem-not-found', who: FIONA, url: `${p}/nothing/here`, status: 404 },
    { name: 'portal-wrong-name', who: FIONA, url: portal(demo, trial), then: wrongName, also: [400, `/portal/subscriptions/${trial}/cancel`] },
    { name: 'portal-keys-empty', who: FIONA, url: keysOf(trial) },
    { name: 'portal-keys-suspended', who: FIONA, url: keysOf(suspended) },
    { name: 'portal-keys-made', who: FIONA, url: keysOf(active), then: createKey('Call centre', '90') },
    { name: 'portal-keys-wrong', who: FIONA, url: keysOf(metered), then: notConfirmed },
    { name: 'problem-sign-in', who: 'nobody', url: `${p}/sign-in/callback?error=access_denied`, status: 400 },
    { name: 'staff-list', who: ADMIN, url: `${p}/publisher/subscriptions` },
    { name: 'staff-list-filtered', who: ADMIN, url: `${p}/publisher/subscriptions?q=fabrikam&status=Suspended` },
    { name: 'staff-list-nothing', who: ADMIN, url: `${p}/publisher/subscriptions?q=nobody-has-this` },
    { name: 'staff-subscription', who: ADMIN, url: `${p}/publisher/subscriptions/${active}` },
    { name: 'staff-subscription-asked', who: ADMIN, url: `${p}/publisher/subscriptions/${suspended}?done=1` },
    { name: 'staff-subscription-reader', who: READER, url: `${p}/publisher/subscriptions/${ended}` },
    { name: 'portal-usage', who: FIONA, url: portal(demo, metered) },
    { name: 'usage', who: ADMIN, url: `${p}/publisher/usage` },
    { name: 'usage-reader', who: READER, url: `${p}/publisher/usage?find=nothing` },
    { name: 'usage-resource', who: ADMIN, url: usageOf(demo, metered), then: unfold },
    { name: 'usage-resource-earlier', who: ADMIN, url: `${usageOf(demo, metered)}?to=2026-01-01T00` },
    { name: 'usage-resource-refused', who: ADMIN, url: usageOf(demo, refusedUsage), then: unfold },
    { name: 'usage-resource-unused', who: ADMIN, url: usageOf(demo, unused) },
    { name: 'usage-resource-wrong', who: ADMIN, url: usageOf(demo, unused), then: wrongEntry, also: [400, `/publisher/usage/resources/${unused}/record`] },
    { name: 'usage-resource-unmetered', who: READER, url: usageOf(demo, ended) },
    { name: 'usage-losses', who: ADMIN, url: `${p}/publisher/usage/losses` },
    { name: 'usage-losses-none', who: READER, url: `${p}/publisher/usage/losses?month=2020-02` },
    { name: 'usage-differences', who: ADMIN, url: `${p}/publisher/usage/differences?day=${day(5)}` },
    { name: 'usage-differences-none', who: READER, url: `${p}/publisher/usage/differences?day=2020-02-29` },
    { name: 'usage-catalogue', who: READER, url: `${p}/publisher/usage/catalogue` },
    { name: 'usage-import', who: ADMIN, url: `${p}/publisher/usage/import`, then: unfold },
    { name: 'usage-import-checked', who: ADMIN, url: `${p}/publisher/usage/import`, then: check },
    { name: 'staff-webhooks', who: ADMIN, url: `${p}/publisher/webhooks` },
    { name: 'staff-webhooks-nothing', who: ADMIN, url: `${p}/publisher/webhooks?day=2020-02-29` },
    // The simulated Microsoft speaks English only.
    { name: 'microsoft-offers', who: 'nobody', url: demo.microsoft, only: 'en' },
    { name: 'microsoft-purchases', who: 'nobody', url: `${demo.microsoft}/purchases`, only: 'en' },
    { name: 'microsoft-purchase', who: 'nobody', url: `${demo.microsoft}/purchases/${active}`, only: 'en' },
    { name: 'microsoft-webhooks', who: 'nobody', url: `${demo.microsoft}/webhooks`, only: 'en' },
    { name: 'microsoft-controls', who: 'nobody', url: `${demo.microsoft}/controls`, only: 'en' },
    { name: 'microsoft-sign-in', who: 'nobody', url: `${p}/portal`, only: 'en' },
    { name: 'microsoft-problem', who: 'nobody', url: `${demo.microsoft}/purchases/nothing`, only: 'en', status: 404 },
  ];
  const whileDown = [
    { name: 'landing-unreachable', who: FIONA, url: configure(pending), status: 503 },
    { name: 'portal-busy', who: FIONA, url: `${portal(demo, busy)}?done=1` },
    { name: 'staff-subscription-busy', who: ADMIN, url: `${p}/publisher/subscriptions/${busy}` },
  ];

  const wrong = [];
  const windows = new Map();
  const take = async ({ name, who, url, then, status = 200, also }, language, page) => {
    if (status !== 200) watch.allow(status, new URL(url).origin === p ? new URL(url).pathname : url.includes('/configure/') ? '/marketplace/landing' : new URL(url).pathname);
    if (also) watch.allow(...also);
    await page.setViewportSize(VIEWS[0]);
    const answer = await page.goto(url);
    if (answer.status() !== status) wrong.push(`${name} (${who}, ${language}) answered ${answer.status()} instead of ${status}`);
    if (then) await then(page);
    const onMicrosoft = page.url().startsWith(demo.microsoft);
    const spoken = await page.locator('html').getAttribute('lang');
    if (spoken !== (onMicrosoft ? 'en' : language)) wrong.push(`${name}: the page is ${spoken}, not ${language}`);
    const odd = (await page.locator('body').innerText()).match(/\bundefined\b|\bNaN\b|\[object|\{\w+\}(?!\s*\/)/);
    if (odd && name !== 'docs' && !onMicrosoft) wrong.push(`${name} (${language}) shows “${odd[0]}”`);
    for (const { theme, ...size } of VIEWS) {
      const what = `${name}-${size.width}-${theme}-${language}`;
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await page.setViewportSize(size);
      if (size.width === 320) wrong.push(...await fits(page, what));
      // Names depend on the language, what is shown on the width, and nothing but colours on the theme.
      if (theme === 'dark' ? language === 'en' : size.width === 1280 || (size.width === 320 && language === 'en')) {
        wrong.push(...await violations(page, what, theme === 'dark' ? ['color-contrast'] : undefined));
      }
      await page.screenshot({ path: join(folder, `${what}.png`), fullPage: true });
    }
  };
  const takeAll = async (list) => {
    const work = ['en', 'zh-Hans'].flatMap((language) => list.filter((one) => !one.only || one.only === language).map((one) => [one, language]));
    // One window per person and language, three of them at work at a time.
    const queues = new Map();
    for (const item of work) {
      const key = `${item[0].who} ${item[1]}`;
      queues.set(key, [...(queues.get(key) ?? []), item]);
    }
    const waiting = [...queues];
    await Promise.all([1, 2, 3].map(async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [key, items] = next;
        if (!windows.has(key)) windows.set(key, await window(items[0][0].who, items[0][1]));
        for (const [one, language] of items) await take(one, language, windows.get(key));
      }
    }));
  };
  await takeAll(pages);

  // Microsoft is away: a change that was asked for stays on its way.
  await preparing.goto(portal(demo, busy));
  await demo.control('faults', { api_down: true });
  await preparing.getByLabel('Number of seats').fill('6');
  await preparing.getByRole('button', { name: 'Change seats' }).click();
  await preparing.waitForURL(/done=1/);
  await preparing.getByText('Changing the number of seats to 6.').waitFor();
  await takeAll(whileDown);
  await demo.control('faults', {});

  if (wrong.length > 0) assert.fail(`${wrong.length} faults:\n${wrong.join('\n')}`);
});

test('the product never panicked', () => {
  assert.doesNotMatch(world.demo.log(), /panicked/, world.demo.log());
});
