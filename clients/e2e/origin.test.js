// The README's snippet, on a page of another origin.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { Latchkey, PASSWORD, profile } from './support.js';

const read = (name) => readFile(new URL(`../browser/${name}`, import.meta.url), 'utf8');
const [, snippet] = /## In your front end\n[^]*?```js\n([^]*?)```/.exec(await read('README.md'));

test('the snippet works from another origin', { timeout: 60_000 }, async () => {
  const client = await read('latchkey.js');
  let script;
  const site = createServer((request, answer) => {
    const [type, body] = {
      '/': ['text/html', '<!doctype html><title>App</title><script type="module" src="/app.js"></script>'],
      '/app.js': ['text/javascript', script],
      '/latchkey.js': ['text/javascript', client],
    }[request.url] ?? ['text/plain', ''];
    answer.writeHead(200, { 'content-type': type }).end(body);
  }).listen(0, '127.0.0.1');
  after(() => site.close());
  await once(site, 'listening');
  const origin = `http://127.0.0.1:${site.address().port}`;
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
