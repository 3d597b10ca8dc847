import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, hangs, problem, settled } from './support.js';

/** Two tabs of one session. */
const two = async (world) => {
  const one = world.tab();
  await one.login({ username: 'ann', password: 'correct horse' });
  const other = world.tab();
  await other.restore();
  for (const tab of [one, other]) tab.log.length = 0;
  await settled();
  world.requests.length = world.messages.length = one.log.length = other.log.length = 0;
  return [one, other];
};

test('logout in one tab signs out the other', async (t) => {
  const world = new World(t);
  const [one, other] = await two(world);
  await one.logout();
  await settled();
  assert.deepEqual(other.told('signedout'), [{ reason: 'logout', limit: undefined, here: false }]);
  assert.equal(world.count('/logout'), 1);
});

test('what one tab finds out the other is told', async (t) => {
  const world = new World(t);
  const [one, other] = await two(world);
  world.answers['/refresh'] = [problem(401, 'session-revoked', { reason: 'admin' })];
  await one.extend();
  await settled();
  assert.deepEqual(other.told('signedout').map((each) => each.reason), ['admin']);
  assert.equal(world.count('/refresh'), 1);
});

test('a login in one tab brings in those that are signed out', async (t) => {
  const world = new World(t);
  world.answers['/refresh'] = [problem(401, 'unauthenticated'), world.token];
  const [one, other] = [world.tab(), world.tab()];
  await other.restore();
  await one.login({ username: 'ann', password: 'correct horse' });
  await world.pass(0.1);
  assert.equal(other.session.state, 'signed-in');
});

test('a login in one tab signs out those of another session', async (t) => {
  const world = new World(t);
  const [one, other] = await two(world);
  world.sessionId = 'S2';
  await one.login({ username: 'bob', password: 'battery staple' });
  await settled();
  assert.deepEqual(other.told('signedout'), [{ reason: 'replaced', limit: undefined, here: false }]);
  assert.equal(one.session.sessionId, 'S2');
  assert.deepEqual(one.told('signedout'), []);
});

test('after the end a login elsewhere brings this tab in', async (t) => {
  const world = new World(t);
  world.lives.timeout = 900;
  const [one, other] = await two(world);
  await world.pass(901, 10);
  assert.equal(other.session.state, 'unknown');
  world.sessionId = 'S2';
  await one.login({ username: 'ann', password: 'correct horse' });
  await world.pass(0.1);
  assert.equal(other.session.sessionId, 'S2');
  assert.deepEqual(other.told('signedout'), []);
});

test('a session used in one tab does not expire in the other', async (t) => {
  const world = new World(t);
  world.lives.timeout = 900;
  const [one, other] = await two(world);
  await world.pass(800, 10);
  assert.equal(other.told('expiring').length, 1);
  await one.extend();
  await settled();
  assert.deepEqual(other.log.at(-1), ['refreshed', { here: false }]);
  assert.equal(other.session.endsIn, 900);
  await world.pass(200, 10);
  assert.equal(other.session.state, 'signed-in');
});

test('messages carry no token', async (t) => {
  const world = new World(t);
  const tab = world.tab();
  await tab.login({ username: 'ann', password: 'correct horse' });
  await tab.extend();
  await tab.logout();
  assert.ok(world.messages.length >= 4);
  assert.doesNotMatch(JSON.stringify(world.messages), /token|ann|horse/);
});

test('messages that make no sense do nothing', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const channel = new BroadcastChannel('latchkey:https://auth.test');
  for (const message of [null, 'x', {}, { type: 'signedout' }, { type: 'signedout', session: 'S9' }]) {
    channel.postMessage(message);
  }
  await settled();
  assert.deepEqual(tab.log, []);
});

/** Web Locks as far as the client uses them. */
const locks = () => {
  const queue = [];
  let held = false;
  const next = () => {
    if (held || queue.length === 0) return;
    held = true;
    const { work, resolve, reject } = queue.shift();
    Promise.resolve().then(work).then(resolve, reject).finally(() => { held = false; next(); });
  };
  return {
    request: (name, { signal }, work) => new Promise((resolve, reject) => {
      const entry = { work, resolve, reject };
      queue.push(entry);
      signal.addEventListener('abort', () => {
        const at = queue.indexOf(entry);
        if (at >= 0) reject(queue.splice(at, 1)[0] && signal.reason);
      });
      next();
    }),
  };
};

test('with Web Locks tabs take turns', async (t) => {
  const world = new World(t);
  world.put('navigator', { locks: locks() });
  const [one, other] = await two(world);
  let answer;
  world.answers['/refresh'] = [() => new Promise((resolve) => { answer = resolve; }), world.token];
  const both = [one.extend(), other.extend()];
  await settled();
  assert.equal(world.count('/refresh'), 1);
  answer(world.token());
  assert.deepEqual(await Promise.all(both), [true, true]);
  assert.equal(world.count('/refresh'), 2);
});

test('a failure inside a turn is no reason to go without turns', async (t) => {
  const world = new World(t);
  world.put('navigator', { locks: locks() });
  const tab = await world.signedIn();
  world.answers['/refresh'] = [problem(403, 'csrf')];
  await assert.rejects(tab.extend(), { code: 'csrf' });
  assert.equal(world.count('/refresh'), 1);
  assert.equal(tab.session.state, 'signed-in');
});

test('a lock that is never let go is waited for four seconds', async (t) => {
  const world = new World(t);
  const shared = locks();
  world.put('navigator', { locks: shared });
  const tab = await world.signedIn();
  shared.request('', { signal: new AbortController().signal }, () => hangs({ signal: { addEventListener() {} } }));
  const extended = tab.extend();
  await world.pass(3.9, 3.9);
  assert.equal(world.count('/refresh'), 0);
  await world.pass(0.2);
  assert.equal(await extended, true);
});

test('locks that are refused are done without', async (t) => {
  const world = new World(t);
  world.put('navigator', { locks: { request: () => Promise.reject(new Error('SecurityError')) } });
  const tab = await world.signedIn();
  assert.equal(await tab.extend(), true);
  assert.equal(world.count('/refresh'), 1);
});

test('without locks and channels it works all the same', async (t) => {
  const world = new World(t);
  world.put('BroadcastChannel', undefined);
  world.put('navigator', undefined);
  const tab = await world.signedIn();
  assert.equal(await tab.extend(), true);
});
