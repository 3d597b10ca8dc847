// A page of another site than the issuer: browsers may not keep the cookie, and only a refresh shows it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API, World, lost, problem } from './support.js';

const PASSWORD = { username: 'ann', password: 'correct horse' };
const noCookie = problem(401, 'unauthenticated');

/** The pages of an address, as a browser's `location` tells. */
const at = (origin) => {
  const { protocol, hostname } = new URL(origin);
  return { origin, protocol, hostname };
};

/** A world whose pages are there, and what its console is told. */
const world = (t, origin) => {
  const made = new World(t);
  made.put('location', at(origin));
  made.said = [];
  t.mock.method(console, 'warn', (text) => made.said.push(text));
  return made;
};

const others = [
  ['http://localhost:3000', 'http://127.0.0.1:8080'],
  ['http://127.0.0.1:3000', 'http://127.0.0.2:3000'],
  ['http://[::1]:8080', 'http://localhost:8080'],
  ['http://auth.example.com', 'https://auth.example.com'],
  ['https://app.example.com', 'https://auth.example.org'],
  ['https://app.localhost', 'https://auth.localhost'],
  ['capacitor://localhost', 'https://auth.example.com'],
  ['chrome-extension://abcdefghijklmnop', 'https://auth.example.com'],
];
/** A script cannot know whether these are one site. */
const unknown = [
  ['https://app.example.com', 'https://auth.example.com'],
  ['https://example.com', 'https://auth.example.com'],
  ['https://a.co.uk', 'https://b.co.uk'],
];

for (const [page, issuer] of [...others, ...unknown]) {
  test(`a cookie that the browser does not keep at ${page} for ${issuer} makes the login fail, with a word`, async (t) => {
    const there = world(t, page);
    there.answers['/refresh'] = [noCookie];
    const tab = there.tab({ issuer });
    await assert.rejects(tab.login(PASSWORD), { code: 'cookie-refused' });
    assert.deepEqual(tab.log, [['signedout', { reason: 'cookie-refused', limit: undefined, here: true }]]);
    assert.equal(tab.session.state, 'signed-out');
    assert.deepEqual(there.requests.map(({ path, bearer }) => [path, bearer]),
      [['/login', undefined], ['/refresh', undefined], ['/logout', 'token-1']], 'no session is left behind');
    const [said, ...more] = there.said;
    assert.ok(said.includes(`(${page})`) && said.includes(`(${issuer})`), said);
    assert.doesNotMatch(said, /token-1|horse/);
    assert.deepEqual(more, []);
  });

  test(`a cookie that the browser keeps at ${page} for ${issuer} signs in`, async (t) => {
    const there = world(t, page);
    const tab = there.tab({ issuer });
    await tab.login(PASSWORD);
    assert.equal(tab.session.state, 'signed-in');
    assert.deepEqual(there.requests.map((one) => one.path), ['/login', '/refresh']);
    assert.deepEqual([there.said, tab.told('signedout')], [[], []]);
  });
}

test('an issuer has one spelling and may have a path', async (t) => {
  const there = new World(t);
  const tabs = ['https://Auth.test:443/', 'https://auth.test'].map((issuer) => there.tab({ issuer }));
  await tabs[0].login(PASSWORD);
  await there.pass(0.1);
  assert.equal(tabs[1].session.state, 'signed-in', 'they are tabs of one issuer');

  for (const issuer of ['https://auth.test/id/v1', 'https://auth.test/id/v1/']) {
    there.requests.length = 0;
    there.answers['/id/v1/login'] = [there.token];
    await there.tab({ issuer }).login(PASSWORD);
    assert.deepEqual(there.requests.map((one) => one.path), ['/id/v1/login']);
  }
});

test('a page of the same host is believed, whatever its port', async (t) => {
  for (const [page, issuer] of [
    ['https://auth.test', 'https://auth.test'], ['http://localhost:3000', 'http://localhost:8080'],
  ]) {
    const there = world(t, page);
    await there.tab({ issuer }).login(PASSWORD);
    assert.deepEqual(there.requests.map((one) => one.path), ['/login'], page);
    t.mock.reset();
  }
});

test('cookies that are turned off are noticed at the issuer\'s own page', async (t) => {
  const there = world(t, 'https://auth.test');
  there.put('navigator', { cookieEnabled: false });
  there.answers['/refresh'] = [noCookie];
  const tab = there.tab();
  await assert.rejects(tab.login(PASSWORD), { code: 'cookie-refused' });
  assert.deepEqual(tab.told('signedout').map((one) => one.reason), ['cookie-refused']);
  assert.match(there.said[0], /turned off/);
});

test('a failure that says nothing about the cookie is no reason to refuse a login', async (t) => {
  for (const answer of [lost, problem(503, 'unavailable'), () => new Response('<h1>Hotel</h1>')]) {
    const there = world(t, 'http://localhost:3000');
    there.answers['/refresh'] = [answer];
    const tab = there.tab({ issuer: 'http://127.0.0.1:8080' });
    await tab.login(PASSWORD);
    assert.equal((await tab.fetch(API)).status, 200);
    assert.deepEqual(there.said, []);
    t.mock.reset();
  }
});

test('a login that could not be taken back has failed all the same', async (t) => {
  const there = world(t, 'http://localhost:3000');
  Object.assign(there.answers, { '/refresh': [noCookie], '/logout': [lost] });
  const tab = there.tab({ issuer: 'http://127.0.0.1:8080' });
  await assert.rejects(tab.login(PASSWORD), { code: 'cookie-refused' });
});

test('a reload at another site finds no cookie and says why, and elsewhere nothing is said', async (t) => {
  for (const [page, issuer] of others) {
    const there = world(t, page);
    there.answers['/refresh'] = [noCookie];
    const tab = there.tab({ issuer });
    assert.equal(await tab.restore(), false);
    assert.equal(there.said.length, 1, page);
    assert.deepEqual(tab.log, [], 'a visitor who never signed in is not told');
    t.mock.reset();
  }
  for (const [page, issuer] of [...unknown, ['https://auth.test', 'https://auth.test']]) {
    const there = world(t, page);
    there.answers['/refresh'] = [noCookie];
    assert.equal(await there.tab({ issuer }).restore(), false);
    assert.deepEqual(there.said, [], page);
    t.mock.reset();
  }
});
