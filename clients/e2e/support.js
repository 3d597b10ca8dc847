// A Latchkey of one's own for each test file, and browsers that visit it.
//
// LATCHKEY_BIN          the program (needed)
// LATCHKEY_CHROMIUM     the browser; /usr/bin/chromium
// LATCHKEY_SCREENSHOTS  where pictures go; a temporary directory
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createSite, request as ask } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { chromium } from 'playwright-core';

export const PASSWORD = 'a sentence that nobody guesses';

const START_PATIENCE = 20_000;
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** Free ports below those that the system hands out by itself, so that nobody takes one meanwhile. */
const ports = async (count) => {
  const found = [];
  while (found.length < count) {
    const port = randomInt(15_000, 32_000);
    const server = createServer();
    const free = await new Promise((answer) => {
      server.once('error', () => answer(false)).listen(port, '127.0.0.1', () => answer(true));
    });
    if (!free || found.includes(port)) continue;
    await new Promise((closed) => { server.close(closed); });
    found.push(port);
  }
  return found;
};

/** A running program with a data directory of its own; `settings` are variables. */
export class Latchkey {
  #data; #ports; #settings; #child;

  static async start(settings = {}) {
    const latchkey = new Latchkey();
    latchkey.#data = await mkdtemp(join(tmpdir(), 'latchkey-e2e-'));
    latchkey.#ports = await ports(4);
    latchkey.#settings = settings;
    after(async () => {
      await latchkey.stop();
      await rm(latchkey.#data, { recursive: true });
    });
    await latchkey.#run();
    return latchkey;
  }

  get url() { return `http://127.0.0.1:${this.#ports[0]}`; }
  get api() { return `http://127.0.0.1:${this.#ports[2]}`; }

  async #run(offset = 0) {
    const program = process.env.LATCHKEY_BIN;
    assert.ok(program, 'LATCHKEY_BIN names the latchkey program');
    const [open, internal, resource, metrics] = this.#ports.map((port) => `127.0.0.1:${port}`);
    this.#child = spawn(program, ['--data', this.#data], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        AUTH__ISSUER: this.url,
        AUTH__HTTP__LISTEN: open,
        AUTH__PASSWORDS__MAX_WAIT_SECONDS: '15',
        AUTH__HTTP__INTERNAL_LISTEN: internal,
        AUTH__CLOCK__OFFSET_SECONDS: String(offset),
        RESOURCE__HTTP__LISTEN: resource,
        RESOURCE__HTTP__INTERNAL_LISTEN: metrics,
        RESOURCE__HTTP__ALLOWED_ORIGINS: this.url,
        // Every test has people of its own, and all come from here.
        AUTH__LIMITS__REGISTER_BURST: '0',
        ...this.#settings,
      },
    });
    let log = '';
    this.#child.stderr.on('data', (text) => { log += text; });
    const deadline = performance.now() + START_PATIENCE;
    const ready = async (origin) => {
      const answer = await fetch(`${origin}/health/ready`).catch(() => undefined);
      await answer?.arrayBuffer();
      return answer?.ok;
    };
    while (!((await ready(this.url)) && (await ready(this.api)))) {
      assert.equal(this.#child.exitCode, null, `the program ended: ${log}`);
      assert.ok(performance.now() < deadline, `the program is not ready: ${log}`);
      await delay(20);
    }
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await exited;
  }

  /** The server's clock moves on: the same data, `seconds` later than it is. */
  async later(seconds) {
    await this.stop();
    await this.#run(seconds);
  }

  async post(path, body, token) {
    const headers = { 'content-type': 'application/json' };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await fetch(this.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  }

  /** A new account. */
  async register(username = `person-${crypto.randomUUID().slice(0, 8)}`) {
    await this.post('/register', { username, password: PASSWORD });
    return username;
  }

  /** A login from somewhere else; answers its access token. */
  async elsewhere(username) {
    const login = await this.post('/login', { username, password: PASSWORD, device: 'Somewhere else' });
    return login.access_token;
  }
}

/** A site on an origin of its own; answers its port. */
const site = async (serve) => {
  const server = createSite(serve).listen(0, '127.0.0.1');
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, 'listening');
  return server.address().port;
};

/** A front end: one page with a script, which `script` gives, and the client beside it. */
export async function frontEnd(script) {
  const client = await readFile(new URL('../browser/latchkey.js', import.meta.url), 'utf8');
  return site((request, answer) => {
    const [type, body] = {
      '/': ['text/html', '<!doctype html><title>App</title><script type="module" src="/app.js"></script>'],
      '/app.js': ['text/javascript', script()],
      '/latchkey.js': ['text/javascript', client],
    }[request.url] ?? ['text/plain', ''];
    answer.writeHead(200, { 'content-type': type }).end(body);
  });
}

/** A proxy. `lead` says to which address a path leads: what it leads nowhere is not found. */
export const proxy = (lead) =>
  site((asked, answer) => {
    const address = lead(asked.url);
    if (!address) return answer.writeHead(404).end();
    const { method, headers } = asked;
    const onward = ask(address, { method, headers }, (reply) => {
      answer.writeHead(reply.statusCode, reply.headers);
      reply.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    return asked.pipe(onward);
  });

/** A site that leads every visitor elsewhere, and counts them. */
export async function crossroads(address) {
  const visits = [];
  const port = await site((request, answer) => {
    visits.push(request.url);
    answer.writeHead(302, { location: address() }).end();
  });
  return { port, visits };
}

let browser;
after(() => browser?.close());

/** A browser profile at the page; what its console says and what fails in it is kept for looking at. */
export async function profile(latchkey, options = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.LATCHKEY_CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS,
  });
  const context = await browser.newContext({ baseURL: latchkey.url, ...options });
  context.setDefaultTimeout(20_000);
  context.said = [];
  context.failures = [];
  context.on('console', (message) => context.said.push(message.text()));
  context.on('weberror', (error) => context.failures.push(error.error()));
  return context;
}

export async function signIn(page, username, address = '/') {
  await page.goto(address);
  await page.getByLabel('Name or e-mail').fill(username);
  await page.getByLabel('Password', { exact: true }).first().fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in', exact: true }).first().click();
  await inside(page);
}

export const inside = (page) =>
  page.getByRole('heading', { level: 1, name: 'Your account' }).waitFor();
export const outside = (page) =>
  page.getByRole('heading', { level: 1, name: /Sign in once/ }).waitFor();

/** A new account, signed in in a browser profile of its own. */
export async function person(latchkey, options, name) {
  const username = await latchkey.register(name);
  const context = await profile(latchkey, options);
  const page = await context.newPage();
  await signIn(page, username);
  await page.locator('#name', { hasText: username }).waitFor();
  return { username, context, page };
}

/** The reason that the page gives. */
export const reason = async (page, text) => {
  await outside(page);
  await page.locator('#why').getByText(text).waitFor();
};

/** The refresh cookie of a profile. */
export const cookie = async (context) =>
  (await context.cookies()).find((one) => one.name.startsWith('__Host-'));

let shots;
export async function picture(page, name) {
  shots ??= process.env.LATCHKEY_SCREENSHOTS ?? await mkdtemp(join(tmpdir(), 'latchkey-screenshots-'));
  await mkdir(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true, animations: 'disabled' });
}
