// The pages of analytics in a browser: charts that are drawn from the tables beside them, days, questions, files.
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { OUTPUT, fits, heading, journey, openAs, reloadUntil, startBrowser, startDemo, violations } from './support.mjs';

const ADA = 'ada@mediagenie.example';
const world = {};

before(async () => {
  world.demo = await startDemo('all');
  world.browser = await startBrowser();
});

after(async () => {
  await world.browser?.close();
  await world.demo?.stop();
});

const limit = (seconds) => ({ timeout: seconds * 1000 });
const wrong = [];
const ROOT = () => `${world.demo.product}/publisher/analytics`;

async function looked(page, name, views = [['en', 1280, 'light'], ['en', 320, 'light'], ['en', 1280, 'dark'], ['zh-Hans', 1280, 'light']]) {
  const folder = join(OUTPUT, 'screenshots-analytics');
  await mkdir(folder, { recursive: true });
  for (const [language, width, theme] of views) {
    await page.context().addCookies([{ name: 'mediagenie-language', value: language, url: world.demo.product }]);
    await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height: 900 });
    await page.reload();
    const what = `${name}-${language}-${width}-${theme}`;
    wrong.push(...await fits(page, what), ...await violations(page, what, theme === 'dark' ? ['color-contrast'] : undefined));
    await page.screenshot({ path: join(folder, `${what}.png`), fullPage: true });
  }
  await page.context().addCookies([{ name: 'mediagenie-language', value: 'en', url: world.demo.product }]);
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.reload();
}

/** The numbers that a chart has been given, as the library holds them. */
const drawn = (page, id) => page.evaluate((id) => [...document.querySelectorAll(`#figure-${id} canvas`)].flatMap(
  (canvas) => Chart.getChart(canvas).data.datasets.map((one) => [one.label, one.data])), id);

/** The same from the table's text. */
const told = (page, id) => page.evaluate((id) => {
  const heads = [...document.querySelectorAll(`#figure-${id} thead th`)].slice(1);
  const rows = [...document.querySelectorAll(`#figure-${id} tbody tr`)];
  return heads.map((head, place) => [head, place]).filter(([head]) => 'charted' in head.dataset).map(([head, place]) => [
    head.textContent.trim(), rows.map((row) => Number(row.querySelectorAll('td')[place].textContent.replaceAll(/[^0-9.-]/g, ''))),
  ]);
}, id);

journey(world, 'charts show what their tables say, in light and dark, and fit on a telephone', limit(300), async ({ open }) => {
  const page = await open();
  await openAs(page, ROOT(), ADA);
  await heading(page, 'Analytics').waitFor();
  await reloadUntil(page, page.locator('tr', { hasText: 'ISVQualityOfService' }).locator('time').nth(0));
  await reloadUntil(page, page.locator('tr', { hasText: 'ISVRevenue' }).filter({ hasText: 'Current' }));
  await looked(page, 'overview');
  for (const [name, title, figures] of [
    ['orders', 'Orders', ['events', 'standing']],
    ['customers', 'Customers', ['moves', 'customers', 'countries']],
    ['usage', 'Usage', ['metered-0', 'charges']],
    ['revenue', 'Revenue', ['billed', 'earned', 'statuses-0', 'dollars']],
    ['retention', 'Retention', ['curve', 'offsets']],
    ['insights', 'Marketplace visits', ['funnel', 'clicks', 'by_offer']],
    ['quality', 'Quality of service', ['outcomes', 'durations', 'errors']],
  ]) {
    await page.goto(ROOT());
    await page.locator('nav.tabs').getByRole('link', { name: title }).click();
    await heading(page, title).waitFor();
    await page.getByRole('link', { name: 'All', exact: true }).click();
    for (const figure of figures) {
      const [chart, table] = [await drawn(page, figure), await told(page, figure)];
      assert.ok(chart.length > 0, `${name}: ${figure} is not drawn`);
      const rounded = chart.map(([label, data]) => [label, data.map((value) => value ?? 0)]);
      assert.deepEqual(rounded, table, `${name}: ${figure}`);
    }
    await looked(page, name);
  }
  assert.deepEqual(wrong, []);
});

