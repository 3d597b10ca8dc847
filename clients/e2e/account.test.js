// The account page: what a person does there, and what they are told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latchkey, PASSWORD, inside, outside, person, profile, reason } from './support.js';

const latchkey = await Latchkey.start();

test('signing up says what is wrong with a password, and then signs in', { timeout: 60_000 }, async () => {
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto('/');
  await page.getByRole('button', { name: 'Create an account' }).click();
  const form = page.locator('#sign-up');
  await form.getByLabel('Name', { exact: true }).fill(`new-${crypto.randomUUID().slice(0, 8)}`);
  await form.getByLabel('Password').fill('short');
  await form.getByRole('button', { name: 'Create account' }).click();
  await form.getByText('at least 15 characters', { exact: false }).nth(1).waitFor();
  await form.getByLabel('Password').fill(PASSWORD);
  await form.getByRole('button', { name: 'Create account' }).click();
  await inside(page);
  await context.close();
});

test('a name that is taken and a wrong password are said so', { timeout: 60_000 }, async () => {
  const username = await latchkey.register();
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto('/');
  await page.getByRole('button', { name: 'Create an account' }).click();
  await page.locator('#up-name').fill(username);
  await page.locator('#up-password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByText('That name or address is taken.').waitFor();
  await page.locator('#swap-button').click();
  await page.locator('#in-name').fill(username);
  await page.locator('#in-password').fill('not the right one at all');
  await page.getByRole('button', { name: 'Sign in', exact: true }).first().click();
  await page.getByText('The name or the password is wrong.').waitFor();
  await context.close();
});

test('the demo account signs in with one click, and the service knows it', { timeout: 60_000 }, async () => {
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto('/');
  await page.getByRole('button', { name: 'Use the demo account' }).click();
  await inside(page);
  await page.getByRole('button', { name: 'Who am I?' }).click();
  await page.locator('#whoami-answer').getByText('"username": "demo"').waitFor();
  await context.close();
});

test('a session elsewhere is listed with its device and can be ended', { timeout: 60_000 }, async () => {
  const { username, context, page } = await person(latchkey);
  await latchkey.elsewhere(username);
  await page.reload();
  const sessions = page.locator('#sessions li');
  await sessions.nth(1).waitFor();
  assert.equal(await sessions.filter({ hasText: 'this one' }).count(), 1);
  await page.getByRole('button', { name: /End the session of Somewhere else/ }).click();
  await sessions.nth(1).waitFor({ state: 'detached' });
  await latchkey.elsewhere(username);
  await page.reload();
  await page.getByRole('button', { name: 'Sign out the others' }).click();
  await page.locator('#said').getByText('other sessions were ended').waitFor();
  await sessions.nth(1).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Sign out everywhere' }).click();
  await reason(page, 'You are signed out.');
  await context.close();
});

test('ended from another device: the page says so, in every tab', { timeout: 60_000 }, async () => {
  const { username, context, page } = await person(latchkey);
  const other = await context.newPage();
  await other.goto('/');
  await inside(other);
  await latchkey.post('/logout', { sessions: 'others' }, await latchkey.elsewhere(username));
  // The service hears of it a moment later than the database.
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await reason(page, 'ended from another device');
  await reason(other, 'ended from another device');
  await page.reload();
  await reason(page, 'ended from another device');
  await context.close();
});

test('a password changed elsewhere: the page says so', { timeout: 60_000 }, async () => {
  const { username, context, page } = await person(latchkey);
  const change = { current_password: PASSWORD, new_password: `${PASSWORD} or reads` };
  await latchkey.post('/password', change, await latchkey.elsewhere(username));
  await page.getByRole('button', { name: 'Refresh now' }).click();
  await reason(page, 'password was changed');
  await context.close();
});

test('changing the password ends the other sessions, or this one too', { timeout: 60_000 }, async () => {
  const { username, context, page } = await person(latchkey);
  await latchkey.elsewhere(username);
  const change = async (from, to, sessions) => {
    // Until the change before is wholly done, a click does nothing.
    await page.locator('#password [type=submit]:not([aria-busy])').waitFor();
    await page.getByLabel('Current password').fill(from);
    await page.getByLabel('New password').fill(to);
    await page.getByLabel('Afterwards').selectOption(sessions);
    await page.getByRole('button', { name: 'Change password' }).click();
  };
  await change('wrong', `${PASSWORD} at all`, 'others');
  await page.locator('#password-error').getByText('password is wrong').waitFor();
  await change(PASSWORD, `${PASSWORD} at all`, 'others');
  await page.locator('#said').getByText('password was changed').waitFor();
  assert.equal(await page.locator('#sessions li').count(), 1);
  await change(`${PASSWORD} at all`, `${PASSWORD} again`, 'all');
  await reason(page, 'password was changed');
  await context.close();
});

test('deleting a report long after the login asks for the password', { timeout: 60_000 }, async () => {
  const own = await Latchkey.start();
  const { context, page } = await person(own);
  await own.later(360);
  await page.getByLabel('New report').fill('Keys cut in November');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByRole('button', { name: 'Delete the report Keys cut' }).click();
  const dialog = page.getByRole('dialog', { name: 'Is it still you?' });
  await dialog.getByLabel('Password').fill('wrong');
  await dialog.getByRole('button', { name: 'Confirm' }).click();
  await dialog.getByText('The current password is wrong.').waitFor();
  await dialog.getByLabel('Password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Confirm' }).click();
  await page.locator('#said').getByText('report was deleted').waitFor();
  await page.locator('#reports').getByText('None yet.').waitFor();
  await context.close();
});

