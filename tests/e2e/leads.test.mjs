// Leads and managed applications in a browser: a lead that Microsoft sends is found, worked on and forwarded; addresses are
// made and tried; an application is deployed and opened; and what the pages look like.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { OUTPUT, SETTLING, badge, buyActive, event, fits, heading, journey, openAs, reloadUntil, startBrowser, startDemo, violations } from './support.mjs';

const ADA = 'ada@mediagenie.example';
const RAVI = 'ravi@mediagenie.example';
const world = {};
let address = '';

before(async () => {
  world.demo = await startDemo();
  world.browser = await startBrowser();
});

after(async () => {
  await world.browser?.close();
  await world.demo?.stop();
});

const limit = (seconds) => ({ timeout: seconds * 1000 });
const publisher = (path) => `${world.demo.product}/publisher/${path}`;
const wrong = [];

/** The page at several widths and in both schemes: nothing sticks out, nothing is inaccessible. */
async function shots(page, name) {
  const folder = join(OUTPUT, 'screenshots');
  await mkdir(folder, { recursive: true });
  for (const [width, theme] of [[1280, 'light'], [800, 'light'], [1280, 'dark'], [360, 'light'], [360, 'dark']]) {
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
  for (const language of ['zh-Hans', 'en']) {
    await page.context().addCookies([{ name: 'mediagenie-language', value: language, url: world.demo.product }]);
    await page.reload();
    const odd = (await page.locator('body').innerText()).match(/\bundefined\b|\bNaN\b|\[object|\{(offer|said|count|name|bytes|destination)\}/);
    if (odd) wrong.push(`${name} shows “${odd[0]}”`);
    await shots(page, `${name}-${language}`);
  }
}

/** A lead as Microsoft sends it. */
function lead(first, last, email, company, more = {}) {
  return {
    UserDetails: { FirstName: first, LastName: last, Email: email, Phone: '+1 617 555 5555', Country: 'US', Company: company, Title: 'Head of video' },
    LeadSource: 'AzureMarketplace', ActionCode: 'INS', OfferTitle: 'MediaGenie', Description: ' ', ...more,
  };
}

async function send(body) {
  const answer = await world.demo.control('lead', { address, lead: body });
  assert.equal(answer.status, 200, JSON.stringify(answer));
}

journey(world, 'an address is made for an offer, tried, and renewed', limit(120), async ({ open }) => {
  const page = await open();
  await openAs(page, publisher('leads'), ADA);
  await heading(page, 'Leads').waitFor();
  await looked(page, 'leads-empty');
  await page.getByRole('link', { name: 'Go to the addresses' }).click();
  await looked(page, 'lead-addresses-empty');
  await page.getByLabel('Offer ID').fill('mediagenie');
  await page.getByLabel('Title').fill('MediaGenie');
  await page.getByRole('button', { name: 'Make the address' }).click();
  await page.getByText('mediagenie has an address').waitFor();
  address = await page.locator('code', { hasText: '/marketplace/leads/' }).innerText();
  await page.getByRole('button', { name: 'Send a test' }).click();
  await page.getByText('The address of mediagenie works').waitFor();
  await page.locator('summary', { hasText: 'Make a new address' }).click();
  await page.getByRole('button', { name: 'Make a new address' }).click();
  await page.getByText('mediagenie has a new address').waitFor();
  assert.equal(await page.locator('code', { hasText: '/marketplace/leads/' }).count(), 2);
  await page.locator('summary', { hasText: 'Remove' }).click();
  await shots(page, 'lead-addresses-open');
  await looked(page, 'lead-addresses');
});

journey(world, 'a lead arrives, is worked on, and is known to the systems of sales', limit(240), async ({ open, watch }) => {
  await send(lead('Grace', 'Hopper', 'grace@contoso.example', 'Contoso'));
  await send(lead('王', '芳', 'fang.wang@verylongcompanyname-international-holdings.example', '示例科技股份有限公司', { ActionCode: 'PLT', LeadSource: 'AppSource (SPZA)' }));
  await send(lead('Bo', 'Brown', 'bo@adatum.example', 'Adatum', { ActionCode: 'DNC' }));
  await send('this is no lead <script>alert(1)</script>');
  const page = await open();
  await openAs(page, publisher('leads'), ADA);
  const row = page.locator('tbody tr', { hasText: 'Grace Hopper' });
  await reloadUntil(page, row.locator('.badge', { hasText: 'dynamics: Delivered' }));
  await reloadUntil(page, row.locator('.badge', { hasText: 'teams: Delivered' }));
  await reloadUntil(page, page.getByText('Could not be read'));
  await page.getByLabel('Search').fill('hopper');
  await page.locator('form[role=search]').getByRole('button', { name: 'Search' }).click();
  assert.equal(await page.locator('tbody tr').count(), 1);
  await page.getByRole('link', { name: 'Grace Hopper' }).click();
  await heading(page, 'Grace Hopper').waitFor();
  await page.getByLabel('New note').fill('Called on Monday. Wants a price for 4,000 hours.');
  await page.getByRole('button', { name: 'Add note' }).click();
  await page.getByText('The note is added').waitFor();
  await page.getByLabel('Status').selectOption('qualified');
  await page.getByRole('button', { name: 'Change status' }).click();
  await badge(page, 'Qualified').waitFor();
  await page.getByRole('button', { name: 'Assign to me' }).click();
  await event(page, 'Owner: Ada Admin').waitFor();
  // Told of what came later, not of what staff decided; and the system has it.
  await send(lead('Grace', 'Hopper', 'grace@contoso.example', 'Contoso', { Description: 'We have 4,000 hours of lectures.\nWhat would that cost?' }));
  await reloadUntil(page, page.locator('summary', { hasText: 'Attempts: 2' }).first());
  const crm = await world.demo.control('crm');
  const record = crm.records.find((one) => one.system === 'dynamics' && JSON.stringify(one.fields).includes('Hopper'));
  assert.ok(record, JSON.stringify(crm));
  await page.goto(page.url().split('?')[0]);
  await looked(page, 'lead');
  for (const summary of await page.locator('main summary').all()) await summary.click();
  await shots(page, 'lead-open');
  watch.allow(400, `${new URL(page.url()).pathname}/duplicate`);
  await page.getByLabel('The lead that stays').fill('nonsense');
  await page.getByRole('button', { name: 'Mark as a duplicate' }).click();
  await page.getByText('The lead was not marked as a duplicate').waitFor();
  await shots(page, 'lead-refused');
  await page.goto(publisher('leads'));
  await looked(page, 'leads');
  await page.getByRole('link', { name: 'Bo Brown' }).click();
  await page.locator('.notice', { hasText: 'must not be contacted' }).waitFor();
  assert.equal(await page.locator('main a[href^=mailto]').count(), 0);
  await looked(page, 'lead-dnc');
  await page.goto(publisher('leads?kind=quarantined'));
  await page.getByRole('link', { name: 'Could not be read' }).click();
  await page.locator('pre', { hasText: 'this is no lead <script>' }).waitFor();
  await looked(page, 'lead-quarantined');
  await page.goto(publisher('leads?q=nobody'));
  await looked(page, 'leads-none');
});

journey(world, 'without JavaScript the same is done, and a reader only looks', limit(90), async ({ open }) => {
  const page = await open();
  await openAs(page, publisher('leads'), ADA);
  const bare = await open({ storageState: await page.context().storageState(), javaScriptEnabled: false });
  await bare.goto(publisher('leads'));
  await bare.getByRole('link', { name: '王 芳' }).click();
  await bare.getByLabel('New note').fill('你好');
  await bare.getByRole('button', { name: 'Add note' }).click();
  await bare.getByText('The note is added').waitFor();
  await bare.getByRole('button', { name: 'Mark as converted' }).click();
  await badge(bare, 'Converted').waitFor();
  const reader = await open();
  await openAs(reader, publisher('leads'), RAVI);
  await reader.getByRole('link', { name: '王 芳' }).click();
  await heading(reader, '王 芳').waitFor();
  assert.equal(await reader.locator('main form').count(), 0);
  await shots(reader, 'lead-reader');
  await reader.goto(publisher('leads-addresses'));
  assert.equal(await reader.getByText('/marketplace/leads/').count(), 0);
  await shots(reader, 'lead-addresses-reader');
});

journey(world, 'a managed application is deployed, listed and opened', limit(150), async ({ open }) => {
  const page = await open();
  await openAs(page, publisher('managed-apps'), ADA);
  await looked(page, 'apps-empty');
  await world.demo.control('deploy-managed-app', { name: 'media-workbench' });
  const row = page.locator('tbody tr', { hasText: 'media-workbench' });
  await reloadUntil(page, row.locator('.badge', { hasText: /^Active$/ }), SETTLING);
  await looked(page, 'apps');
  await page.getByRole('link', { name: 'media-workbench' }).click();
  await badge(page, 'Active').waitFor();
  await looked(page, 'app');
});

journey(world, 'a company is seen whole, and a person is handed out and taken out', limit(150), async ({ open }) => {
  const buyer = await open();
  await buyActive(world.demo, buyer.context(), 'clara@contoso.example');
  const page = await open();
  await openAs(page, publisher('customers'), ADA);
  const row = page.locator('tbody tr', { hasText: 'contoso.example' });
  await row.first().waitFor();
  await looked(page, 'customers');
  await row.first().getByRole('link').first().click();
  await page.getByRole('heading', { name: 'What happened' }).waitFor();
  await looked(page, 'customer');
  await page.goto(publisher('privacy'));
  await looked(page, 'privacy-empty');
  await page.getByLabel('E-mail address').fill('bo@adatum.example');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.getByRole('heading', { name: /^Held of/ }).waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download everything' }).click()]);
  assert.equal(download.suggestedFilename(), 'person.json');
  await page.getByText('Erase this person', { exact: true }).click();
  await page.getByLabel('Yes, erase this person').check();
  await page.getByRole('button', { name: 'Erase', exact: true }).click();
  await page.getByText('The request was taken').waitFor();
  await reloadUntil(page, page.locator('td', { hasText: 'forgotten' }), SETTLING);
  await looked(page, 'privacy');
});

test('the pages fit a telephone and break no rule of accessibility', () => {
  if (wrong.length > 0) assert.fail(`${wrong.length} faults:\n${wrong.join('\n')}`);
});

test('the product never panicked', () => {
  assert.doesNotMatch(world.demo.log(), /panicked/, world.demo.log());
});
