// One tab and its session: what must not end it, and what is said when it ends.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Latchkey, PASSWORD, cookie, inside, outside, person, profile, reason, signIn } from './support.js';

const DAY = 24 * 3600;
const latchkey = await Latchkey.start();

const whoami = async (page, username) => {
  await page.locator('#whoami-answer').evaluate((node) => { node.textContent = ''; });
  await page.getByRole('button', { name: 'Who am I?' }).click();
  await page.locator('#whoami-answer').getByText(username).waitFor();
};

test('a reload keeps the session', { timeout: 60_000 }, async () => {
  const { username, context, page } = await person(latchkey);
  const before = await cookie(context);
  await page.reload();
  await inside(page);
  await whoami(page, username);
  assert.match((await cookie(context)).value, /^rt1\./);
  assert.equal(before.httpOnly && before.secure && before.sameSite, 'Strict');
  await context.close();
});

test('a refresh whose reply is lost is repeated with the same cookie', { timeout: 60_000 }, async () => {
  const { username, context, page } = await person(latchkey);
  const spent = (await cookie(context)).value;
  let successor;
  const presented = [];
  await page.route('**/refresh', async (route) => {
    const headers = await route.request().allHeaders();
    presented.push(headers.cookie);
    if (successor) return route.continue();
    // The server does all of it, and the browser never hears of it.
    const answer = await fetch(`${latchkey.url}/refresh`, {
      method: 'POST', body: '{}',
      headers: { 'content-type': 'application/json', 'x-latchkey': '1', cookie: headers.cookie },
    });
    assert.equal(answer.status, 200);
    successor = /=([^;]*)/.exec(answer.headers.get('set-cookie'))[1];
    return route.abort('connectionreset');
  });
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await page.locator('#log li', { hasText: 'A new access token' }).nth(1).waitFor();
  assert.equal(presented.length, 2);
  assert.equal(presented[0], presented[1]);
  assert.ok(presented[0].includes(spent));
  assert.notEqual(successor, spent);
  assert.equal((await cookie(context)).value, successor, 'the same successor again');
  await whoami(page, username);
  await context.close();
});

test('offline and back: still signed in, and told meanwhile', { timeout: 60_000 }, async () => {
  const { username, context } = await person(latchkey);
  const page = await context.newPage();
  await page.clock.install();
  await page.goto('/');
  await inside(page);
  await page.locator('#reports li').waitFor();
  await page.clock.fastForward('11:00');
  await context.setOffline(true);
  await page.getByRole('button', { name: 'Who am I?' }).click();
  await page.locator('#said').getByText('cannot be reached').waitFor();
  assert.ok(await page.locator('#inside').isVisible());
  await context.setOffline(false);
  await whoami(page, username);
  await context.close();
});

test('asleep past the idle end: the page says why', { timeout: 60_000 }, async () => {
  const own = await Latchkey.start();
  const { context, page } = await person(own);
  await own.later(8 * DAY);
  // The laptop wakes up; the browser's steady clock stood still and it does not know better.
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await page.getByRole('button', { name: 'Who am I?' }).click();
  await reason(page, 'not used for a while');
  await page.reload();
  await reason(page, 'reached its end');
  await context.close();
});

test('asleep past the idle end, and the browser dropped the cookie: the same', { timeout: 60_000 }, async () => {
  const { context } = await person(latchkey);
  const page = await context.newPage();
  await page.clock.install();
  await page.goto('/');
  await inside(page);
  await page.locator('#reports li').waitFor();
  await context.clearCookies();
  await page.clock.fastForward(8 * DAY * 1000);
  await reason(page, 'not used for a while');
  await page.getByRole('button', { name: 'I am back' }).click();
  await page.getByRole('button', { name: 'I am back' }).waitFor({ state: 'detached' });
  await reason(page, 'not used for a while');
  await context.close();
});

test('whoever was not asleep that long comes back without signing in', { timeout: 60_000 }, async () => {
  const own = await Latchkey.start();
  const { username, context, page } = await person(own);
  await own.later(6 * DAY);
  await whoami(page, username);
  await context.close();
});

test('no token is anywhere that a script, a neighbour or a log could read it', { timeout: 60_000 }, async () => {
  const username = await latchkey.register();
  const context = await profile(latchkey);
  const tokens = new Set();
  const urls = [];
  context.on('request', (request) => urls.push(request.url()));
  const answers = [];
  context.on('response', (response) => {
    if (response.ok() && /\/(login|refresh)$/.test(response.url())) answers.push(response.json());
  });
  const page = await context.newPage();
  await signIn(page, username);
  await whoami(page, username);
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await page.locator('#log li', { hasText: 'A new access token' }).nth(1).waitFor();
  tokens.add((await cookie(context)).value);
  for (const answer of await Promise.all(answers)) {
    assert.equal(answer.refresh_token, undefined);
    tokens.add(answer.access_token);
  }
  const places = await page.evaluate(async () => ({
    local: JSON.stringify(localStorage),
    session: JSON.stringify(sessionStorage),
    databases: JSON.stringify(await indexedDB.databases()),
    caches: JSON.stringify(await caches.keys()),
    cookie: document.cookie,
    history: JSON.stringify(history.state),
    name: window.name,
    dom: document.documentElement.outerHTML,
    values: [...document.querySelectorAll('input')].map((one) => one.value).join(' '),
  }));
  assert.deepEqual([places.local, places.session, places.databases, places.caches, places.cookie],
    ['{}', '{}', '[]', '[]', '']);
  const everywhere = [...Object.values(places), ...urls, ...context.said].join('\n');
  assert.ok(tokens.size >= 3);
  for (const token of tokens) {
    for (const part of token.split('.').filter((one) => one.length > 8)) {
      assert.ok(!everywhere.includes(part));
    }
  }
  assert.ok(!everywhere.includes(PASSWORD));
  await context.close();
});

test('the page keeps to a strict policy, and what it runs is the package\'s file', { timeout: 60_000 }, async () => {
  const answer = await fetch(`${latchkey.url}/`);
  const policy = answer.headers.get('content-security-policy').split(';').map((one) => one.trim());
  for (const rule of [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
    `connect-src 'self' ${latchkey.api}`, "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
  ]) assert.ok(policy.includes(rule), `${rule} in ${policy}`);
  assert.doesNotMatch(await answer.text(), /<script>|\son\w+=|style=/);
  const { context, page } = await person(latchkey);
  await page.reload();
  await inside(page);
  assert.deepEqual(context.said.filter((text) => /Content Security Policy|Trusted/.test(text)), []);
  assert.deepEqual(context.failures, []);
  await context.close();
  const served = Buffer.from(await (await fetch(`${latchkey.url}/assets/latchkey.js`)).arrayBuffer());
  assert.deepEqual(served, await readFile(new URL('../browser/latchkey.js', import.meta.url)));
});

test('a server that is away on load is told of, and asked again', { timeout: 60_000 }, async () => {
  const { context, page } = await person(latchkey);
  let away = true;
  await page.route('**/refresh', (route) => (away ? route.abort() : route.continue()));
  await page.reload();
  await page.locator('#why').getByText('cannot be reached').waitFor();
  await outside(page);
  away = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await inside(page);
  await context.close();
});
