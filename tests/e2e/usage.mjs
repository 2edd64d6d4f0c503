// Usage in every state that the pages show, for the pictures and for the journeys about it.
import { SETTLING, reloadUntil } from './support.mjs';

const HOUR = 3_600_000;
/** A round of sending comes every minute by itself. */
const ROUND = 70_000;

/** When it was, so many hours ago, in the middle of that hour. */
export const ago = (hours) => new Date(Math.floor(Date.now() / HOUR) * HOUR - hours * HOUR + HOUR / 2).toISOString();
export const day = (hours) => ago(hours).slice(0, 10);
export const usageOf = (demo, id) => `${demo.product}/publisher/usage/resources/${id}`;

let number = 0;
export const record = (subscription, dimension, quantity, hours) => ({
  id: `program-${number += 1}`, subscription, dimension, quantity, ...(hours && { occurred_at: ago(hours) }),
});

/** Closed hours go to Microsoft now; where nothing can be asked for, with the next round. */
export async function submitted(demo, page, id, locator) {
  await demo.usage({}, '/submit');
  await page.goto(usageOf(demo, id));
  await reloadUntil(page, locator, ROUND + SETTLING);
}

/** `good` has accepted, included and open hours and a difference; `bad` has dead letters, one of them near its deadline, and a loss. */
export async function prepareUsage(demo, staff, good, bad) {
  await demo.control('faults', { metering_accept_other_quantity_next: 1 });
  await demo.usage([
    record(good, 'speech_minutes', 900, 6), record(good, 'speech_minutes', 400, 4), record(good, 'speech_minutes', 250.5, 3),
    record(good, 'vision_images', 6_000, 5), record(good, 'vision_images', 12_345, 2), record(good, 'chat_1k_tokens', 812.25, 2),
    record(good, 'speech_minutes', 35, 0),
  ]);
  const badge = (text) => staff.locator('.hours .badge').getByText(text, { exact: true });
  await submitted(demo, staff, good, badge('Accepted'));
  await demo.control('faults', { metering_status_override: 'InvalidDimension' });
  await demo.usage([
    record(bad, 'speech_minutes', 1_600, 14), record(bad, 'speech_minutes', 300, 7), record(bad, 'vision_images', 9_000, 3),
    record(bad, 'chat_1k_tokens', 2_500, 2),
  ]);
  await submitted(demo, staff, bad, badge('Dead letter'));
  const event = staff.locator('.wait').filter({ hasText: 'Chat' });
  await event.getByText('Write off', { exact: false }).first().click();
  await event.getByLabel('Reason').fill('Goodwill after the outage');
  await event.getByRole('checkbox').check();
  await event.getByRole('button', { name: /Write off/ }).click();
  await staff.getByText('The loss is booked and stands under Losses.').waitFor();
  await demo.control('faults', {});
}

/** A file with a good line, one recorded before, and one that is wrong. */
export const file = (id) => `id,subscription,dimension,quantity,occurred_at,note
program-1,${id},speech_minutes,900,${ago(6)},
imported-1,${id},speech_minutes,12.5,,Call centre
imported-2,${id},pictures,3,,
imported-3,${id},vision_images,many,,
`;
