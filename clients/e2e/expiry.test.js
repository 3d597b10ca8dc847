// The notice before the end, on a clock turned by hand: the page's, and where the server must agree, its too.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latchkey, inside, person, reason } from './support.js';

/** A tab whose clock is ours, on a session that lasts 15 minutes unless it is used. */
const tab = async (settings) => {
  const latchkey = await Latchkey.start(settings);
  const { context, page: first } = await person(latchkey);
  await first.close();
  const page = await context.newPage();
  await page.clock.install();
  await page.goto('/');
  await inside(page);
  await page.locator('#reports li').waitFor();
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  return { latchkey, context, page, asked };
};

test('the notice comes on time, and staying signed in works', { timeout: 90_000 }, async () => {
  const { latchkey, context, page, asked } = await tab({ AUTH__TOKENS__IDLE_SECONDS: '900' });
  const notice = page.locator('#expiry');
  await page.clock.fastForward('12:45');
  assert.ok(await notice.isHidden(), 'not yet');
  await page.clock.fastForward('00:20');
  await notice.waitFor();
  await page.getByRole('alert').getByText('not being used').waitFor();
  assert.deepEqual(asked, [], 'nobody did anything, so nothing was sent');
  await latchkey.later(785);
  await page.getByRole('button', { name: 'Stay signed in' }).click();
  await notice.waitFor({ state: 'hidden' });
  assert.deepEqual(asked, ['/refresh']);
  // The server has moved its end as well: without the click this would be past it.
  await latchkey.later(785 + 600);
  await page.clock.fastForward('10:00');
  await page.getByRole('button', { name: 'Who am I?' }).click();
  await page.locator('#whoami-answer').getByText('username').waitFor();
  await context.close();
});

test('without a click the page goes blank, says why, and asks nothing', { timeout: 90_000 }, async () => {
  const { latchkey, context, page, asked } = await tab({ AUTH__TOKENS__IDLE_SECONDS: '900' });
  await page.clock.fastForward('13:30');
  await page.locator('#expiry').waitFor();
  await page.clock.fastForward('02:00');
  await reason(page, 'not used for a while');
  assert.equal(await page.locator('#name').textContent(), '');
  assert.deepEqual(asked, []);
  await latchkey.later(1000);
  await page.getByRole('button', { name: 'I am back' }).click();
  await page.getByRole('button', { name: 'I am back' }).waitFor({ state: 'detached' });
  await reason(page, 'not used for a while');
  assert.deepEqual(asked, ['/refresh']);
  await context.close();
});

test('before the absolute end there is a notice and no false hope', { timeout: 90_000 }, async () => {
  const { context, page, asked } = await tab({
    AUTH__TOKENS__IDLE_SECONDS: '900', AUTH__TOKENS__ABSOLUTE_SECONDS: '900',
  });
  await page.clock.fastForward('13:30');
  await page.getByRole('alert').getByText('longest duration').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Stay signed in' }).isHidden());
  assert.deepEqual(asked, []);
  await page.clock.fastForward('02:00');
  await reason(page, 'longest duration');
  await context.close();
});

test('a tab that is used takes the notice away in the other', { timeout: 90_000 }, async () => {
  const { context, page } = await tab({ AUTH__TOKENS__IDLE_SECONDS: '900' });
  await page.clock.fastForward('13:30');
  await page.locator('#expiry').waitFor();
  const other = await context.newPage();
  await other.goto('/');
  await inside(other);
  await page.locator('#expiry').waitFor({ state: 'hidden' });
  assert.ok(await page.locator('#inside').isVisible());
  await context.close();
});
