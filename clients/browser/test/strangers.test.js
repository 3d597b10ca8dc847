// Answers that are not the server's: of a proxy, a captive portal, a server that is half there. Only the
// server's own words end a session; anything else is a network that fails.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, ISSUER, World, json, problem, refused, settled } from './support.js';

const token = {
  access_token: 'a.good.token', token_type: 'Bearer', expires_in: 600, refresh_token_timeout: 900,
  authorization_expires_in: 1800, scope: 'profile', session_id: 'S1',
};
const html = (status, headers) => () =>
  new Response('<h1>Sign in to this network</h1>', { status, headers: { 'content-type': 'text/html', ...headers } });
const typed = (type, text, status = 200) => () =>
  new Response(text, { status, headers: { 'content-type': type } });
const asProblem = { 'content-type': 'application/problem+json' };

/** By what it is: the answer, and its status. */
const strangers = {
  'a proxy\'s 401 with a code like ours': [json(401, { code: 'unauthenticated' }), 401],
  'a gateway\'s 401 with a code of its own': [json(401, { code: 'AUTH_REQUIRED', message: 'x' }), 401],
  'a gateway\'s problem with a code like ours':
    [json(401, { type: 'about:blank', status: 401, code: 'session-expired' }, asProblem), 401],
  'a problem of ours that somebody sent with another status':
    [json(401, { type: `${ISSUER}/problems/token-reused`, status: 403, code: 'token-reused' }, asProblem), 401],
  'a problem whose code is not that of its type':
    [json(401, { type: `${ISSUER}/problems/internal`, status: 401, code: 'session-revoked' }, asProblem), 401],
  'a firewall\'s 403': [json(403, { code: 'AccessDenied' }), 403],
  'a portal\'s page': [html(200), 200],
  'a proxy\'s page that asks for a login': [html(401), 401],
  'a load balancer\'s page': [html(502), 502],
  'an answer without content': [() => new Response(null, { status: 204 }), 204],
  'an empty 200': [typed('application/json', ''), 200],
  'JSON that is cut off': [typed('application/json', JSON.stringify(token).slice(0, -9)), 200],
  'our JSON as a page': [typed('text/html', JSON.stringify(token)), 200],
  'our JSON with another status': [json(202, token), 202],
  'no object': [json(200, null), 200],
  'a list': [json(200, [token]), 200],
  'JSON of another shape': [json(200, { status: 'ok' }), 200],
  'a token alone': [json(200, { access_token: 'x' }), 200],
  'durations that are text': [json(200, { ...token, expires_in: '600' }), 200],
  'a session that is a number': [json(200, { ...token, session_id: 1 }), 200],
  'a token that no header can carry': [json(200, { ...token, access_token: 'a\nb' }), 200],
};

for (const [name, [answer, status]] of Object.entries(strangers)) {
  test(`${name} signs out no tab, and the next answer counts`, async (t) => {
    const world = new World(t);
    const tab = await world.signedIn();
    const other = world.tab();
    await other.restore();
    other.log.length = tab.log.length = 0;
    world.answers['/refresh'] = [answer, world.token];
    const extended = tab.extend();
    await world.pass(3, 1);
    assert.equal(await extended, true);
    assert.deepEqual([...tab.told('signedout'), ...other.told('signedout')], []);
    assert.deepEqual([tab.session.state, tab.session.accessExpiresIn > 590], ['signed-in', true]);

    world.answers['/refresh'] = [answer];
    const failed = assert.rejects(tab.extend(), { code: 'network', status, transient: true });
    await world.pass(10, 1);
    await failed;
    await tab.fetch(API);
    assert.deepEqual([tab.session.state, other.session.state], ['signed-in', 'signed-in']);
  });

  test(`${name} is no answer to a login and none to a logout`, async (t) => {
    const world = new World(t);
    const tab = world.tab();
    world.answers['/login'] = [answer];
    const login = tab.login({ username: 'ann', password: 'correct horse' });
    await assert.rejects(login, { code: 'network', status });
    assert.deepEqual([tab.session.state, tab.log], ['unknown', []]);

    if (status === 204) return;
    delete world.answers['/login'];
    await tab.login({ username: 'ann', password: 'correct horse' });
    world.answers['/logout'] = [answer];
    await assert.rejects(tab.logout(), { code: 'network', status });
    assert.equal(world.count('/logout'), 1, 'whoever answered is not asked again at once');
    assert.equal(tab.session.state, 'signed-in');
  });
}

for (const status of [429, 503]) {
  test(`a proxy's ${status} says when to come back, and is believed`, async (t) => {
    const world = new World(t);
    const tab = await world.signedIn();
    world.answers['/refresh'] = [html(status, { 'retry-after': '3' }), world.token];
    const extended = tab.extend();
    await world.pass(2.9, 2.9);
    assert.equal(world.count('/refresh'), 1);
    await world.pass(1);
    assert.equal(await extended, true);
    assert.equal(world.count('/refresh'), 2);
  });
}

test('a page in place of an answer is not asked for again at once', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [html(200), world.token];
  const extended = tab.extend();
  await settled();
  await settled();
  assert.equal(world.count('/refresh'), 1);
  await world.pass(1);
  assert.equal(await extended, true);
});

for (const hours of ['36000000', '1e300']) {
  test(`nobody is kept waiting for ${hours} seconds because something on the way says so`, async (t) => {
    const world = new World(t);
    const tab = await world.signedIn();
    world.answers['/refresh'] = [html(429, { 'retry-after': hours }), world.token];
    await assert.rejects(tab.extend(), { code: 'network', status: 429 });
    await world.pass(800);
    assert.equal(await tab.extend(), true);
  });
}

test('a code of ours that ends no session ends none', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/refresh'] = [problem(401, 'reauthentication-required')];
  await assert.rejects(tab.extend(), { code: 'reauthentication-required' });
  assert.equal(tab.session.state, 'signed-in');
});

/** A service that refuses the token of a call after the laptop has slept. */
const afterSleep = (world) => async () => {
  await world.sleep(3600);
  return refused();
};

test('a token that ran out while the laptop slept is replaced once more', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/reports'] = [refused, afterSleep(world), json(200, {})];
  assert.equal((await tab.fetch(API, { method: 'POST', body: 'x' })).status, 200);
  assert.deepEqual([world.count('/reports'), world.count('/refresh')], [3, 2]);
  assert.deepEqual(world.requests.filter((one) => one.path === '/reports').map((one) => one.body), ['x', 'x', 'x']);
});

test('a token that another call replaced meanwhile is replaced by that one', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  const meanwhile = async () => {
    await tab.extend();
    return refused();
  };
  world.answers['/reports'] = [refused, meanwhile, json(200, {})];
  assert.equal((await tab.fetch(API)).status, 200);
  assert.deepEqual([world.count('/reports'), world.count('/refresh')], [3, 2]);
});

test('a service that refuses every token is not asked for ever, however long each call takes', async (t) => {
  const world = new World(t);
  const tab = await world.signedIn();
  world.answers['/reports'] = [afterSleep(world)];
  assert.equal((await tab.fetch(API)).status, 401);
  assert.equal(world.count('/reports'), 3);
  assert.equal(tab.session.state, 'signed-in');
});
