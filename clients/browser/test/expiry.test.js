import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, World, problem, settled } from './support.js';

const DAY = 24 * 3600;

test('the notice comes at its time, by durations, and nothing is sent', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn({ lead: 300 });
  await world.pass(7 * DAY - 301, 3600);
  assert.deepEqual(tab.log, []);
  await world.pass(2, 1);
  const [{ limit, expiresIn }] = tab.told('expiring');
  assert.equal(limit, 'idle');
  assert.ok(Math.abs(expiresIn - 300) < 2, `${expiresIn}`);
  await world.pass(200, 10);
  assert.equal(tab.told('expiring').length, 1);
  assert.equal(world.requests.length, 0);
});

test('extending moves the end, and the notice comes again', async (t) => {
  const world = new World(t);
  world.lives.timeout = 900;
  const tab = await world.signedIn();
  await world.pass(800, 20);
  assert.equal(tab.told('expiring').length, 1);
  assert.equal(await tab.extend(), true);
  assert.deepEqual(tab.log.at(-1), ['refreshed', { here: true }]);
  assert.equal(tab.session.endsIn, 900);
  await world.pass(800, 20);
  assert.equal(tab.told('expiring').length, 2);
});

test('the absolute end cannot be moved', async (t) => {
  const world = new World(t);
  world.lives.absolute = 900;
  const tab = await world.signedIn();
  await world.pass(800, 20);
  assert.deepEqual(tab.told('expiring').map((one) => one.limit), ['absolute']);
  assert.equal(await tab.extend(), false);
  assert.equal(world.requests.length, 0);
});

test('the notice of the absolute end stays through what uses the session', async (t) => {
  const world = new World(t);
  world.lives = { access: 60, timeout: 604_800, absolute: 900 };
  const tab = await world.signedIn();
  await world.pass(800, 20);
  world.lives.absolute = 100;
  await tab.fetch(API);
  assert.deepEqual(tab.log.map(([type]) => type), ['expiring', 'refreshed', 'expiring']);
});

test('at the end the token is dropped and the server is not asked', async (t) => {
  const world = new World(t);
  world.lives.timeout = 900;
  const tab = await world.signedIn();
  await world.pass(901, 10);
  assert.deepEqual(tab.log.at(-1), ['ended', { limit: 'idle' }]);
  assert.equal(tab.session.state, 'unknown');
  assert.equal(tab.session.accessExpiresIn, undefined);
  assert.equal(world.requests.length, 0);
  world.answers['/refresh'] = [problem(401, 'session-expired')];
  await assert.rejects(tab.fetch(API), { code: 'session-expired' });
  assert.deepEqual(tab.told('signedout'), [{ reason: 'expired', limit: 'idle', here: true }]);
});

test('a session that lives after all goes on', async (t) => {
  const world = new World(t);
  world.lives.timeout = 900;
  const tab = await world.signedIn();
  await world.pass(901, 10);
  assert.equal(await tab.restore(), true);
  assert.deepEqual(tab.told('signedin'), [{ sessionId: 'S1', restored: true }]);
});

test('nobody at the keyboard: no request, for as long as it takes', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  await world.pass(40 * DAY, 3600);
  assert.equal(world.requests.length, 0);
  assert.equal(tab.told('ended').length, 1);
});

test('a notice does not come together with a short session', async (t) => {
  const world = new World(t);
  world.lives.timeout = 62;
  const tab = await world.signedIn({ lead: 120 });
  await world.pass(30, 1);
  assert.deepEqual(tab.told('expiring'), []);
  await world.pass(2, 1);
  assert.equal(tab.told('expiring').length, 1);
});

test('a laptop that slept knows it, though its steady clock stood still', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  await world.sleep(3600);
  assert.equal(tab.session.accessExpiresIn, 0);
  await tab.fetch(API);
  assert.equal(world.requests[0].path, '/refresh');
  await world.sleep(8 * DAY);
  assert.equal(tab.told('ended').length, 1);
});

test('a clock that is set back changes nothing', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const wall = Date.now();
  t.mock.method(Date, 'now', () => wall - 30 * DAY * 1000);
  await world.pass(300);
  assert.equal(tab.session.accessExpiresIn, 300);
  await world.pass(271);
  await tab.fetch(API);
  assert.equal(world.count('/refresh'), 1);
});

test('looking at the page again refreshes an old token, and only then', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  await world.become('hidden');
  await world.become('visible');
  assert.equal(world.requests.length, 0, 'the token is good');
  await world.become('hidden');
  await world.sleep(3600);
  await world.become('hidden');
  assert.equal(world.requests.length, 0, 'nobody looks');
  await world.become('visible');
  assert.equal(world.count('/refresh'), 1);
  assert.equal(tab.session.accessExpiresIn, 600);
});

test('a page that comes back out of the history asks whether it may', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [problem(401, 'unauthenticated')];
  world.window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  await world.pass(0.1);
  assert.deepEqual(tab.told('signedout').map((one) => one.reason), ['cookie-lost']);
});

test('tabs that wake up spread their refreshes', async (t) => {
  const world = new World(t);
  t.mock.method(Math, 'random', () => 0.5);
  await world.signedIn({ jitter: 2 });
  await world.become('hidden');
  await world.sleep(3600);
  await world.become('visible');
  await world.pass(0.9);
  assert.equal(world.count('/refresh'), 0);
  await world.pass(0.2);
  assert.equal(world.count('/refresh'), 1);
});

test('a closed client does and says nothing more', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  tab.close();
  await world.sleep(8 * DAY);
  await world.become('visible');
  await settled();
  assert.deepEqual([tab.log, world.requests], [[], []]);
});
