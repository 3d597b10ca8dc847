import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, World, hangs, json, lost, problem, refused, settled } from './support.js';

test('a call carries the token', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const response = await tab.fetch(API, { headers: { accept: 'text/plain' } });
  assert.equal(response.status, 200);
  assert.deepEqual(world.requests.map(({ path, bearer }) => [path, bearer]), [['/reports', 'token-1']]);
  assert.equal(world.requests[0].headers.get('accept'), 'text/plain');
});

test('another origin never gets the token', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  for (const url of ['https://elsewhere.test/', 'https://api.test.elsewhere.test/', 'http://api.test/']) {
    await assert.rejects(tab.fetch(url), TypeError);
  }
  assert.equal(world.requests.length, 0);
});

test('a token about to expire is replaced before the call, and not earlier', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  await world.pass(569);
  await tab.fetch(API);
  assert.equal(world.count('/refresh'), 0);
  await world.pass(2);
  await tab.fetch(API);
  assert.deepEqual(world.requests.map(({ path, bearer }) => [path, bearer]),
    [['/reports', 'token-1'], ['/refresh', undefined], ['/reports', 'token-2']]);
});

test('many calls that are refused at once cost one refresh, and each is made once more', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/reports'] = [refused, refused, refused, json(200, {})];
  const calls = [1, 2, 3].map((n) => tab.fetch(API, { method: 'POST', body: `report ${n}` }));
  assert.deepEqual((await Promise.all(calls)).map((one) => one.status), [200, 200, 200]);
  assert.equal(world.count('/refresh'), 1);
  const sent = world.requests.filter((one) => one.path === '/reports');
  assert.deepEqual(sent.filter((one) => one.bearer === 'token-2').map((one) => one.body).sort(),
    ['report 1', 'report 2', 'report 3']);
});

test('a call refused after others refreshed uses their token', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  let late;
  world.answers['/reports'] = [() => new Promise((resolve) => { late = resolve; }), refused, json(200, {})];
  const slow = tab.fetch(API);
  await settled();
  await tab.fetch(API);
  late(refused());
  assert.equal((await slow).status, 200);
  assert.equal(world.count('/refresh'), 1);
});

test('a token that is refused again is the caller\'s', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/reports'] = [refused];
  assert.equal((await tab.fetch(API)).status, 401);
  assert.deepEqual([world.count('/reports'), world.count('/refresh')], [2, 1]);
  assert.equal(tab.session.state, 'signed-in');
});

test('where the challenge is hidden the problem\'s code speaks', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const hidden = (code) => json(401, { code });
  world.answers['/reports'] = [hidden('invalid-token'), json(200, {})];
  assert.equal((await tab.fetch(API)).status, 200);
  world.answers['/reports'] = [problem(401, 'unauthenticated'), json(200, {})];
  assert.equal((await tab.fetch(API)).status, 200);
  assert.equal(world.count('/refresh'), 2);
});

const notOurs = {
  'a step-up challenge': problem(401, 'reauthentication-required', {
    headers: { 'www-authenticate': 'Bearer error="insufficient_user_authentication", max_age=300' },
  }),
  'a wrong password': problem(401, 'invalid-credentials'),
  'a bare 401': () => new Response('no', { status: 401 }),
  'a missing scope': problem(403, 'forbidden'),
  'a service that is away': problem(503, 'revocation-stale', { headers: { 'retry-after': '1' } }),
};
for (const [name, answer] of Object.entries(notOurs)) {
  test(`${name} goes to the caller, body and all, without a refresh`, async (t) => {
    const world = new World(t);
    const tab = await world.signedIn();
    world.answers['/reports'] = [answer];
    const response = await tab.fetch(API);
    assert.equal(response.status, answer().status);
    assert.equal(await response.text(), await answer().text());
    assert.deepEqual(world.requests.map((one) => one.path), ['/reports']);
  });
}

test('a session that turns out to be over rejects the call and says why', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/reports'] = [refused];
  world.answers['/refresh'] = [problem(401, 'session-revoked', { reason: 'password' })];
  await assert.rejects(tab.fetch(API), { code: 'session-revoked', status: 401 });
  assert.deepEqual(tab.told('signedout').map((one) => one.reason), ['password']);
});

test('a lost reply is followed by the same request at once', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [lost, world.token];
  assert.equal(await tab.extend(), true);
  assert.equal(world.count('/refresh'), 2);
});

test('a refresh that hangs is given up after four seconds and sent again at once', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [hangs, world.token];
  const extended = tab.extend();
  await world.pass(3.9, 3.9);
  assert.equal(world.count('/refresh'), 1);
  await world.pass(0.2);
  assert.equal(await extended, true);
  assert.equal(world.count('/refresh'), 2);
});

for (const status of [429, 503]) {
  test(`${status} is retried when the server says, and signs nobody out`, async (t) => {
    const world = new World(t);
    const tab = await world.signedIn();
    world.answers['/refresh'] = [
      problem(status, 'unavailable', { headers: { 'retry-after': '3' } }), world.token,
    ];
    const extended = tab.extend();
    await world.pass(2.9, 2.9);
    assert.equal(world.count('/refresh'), 1);
    await world.pass(1);
    assert.equal(await extended, true);
    assert.equal(world.count('/refresh'), 2);
  });
}

test('whoever is told to wait long asks nothing meanwhile', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [
    problem(429, 'rate-limited', { headers: { 'retry-after': '60' } }), world.token,
  ];
  await assert.rejects(tab.extend(), { code: 'rate-limited' });
  await world.pass(30);
  await assert.rejects(tab.extend(), ({ code, retryAfter }) =>
    code === 'rate-limited' && retryAfter >= 30 && retryAfter <= 45);
  assert.equal(world.count('/refresh'), 1);
  await world.pass(60);
  assert.equal(await tab.extend(), true);
});

test('failures without a word of when are retried ever more rarely', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [lost];
  for (let second = 0; second < 300; second++) {
    tab.extend().catch(() => {});
    await world.pass(1, 1);
  }
  assert.ok(world.count('/refresh') < 20, `${world.count('/refresh')} requests in 300 s`);
  assert.equal(tab.session.state, 'signed-in');
  world.answers['/refresh'] = [world.token];
  world.window.dispatchEvent(new Event('online'));
  assert.equal(await tab.extend(), true, 'a network that is back is used at once');
});

test('a login makes an end of waiting', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [
    problem(429, 'rate-limited', { headers: { 'retry-after': '60' } }), world.token,
  ];
  await assert.rejects(tab.extend(), { code: 'rate-limited' });
  await tab.login({ username: 'ann', password: 'correct horse' });
  assert.equal(await tab.extend(), true);
});

test('a good token is used when no better one can be had', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [lost];
  await world.pass(580);
  const call = tab.fetch(API);
  await world.pass(4, 1);
  assert.equal((await call).status, 200);
  await world.pass(20);
  const next = assert.rejects(tab.fetch(API), { code: 'network' });
  await world.pass(20, 1);
  await next;
  assert.equal(tab.session.state, 'signed-in');
});

test('an answer from something in between is no answer', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const portal = () => new Response('<h1>Hotel</h1>', { status: 200 });
  const proxy = () => new Response('<h1>Sign in to the proxy</h1>', { status: 401 });
  world.answers['/refresh'] = [portal, proxy, world.token];
  const extended = tab.extend();
  await world.pass(3, 1);
  assert.equal(await extended, true);
  assert.deepEqual(tab.told('signedout'), []);
});
