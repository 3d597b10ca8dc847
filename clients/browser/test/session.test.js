import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, hangs, json, lost, problem, refused, settled } from './support.js';

test('a login goes out as the server wants it and signs in', async (t) => {
  const world = new World(t);
  const tab = world.tab();
  assert.equal(tab.session.state, 'unknown');
  await tab.login({ username: 'ann', password: 'correct horse', device: 'kitchen' });
  const [{ method, path, body, credentials, headers }] = world.requests;
  assert.deepEqual([method, path, credentials], ['POST', '/login', 'include']);
  assert.equal(headers.get('content-type'), 'application/json');
  assert.equal(headers.get('x-latchkey'), '1');
  assert.deepEqual(JSON.parse(body), {
    username: 'ann', password: 'correct horse', transport: 'cookie', device: 'kitchen',
  });
  assert.deepEqual(tab.session, {
    state: 'signed-in', sessionId: 'S1', scope: 'profile',
    accessExpiresIn: 600, endsIn: 604_800, limit: 'idle',
  });
  assert.deepEqual(tab.log, [
    ['signedin', { sessionId: 'S1', restored: false }],
    ['refreshed', { here: true }],
  ]);
});

test('a login may be for some services only', async (t) => {
  const world = new World(t);
  const tab = world.tab();
  const resource = ['https://api.test', 'https://auth.test'];
  await tab.login({ username: 'ann', password: 'correct horse', resource });
  assert.deepEqual(JSON.parse(world.requests[0].body).resource, resource);
});

test('a refused login tells the caller why and when to try again, and signs nobody out', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/login'] = [
    problem(401, 'invalid-credentials'),
    problem(429, 'rate-limited', { headers: { 'retry-after': '30' } }),
    problem(503, 'unavailable', { headers: { 'retry-after': '2' } }),
    lost,
  ];
  const attempt = () => tab.login({ username: 'ann', password: 'wrong' });
  await assert.rejects(attempt, { code: 'invalid-credentials', status: 401, transient: false });
  await assert.rejects(attempt, { code: 'rate-limited', retryAfter: 30, transient: true });
  await assert.rejects(attempt, { code: 'unavailable', retryAfter: 2, transient: true });
  await assert.rejects(attempt, { code: 'network', transient: true });
  assert.equal(tab.session.state, 'signed-in');
  assert.equal(world.count('/refresh'), 0);
});

test('restore goes on with the cookie by one refresh', async (t) => {
  const world = new World(t);
  const tab = world.tab();
  assert.deepEqual(await Promise.all([tab.restore(), tab.restore()]), [true, true]);
  assert.equal(world.count('/refresh'), 1);
  assert.equal(world.requests[0].body, '{}');
  assert.deepEqual(tab.told('signedin'), [{ sessionId: 'S1', restored: true }]);
  assert.equal(await tab.restore(), true);
  assert.equal(world.count('/refresh'), 1);
});

test('restore without a cookie says nothing', async (t) => {
  const world = new World(t);
  world.answers['/refresh'] = [problem(401, 'unauthenticated')];
  const tab = world.tab();
  assert.equal(await tab.restore(), false);
  assert.equal(tab.session.state, 'signed-out');
  assert.deepEqual(tab.log, []);
});

const reasons = [
  ['session-expired', {}, 'expired'],
  ['session-revoked', { reason: 'logout' }, 'ended'],
  ['session-revoked', { reason: 'password' }, 'password'],
  ['session-revoked', { reason: 'admin' }, 'admin'],
  ['session-revoked', { reason: 'disabled' }, 'disabled'],
  ['session-revoked', { reason: 'reuse' }, 'reuse'],
  ['session-revoked', { reason: 'limit' }, 'limit'],
  ['token-reused', {}, 'reuse'],
  ['invalid-token', {}, 'invalid'],
];
for (const [code, more, reason] of reasons) {
  test(`${code} ${more.reason ?? ''} on load signs out because of ${reason}`, async (t) => {
    const world = new World(t);
    world.answers['/refresh'] = [problem(401, code, more)];
    const tab = world.tab();
    assert.equal(await tab.restore(), false);
    assert.deepEqual(tab.told('signedout'), [{ reason, limit: undefined, here: true }]);
  });
}