journey(world, 'a table is shown and hidden, days are chosen, and the rows are downloaded', limit(120), async ({ open }) => {
  const page = await open();
  await openAs(page, `${ROOT()}/usage?preset=12_months`, ADA);
  const figure = page.locator('#figure-charges');
  await figure.locator('canvas').first().waitFor();
  assert.equal(await figure.locator('table').isVisible(), false);
  await figure.getByRole('button').click();
  assert.equal(await figure.locator('table').isVisible(), true);
  assert.equal(await figure.getByRole('button').getAttribute('aria-expanded'), 'true');
  await page.emulateMedia({ media: 'print' });
  assert.equal(await page.locator('#figure-payouts table').isVisible(), true, 'print shows the tables');
  assert.equal(await page.locator('#figure-payouts canvas').first().isVisible(), false);
  await page.emulateMedia({ media: 'screen' });
  await page.getByLabel('Plan').selectOption('metered');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.getByText('Plan: metered').waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download CSV' }).click()]);
  const file = await readFile(await download.path(), 'utf8');
  const [head, ...rows] = file.trim().split('\n');
  const plan = head.split(',').indexOf('PlanId');
  assert.ok(rows.length > 10 && rows.every((row) => row.split(',')[plan] === 'metered'), `${rows.length} rows`);
});

journey(world, 'without script the tables stand', limit(60), async ({ open }) => {
  const page = await open({ javaScriptEnabled: false });
  await openAs(page, `${ROOT()}/orders`, ADA);
  await page.locator('#figure-events table').waitFor();
  assert.equal(await page.locator('#figure-events table').isVisible(), true);
  assert.equal(await page.locator('#figure-events .plot-fold').isVisible(), false);
});

journey(world, 'questions are asked, corrected, kept and removed; rows and executions are looked at', limit(180), async ({ open, watch }) => {
  const page = await open();
  watch.allow(400, '/publisher/analytics/questions');
  watch.allow(400, '/publisher/analytics/data/ISVUsage');
  await openAs(page, `${ROOT()}/questions`, ADA);
  await page.getByLabel('Question', { exact: true }).fill('SELECT PlanId, MeterdUsage FROM ISVUsage TIMESPAN LAST_6_MONTHS');
  await page.getByRole('button', { name: 'Ask what is held' }).click();
  await page.getByText('Did you mean MeteredUsage?').waitFor();
  await looked(page, 'question-wrong', [['en', 1280, 'light'], ['en', 320, 'light']]);
  await page.getByLabel('Question', { exact: true }).fill('SELECT PlanId, MeteredUsage FROM ISVUsage TIMESPAN LAST_6_MONTHS');
  await page.getByRole('button', { name: 'As Microsoft answers: a sample' }).click();
  await page.getByRole('heading', { name: 'Microsoft’s sample' }).waitFor();
  await page.getByRole('button', { name: 'Ask what is held' }).click();
  await page.getByRole('heading', { name: 'Answer', exact: true }).waitFor();
  await page.getByLabel('Name').fill('Usage by plan');
  await page.getByRole('button', { name: 'Keep', exact: true }).click();
  await page.getByText('The question is kept').waitFor();
  await looked(page, 'question');
  await page.getByRole('button', { name: /^Remove/ }).click();
  await page.getByText('The question was removed').waitFor();

  await page.goto(`${ROOT()}/data/ISVUsage`);
  await page.getByLabel('Filter').fill("PlanId = 'metered' AND MeteredUsage > 200");
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.locator('table.rows tbody tr').first().waitFor();
  await looked(page, 'data');
  await page.getByLabel('Filter').fill('PlanId = gold');
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await page.getByText('The question can not be read').waitFor();

  await page.goto(`${ROOT()}/executions/ISVUsage`);
  await page.getByText('Done', { exact: true }).first().waitFor();
  await looked(page, 'executions');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: /^Download/ }).first().click()]);
  assert.match(await readFile(await download.path(), 'utf8'), /UsageDate/);
  assert.deepEqual(wrong, []);
});
