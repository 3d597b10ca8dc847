/**
 * Sessions with Latchkey in a browser: sign in, call services with a fresh access token, sign out.
 *
 * The access token lives in memory and nowhere else; the refresh token lives in a cookie that
 * scripts cannot read. Time is counted in durations that the server names, never in its instants,
 * since clocks are wrong.
 * @module
 */

/**
 * @typedef {object} Options
 * @property {string} [issuer] Where the auth-service is, with its path if it has one; by default the page's origin.
 * @property {string[]} [resources] Origins, besides the page's and the issuer's, that get the token.
 * @property {number} [lead] Seconds before the session's end at which `expiring` is sent; 120.
 * @property {number} [timeout] Seconds that one refresh may take; 4.
 * @property {number} [jitter] Seconds over which tabs that wake up spread their refreshes; 1.
 */

/**
 * @typedef {object} Credentials
 * @property {string} username A name or an e-mail address.
 * @property {string} password
 * @property {string} [scope]
 * @property {string | string[]} [resource] The services that the session is to be for; all by default.
 * @property {string} [device] What the list of sessions should call this browser.
 */

/**
 * What is known of the session: the same object until something of it changes, as
 * `useSyncExternalStore` of React needs it. The seconds in it count down by themselves.
 * @typedef {object} Session
 * @property {'unknown' | 'signed-in' | 'signed-out'} state `unknown` until the server was asked.
 * @property {string} [sessionId]
 * @property {string} [scope]
 * @property {number} [accessExpiresIn] Seconds that the access token has left.
 * @property {number} [endsIn] Seconds until the session ends unless it is used.
 * @property {Limit} [limit] Which of its limits that will be.
 */

/** @typedef {'idle' | 'absolute'} Limit */

/**
 * Why a session is over. `logout`: here or in another tab. `ended`: from another device. `expired`:
 * see `limit`. `password`, `admin`, `disabled`, `reuse`, `limit` (of sessions that an account may
 * have): the server says so. `replaced`: another tab signed in anew; `restore()` joins it.
 * `cookie-lost`: the browser no longer has the cookie. `cookie-refused`: it never kept it, as it does where the
 * page and the issuer are different sites; the console says more. `invalid`: the server does not know the cookie.
 * @typedef {'logout' | 'ended' | 'expired' | 'password' | 'admin' | 'disabled' | 'reuse' |
 *   'limit' | 'replaced' | 'cookie-lost' | 'cookie-refused' | 'invalid'} Reason
 */

/**
 * @typedef {object} Events
 * @property {CustomEvent<{ sessionId: string, restored: boolean }>} signedin
 * @property {CustomEvent<{ reason: Reason, limit?: Limit, here: boolean }>} signedout `here`: it was
 *   found out, or asked for, in this tab.
 * @property {CustomEvent<{ limit: Limit, expiresIn: number }>} expiring The session ends soon:
 *   `extend()` helps unless `limit` is `absolute`.
 * @property {CustomEvent<{ here: boolean }>} refreshed There is more time again, thanks to this tab
 *   or another: whatever `expiring` brought up can go.
 * @property {CustomEvent<{ limit: Limit }>} ended The announced end has passed. The server was not
 *   asked, as that would be a use of the session: hide what should not be seen, and call `restore()`
 *   when the person comes back.
 */

/** The server's answer to login and refresh; see its API.
 * @typedef {{ access_token: string, expires_in: number, refresh_token_timeout: number,
 *   authorization_expires_in: number, scope: string, session_id: string }} Answer */

/** A moment by both clocks: the steady one may stand still while a laptop sleeps, and the other may
 * be set.
 * @typedef {{ steady: number, wall: number }} Moment */

