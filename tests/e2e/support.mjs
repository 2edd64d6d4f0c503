// What the browser test stands on: the demo as a process of its own, a browser that reaches nothing but it, and a
// watch that takes note of everything a page must not do.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const tools = createRequire(join(ROOT, 'tests/tools/package.json'));
const { chromium } = tools('playwright-core');
const AXE = await readFile(tools.resolve('axe-core/axe.min.js'), 'utf8');

export const OUTPUT = join(ROOT, 'tests/output');
/** How long something may take that Microsoft and the product settle between them. */
export const SETTLING = 40_000;

// ---- The demo ----------------------------------------------------------------------------------------------------

async function freePort() {
  const server = createServer();
  await new Promise((done, failed) => server.once('error', failed).listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** The key of the publisher's own program. */
const PUBLISHER_KEY = 'browser-test-browser-test-browser-test';

/** Starts `mediagenie demo` on free ports with a folder of its own. With all datasets it fills the pages of analytics, which takes it a while. */
export async function startDemo(datasets = 'usage') {
  const binary = resolve(ROOT, process.env.MEDIAGENIE ?? 'target/debug/mediagenie');
  const folder = await mkdtemp(join(tmpdir(), 'mediagenie-e2e-'));
  const [listen, simulated] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const child = spawn(binary, ['demo'], {
    cwd: folder,
    env: { PATH: process.env.PATH, DATA_DIR: folder, LISTEN_ADDRESS: listen, SIMULATOR_ADDRESS: simulated, ANALYTICS_DATASETS: datasets, PUBLISHER_API_KEYS: `browser-test=${PUBLISHER_KEY}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  process.once('exit', () => child.kill('SIGKILL'));
  const over = new Promise((done) => {
    child.once('error', (error) => { log += `${binary}: ${error.message}\n`; done(); });
    child.once('exit', done);
  });
  // Both ports are bound before the demo says where it is.
  await new Promise((ready, failed) => {
    const heard = (text) => { log += text; if (log.includes('Ctrl-C ends it')) ready(); };
    child.stdout.setEncoding('utf8').on('data', heard);
    child.stderr.setEncoding('utf8').on('data', heard);
    over.then(() => failed(new Error(`the demo did not start:\n${log}`)));
  });
  const demo = {
    product: `http://${listen}`,
    microsoft: `http://${simulated}`,
    log: () => log,
    /** The simulator's control API. */
    async control(verb, body) {
      const answer = await fetch(`${demo.microsoft}/simulator/${verb}`, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) });
      const said = await answer.json();
      assert.equal(answer.status, 200, `/simulator/${verb}: ${JSON.stringify(said)}`);
      return said;
    },
    /** A purchase by the control API; answers the subscription's id. */
    async buy(order) {
      const made = await demo.control('purchase', order);
      return made.subscription_id;
    },
    /** The publisher's program reports usage (records, of which each must be taken) or asks for something else there. */
    async usage(records, path = '') {
      const headers = { authorization: `Bearer ${PUBLISHER_KEY}` };
      const answer = await fetch(`${demo.product}/api/usage${path}`, { method: 'POST', headers, body: JSON.stringify(records) });
      if (path) return answer.status;
      const said = await answer.json();
      assert.deepEqual([answer.status, said.recorded], [200, records.length], JSON.stringify(said));
      return answer.status;
    },
    async stop() {
      child.kill('SIGTERM');
      const hard = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await over;
      clearTimeout(hard);
      await rm(folder, { recursive: true, force: true });
    },
  };
  const live = await fetch(`${demo.product}/health/live`);
  assert.equal(live.status, 200, 'the product is live');
  return demo;
}

// ---- The browser -------------------------------------------------------------------------------------------------

export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--hide-scrollbars', '--disable-background-networking',
      '--disable-component-update', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
    ],
  });
}

/** Takes note of what no page may do. Answers of 400 and above are wrong too, unless announced with `allow`. */
export class Watch {
  complaints = [];
  #origins;
  #allowed = new Set();

  constructor(demo) {
    this.#origins = [demo.product, demo.microsoft];
  }

  /** From now on this path may answer this status. */
  allow(status, path) {
    this.#allowed.add(`${status} ${path}`);
  }

  async over(context) {
    const complain = (text) => this.complaints.push(text);
    context.on('console', (message) => {
      // The status of every answer is looked at below.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource: the server responded with a status of')) {
        complain(`console error on ${message.location().url}: ${message.text()}`);
      }
    });
    context.on('weberror', (error) => complain(`page error on ${error.page()?.url()}: ${error.error()?.stack}`));
    context.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && !this.#origins.includes(url.origin)) complain(`request to a foreign host: ${url}`);
    });
    context.on('requestfailed', (request) => {
      const why = request.failure()?.errorText;
      if (why !== 'net::ERR_ABORTED') complain(`${request.method()} ${request.url()} failed: ${why}`);
    });
    context.on('response', (response) => {
      const path = new URL(response.url()).pathname;
      if (response.status() >= 400 && !this.#allowed.has(`${response.status()} ${path}`)) {
        complain(`${response.request().method()} ${response.url()} answered ${response.status()}`);
      }
    });
    await context.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`CSP violation of ${event.effectiveDirective}: ${event.blockedURI} ${event.sourceFile ?? ''}:${event.lineNumber}`);
    }));
  }

  check() {
    if (this.complaints.length > 0) assert.fail(`the pages did what they must not do:\n${this.complaints.join('\n')}`);
  }
}

