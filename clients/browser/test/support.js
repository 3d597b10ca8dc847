// A world for the client to live in: a server that answers as told, clocks that are turned by hand,
// tabs that hear each other. Nothing here waits for real time.
import { createClient } from '../latchkey.js';

export const ISSUER = 'https://auth.test';
export const API = 'https://api.test/reports';

/** An answer as the server gives it. */
export const json = (status, body, headers = {}) => () =>
  new Response(body === undefined ? null : JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  });

export const problem = (status, code, { headers, ...more } = {}) =>
  json(status, { type: `${ISSUER}/problems/${code}`, status, code, detail: `It is ${code}.`, ...more }, {
    'content-type': 'application/problem+json',
    ...(status === 401 && { 'www-authenticate': 'Bearer realm="latchkey"' }),
    ...headers,
  });

/** What a service says to a token that it does not accept. */
export const refused = problem(401, 'invalid-token', {
  headers: { 'www-authenticate': 'Bearer realm="resource", error="invalid_token"' },
});

export const lost = () => { throw new TypeError('network error'); };

/** Never answers. */
export const hangs = (request) =>
  new Promise((_, reject) => {
    request.signal.addEventListener('abort', () => reject(request.signal.reason));
  });

export class World {
  requests = [];
  /** By path: what to answer next; the last one stays. */
  answers = { '/logout': [json(204)] };
  sessionId = 'S1';
  lives = { access: 600, timeout: 604_800, absolute: 2_592_000 };
  #minted = 0;
  #steady = 0;
  #channels = new Set();
  messages = [];

  constructor(t) {
    this.t = t;
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_800_000_000_000 });
    t.mock.method(performance, 'now', () => this.#steady);
    t.mock.method(globalThis, 'fetch', (input, init) => this.#answer(new Request(input, init)));
    const world = this;
    this.put('BroadcastChannel', class {
      constructor(name) {
        this.name = name;
        world.#channels.add(this);
      }
      postMessage(data) {
        world.messages.push(data);
        for (const other of world.#channels) {
          if (other === this || other.name !== this.name) continue;
          queueMicrotask(() => other.onmessage?.({ data: structuredClone(data) }));
        }
      }
      close() { world.#channels.delete(this); }
    });
    this.page = new EventTarget();
    this.page.visibilityState = 'visible';
    this.put('document', this.page);
    this.put('navigator', {});
    this.window = new EventTarget();
    this.put('window', this.window);
  }

  /** A global, for as long as the test runs. */
  put(name, value) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    this.t.after(() => {
      delete globalThis[name];
      if (before) Object.defineProperty(globalThis, name, before);
    });
  }

  /** A tab with the page open, and `log`: what it was told. */
  tab(options = {}) {
    const client = createClient({ issuer: ISSUER, resources: [API], jitter: 0, ...options });
    this.t.after(() => client.close());
    client.log = [];
    for (const type of ['signedin', 'signedout', 'expiring', 'refreshed', 'ended']) {
      client.on(type, ({ detail }) => client.log.push([type, detail]));
    }
    client.told = (type) => client.log.filter(([one]) => one === type).map(([, detail]) => detail);
    return client;
  }

  async signedIn(options) {
    const client = this.tab(options);
    await client.login({ username: 'ann', password: 'correct horse' });
    this.requests.length = 0;
    client.log.length = 0;
    return client;
  }

  token = () => json(200, {
    access_token: `token-${++this.#minted}`,
    token_type: 'Bearer',
    expires_in: this.lives.access,
    refresh_token_timeout: Math.min(this.lives.timeout, this.lives.absolute),
    authorization_expires_in: this.lives.absolute,
    scope: 'profile',
    session_id: this.sessionId,
  })();

  async #answer(request) {
    const { pathname: path } = new URL(request.url);
    this.requests.push({
      path,
      method: request.method,
      headers: request.headers,
      bearer: request.headers.get('authorization')?.replace('Bearer ', ''),
      body: await request.clone().text(),
      credentials: request.credentials,
    });
    const queue = this.answers[path];
    const answer = queue?.length > 1 ? queue.shift() : queue?.[0];
    if (answer) return answer(request);
    if (path === '/login' || path === '/refresh') return this.token();
    return json(200, { reports: [] })();
  }

  count(path) {
    return this.requests.filter((one) => one.path === path).length;
  }

  /** Time passes, by both clocks, in steps as a browser's timers would see it. */
  async pass(seconds, step = 60) {
    await settled();
    for (let left = seconds; left > 0; left -= step) {
      const ms = Math.min(left, step) * 1000;
      this.#steady += ms;
      this.t.mock.timers.tick(ms);
      await settled();
    }
  }

  /** The laptop sleeps: its steady clock stands still, and nothing runs until it wakes. */
  async sleep(seconds) {
    await settled();
    this.t.mock.timers.tick(seconds * 1000);
    await settled();
  }

  async become(visibility) {
    this.page.visibilityState = visibility;
    this.page.dispatchEvent(new Event('visibilitychange'));
    this.t.mock.timers.tick(0);
    await settled();
  }
}

/** Until all that can happen without time passing has happened. */
export const settled = async () => {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
};