/** A flight gives up rather than wait longer than this for its next attempt, in ms. */
const PATIENCE = 10_000;
const ATTEMPTS = 3;
const LONGEST_PAUSE = 30_000;
/** The longest wait that an answer can ask for, in seconds: it may come from anything on the way. */
const LONGEST_RETRY_AFTER = 600;
/** With these the server says that there is no session. */
const ENDS = ['unauthenticated', 'session-expired', 'session-revoked', 'token-reused', 'invalid-token'];
/** How often time is looked at anew: timers are late after a sleep. */
const LONGEST_TIMER = 60_000;
/** Logins wait for their turn to hash, so they get this many times the patience of a refresh. */
const LOGIN_FACTOR = 5;

/** Why there is no answer. `code` is the server's problem code; or `network`, where nothing came or
 * what came is not the server's (`status` tells the two apart); or `signed-out`; or `superseded` for a
 * refresh that a login or logout overtook; or `cookie-refused` for a login whose cookie the browser did
 * not keep. */
export class LatchkeyError extends Error {
  /**
   * @param {string} code
   * @param {{ status?: number, retryAfter?: number, cause?: unknown,
   *   problem?: Record<string, any> }} [more]
   */
  constructor(code, { status, retryAfter, problem, cause } = {}) {
    super(problem?.detail ?? code, { cause });
    this.name = 'LatchkeyError';
    this.code = code;
    /** The HTTP status, where there was an answer, whoever gave it. */
    this.status = status;
    /** Seconds to wait before trying again, where the server named them. */
    this.retryAfter = retryAfter;
    /** The problem document (RFC 9457), with `violations` for a refused password. */
    this.problem = problem;
  }

  /** Whether the same request may succeed later, and says nothing about the session. */
  get transient() {
    return this.code === 'network' || this.status === 429 || (this.status ?? 0) >= 500;
  }
}

/** A person's session in this tab. Make one per page. */
export class Client extends EventTarget {
  #issuer; #origins; #site; #lead; #timeout; #jitter;
  /** @type {Session['state']} */
  #state = 'unknown';
  /** @type {string | undefined} */
  #token;
  /** @type {string | undefined} */
  #sessionId;
  /** @type {string | undefined} */
  #scope;
  /** The access token's lifetime. @type {{ at: Moment, seconds: number } | undefined} */
  #access;
  /** The session's. @type {{ at: Moment, seconds: number, absolute: number } | undefined} */
  #ends;
  #announced = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** The one refresh under way. @type {Promise<void> | undefined} */
  #flight;
  /** Its request. @type {Promise<unknown> | undefined} */
  #asking;
  /** Raised by login and logout: an older answer no longer counts. */
  #epoch = 0;
  #failures = 0;
  #notBefore = 0;
  /** Ends the pause before an attempt. @type {((value?: unknown) => void) | undefined} */
  #resume;
  /** @type {LatchkeyError | undefined} */
  #lastFailure;
  /** @type {BroadcastChannel | undefined} */
  #channel;
  #closing = new AbortController();
  /** What `session` was made of, and it. @type {unknown[]} */
  #known = [];
  /** @type {Session | undefined} */
  #session;

