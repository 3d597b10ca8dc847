// "Your data" on the account page: what a person is called, what is kept about them, and the end of it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Latchkey, PASSWORD, cookie, inside, outside, person, profile, reason, signIn } from './support.js';

const latchkey = await Latchkey.start();
/** Longer than a change of the account lets pass since the login. */
const LONG = 16 * 60;

/** The section, and what is done in it. */
function data(page) {
  const section = page.getByRole('region', { name: 'Your data' });
  return {
    section,
    name: section.getByLabel('Name', { exact: true }),
    email: section.getByLabel('E-mail', { exact: true }),
    save: async () => {
      // Until the change before is wholly done, a click does nothing.
      await section.locator('[type=submit]:not([aria-busy])').click();
    },
    download: section.getByRole('button', { name: 'Download' }),
    remove: section.getByRole('button', { name: 'Delete account' }),
  };
}

const said = (page, text) => page.locator('#said').getByText(text).waitFor();
const goodbye = (page) => page.getByRole('dialog', { name: 'Delete this account?' });
const confirm = (page) => page.getByRole('dialog', { name: 'Is it still you?' });

/** What the keyboard is at. */
const focused = (page) => page.evaluate(() => document.activeElement.id);

test('a person changes their name and their address, and signs in with them', { timeout: 60_000 }, async () => {
  const { context, page, username } = await person(latchkey);
  const { name, email, save } = data(page);
  assert.equal(await name.inputValue(), username);
  const [other, address] = [`${username}-2`, `${username}@example.com`];
  await name.fill(other);
  await email.fill(address);
  await save();
  await said(page, 'The account was changed.');
  await page.locator('#name', { hasText: other }).waitFor();
  await page.getByRole('list', { name: 'Recent activity' }).getByText('Name changed').waitFor();
  await name.fill('');
  await save();
  await page.locator('#name', { hasText: address }).waitFor();
  await page.reload();
  await page.locator('#name', { hasText: address }).waitFor();
  assert.deepEqual([await name.inputValue(), await email.inputValue()], ['', address]);
  await context.close();

  const again = await profile(latchkey);
  await signIn(await again.newPage(), address);
  await again.close();
});

test('what cannot be is said, and changes nothing', { timeout: 60_000 }, async () => {
  const { context, page, username } = await person(latchkey);
  const taken = await latchkey.register();
  const { section, name, email, save } = data(page);
  const asked = [];
  page.on('request', (request) => request.method() === 'PATCH' && asked.push(request.url()));
  await save();
  await said(page, 'There is nothing to change.');
  await name.fill('');
  await save();
  await section.getByText('please give a name, an e-mail address, or both').waitFor();
  assert.equal(await name.getAttribute('aria-invalid'), 'true');
  await email.fill('no address');
  await save();
  await section.getByText(/^E-mail: /).waitFor();
  assert.deepEqual(asked, [], 'nobody had to be asked');
  await name.fill(taken);
  await email.fill('');
  await save();
  await section.getByText('That name or address is taken.').waitFor();
  assert.equal(await page.locator('#name').textContent(), username);
  assert.equal(asked.length, 1);
  await page.reload();
  await page.locator('#name', { hasText: username }).waitFor();
  assert.equal(await name.inputValue(), username);
  await context.close();
});

test('the demo account keeps its name, and the page says so', { timeout: 60_000 }, async () => {
  const context = await profile(latchkey);
  const page = await context.newPage();
  await page.goto('/');
  await page.getByRole('button', { name: 'Use the demo account' }).click();
  await inside(page);
  await page.locator('#name', { hasText: 'demo' }).waitFor();
  const { section, name, save } = data(page);
  await name.fill('mine');
  await save();
  await section.getByText('keeps its name').waitFor();
  await context.close();
});

