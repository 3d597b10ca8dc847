// An issuer with a path: the page is below it, and so is everything that the page needs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latchkey, inside, outside, profile, proxy, signIn } from './support.js';

for (const path of ['/id', '/auth/v1']) {
  test(`the page works below a path, where a proxy takes that away: ${path}`, { timeout: 60_000 }, async () => {
    let latchkey;
    const below = (address) => address.startsWith(`${path}/`) && latchkey.url + address.slice(path.length);
    const origin = `http://127.0.0.1:${await proxy(below)}`;
    latchkey = await Latchkey.start({
      AUTH__ISSUER: origin + path, RESOURCE__HTTP__ALLOWED_ORIGINS: origin,
    });
    const username = await latchkey.register();
    const context = await profile(latchkey);
    const missing = [];
    const beside = [];
    context.on('response', (response) => {
      if (response.status() === 404 && !response.url().endsWith('/favicon.ico')) missing.push(response.url());
    });
    context.on('request', (request) => {
      const { origin: at, pathname } = new URL(request.url());
      const ours = pathname.startsWith(`${path}/`) || pathname === '/favicon.ico';
      if (at === origin && !ours) beside.push(`${request.method()} ${pathname}`);
    });
    const page = await context.newPage();
    await signIn(page, username, `${origin}${path}/`);
    await page.locator('#name', { hasText: username }).waitFor();
    await page.getByRole('button', { name: 'Who am I?' }).click();
    await page.locator('#whoami-answer').getByText(username).waitFor();
    const section = page.getByRole('region', { name: 'Your data' });
    const other = `${username}-2`;
    await section.getByLabel('Name', { exact: true }).fill(other);
    await section.locator('[type=submit]:not([aria-busy])').click();
    await page.locator('#name', { hasText: other }).waitFor();
    const download = page.waitForEvent('download');
    await section.getByRole('button', { name: 'Download' }).click();
    await download;
    await page.reload();
    await inside(page);
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await outside(page);
    await page.getByRole('link', { name: 'API documentation' }).click();
    await page.waitForURL(({ href }) => href === `${origin}${path}/docs`);
    assert.deepEqual([missing, beside, context.failures], [[], [], []]);
    await context.close();
  });
}