test('a network that fails on load leaves the question open', async (t) => {
  const world = new World(t);
  world.answers['/refresh'] = [lost];
  const tab = world.tab();
  const restored = assert.rejects(tab.restore(), { code: 'network' });
  await world.pass(10, 1);
  await restored;
  assert.equal(tab.session.state, 'unknown');
  delete world.answers['/refresh'];
  await world.pass(30);
  assert.equal(await tab.restore(), true);
});

test('a cookie that is gone is told from one that ran out', async (t) => {
  const world = new World(t);
  const [early, late] = [await world.signedIn(), await world.signedIn()];
  world.answers['/refresh'] = [problem(401, 'unauthenticated')];
  assert.equal(await early.extend(), false);
  assert.deepEqual(early.told('signedout').map((one) => one.reason), ['cookie-lost']);
  late.close();

  delete world.answers['/refresh'];
  const asleep = await world.signedIn();
  world.answers['/refresh'] = [problem(401, 'unauthenticated')];
  await world.sleep(8 * 24 * 3600);
  assert.equal(await asleep.restore(), false);
  assert.deepEqual(asleep.told('signedout'), [{ reason: 'expired', limit: 'idle', here: true }]);
});

test('an answer for another session signs out here', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.sessionId = 'S2';
  assert.equal(await tab.extend(), false);
  assert.deepEqual(tab.told('signedout').map((one) => one.reason), ['replaced']);
  assert.equal(tab.session.accessExpiresIn, undefined);
  assert.equal(await tab.restore(), true, 'whoever asks for it joins that session');
  assert.equal(tab.session.sessionId, 'S2');
});

test('logout sends cookie and token, and signs out once it is done', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  await tab.logout({ sessions: 'all' });
  const [{ path, body, bearer, credentials }] = world.requests;
  assert.deepEqual([path, body, bearer, credentials],
    ['/logout', '{"sessions":"all"}', 'token-1', 'include']);
  assert.deepEqual(tab.told('signedout'), [{ reason: 'logout', limit: undefined, here: true }]);
  await assert.rejects(tab.fetch('https://api.test/reports'), { code: 'signed-out' });
});

test('logging the others out stays signed in', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  await tab.logout({ sessions: 'others' });
  assert.equal(tab.session.state, 'signed-in');
  assert.deepEqual(tab.log, []);
});

test('a logout that failed is tried once more and then stays signed in', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/logout'] = [lost];
  await assert.rejects(tab.logout(), { code: 'network' });
  assert.equal(world.count('/logout'), 2);
  world.answers['/logout'] = [problem(503, 'unavailable', { headers: { 'retry-after': '1' } })];
  await assert.rejects(tab.logout(), { code: 'unavailable', retryAfter: 1 });
  assert.equal(tab.session.state, 'signed-in');
  world.answers['/logout'] = [json(204)];
  await tab.logout();
  assert.equal(tab.session.state, 'signed-out');
});

test('a refresh that is under way neither outlives a logout nor brings the session back', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  let answer;
  world.answers['/refresh'] = [() => new Promise((resolve) => { answer = resolve; })];
  const extended = assert.rejects(tab.extend(), { code: 'superseded' });
  await settled();
  const out = tab.logout();
  await settled();
  assert.equal(world.count('/logout'), 0, 'it waits, or its cookie would be overwritten');
  answer(world.token());
  await out;
  assert.equal(tab.session.state, 'signed-out');
  await extended;
});

test('a login while a refresh hangs counts, and what the refresh brings does not', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [hangs];
  const extended = assert.rejects(tab.extend(), { code: 'network' });
  await settled();
  world.sessionId = 'S2';
  const login = tab.login({ username: 'ann', password: 'correct horse' });
  await world.pass(5, 1);
  await login;
  await extended;
  assert.equal(tab.session.sessionId, 'S2');
  assert.deepEqual(tab.told('signedout'), []);
});

test('what one person asked for is not done in the name of the next', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  let answer;
  world.answers['/reports'] = [() => new Promise((resolve) => { answer = resolve; }), json(200, {})];
  const call = assert.rejects(tab.fetch('https://api.test/reports', { method: 'POST', body: 'x' }),
    { code: 'superseded' });
  await settled();
  world.sessionId = 'S2';
  await tab.login({ username: 'bob', password: 'battery staple' });
  answer(refused());
  await call;
  assert.equal(world.count('/reports'), 1);
});
