import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as latchkey from '../latchkey.js';
import { World, problem } from './support.js';

const root = new URL('../', import.meta.url);
const read = (name) => readFile(new URL(name, root), 'utf8');
const run = (program, ...rest) => promisify(execFile)(program, rest, { cwd: fileURLToPath(root) });

/** The first script below the heading "In your front end". */
const snippet = (text) => /## In your front end\n[^]*?```js\n([^]*?)```/.exec(text)?.[1];

test('the snippet of the README works, ten lines or so of it', async (t) => {
  const world = new World(t);
  const source = snippet(await read('README.md'));
  assert.ok(source.trim().split('\n').filter((line) => line).length <= 10);
  const body = source.replace(/import (\{.*\}) from 'latchkey-browser';/, 'const $1 = latchkey;');
  const shown = [];
  const names = {
    latchkey, ISSUER: 'https://auth.test', API: 'https://api.test',
    username: 'ann', password: 'correct horse', show: (what) => shown.push(what),
  };
  world.answers['/refresh'] = [problem(401, 'unauthenticated')];
  const AsyncFunction = (async () => {}).constructor;
  await new AsyncFunction(...Object.keys(names), body)(...Object.values(names));
  assert.deepEqual(world.requests.map((one) => one.path),
    ['/refresh', '/login', '/reports', '/logout']);
  assert.deepEqual(shown, [{ reports: [] }, 'Signed out: logout']);
});

test('the main README has the same snippet, where it has one', async () => {
  const theirs = snippet(await read('../../README.md'));
  if (theirs) assert.equal(theirs, snippet(await read('README.md')));
});

test('the types are those of the source', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-types-'));
  t.after(() => rm(folder, { recursive: true }));
  await run('node', 'node_modules/typescript/bin/tsc', '--outDir', folder);
  assert.equal(await readFile(join(folder, 'latchkey.d.ts'), 'utf8'), await read('latchkey.d.ts'));
});

test('the package has what ships and nothing else', async () => {
  const { stdout } = await run('npm', 'pack', '--dry-run', '--json');
  const [{ files }] = JSON.parse(stdout);
  assert.deepEqual(files.map((one) => one.path).sort(),
    ['README.md', 'latchkey.d.ts', 'latchkey.js', 'package.json']);
});

test('it weighs less than 6 KB', async () => {
  await run('node', 'size.js');
});

test('nothing is kept where another script could read it', async () => {
  const source = await read('latchkey.js');
  assert.doesNotMatch(source, /localStorage|sessionStorage|indexedDB|document\.cookie/);
  assert.deepEqual(source.match(/console\..*/g), ['console.warn(`latchkey-browser: ${what} ${why}`);']);
});