  /** @param {Options} [options] */
  constructor({ issuer, resources = [], lead = 120, timeout = 4, jitter = 1 } = {}) {
    super();
    const here = globalThis.location?.origin;
    // In one spelling, as it names what the tabs share.
    this.#issuer = new URL(issuer ?? here ?? '').href.replace(/\/+$/, '');
    this.#origins = new Set([this.#issuer, ...resources].map((one) => new URL(one).origin));
    if (here) this.#origins.add(here);
    this.#site = siteOf(globalThis.location, new URL(this.#issuer));
    this.#lead = lead;
    this.#timeout = timeout;
    this.#jitter = jitter;
    if (globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
    }
    const { signal } = this.#closing;
    const seen = () => this.#seen();
    const { document, window } = globalThis;
    document?.addEventListener('visibilitychange', seen, { signal });
    window?.addEventListener('focus', seen, { signal });
    window?.addEventListener('pageshow', ({ persisted }) => this.#seen(persisted), { signal });
    window?.addEventListener('online', () => this.#online(), { signal });
  }

  /**
   * @template {keyof Events} T
   * @param {T} type
   * @param {(event: Events[T]) => void} listener
   * @returns {() => void} Removes the listener.
   */
  on(type, listener) {
    const plain = /** @type {EventListener} */ (/** @type {unknown} */ (listener));
    this.addEventListener(type, plain);
    return () => this.removeEventListener(type, plain);
  }

  /** What is known of the session now. @returns {Session} */
  get session() {
    const [access, ends] = [this.#token ? this.#access : undefined, this.#ends];
    const known = [this.#state, this.#sessionId, this.#scope, access, ends];
    if (!this.#session || known.some((one, at) => one !== this.#known[at])) {
      const left = (/** @type {{ at: Moment, seconds: number } | undefined} */ span) =>
        span && Math.max(0, span.seconds - since(span.at));
      this.#known = known;
      this.#session = Object.freeze({
        state: this.#state,
        sessionId: this.#sessionId,
        scope: this.#scope,
        get accessExpiresIn() { return left(access); },
        get endsIn() { return left(ends); },
        limit: this.#limit,
      });
    }
    return this.#session;
  }

  /**
   * Goes on with the session that the cookie belongs to, after the page was loaded or `ended`.
   * @returns {Promise<boolean>} Whether there is one.
   */
  async restore() {
    if (this.#state === 'signed-out') this.#state = 'unknown';
    try {
      await this.#accessToken();
      return true;
    } catch (error) {
      if (this.session.state === 'signed-out') return false;
      throw error;
    }
  }

  /** @param {Credentials} credentials @returns {Promise<void>} */
  async login({ username, password, scope, resource, device }) {
    await this.#supersede();
    const body = { username, password, transport: 'cookie', scope, resource, device };
    const at = now();
    const answer = await this.#inTurn(() => this.#post('/login', body, LOGIN_FACTOR));
    if (this.#site !== 'same' || globalThis.navigator?.cookieEnabled === false) await this.#prove(answer);
    await this.#supersede();
    this.#sessionId = undefined;
    this.#adopt(answer, at, false);
    this.#tell({ type: 'signedin', session: this.#sessionId });
  }

  /**
   * Ends this session, the person's others, or all. When it fails nothing was ended for certain and
   * this tab stays signed in.
   * @param {{ sessions?: 'current' | 'others' | 'all' }} [which]
   * @returns {Promise<void>}
   */
  async logout({ sessions = 'current' } = {}) {
    await this.#supersede();
    const send = () => this.#inTurn(() => this.#post('/logout', { sessions }));
    await send().catch((error) => {
      if (error.code !== 'network' || error.status) throw error;
      return send();
    });
    if (sessions !== 'others') this.#leave('logout');
  }

  /**
   * The Fetch API's `fetch` with the access token added. A token that is about to expire, or that
   * the service does not accept, is replaced first, once; and once more where the one in its place ran out
   * on the way, as it does when a laptop sleeps. Anything else that the service answers is
   * the caller's, a step-up challenge included. Rejects with a `LatchkeyError` when no token is to be had.
   * @param {RequestInfo | URL} input
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  fetch = async (input, init) => {
    const request = new Request(input, init);
    if (!this.#origins.has(new URL(request.url).origin)) {
      throw new TypeError(`${new URL(request.url).origin} is not among the client's resources`);
    }
    let token = await this.#accessToken();
    const session = this.#sessionId;
    for (let attempt = 1; ; attempt++) {
      const response = await send(request.clone(), token);
      if (!(await isTokenRefused(response))) return response;
      const isOver = token !== this.#token || this.session.accessExpiresIn === 0;
      if (attempt === ATTEMPTS || (attempt > 1 && !isOver)) return response;
      token = await this.#accessToken(token);
      // What one person asked for is not done in the name of the next.
      if (this.#sessionId !== session) throw new LatchkeyError('superseded');
    }
  };

  /**
   * "Stay signed in": uses the session, so that it ends later.
   * @returns {Promise<boolean>} False where that cannot be: at the absolute end, or when it is over.
   */
  async extend() {
    if (this.#limit !== 'idle') return false;
    try {
      await this.#refresh();
      return true;
    } catch (error) {
      if (this.session.state === 'signed-out') return false;
      throw error;
    }
  }

  /** Lets go of everything; the session goes on. */
  close() {
    this.#closing.abort();
    this.#channel?.close();
    this.#channel = undefined;
    clearTimeout(this.#timer);
    this.#token = undefined;
  }

  get #name() {
    return `latchkey:${this.#issuer}`;
  }

  /** @returns {Limit | undefined} */
  get #limit() {
    const ends = this.#ends;
    return ends && (ends.absolute <= ends.seconds ? 'absolute' : 'idle');
  }

  /** A token that will last for a call; `refused` is one that the service did not accept.
   * @param {string} [refused] */
  async #accessToken(refused) {
    if (this.#state === 'signed-out') throw new LatchkeyError('signed-out');
    const margin = Math.min(30, (this.#access?.seconds ?? 0) / 10);
    const usable = (/** @type {number} */ least) =>
      this.#token !== refused && (this.session.accessExpiresIn ?? 0) > least;
    if (!usable(margin)) {
      await this.#refresh().catch((error) => {
        if (!usable(0)) throw error;
      });
    }
    return /** @type {string} */ (this.#token);
  }

  #refresh() {
    if (this.#flight) return this.#flight;
    const flight = this.#fly().finally(() => {
      if (this.#flight === flight) this.#flight = undefined;
    });
    this.#flight = flight;
    return flight;
  }

  /** Uses the cookie of a login once, at once. Where the browser did not keep it, the next reload would sign out
   * without a word: so the login is taken back, and has failed. @param {Answer} answer */
  async #prove({ access_token }) {
    const error = await this.#inTurn(() => this.#post('/refresh', {})).then(() => {}, (thrown) => thrown);
    // Any other failure says nothing about the cookie.
    if (error?.code !== 'unauthenticated') return;
    await this.#post('/logout', {}, 1, access_token).catch(() => {});
    this.#warn('The browser did not keep the cookie of a login.');
    this.#leave('cookie-refused');
    throw new LatchkeyError('cookie-refused', { cause: error });
  }

  /** Tells whoever made the page what its visitors cannot know. @param {string} what */
  #warn(what) {
    const why = this.#site === 'same' ? 'Cookies are turned off in it.' :
      `The page (${globalThis.location.origin}) and the issuer (${this.#issuer}) are not the same site, or cookies of ` +
      'other sites are blocked. Serve both with one scheme below one domain (localhost and 127.0.0.1 are two), or set ' +
      'AUTH__HTTP__COOKIE_SAME_SITE=none where browsers still take such cookies.';
    console.warn(`latchkey-browser: ${what} ${why}`);
  }

  /** Before login and logout: a refresh still under way would put its own cookie in place of theirs. */
  async #supersede() {
    this.#epoch++;
    this.#flight = undefined;
    await this.#asking?.catch(() => {});
  }

  /** Refreshes, trying again after failures that say nothing about the session. The cookie is the
   * same each time; the server sees to it that the same one gets the same successor. */
  async #fly() {
    const epoch = this.#epoch;
    for (let attempt = 1; ; attempt++) {
      const pause = this.#notBefore - performance.now();
      if (pause > PATIENCE && this.#lastFailure) {
        const { code, status, problem } = this.#lastFailure;
        throw new LatchkeyError(code, { status, problem, retryAfter: Math.ceil(pause / 1000) });
      }
      if (pause > 0) {
        await new Promise((resume) => {
          this.#resume = resume;
          setTimeout(resume, pause);
        });
      }
      if (epoch !== this.#epoch) throw new LatchkeyError('superseded');
      let at = now();
      const ask = () => {
        at = now();
        return this.#post('/refresh', {});
      };
      try {
        this.#asking = this.#inTurn(ask);
        const answer = await this.#asking;
        if (epoch !== this.#epoch) throw new LatchkeyError('superseded');
        return this.#adopt(/** @type {Answer} */ (answer), at, true);
      } catch (thrown) {
        const error = /** @type {LatchkeyError} */ (thrown);
        if (epoch !== this.#epoch) throw error;
        if (ENDS.includes(error.code)) this.#refused(error);
        if (!error.transient) throw error;
        this.#lastFailure = error;
        this.#notBefore = performance.now() + pauseAfter(error, ++this.#failures);
        if (attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Tabs take turns at what changes the cookie. That only spares work: a turn that does not come in
   * time is not waited for, since the server copes with tabs that do not.
   * @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  async #inTurn(work) {
    const locks = globalThis.navigator?.locks;
    if (!locks) return work();
    const waiting = new AbortController();
    const timer = setTimeout(() => waiting.abort(), this.#timeout * 1000);
    let begun = false;
    const begin = () => {
      begun = true;
      clearTimeout(timer);
      return work();
    };
    try {
      return await locks.request(this.#name, { signal: waiting.signal }, begin);
    } catch (error) {
      if (begun) throw error;
      return begin();
    }
  }

  /** One request to the auth-service.
   * @param {string} path @param {object} body @param {number} [patience] @param {string} [token]
   * @returns {Promise<any>} */
  async #post(path, body, patience = 1, token = this.#token) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.#timeout * patience * 1000);
    /** @type {Record<string, string>} */
    const headers = { 'content-type': 'application/json', 'x-latchkey': '1' };
    // Where the cookie is gone already, this is what says who wants out.
    if (path === '/logout' && token) headers.authorization = `Bearer ${token}`;
    let response, text;
    try {
      response = await fetch(this.#issuer + path, {
        method: 'POST', credentials: 'include', cache: 'no-store', redirect: 'error',
        headers, body: JSON.stringify(body), signal: controller.signal,
      });
      text = await response.text();
    } catch (cause) {
      throw new LatchkeyError('network', { cause });
    } finally {
      clearTimeout(timer);
    }
    const { status } = response;
    const json = isJson(response) ? parse(text) : undefined;
    if (path === '/logout' ? status === 204 : status === 200 && isAnswer(json)) return json;
    const seconds = Number(response.headers.get('retry-after') || NaN);
    const retryAfter = seconds >= 0 ? Math.min(seconds, LONGEST_RETRY_AFTER) : undefined;
    if (isProblem(response, json)) {
      throw new LatchkeyError(json.code, { status, retryAfter, problem: json });
    }
    // Of something in between, such as a proxy or a hotel's sign-in page. It says nothing about the session.
    throw new LatchkeyError('network', { status, retryAfter });
  }

  /** @param {Answer} answer @param {Moment} at @param {boolean} restored */
  #adopt(answer, at, restored) {
    if (this.#sessionId && this.#sessionId !== answer.session_id) {
      this.#leave('replaced');
      throw new LatchkeyError('signed-out');
    }
    this.#failures = this.#notBefore = 0;
    const isNew = this.#state !== 'signed-in' || !this.#sessionId;
    this.#state = 'signed-in';
    this.#token = answer.access_token;
    this.#sessionId = answer.session_id;
    this.#scope = answer.scope;
    this.#access = { at, seconds: answer.expires_in };
    const [seconds, absolute] = [answer.refresh_token_timeout, answer.authorization_expires_in];
    this.#endsAt(at, seconds, absolute);
    this.#tell({ type: 'refreshed', session: answer.session_id, seconds, absolute });
    if (isNew) this.#emit('signedin', { sessionId: answer.session_id, restored });
    this.#emit('refreshed', { here: true });
    this.#watch();
  }

  /** The server says that there is no session. @param {LatchkeyError} error */
  #refused({ code, problem }) {
    const ended = this.#ends && this.session.endsIn === 0;
    // The browser drops the cookie at the session's end, so that nothing is left to be told about.
    if (code === 'session-expired' || (code === 'unauthenticated' && ended)) this.#leave('expired');
    else if (code === 'unauthenticated') {
      if (this.#site === 'other') this.#warn('No cookie came along with a refresh.');
      this.#leave('cookie-lost');
    }
    else if (code === 'token-reused') this.#leave('reuse');
    else if (code === 'session-revoked') {
      this.#leave(problem?.reason === 'logout' ? 'ended' : (problem?.reason ?? 'ended'));
    } else this.#leave('invalid');
  }

  /** @param {Reason} reason @param {{ here?: boolean, limit?: Limit }} [more] */
  #leave(reason, { here = true, limit } = {}) {
    const session = this.#sessionId;
    if (reason === 'expired') limit ??= this.#limit;
    this.#epoch++;
    this.#state = 'signed-out';
    this.#token = this.#sessionId = this.#scope = this.#access = this.#ends = undefined;
    clearTimeout(this.#timer);
    // Whoever never had a session needs no word about its absence.
    if (!session && reason === 'cookie-lost') return;
    if (here && session && reason !== 'replaced') {
      this.#tell({ type: 'signedout', session, reason, limit });
    }
    this.#emit('signedout', { reason, limit, here });
  }

  /** @param {object} message Never a token. */
  #tell(message) {
    this.#channel?.postMessage(message);
  }

  /** What another tab says. @param {any} message */
  #hear(message) {
    const { type, session } = message ?? {};
    const mine = session !== undefined && session === this.#sessionId;
    if (type === 'signedin' && !mine) {
      if (this.#state === 'signed-in') return this.#leave('replaced', { here: false });
      this.#sessionId = undefined;
      this.#soon(() => this.restore());
    } else if (type === 'signedout' && mine) {
      this.#leave(message.reason, { here: false, limit: message.limit });
    } else if (type === 'refreshed' && mine) {
      this.#endsAt(now(), message.seconds, message.absolute);
      this.#emit('refreshed', { here: false });
      this.#watch();
    }
  }

  /** @param {Moment} at @param {number} seconds @param {number} absolute */
  #endsAt(at, seconds, absolute) {
    if (this.#state === 'unknown') this.#state = 'signed-in';
    this.#ends = { at, seconds, absolute };
    this.#announced = false;
  }

  /** Tells of the end when it is near, and when it has come. It only tells: a refresh by timer would
   * keep a session alive that nobody uses. */
  #watch() {
    clearTimeout(this.#timer);
    const limit = this.#limit;
    const left = this.session.endsIn;
    if (this.#state !== 'signed-in' || !this.#ends || !limit || left === undefined) return;
    if (left <= 0) {
      this.#state = 'unknown';
      this.#token = undefined;
      this.#emit('ended', { limit });
      return;
    }
    // A notice that comes with every use of a short session would be no notice.
    const lead = limit === 'idle' ? Math.min(this.#lead, this.#ends.seconds / 2) : this.#lead;
    if (left <= lead && !this.#announced) {
      this.#announced = true;
      this.#emit('expiring', { limit, expiresIn: left });
    }
    const next = (this.#announced ? left : left - lead) * 1000;
    this.#timer = setTimeout(() => this.#watch(), Math.min(Math.max(next, 10), LONGEST_TIMER));
  }

  /** Somebody looks at the page, perhaps after the laptop slept. That is a use of the session.
   * `frozen`: the page was kept aside while tabs signed out that it could not hear. */
  #seen(frozen = false) {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (frozen) this.#token = undefined;
    const { state, accessExpiresIn = 0 } = this.session;
    const hadSession = this.#sessionId && state !== 'signed-out';
    if (hadSession && accessExpiresIn <= 0) this.#soon(() => this.#accessToken());
    else this.#watch();
  }

  #online() {
    if (this.#lastFailure?.code !== 'network') return;
    this.#notBefore = 0;
    this.#resume?.();
  }

  /** @param {() => Promise<unknown>} work */
  #soon(work) {
    setTimeout(() => {
      if (!this.#closing.signal.aborted) work().catch(() => {});
    }, Math.random() * this.#jitter * 1000);
  }

  /**
   * @template {keyof Events} T
   * @param {T} type
   * @param {Events[T]['detail']} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {Options} [options] */
export const createClient = (options) => new Client(options);

/** Whether a page and the issuer are one site, to which browsers give the cookie: for certain (`same`), for
 * certain not (`other`), or `unknown`, as which names belong together is a list that scripts do not have.
 * @param {Location | undefined} page @param {URL} issuer */
const siteOf = (page, issuer) => {
  if (!page) return 'same';
  if (page.protocol !== issuer.protocol) return 'other';
  if (page.hostname === issuer.hostname) return 'same';
  // Of a name its last two parts; an address and a name without a dot are whole.
  const [one, other] = [page, issuer].map(({ hostname }) =>
    (/^[\d.]+$/.test(hostname) ? hostname : hostname.split('.').slice(-2).join('.')));
  return one === other ? 'unknown' : 'other';
};

/** @returns {Moment} */
const now = () => ({ steady: performance.now(), wall: Date.now() });

/** Seconds since then, by the clock that moved more: too early is harmless.
 * @param {Moment} then */
const since = (then) =>
  Math.max(performance.now() - then.steady, Date.now() - then.wall) / 1000;

/** How long to leave the server alone, in ms: as the answer says; else, where none came, not at all the
 * first time, as a reply is easily lost; and then longer each time. @param {LatchkeyError} error @param {number} failures */
const pauseAfter = (error, failures) => {
  const spread = 1 + Math.random() / 4;
  if (error.retryAfter !== undefined) return error.retryAfter * 1000 * spread;
  if (error.status === undefined && failures === 1) return 0;
  return Math.min(LONGEST_PAUSE, 250 * 2 ** failures * spread);
};

/** @param {Request} request @param {string} token */
const send = (request, token) => {
  request.headers.set('authorization', `Bearer ${token}`);
  return fetch(request);
};

/** @param {Response} response */
const isJson = (response) => /[/+]json\b/.test(response.headers.get('content-type') ?? '');

/** Whether this is the server's answer to a login or a refresh. @param {any} json */
const isAnswer = (json) =>
  ['access_token', 'scope', 'session_id'].every((name) => typeof json?.[name] === 'string') &&
  ['expires_in', 'refresh_token_timeout', 'authorization_expires_in']
    .every((name) => Number.isFinite(json[name]) && json[name] >= 0) &&
  // What may stand in a header (RFC 6750 §2.1).
  /^[\w.~+/-]+=*$/.test(json.access_token);

/** Whether this is a problem in the server's words: its codes are pages below its address. What
 * others answer may have a `code` too. @param {Response} response @param {any} json */
const isProblem = ({ status }, json) =>
  typeof json?.code === 'string' && json.status === status &&
  typeof json.type === 'string' && json.type.endsWith(`/problems/${json.code}`);

/** Whether a service wants another token (RFC 6750 §3.1), rather than another login (RFC 9470) or
 * another password. @param {Response} response */
const isTokenRefused = async (response) => {
  if (response.status !== 401) return false;
  const error = /error="?(\w+)/.exec(response.headers.get('www-authenticate') ?? '')?.[1];
  if (error) return error === 'invalid_token';
  // Across origins the header may be hidden.
  if (!isJson(response)) return false;
  const code = parse(await response.clone().text().catch(() => ''))?.code;
  return code === 'invalid-token' || code === 'unauthenticated';
};

/** @param {string} text @returns {any} */
const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
