// `session` is what React's useSyncExternalStore and its like ask for: the same object until something changes.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { World, problem } from './support.js';

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
const [, hook] = /## In React\n[^]*?```js\n([^]*?)```/.exec(readme);

/** As React does it: draws again when told and when the snapshot is another, and gives up when that does not end. */
const react = (drawn) => (subscribe, snapshot) => {
  const draw = () => {
    for (let times = 0; drawn.at(-1) !== snapshot(); times++) {
      assert.ok(times < 25, 'it is drawn for ever');
      drawn.push(snapshot());
    }
  };
  draw();
  return subscribe(draw);
};

test('the session is one object until something of it changes, and counts down meanwhile', async (t) => {
  const world = new World(t);
  const tab = world.tab();
  assert.equal(tab.session, tab.session);
  await tab.login({ username: 'ann', password: 'correct horse' });
  const before = tab.session;
  await world.pass(100);
  assert.equal(tab.session, before);
  assert.deepEqual([before.accessExpiresIn, before.endsIn], [500, 604_700]);
  assert.throws(() => { before.state = 'signed-out'; }, TypeError);
  await tab.extend();
  assert.notEqual(tab.session, before);
  assert.equal(tab.session.accessExpiresIn, 600);
  assert.equal(before.accessExpiresIn, 500, 'what was handed out is of its time');
});

test('a session that is used in another tab is another object here', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const other = world.tab();
  await other.restore();
  await world.pass(0.1);
  const [here, token] = [tab.session, tab.session.accessExpiresIn];
  await world.pass(10);
  await other.extend();
  await world.pass(0.1);
  assert.notEqual(tab.session, here);
  assert.ok(tab.session.accessExpiresIn < token, 'its token is still its own');
});

test('the hook of the README draws once for each change, and never for ever', async (t) => {
  const world = new World(t);
  const tab = world.tab();
  const drawn = [];
  const use = new Function('auth', 'useSyncExternalStore', `${hook}\nreturn useSession;`);
  const stop = use(tab, react(drawn))();
  const states = () => drawn.map((one) => one.state);
  assert.deepEqual(states(), ['unknown']);
  await tab.login({ username: 'ann', password: 'correct horse' });
  assert.deepEqual(states(), ['unknown', 'signed-in']);
  await tab.extend();
  assert.deepEqual(states(), ['unknown', 'signed-in', 'signed-in']);
  world.answers['/refresh'] = [problem(401, 'session-revoked', { reason: 'admin' })];
  await tab.extend();
  assert.deepEqual(states().slice(3), ['signed-out']);
  stop();
  delete world.answers['/refresh'];
  await tab.login({ username: 'ann', password: 'correct horse' });
  assert.equal(drawn.length, 4, 'whoever has left is not drawn');
});
