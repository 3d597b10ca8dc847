// The demo and account page: plain DOM on top of the browser client. No token passes through here.
import { createClient } from './latchkey.js';

const $ = (id) => document.getElementById(id);

/** Where the service is, below which paths are: a proxy may have put all of it below one. */
const root = new URL('..', import.meta.url);

const settings = await fetch(new URL('assets/page.json', root)).then((answer) => answer.json()).catch(() => ({}));
const { issuer, resource = null, demo = null, registration = 'open', password_min: passwordMin = 15 } = settings;
const auth = createClient({ issuer: root.href, resources: resource ? [resource] : [] });

const REASONS = {
  logout: 'You signed out in another tab.',
  ended: 'This session was ended from another device.',
  expired: 'Your session reached its end. Please sign in again.',
  idle: 'You were signed out because the session was not used for a while.',
  absolute: 'You were signed out because the session reached its longest duration.',
  password: 'You were signed out because the password was changed.',
  admin: 'An administrator ended this session.',
  disabled: 'This account was disabled.',
  reuse: 'The session was ended for safety: a copy of its cookie was used. If that was not you, change your password.',
  limit: 'This session was ended because you signed in on more devices than you may.',
  replaced: 'Another tab of this browser signed in anew.',
  'cookie-lost': 'You were signed out because the browser no longer has the session\'s cookie.',
  'cookie-refused': 'Your browser does not keep the session\'s cookie. Allow cookies for this site, and sign in again.',
  invalid: 'The session\'s cookie is not valid here. Please sign in again.',
};

const DIALOGS = ['confirm', 'goodbye'];

const VIOLATIONS = {
  too_short: () => `it needs at least ${passwordMin} characters`,
  too_long: () => 'it is too long',
  common: () => 'it is one that everybody tries first',
  contains_name: () => 'it contains your name',
  unchanged: () => 'it is the same as before',
};

/* What is seen */

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== undefined && child !== ''));
  return node;
}

/** A word in passing. The region is emptied first so that the same word is read out again. */
let toastTimer;
function say(text) {
  $('said').textContent = '';
  requestAnimationFrame(() => { $('said').textContent = text; });
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $('said').textContent = ''; }, 8000);
}

/** What was said is about what was done before. */
function hush() {
  clearTimeout(toastTimer);
  $('said').textContent = '';
}

function why(text, action) {
  $('why').replaceChildren(...(text ? [element('p', {}, text, ...(action ? [action] : []))] : []));
}

function log(text) {
  const now = new Date();
  const time = element('time', { dateTime: now.toISOString() }, now.toLocaleTimeString());
  $('log').prepend(element('li', {}, time, element('span', {}, text)));
  while ($('log').children.length > 30) $('log').lastChild.remove();
}

