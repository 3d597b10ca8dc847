// The README's snippet, on a page of another origin.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Latchkey, PASSWORD, frontEnd, profile } from './support.js';

const readme = await readFile(new URL('../browser/README.md', import.meta.url), 'utf8');
const [, snippet] = /## In your front end\n[^]*?```js\n([^]*?)```/.exec(readme);

test('the snippet works from another origin', { timeout: 60_000 }, async () => {
  let script;
  const origin = `http://127.0.0.1:${await frontEnd(() => script)}`;
  const latchkey = await Latchkey.start({
    AUTH__HTTP__ALLOWED_ORIGINS: origin, RESOURCE__HTTP__ALLOWED_ORIGINS: origin,
  });
  const username = await latchkey.register();
  const names = { ISSUER: latchkey.url, API: latchkey.api, username, password: PASSWORD };
  script = `${Object.entries(names).map(([name, value]) => `const ${name} = ${JSON.stringify(value)};`).join('\n')}
const show = (what) => document.body.append(JSON.stringify(what), document.createElement('br'));
${snippet.replace('\'latchkey-browser\'', '\'/latchkey.js\'')}`;

  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto(origin);
  await page.getByText('"Signed out: logout"').waitFor().catch(async (error) => {
    const seen = await page.locator('body').textContent();
    throw new Error(`${error.message}\nThe page: ${seen}\nErrors: ${context.failures}\nConsole: ${context.said}`);
  });
  assert.match(await page.locator('body').textContent(), /^\{"reports":\[\]\}/);
  assert.deepEqual(context.failures, []);
  await context.close();
});
