// The reader of docs/feed.md: what it has of a list that takes longer than a second, and what it gives up.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

const page = await readFile(new URL('../../docs/feed.md', import.meta.url), 'utf8');
const [, snippet] = /```js\n([^]*?)```/.exec(page);
const ask = new Function(`${snippet}\nreturn ask;`)();

/** Four megabytes at 10 Mbit/s. */
const PIECES = 16;
const PIECE = Buffer.alloc(250_000, 'x');
const PAUSE = 200;

/** A feed whose answer is made by `give`; answers its address. */
const feed = async (give) => {
  const server = createServer((request, answer) => give(answer)).listen(0, '127.0.0.1');
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
};

test('the reader of the page has an answer that takes longer than a second', { timeout: 60_000 }, async () => {
  const url = await feed(async (answer) => {
    answer.writeHead(200, { 'content-length': PIECES * PIECE.length });
    for (let sent = 0; sent < PIECES; sent++) {
      answer.write(PIECE);
      await delay(PAUSE);
    }
    answer.end();
  });
  const begun = performance.now();
  const { response, body } = await ask(url, {}, 0);
  assert.deepEqual([response.status, body.length], [200, PIECES * PIECE.length]);
  assert.ok(performance.now() - begun > 3000, 'a second for the whole would not do');
});

test('the reader of the page gives up what does not begin, and what falls silent', { timeout: 60_000 }, async () => {
  const silent = await feed(() => {});
  const within = await feed(async (answer) => {
    answer.writeHead(200, { 'content-length': 2 * PIECE.length });
    answer.write(PIECE);
  });
  for (const [url, wait] of [[silent, 0], [silent, 500], [within, 0]]) {
    const begun = performance.now();
    await assert.rejects(ask(url, {}, wait), { name: 'AbortError' });
    const took = performance.now() - begun;
    assert.ok(took > wait + 900 && took < wait + 10_000, `${took} ms`);
  }
});
