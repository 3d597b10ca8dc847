// What something between the page and the server answers in the server's place signs nobody out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latchkey, inside, person } from './support.js';

const latchkey = await Latchkey.start();

const strangers = {
  'a proxy\'s 401': { status: 401, contentType: 'application/json', body: '{"code":"unauthenticated"}' },
  'a portal\'s page': { status: 200, contentType: 'text/html', body: '<h1>Sign in to this network</h1>' },
};
for (const [name, answer] of Object.entries(strangers)) {
  test(`${name} in the place of a refresh signs out neither tab`, { timeout: 60_000 }, async () => {
    const { context, page } = await person(latchkey);
    const other = await context.newPage();
    await other.goto('/');
    await inside(other);
    await context.route('**/refresh', (route) => route.fulfill(answer));
    await page.getByRole('button', { name: 'Refresh now' }).click();
    await page.locator('#said').getByText('cannot be reached').waitFor();
    for (const one of [page, other]) assert.ok(await one.locator('#inside').isVisible());
    await context.unroute('**/refresh');
    await page.getByRole('button', { name: 'Refresh now' }).click();
    await page.locator('#log li', { hasText: 'A new access token' }).nth(1).waitFor();
    await context.close();
  });
}
