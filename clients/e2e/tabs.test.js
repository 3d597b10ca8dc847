// Several tabs share one cookie. Real refreshes against the real server, however they meet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latchkey, inside, person, reason } from './support.js';

const TABS = 5;

const withoutLocks = () =>
  Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });

const click = async (page) => {
  await page.locator('#whoami-answer').evaluate((node) => { node.textContent = ''; });
  await page.locator('#whoami').evaluate((button) => button.click());
};
const answered = (page, username) =>
  page.locator('#whoami-answer').getByText(username).waitFor();

/** What the server said to each refresh. */
const refreshes = (context) => {
  const statuses = [];
  context.on('response', (response) => {
    if (response.url().endsWith('/refresh')) statuses.push(response.status());
  });
  return statuses;
};

/** Lets refreshes through only when `count` of them wait, so that they reach the server together. */
const together = async (context, count) => {
  let waiting = [];
  await context.route('**/refresh', (route) => {
    waiting.push(route);
    if (waiting.length < count) return;
    for (const each of waiting) each.continue();
    waiting = [];
  });
};

for (const locks of [true, false]) {
  test(`five tabs, Web Locks ${locks ? 'on' : 'off'}: nobody is signed out`, { timeout: 120_000 }, async () => {
    const latchkey = await Latchkey.start();
    const { username, context, page } = await person(latchkey);
    if (!locks) await context.addInitScript(withoutLocks);
    await page.close();
    const statuses = refreshes(context);
    const pages = await Promise.all(Array.from({ length: TABS }, () => context.newPage()));

    // Opened at once: each goes on with the same cookie.
    if (!locks) await together(context, TABS);
    await Promise.all(pages.map((one) => one.goto('/')));
    await Promise.all(pages.map(inside));
    assert.equal(await pages[0].evaluate(() => Boolean(navigator.locks)), locks);
    assert.deepEqual(statuses.splice(0), Array(TABS).fill(200));

    // The access tokens expire, and all tabs find out at once.
    await latchkey.later(700);
    await Promise.all(pages.map(click));
    await Promise.all(pages.map((one) => answered(one, username)));
    assert.deepEqual(statuses.splice(0), Array(TABS).fill(200));
    if (!locks) await context.unroute('**/refresh');

    // They expire again, and each tab comes twenty seconds after the one before: some within the
    // grace window of another's refresh and some after it.
    for (const [n, one] of pages.entries()) {
      await latchkey.later(1400 + 20 * n);
      await click(one);
      await answered(one, username);
    }
    assert.deepEqual(statuses.splice(0), Array(TABS).fill(200));

    await Promise.all(pages.map((one) => one.reload()));
    await Promise.all(pages.map(inside));
    assert.deepEqual(statuses.filter((status) => status !== 200), []);
    await context.close();
  });
}

test('logout in one tab signs out the others', { timeout: 60_000 }, async () => {
  const latchkey = await Latchkey.start();
  const { context, page } = await person(latchkey);
  const others = await Promise.all([context.newPage(), context.newPage()]);
  await Promise.all(others.map((one) => one.goto('/')));
  await Promise.all(others.map(inside));
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await reason(page, 'You are signed out.');
  for (const one of others) {
    await reason(one, 'You signed out in another tab.');
    assert.equal(await one.locator('#name').textContent(), '', 'nothing of the person stays');
  }
  assert.equal((await context.cookies()).length, 0);
  await page.reload();
  assert.equal(await page.locator('#why').textContent(), '');

  // And a login brings them all back in.
  await page.getByRole('button', { name: 'Use the demo account' }).click();
  await Promise.all([page, ...others].map(inside));
  await context.close();
});

test('signing in as somebody else in one tab takes the others out, with an offer', { timeout: 60_000 }, async () => {
  const latchkey = await Latchkey.start();
  const { context, page } = await person(latchkey);
  const other = await context.newPage();
  await other.goto('/');
  await inside(other);
  await other.evaluate(async () => {
    const { createClient } = await import('/assets/latchkey.js');
    const { demo } = await (await fetch('/assets/page.json')).json();
    await createClient().login(demo);
  });
  await reason(page, 'signed in anew');
  await page.getByRole('button', { name: 'Go on with that session' }).click();
  await inside(page);
  await page.locator('#name').getByText('demo').waitFor();
  await context.close();
});