test('a change long after the login asks for the password', { timeout: 60_000 }, async () => {
  const own = await Latchkey.start();
  const { context, page, username } = await person(own);
  await own.later(LONG);
  const { section, name, save } = data(page);
  await name.fill(`${username}-2`);
  await save();
  await confirm(page).getByRole('button', { name: 'Cancel' }).click();
  await confirm(page).waitFor({ state: 'hidden' });
  await section.locator('[type=submit]:not([aria-busy])').waitFor();
  assert.equal(await page.locator('#name').textContent(), username);
  assert.equal(await section.locator('.error').textContent(), '', 'nothing went wrong');
  assert.equal(await section.evaluate((one) => one.contains(document.activeElement)), true);

  await save();
  await confirm(page).getByLabel('Password').fill('wrong');
  await confirm(page).getByRole('button', { name: 'Confirm' }).click();
  await confirm(page).getByText('The current password is wrong.').waitFor();
  await confirm(page).getByLabel('Password').fill(PASSWORD);
  await confirm(page).getByRole('button', { name: 'Confirm' }).click();
  await said(page, 'The account was changed.');
  await page.locator('#name', { hasText: `${username}-2` }).waitFor();
  // What goes wrong after the password is said where it was asked for.
  const taken = await own.register();
  await own.later(2 * LONG);
  await name.fill(taken);
  await save();
  await confirm(page).getByLabel('Password').fill(PASSWORD);
  await confirm(page).getByRole('button', { name: 'Confirm' }).click();
  await section.getByText('That name or address is taken.').waitFor();
  await context.close();
});

test('what is kept about a person comes as a file', { timeout: 60_000 }, async () => {
  const { context, page, username } = await person(latchkey);
  const { download } = data(page);
  const [file] = await Promise.all([page.waitForEvent('download'), download.click()]);
  assert.equal(file.suggestedFilename(), 'account.json');
  const kept = JSON.parse(await readFile(await file.path(), 'utf8'));
  assert.equal(kept.user.username, username);
  assert.equal(kept.sessions.length, 1);
  assert.ok(kept.events.some((event) => event.kind === 'registered'), JSON.stringify(kept.events));
  await said(page, 'account.json');

  await page.route('**/me/export', (route) => route.abort());
  await download.click();
  await said(page, 'The server cannot be reached.');
  await context.close();
});

test('a person deletes their account, and nothing of them stays', { timeout: 60_000 }, async () => {
  const { context, page, username } = await person(latchkey);
  const other = await context.newPage();
  await other.goto('/');
  await inside(other);
  const { remove } = data(page);
  await remove.click();
  await goodbye(page).getByText(username).waitFor();
  await page.keyboard.press('Escape');
  await goodbye(page).waitFor({ state: 'hidden' });
  await remove.click();
  await goodbye(page).getByLabel('What the account is called').fill(`${username}x`);
  await goodbye(page).getByRole('button', { name: 'Delete for ever' }).click();
  await goodbye(page).getByText('not what this account is called').waitFor();
  await latchkey.elsewhere(username);
  await goodbye(page).getByLabel('What the account is called').fill(username);
  await goodbye(page).getByRole('button', { name: 'Delete for ever' }).click();
  await reason(page, 'The account is deleted.');
  await outside(other);
  assert.equal(await cookie(context), undefined);
  assert.ok(!(await page.content()).includes(username));
  await assert.rejects(latchkey.elsewhere(username), /401/);
  await page.reload();
  await outside(page);
  await context.close();
});

test('a deletion long after the login asks for the password', { timeout: 60_000 }, async () => {
  const own = await Latchkey.start();
  const { context, page, username } = await person(own);
  await own.later(LONG);
  await data(page).remove.click();
  await goodbye(page).getByLabel('What the account is called').fill(username);
  await goodbye(page).getByRole('button', { name: 'Delete for ever' }).click();
  await confirm(page).getByRole('button', { name: 'Cancel' }).click();
  // The account is there, and so is the question.
  await own.elsewhere(username);
  await goodbye(page).locator('[type=submit]:not([aria-busy])').click();
  await confirm(page).getByLabel('Password').fill(PASSWORD);
  await confirm(page).getByRole('button', { name: 'Confirm' }).click();
  await reason(page, 'The account is deleted.');
  await assert.rejects(own.elsewhere(username), /401/);
  await context.close();
});

test('all of it is done with the keyboard', { timeout: 60_000 }, async () => {
  const { context, page, username } = await person(latchkey);
  await page.locator('#own-email').focus();
  await page.keyboard.type(`${username}@example.com`);
  await page.keyboard.press('Enter');
  await said(page, 'The account was changed.');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'export');
  const [file] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
  assert.equal(file.suggestedFilename(), 'account.json');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'delete');
  await page.keyboard.press('Enter');
  await goodbye(page).waitFor();
  assert.equal(await focused(page), 'goodbye-word');
  await page.keyboard.press('Escape');
  await goodbye(page).waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'delete');
  await page.keyboard.press('Enter');
  await goodbye(page).waitFor();
  await page.keyboard.type(username);
  await page.keyboard.press('Enter');
  await reason(page, 'The account is deleted.');
  assert.equal(await focused(page), 'outside-title', 'the new view is read out');
  await context.close();
});