test('recent activity tells what happened to the account', { timeout: 60_000 }, async () => {
  const { context, page, username } = await person(latchkey);
  const access = await latchkey.elsewhere(username);
  await latchkey.post('/logout', {}, access);
  const wrong = { username, password: 'a sentence that is not the one' };
  await assert.rejects(latchkey.post('/login', wrong), /401/);
  const events = page.getByRole('list', { name: 'Recent activity' }).getByRole('listitem');
  const told = ['Somebody did not know your password', 'Signed out', 'Signed in', 'Signed in', 'Account created'];
  // A failed login is answered before it is written down.
  const all = () => events.nth(told.length - 1).waitFor({ timeout: 5000 }).then(() => true, () => false);
  do {
    await page.reload();
  } while (!await all());
  const texts = await events.allTextContents();
  told.forEach((text, at) => assert.ok(texts[at].startsWith(text), texts[at]));
  await context.close();
});

test('activity of a kind that the page does not know is shown as it is called', { timeout: 60_000 }, async () => {
  const { context, page } = await person(latchkey);
  const at = '2026-11-26T11:18:51Z';
  await page.route('**/sessions/events', (route) => route.fulfill({ json: { events: [
    { at, kind: 'something-new', session_id: 'x', reason: 'why', ip: '192.0.2.7', user_agent: 'curl/8.1' },
    { at, kind: 'login', session_id: 'x' },
  ] } }));
  await page.reload();
  const events = page.getByRole('list', { name: 'Recent activity' }).getByRole('listitem');
  await events.nth(1).waitFor();
  assert.match(await events.first().textContent(), /^Something new \(why\).*curl · 192\.0\.2\.7$/);
  await context.close();
});

test('without a resource-service the page does without its panel', { timeout: 60_000 }, async () => {
  const { context, page } = await person(latchkey);
  await page.route('**/assets/page.json', (route) =>
    route.fulfill({ json: { resource: null, demo: null, registration: 'closed' } }));
  await page.reload();
  await inside(page);
  assert.ok(await page.locator('#api').isHidden());
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await outside(page);
  assert.ok(await page.locator('#demo').isHidden());
  assert.ok(await page.locator('#swap').isHidden());
  await context.close();
});

const INVITATION = `inv1.${'A'.repeat(32)}`;
const onlyInvited = (page) => page.route('**/assets/page.json', (route) =>
  route.fulfill({ json: { resource: null, demo: null, registration: 'invite' } }));

test('where registration is by invitation only a link with one leads to the form', { timeout: 60_000 }, async () => {
  const context = await profile(latchkey);
  const page = await context.newPage();
  await onlyInvited(page);
  await page.goto('/');
  await outside(page);
  assert.ok(await page.locator('#swap').isHidden());
  assert.ok(await page.locator('#sign-up').isHidden());
  // The same page, which a link in another program opens once more.
  await page.goto(`/#invitation=${INVITATION}`);
  await page.locator('#sign-up').waitFor();
  assert.ok(!page.url().includes('inv1'), 'the address bar does not keep it');
  await context.close();
});

test('an invitation goes into the registration and nowhere else', { timeout: 60_000 }, async () => {
  const context = await profile(latchkey);
  const page = await context.newPage();
  await onlyInvited(page);
  const asked = [];
  page.on('request', (request) => asked.push(request));
  await page.goto(`/#invitation=${INVITATION}`);
  const form = page.locator('#sign-up');
  await form.getByLabel('Name', { exact: true }).fill(`new-${crypto.randomUUID().slice(0, 8)}`);
  await form.getByLabel('Password').fill(PASSWORD);
  await form.getByRole('button', { name: 'Create account' }).click();
  await inside(page);
  const told = asked.filter((request) =>
    `${request.url()} ${request.postData() ?? ''} ${JSON.stringify(request.headers())}`.includes('inv1'));
  assert.deepEqual(told.map((request) => new URL(request.url()).pathname), ['/register']);
  assert.equal(told[0].postDataJSON().invitation, INVITATION);
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await outside(page);
  assert.ok(await page.locator('#swap').isHidden(), 'it is used up');
  await context.close();
});

test('whoever lost the answer to a registration is signed in by the next attempt', { timeout: 60_000 }, async () => {
  const username = `new-${crypto.randomUUID().slice(0, 8)}`;
  const context = await profile(latchkey);
  const page = await context.newPage();
  await onlyInvited(page);
  let attempts = 0;
  await page.route('**/register', async (route) => {
    attempts += 1;
    if (attempts > 1) {
      return route.fulfill({ status: 403, json: { code: 'invitation-invalid' } });
    }
    await route.fetch();
    return route.abort();
  });
  await page.goto(`/#invitation=${INVITATION}`);
  const form = page.locator('#sign-up');
  await form.getByLabel('Name', { exact: true }).fill(username);
  await form.getByLabel('Password').fill(PASSWORD);
  await form.getByRole('button', { name: 'Create account' }).click();
  await form.getByText('The server cannot be reached', { exact: false }).waitFor();
  await form.getByRole('button', { name: 'Create account' }).click();
  await inside(page);
  assert.equal(attempts, 2);
  await context.close();
});

test('an address is enough to sign up, and is shown where others have a name', { timeout: 60_000 }, async () => {
  const email = `person-${crypto.randomUUID().slice(0, 8)}@example.com`;
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto('/');
  await page.getByRole('button', { name: 'Create an account' }).click();
  const form = page.locator('#sign-up');
  await form.getByLabel('Password').fill(PASSWORD);
  await form.getByRole('button', { name: 'Create account' }).click();
  await form.getByText('please give a name, an e-mail address, or both', { exact: false }).waitFor();
  await form.getByLabel('E-mail').fill(email);
  await form.getByRole('button', { name: 'Create account' }).click();
  await inside(page);
  await page.locator('#name', { hasText: email }).waitFor();
  await context.close();
});