function duration(seconds) {
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${rest} s` : `${rest} s`;
}

const instant = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const moment = (text) => element('time', { dateTime: text }, instant.format(new Date(text)));

/** "Firefox on Windows", as far as the user agent tells. */
function browser(agent = '') {
  const first = (pairs) => pairs.find(([pattern]) => pattern.test(agent))?.[1];
  const name = first([[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'],
    [/Chrom(e|ium)\//, 'Chrome'], [/Safari\//, 'Safari'], [/^curl\//, 'curl']]);
  const system = first([[/iPhone|iPad/, 'iOS'], [/Android/, 'Android'], [/Windows/, 'Windows'],
    [/Mac OS X/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux']]);
  if (name && system) return `${name} on ${system}`;
  return name ?? system ?? 'Unknown device';
}

/** One of the three views. Focus goes to its heading, since what had it is gone. */
function show(view, { focus = true } = {}) {
  for (const id of ['loading', 'outside', 'inside']) $(id).hidden = id !== view;
  $('who').hidden = view !== 'inside';
  if (view !== 'inside') $('expiry').hidden = true;
  document.title = view === 'inside' ? 'Your account · Latchkey' : 'Latchkey';
  if (focus && view !== 'loading') $(`${view}-title`).focus();
}

let longest = {};
function tick() {
  const { state, accessExpiresIn = 0, endsIn = 0, limit } = auth.session;
  if (state !== 'signed-in') return;
  $('access').value = longest.access ? accessExpiresIn / longest.access : 0;
  $('access-left').textContent = accessExpiresIn > 0
    ? `${duration(accessExpiresIn)} left` : 'run out; the next call gets a new one';
  $('end').value = longest.end ? endsIn / longest.end : 0;
  $('end-left').textContent = limit === 'idle'
    ? `ends in ${duration(endsIn)} unless it is used` : `ends in ${duration(endsIn)}`;
  $('expiry-count').textContent = `Signing out in ${duration(endsIn)}`;
}

/* What is asked */

class Refused extends Error {
  constructor(problem, response) {
    super(problem.detail ?? `The service answered ${response.status}.`);
    this.problem = problem;
    this.response = response;
  }
}

async function ask(url, { json, ...init } = {}) {
  // The token would go to whatever else is on this host.
  if (url.startsWith('/')) throw new TypeError('addresses are below that of the page');
  if (json) {
    Object.assign(init, { body: JSON.stringify(json), headers: { 'content-type': 'application/json' } });
  }
  const response = await auth.fetch(new URL(url, root), init);
  if (!response.ok) throw new Refused(await response.json().catch(() => ({})), response);
  return response;
}

async function call(url, init) {
  const response = await ask(url, init);
  return response.status === 204 ? undefined : response.json().catch(() => ({}));
}

/** Raised when the page was cleared; an answer that comes later belongs to nobody. */
let cleared = 0;
class Late extends Error {}

/** What is to be shown of a person: not any more when the page was cleared meanwhile. */
async function fetched(url, init) {
  const before = cleared;
  const body = await call(url, init);
  if (before !== cleared) throw new Late();
  return body;
}

/** Somebody closed a dialog. There is nothing to say of it. */
class GivenUp extends Error {}

/** Does what may need a login of the last few minutes (RFC 9470): after one, where the service asks for it. */
async function recently(work) {
  try {
    return await work();
  } catch (error) {
    if (error.problem?.code !== 'reauthentication-required') throw error;
  }
  await confirmed();
  return work();
}

function explain(error) {
  const { violations = [], code = error.code } = error.problem ?? {};
  if (violations.length) {
    return `Choose another password: ${violations.map((one) => VIOLATIONS[one]?.() ?? one).join(', ')}.`;
  }
  const seconds = error.retryAfter ?? Number(error.response?.headers.get('retry-after'));
  const later = seconds ? `Try again in ${duration(seconds)}.` : 'Try again shortly.';
  if (code === 'invalid-credentials') {
    return auth.session.state === 'signed-in' ? 'The current password is wrong.' : 'The name or the password is wrong.';
  }
  if (code === 'conflict') return 'That name or address is taken.';
  if (code === 'invitation-invalid') return 'This invitation is not good for that address, or not any more. Ask for a new one.';
  if (code === 'cookie-refused') return REASONS[code];
  if (code === 'rate-limited') return `Too many attempts. ${later}`;
  if (code === 'network' || error instanceof TypeError) return 'The server cannot be reached. You are still signed in if you were. Try again.';
  if (code === 'unavailable' || code === 'revocation-stale') return `The server is busy. ${later}`;
  return error.message;
}

/** Does the work of a button or a form: not twice at once, and with a word when it fails. */
async function attempt(control, work, complain = say) {
  if (control.getAttribute('aria-busy') === 'true') return;
  control.setAttribute('aria-busy', 'true');
  try {
    await work();
  } catch (error) {
    if (error instanceof Late || error instanceof GivenUp) return;
    // A session that is over has been told of already.
    if (auth.session.state === 'signed-out' && !$('outside').contains(control)) return;
    complain(explain(error));
  } finally {
    control.removeAttribute('aria-busy');
  }
}

function onClick(id, work) {
  $(id).addEventListener('click', () => attempt($(id), work));
}

function onSubmit(id, work) {
  const form = $(id);
  const error = form.querySelector('.error');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    hush();
    const fields = [...form.querySelectorAll('input:not([hidden])')];
    const complain = (text, at = fields) => {
      if (!error) return say(text);
      error.textContent = text;
      for (const field of fields) field.toggleAttribute('aria-invalid', false);
      for (const field of at) field.setAttribute('aria-invalid', 'true');
      at[0]?.focus();
    };
    const wrong = fields.find((field) => !field.validity.valid);
    if (wrong) {
      const label = wrong.labels[0].firstChild.textContent.trim();
      return complain(wrong.validity.valueMissing ? `${label}: please fill this in.`
        : `${label}: ${wrong.validationMessage}`, [wrong]);
    }
    if (error) error.textContent = '';
    for (const field of fields) field.removeAttribute('aria-invalid');
    attempt(form.querySelector('[type=submit]'), () => work(Object.fromEntries(new FormData(form)), form),
      (text) => complain(text));
  });
}

/* The session */

/** What is said at the end of an account in place of the reason for which the session is over. */
let farewell;

auth.on('signedin', ({ detail }) => {
  log(detail.restored ? 'Went on with the session of the cookie' : 'Signed in');
  farewell = undefined;
  why();
  show('inside');
  load();
});

auth.on('refreshed', ({ detail }) => {
  const { accessExpiresIn, endsIn, state } = auth.session;
  longest = { access: detail.here ? accessExpiresIn : longest.access, end: endsIn };
  if (detail.here) log(`A new access token, good for ${duration(accessExpiresIn)}`);
  else log('Another tab used the session');
  if (!$('expiry').hidden) {
    $('expiry').hidden = true;
    if (auth.session.limit === 'idle') say('You stay signed in.');
  }
  if (state === 'signed-in' && $('inside').hidden) show('inside');
  tick();
});

auth.on('expiring', ({ detail: { limit, expiresIn } }) => {
  $('expiry').hidden = false;
  $('stay').hidden = limit === 'absolute';
  const when = element('span', { className: 'unseen' }, ` You will be signed out in ${duration(Math.round(expiresIn))}.`);
  $('expiry-text').replaceChildren(limit === 'idle' ? 'Still there? This session is not being used.'
    : 'This session reaches its longest duration. Save your work.', when);
  tick();
});

const resume = (text) => {
  const button = element('button', { type: 'button', className: 'link' }, text);
  button.addEventListener('click', () => attempt(button, () => auth.restore()));
  return button;
};

auth.on('ended', ({ detail }) => {
  forget();
  why(REASONS[detail.limit], detail.limit === 'idle' ? resume('I am back') : undefined);
  show('outside');
});

auth.on('signedout', ({ detail: { reason, limit, here } }) => {
  forget();
  if (farewell) why(farewell);
  else if (reason === 'logout' && here) why('You are signed out.');
  else why(REASONS[limit] ?? REASONS[reason], reason === 'replaced' ? resume('Go on with that session') : undefined);
  show('outside');
});

/** Nothing of the person stays on the page. */
function forget() {
  cleared += 1;
  hush();
  me = {};
  for (const id of ['log', 'sessions', 'reports', 'events', 'name', 'goodbye-name', 'whoami-answer']) {
    $(id).replaceChildren();
  }
  $('whoami-answer').hidden = true;
  for (const form of document.forms) form.reset();
  for (const id of DIALOGS) if ($(id).open) $(id).close();
}

const device = browser(navigator.userAgent);
onSubmit('sign-in', ({ username, password }, form) =>
  auth.login({ username, password, device }).then(() => form.reset()));
onClick('demo', () => auth.login({ ...demo, device }));

/* Signing up */

/** The invitation that the page was opened with; only memory has it. */
let invitation;

/** It comes behind the #, which no server is sent and no Referer names; nor does the history keep it. */
function takeInvitation() {
  const given = new URLSearchParams(location.hash.slice(1)).get('invitation');
  if (given === null) return;
  history.replaceState(null, '', location.pathname + location.search);
  if (registration !== 'invite') return;
  invitation = given;
  offerSignUp();
}

function offerSignUp() {
  const may = registration === 'open' || invitation !== undefined;
  $('swap').hidden = !may;
  $('up-email-hint').hidden = invitation === undefined;
  door(may && invitation !== undefined);
}

/** Shows one of the two forms. */
function door(up) {
  $('sign-up').hidden = !up;
  $('sign-in').hidden = up;
  $('door-title').textContent = up ? 'Create an account' : 'Sign in';
  $('swap-text').textContent = up ? 'You have an account?' : 'New here?';
  $('swap-button').textContent = up ? 'Sign in' : 'Create an account';
}

/** Whether an answer may have been lost: then the account may be there although the next attempt is refused. */
let lost = false;

onSubmit('sign-up', async ({ username, email, password }, form) => {
  if (!username && !email) throw new Error('Name: please give a name, an e-mail address, or both.');
  const answer = await fetch(new URL('register', root), {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...(username && { username }), ...(email && { email }), password, ...(invitation && { invitation }),
    }),
  }).catch((error) => {
    lost = true;
    throw error;
  });
  if (!answer.ok) {
    // The service does not know what became of it, or a proxy has lost the answer.
    if (answer.status >= 500) lost = true;
    const refused = new Refused(await answer.json().catch(() => ({})), answer);
    const maybeThere = lost && ['conflict', 'invitation-invalid'].includes(refused.problem.code);
    if (!maybeThere) throw refused;
    await auth.login({ username: username || email, password, device }).catch(() => { throw refused; });
  } else {
    await auth.login({ username: username || email, password, device });
  }
  lost = false;
  invitation = undefined;
  form.reset();
  offerSignUp();
});

onClick('swap-button', () => {
  const up = $('sign-up').hidden;
  door(up);
  $(up ? 'up-name' : 'in-name').focus();
});

onClick('sign-out', () => auth.logout());
onClick('leave', () => auth.logout());
onClick('stay', () => auth.extend());
onClick('refresh', async () => {
  const extended = await auth.extend();
  if (!extended && auth.session.state === 'signed-in') say('This session cannot be made longer.');
});

/* The account */

/** What the service says of it. */
let me = {};

async function load() {
  await Promise.all([loadMe(), loadSessions(), loadEvents(), resource && loadReports()]
    .map((one) => Promise.resolve(one).catch((error) => {
      if (auth.session.state === 'signed-in' && !(error instanceof Late)) say(explain(error));
    })));
}

function showMe(account) {
  me = account;
  $('name').textContent = $('password-user').value = me.username || me.email;
  $('own-name').value = me.username ?? '';
  $('own-email').value = me.email ?? '';
}

async function loadMe() {
  const before = me;
  const account = await fetched('me');
  // A change that was answered meanwhile is newer.
  if (me === before) showMe(account);
}

async function loadSessions() {
  const { sessions, next } = await fetched('sessions');
  $('sessions').replaceChildren(...sessions.map(sessionItem), ...olderSessions(next));
  $('others').hidden = sessions.length < 2;
}

/** One of them, and a button that ends it. */
function sessionItem(one) {
  const name = one.device ?? browser(one.user_agent ?? '');
  const about = element('div', {}, element('strong', {}, name),
    one.current ? element('span', { className: 'badge' }, 'this one') : '',
    element('div', { className: 'muted' }, 'Last used ', moment(one.last_used_at), one.ip ? ` · ${one.ip}` : ''),
    element('div', { className: 'muted' }, 'Signed in ', moment(one.created_at)));
  if (one.current) return element('li', {}, about);
  const button = element('button', { type: 'button', className: 'quiet small' }, 'End');
  button.setAttribute('aria-label', `End the session of ${name}, last used ${instant.format(new Date(one.last_used_at))}`);
  button.addEventListener('click', () => attempt(button, async () => {
    await call(`sessions/${encodeURIComponent(one.id)}`, { method: 'DELETE' });
    say(`The session of ${name} was ended.`);
    loadEvents();
    await loadSessions();
    $('sessions-title').focus();
  }));
  return element('li', {}, about, button);
}

/** A button for the next page, where there is one. */
function olderSessions(next) {
  if (!next) return [];
  const button = element('button', { type: 'button', className: 'quiet small' }, 'Show older sessions');
  const item = element('li', {}, button);
  button.addEventListener('click', () => attempt(button, async () => {
    const page = await fetched(`sessions?after=${encodeURIComponent(next)}`);
    item.replaceWith(...page.sessions.map(sessionItem), ...olderSessions(page.next));
    $('sessions-title').focus();
  }));
  return [item];
}

onClick('others', async () => {
  await auth.logout({ sessions: 'others' });
  say('The other sessions were ended.');
  loadEvents();
  await loadSessions();
  $('sessions-title').focus();
});
onClick('all', () => auth.logout({ sessions: 'all' }));

onSubmit('password', async (fields, form) => {
  const { current_password, new_password, sessions } = fields;
  await call('password', { method: 'POST', json: { current_password, new_password, sessions } });
  form.reset();
  if (sessions !== 'all') say('The password was changed.');
  loadEvents();
  // Where this session was ended too, the next call says so.
  await loadSessions();
});

onSubmit('own', async ({ username, email }) => {
  if (!username && !email) throw new Error('Name: please give a name, an e-mail address, or both.');
  // What is left out stays, and null takes it away (RFC 7396).
  const json = {
    ...(username !== (me.username ?? '') && { username: username || null }),
    ...(email !== (me.email ?? '') && { email: email || null }),
  };
  if (!Object.keys(json).length) return say('There is nothing to change.');
  showMe(await recently(() => fetched('me', { method: 'PATCH', json })));
  say('The account was changed.');
  loadEvents();
});

onClick('export', async () => {
  const before = cleared;
  const file = await ask('me/export').then((answer) => answer.blob());
  if (before !== cleared) throw new Late();
  const url = URL.createObjectURL(file);
  element('a', { href: url, download: 'account.json' }).click();
  // By then the browser has begun with it.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  say('What is kept about you is in the file account.json.');
});

onClick('delete', () => {
  $('goodbye-name').textContent = $('name').textContent;
  $('goodbye').showModal();
});

onSubmit('goodbye-form', async ({ word }) => {
  if (word.trim() !== $('goodbye-name').textContent) throw new Error('That is not what this account is called.');
  await recently(() => call('me', { method: 'DELETE' }));
  farewell = 'The account is deleted. You are signed out everywhere.';
  // The session is over with it. This takes the cookie away, and tells the other tabs.
  await auth.logout();
});

const HAPPENED = {
  'registered': 'Account created',
  'invitation-used': 'Came in by invitation',
  'login': 'Signed in',
  'login-failed': 'Somebody did not know your password',
  'session-ended logout': 'Signed out',
  'session-ended password': 'Ended by the new password',
  'session-ended admin': 'Ended by an administrator',
  'session-ended reuse': 'Ended: an old token of it was used again',
  'session-ended limit': 'Ended by a newer sign-in: there were too many sessions',
  'all-sessions-ended logout': 'Signed out everywhere',
  'all-sessions-ended password': 'Everything ended by the new password',
  'all-sessions-ended admin': 'Everything ended by an administrator',
  'all-sessions-ended disabled': 'Account disabled',
  'password-changed': 'Password changed',
  'password-rehashed': 'Password kept in a newer form',
  'user-renamed': 'Name changed',
  'email-changed': 'E-mail address changed',
  'refresh-replayed': 'A refresh token came again from elsewhere, within the time for that',
};

/** "Why was I logged out?" Older servers do not have the route, and newer ones have more to tell. */
async function loadEvents() {
  const before = cleared;
  const { events } = await call('sessions/events').catch(() => ({ events: [] }));
  if (before !== cleared) return;
  $('activity').hidden = events.length === 0;
  $('events').replaceChildren(...events.slice(0, 12).map((one) => {
    const known = HAPPENED[one.reason ? `${one.kind} ${one.reason}` : one.kind] ?? HAPPENED[one.kind];
    const what = known ?? one.kind.replaceAll(/[-_]/g, ' ');
    const place = (agent, ip) => [agent && browser(agent), ip].filter(Boolean).join(' · ');
    const [here, there] = [place(one.user_agent, one.ip), place(one.other_user_agent, one.other_ip)];
    const where = there && there !== here ? `${here}, before that ${there}` : here;
    return element('li', {}, element('div', {},
      element('strong', {}, what[0].toUpperCase() + what.slice(1)), one.reason && !known ? ` (${one.reason})` : '',
      element('div', { className: 'muted' }, moment(one.at), where ? ` · ${where}` : '')));
  }));
}

/* The protected service */

onClick('whoami', async () => {
  const answer = await call(`${resource}/whoami`);
  $('whoami-answer').textContent = JSON.stringify(answer, undefined, 2);
  $('whoami-answer').hidden = false;
  log('The service knew who called');
});

async function loadReports() {
  const { reports } = await fetched(`${resource}/reports`);
  const rows = reports.map(({ id, title }) => {
    const button = element('button', { type: 'button', className: 'quiet small' }, 'Delete');
    button.setAttribute('aria-label', `Delete the report ${title}`);
    button.addEventListener('click', () => attempt(button, () => deleteReport(id)));
    return element('li', {}, element('div', {}, title), button);
  });
  $('reports').replaceChildren(...(rows.length ? rows : [element('li', { className: 'muted' }, 'None yet.')]));
}

onSubmit('report', async ({ title }, form) => {
  await call(`${resource}/reports`, { method: 'POST', json: { title } });
  form.reset();
  say('The report was added.');
  await loadReports();
});

async function deleteReport(id) {
  await recently(() => call(`${resource}/reports/${encodeURIComponent(id)}`, { method: 'DELETE' }));
  say('The report was deleted.');
  await loadReports();
  $('report-title').focus();
}

/* Dialogs */

/** What waits for the password. */
let confirmation;

/** Has the person log in once more. */
function confirmed() {
  return new Promise((resolve, reject) => {
    confirmation = { resolve, reject };
    $('confirm').showModal();
  });
}

onSubmit('confirm-form', async ({ password }) => {
  await auth.login({ username: $('name').textContent, password, device });
  confirmation.resolve();
  $('confirm').close();
});
$('confirm').addEventListener('close', () => confirmation.reject(new GivenUp()));

for (const id of DIALOGS) {
  $(`${id}-cancel`).addEventListener('click', () => $(id).close());
  $(id).addEventListener('close', () => {
    $(`${id}-form`).reset();
    $(`${id}-error`).textContent = '';
  });
}

/* The start */

/** Sessions are of the issuer's origin: elsewhere a login is refused, or its cookie is not kept. So a page that was
 * opened elsewhere goes there, once: a proxy may lead back. Says whether it is there already. */
function isAtIssuer() {
  const home = new URL(issuer ? `${issuer}/` : location.href);
  const hash = new URLSearchParams(location.hash.slice(1));
  const moved = hash.has('moved');
  if (home.origin === location.origin) {
    hash.delete('moved');
    const rest = String(hash);
    if (moved) history.replaceState(null, '', location.pathname + location.search + (rest && `#${rest}`));
    return true;
  }
  if (moved) {
    const link = element('a', { href: home.href }, home.href);
    why('This page works at the address of the service alone, and leads from there to here. Its address is ', link);
    $('loading').hidden = true;
    return false;
  }
  hash.set('moved', '1');
  home.search = location.search;
  home.hash = String(hash);
  location.replace(home.href);
  return false;
}

for (const id of ['up-hint', 'new-hint']) {
  $(id).textContent = `At least ${passwordMin} characters. Anything goes; a sentence is easy to remember.`;
}
$('demo').hidden = !demo;
offerSignUp();
$('api').hidden = !resource;
$('api-origin').textContent = resource ?? '';

async function start() {
  show('loading');
  try {
    if (!(await auth.restore()) && $('outside').hidden) show('outside', { focus: false });
  } catch (error) {
    const button = element('button', { type: 'button', className: 'link' }, 'Try again');
    button.addEventListener('click', start);
    why(explain(error), button);
    show('outside', { focus: false });
  }
}

if (isAtIssuer()) {
  takeInvitation();
  addEventListener('hashchange', takeInvitation);
  setInterval(tick, 1000);
  await start();
}
