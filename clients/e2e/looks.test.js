// What it looks like, and that axe finds nothing: each main state, light and dark, wide and narrow.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Latchkey, PASSWORD, inside, outside, person, picture, profile, reason } from './support.js';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8');
const latchkey = await Latchkey.start({ AUTH__TOKENS__IDLE_SECONDS: '900' });

const LOOKS = {
  light: { colorScheme: 'light', viewport: { width: 1280, height: 900 } },
  dark: { colorScheme: 'dark', viewport: { width: 1280, height: 900 } },
  narrow: { colorScheme: 'light', viewport: { width: 320, height: 700 }, isMobile: true, hasTouch: true },
};

const NAMES = { light: 'Ada Lovelace', dark: 'Grace Hopper', narrow: 'Karen Spärck Jones' };

/** The page's policy keeps foreign scripts out, so axe comes in by the debugger. */
async function judged(page, name) {
  await page.evaluate(axe);
  const { violations, incomplete } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  const told = (all) => all.map(({ id, nodes }) => `${id}: ${nodes.map((one) => one.html).join(' ')}`);
  assert.deepEqual(told(violations), [], name);
  assert.deepEqual(told(incomplete.filter((one) => one.id === 'color-contrast')), [], name);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${name} is ${wider} px wider than the window`);
  await picture(page, name);
}

for (const [look, options] of Object.entries(LOOKS)) {
  test(`${look}: axe finds nothing in any state`, { timeout: 90_000 }, async () => {
    const stranger = await profile(latchkey, options);
    const page = await stranger.newPage();
    await page.goto('/');
    await outside(page);
    await judged(page, `${look}-sign-in`);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await judged(page, `${look}-sign-in-error`);
    await page.getByRole('button', { name: 'Create an account' }).click();
    await judged(page, `${look}-sign-up`);
    await stranger.close();

    const { username, context, page: account } = await person(latchkey, options, NAMES[look]);
    await latchkey.elsewhere(username);
    await account.getByRole('button', { name: 'Who am I?' }).click();
    await account.locator('#whoami-answer').getByText(username).waitFor();
    await account.getByLabel('New report').fill('Keys cut in November');
    await account.getByRole('button', { name: 'Add' }).click();
    await account.locator('#reports').getByText('Keys cut').waitFor();
    await account.reload();
    await account.locator('#sessions').getByText('Somewhere else').waitFor();
    await account.getByRole('button', { name: 'Who am I?' }).click();
    await account.locator('#whoami-answer').getByText(username).waitFor();
    await account.locator('#reports').getByText('Keys cut').waitFor();
    await judged(account, `${look}-account`);
    await account.getByRole('button', { name: 'Delete account' }).click();
    await account.getByRole('button', { name: 'Delete for ever' }).click();
    await account.getByText('please fill this in').waitFor();
    await judged(account, `${look}-delete`);
    await account.close();

    const late = await context.newPage();
    await late.clock.install();
    await late.goto('/');
    await inside(late);
    await late.locator('#reports').getByText('Keys cut').waitFor();
    await late.clock.fastForward('13:10');
    await late.locator('#expiry').waitFor();
    await judged(late, `${look}-expiring`);
    await late.clock.fastForward('05:00');
    await reason(late, 'not used for a while');
    await judged(late, `${look}-ended`);
    assert.deepEqual(context.failures, []);
    await context.close();
  });
}

test('everything can be reached and done with the keyboard', { timeout: 90_000 }, async () => {
  const username = await latchkey.register();
  const context = await profile(latchkey, LOOKS.light);
  const page = await context.newPage();
  await page.goto('/');
  await outside(page);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  const seen = [];
  for (let i = 0; i < 6; i++) {
    await page.keyboard.press('Tab');
    seen.push(await focused());
  }
  assert.deepEqual(seen.slice(0, 3), ['Skip to content', 'in-name', 'in-password']);
  await page.locator('#in-name').focus();
  await page.keyboard.type(username);
  await page.keyboard.press('Tab');
  await page.keyboard.type('not the password');
  await page.keyboard.press('Enter');
  await page.getByText('The name or the password is wrong.').waitFor();
  assert.equal(await focused(), 'in-name');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Control+A');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await inside(page);
  assert.equal(await focused(), 'inside-title', 'the new view is read out');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(), 'sign-out');
  await page.keyboard.press('Enter');
  await reason(page, 'You are signed out.');
  assert.equal(await focused(), 'outside-title');
  await context.close();
});