/** A test in the browser. `open` gives somebody's fresh browser window; at the end the watch must have seen nothing. */
export function journey(world, name, options, body) {
  test(name, options, async (t) => {
    const watch = new Watch(world.demo);
    const contexts = [];
    const open = async (more = {}) => {
      const context = await world.browser.newContext({ locale: 'en-GB', timezoneId: 'Europe/Berlin', viewport: { width: 1280, height: 900 }, ...more });
      contexts.push(context);
      context.setDefaultTimeout(15_000);
      await watch.over(context);
      return context.newPage();
    };
    try {
      await body({ ...world, watch, open, t });
      watch.check();
    } catch (error) {
      await mkdir(join(OUTPUT, 'failures'), { recursive: true });
      for (const [number, page] of contexts.flatMap((context) => context.pages()).entries()) {
        const path = join(OUTPUT, 'failures', `${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)}-${number}.png`);
        await page.screenshot({ path, fullPage: true }).then(() => t.diagnostic(`${page.url()} looked like ${path}`)).catch(() => {});
      }
      for (const complaint of watch.complaints) t.diagnostic(complaint);
      throw error;
    } finally {
      await Promise.all(contexts.map((context) => context.close().catch(() => {})));
    }
  });
}

// ---- What a person does ------------------------------------------------------------------------------------------

/** At the simulated account picker: choose the person with this address. */
export async function pick(page, email) {
  await page.getByRole('heading', { name: 'Pick an account' }).waitFor();
  await page.getByRole('link', { name: email }).click();
}

/** Opens a page of the product as somebody who is not signed in yet. */
export async function openAs(page, address, email) {
  await page.goto(address);
  await pick(page, email);
}

/** The value of a fact such as "Seats". */
export function fact(page, name) {
  return page.locator('dl.facts > div').filter({ has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) }).locator('dd');
}

export const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true });
export const badge = (page, name) => page.locator('.title .badge', { hasText: new RegExp(`^${name}$`) });
export const event = (page, text) => page.locator('.timeline .event').filter({ hasText: text });

/** Waits for what the page comes to by itself. */
export const comes = (locator) => locator.first().waitFor({ timeout: SETTLING });

/** Looks again and again until it is there. */
export async function reloadUntil(page, locator, within = SETTLING) {
  const end = Date.now() + within;
  for (;;) {
    const seen = await locator.first().waitFor({ timeout: 300 }).then(() => true, () => false);
    if (seen) return;
    assert.ok(Date.now() < end, `${locator} did not appear on ${page.url()}`);
    await page.reload();
  }
}

/** Buys the metered plan and activates it; answers the subscription's id. */
export async function buyActive(demo, browser, email) {
  const subscription = await demo.buy({ plan: 'metered', buyer: email });
  const page = await browser.newPage();
  await openAs(page, `${demo.microsoft}/configure/${subscription}`, email);
  await page.getByRole('button', { name: 'Activate subscription' }).click();
  await comes(badge(page, 'Active'));
  await page.close();
  return subscription;
}

/** Buys the metered plan, activates it, and makes an API key in the portal. */
export async function buyKey(demo, email) {
  const browser = await startBrowser();
  try {
    // One context: who activated is signed in where the key is made.
    const context = await browser.newContext();
    const subscription = await buyActive(demo, context, email);
    const page = await context.newPage();
    await page.goto(`${demo.product}/portal/subscriptions/${subscription}/keys`);
    await page.getByLabel('Name').first().fill('SDK');
    await page.locator('form[action$="/keys"] button').click();
    const [apiKey] = (await page.locator('main').innerText()).match(/mgk-[0-9a-f]{12}-[\w-]{43}/);
    return { subscription, apiKey };
  } finally {
    await browser.close();
  }
}

// ---- What a page must be -----------------------------------------------------------------------------------------

/** The page must not be wider than the window. */
export async function fits(page, what) {
  const { wide, window: width, culprits } = await page.evaluate(() => ({
    wide: document.scrollingElement.scrollWidth,
    window: innerWidth,
    culprits: [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
      .slice(0, 5).map((e) => `<${e.tagName.toLowerCase()} class="${e.getAttribute('class') ?? ''}"> ${Math.round(e.getBoundingClientRect().right)}px`),
  }));
  return wide <= width ? [] : [`${what}: the page is ${wide} px wide in a window of ${width} px: ${culprits.join('; ')}`];
}

/** Serious and critical violations of the accessibility rules (of all, or of some), readable. */
export async function violations(page, what, rules) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const found = await page.evaluate(async (rules) => {
    const { violations, passes } = await axe.run(document, { preload: false, resultTypes: ['violations'], ...(rules && { runOnly: rules }) });
    if (passes.length === 0) throw new Error('axe looked at nothing');
    return violations.filter((one) => ['serious', 'critical'].includes(one.impact)).map((one) => ({
      id: one.id, impact: one.impact, help: one.help,
      nodes: one.nodes.slice(0, 4).map((node) => `${node.target.join(' ')} – ${node.failureSummary.split('\n').slice(1).map((line) => line.trim()).join('; ')}`),
      count: one.nodes.length,
    }));
  }, rules);
  return found.map((one) => `${what}: ${one.impact} ${one.id} (${one.help}), ${one.count} times:\n    ${one.nodes.join('\n    ')}`);
}
