// The page at another address than the issuer's, and a front end of another site: neither signs out without a word.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latchkey, PASSWORD, crossroads, frontEnd, inside, profile, proxy, signIn } from './support.js';

const latchkey = await Latchkey.start();
const byName = latchkey.url.replace('127.0.0.1', 'localhost');

test('opened at localhost the page goes to the issuer, and a reload keeps the session', { timeout: 60_000 }, async () => {
  const username = await latchkey.register();
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto(`${byName}/?from=mail`);
  await page.waitForURL(({ href }) => href === `${latchkey.url}/?from=mail`);
  await signIn(page, username, byName);
  assert.equal(page.url(), `${latchkey.url}/`);
  await page.reload();
  await inside(page);
  assert.deepEqual(context.failures, []);
  await context.close();
});

test('opened by way of a proxy the page goes to the issuer, with what its address carries', { timeout: 60_000 }, async () => {
  const port = await proxy((path) => latchkey.url + path);
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${port}/?a=1#about=x`);
  await page.waitForURL(({ href }) => href === `${latchkey.url}/?a=1#about=x`);
  await page.getByRole('heading', { level: 1, name: /Sign in once/ }).waitFor();
  await context.close();
});

test('a page that is led back goes nowhere a second time, and says where it belongs', { timeout: 60_000 }, async () => {
  const { port, visits } = await crossroads(() => own.url);
  const issuer = `http://127.0.0.1:${port}`;
  const own = await Latchkey.start({ AUTH__ISSUER: issuer });
  const context = await profile(own);
  const page = await context.newPage();
  await page.goto(own.url);
  await page.locator('#why').getByText('works at the address of the service alone').waitFor();
  assert.equal(await page.locator('#why a').getAttribute('href'), `${issuer}/`);
  assert.deepEqual(visits, ['/']);
  await context.close();
});

test('a front end of another site is told that its login does not last', { timeout: 60_000 }, async () => {
  let script;
  const origin = `http://localhost:${await frontEnd(() => script)}`;
  const own = await Latchkey.start({ AUTH__HTTP__ALLOWED_ORIGINS: origin });
  const username = await own.register();
  script = `
    import { createClient } from '/latchkey.js';
    const show = (what) => document.body.append(what, document.createElement('br'));
    const auth = createClient({ issuer: '${own.url}' });
    auth.on('signedout', ({ detail }) => show('Signed out: ' + detail.reason));
    await auth.login({ username: '${username}', password: '${PASSWORD}' })
      .then(() => show('Signed in'), (error) => show('Refused: ' + error.code));`;
  const context = await profile(own);
  const page = await context.newPage();
  await page.goto(origin);
  await page.getByText('Refused: cookie-refused').waitFor();
  assert.match(await page.locator('body').textContent(), /^Signed out: cookie-refused/);
  assert.ok(context.said.some((text) => text.includes(origin) && text.includes(own.url)), `${context.said}`);
  const answer = await fetch(`${own.url}/sessions`, {
    headers: { authorization: `Bearer ${await own.elsewhere(username)}` },
  });
  assert.equal((await answer.json()).sessions.length, 1, 'no session is left behind');
  await context.close();
});
