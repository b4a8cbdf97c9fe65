/** Commands of the server (XEP-0050): the owner's (XEP-0133), and everybody's for themselves. */
import * as assert from 'uvu/assert'
import { suite } from '../../../helpers/harness.ts'
import { ask, hasBody, refusal, settled } from '../../../helpers/xmpp-asking.ts'
import { LoggedIn, xml } from '../../../helpers/xmpp-client.ts'
import type { LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/xeps/xep-0050-commands')
let house: XmppHouse
test.before(async () => {
  house = await XmppHouse.open()
})
test.after(() => house.close())

const commands = 'http://jabber.org/protocol/commands'
const admin = 'http://jabber.org/protocol/admin'
const appPassword = 'https://openim.invalid/commands#app-password'

async function command(
  session: LoggedIn, attrs: Record<string, string>, ...inside: LtxElement[]
): Promise<LtxElement> {
  const payload = xml('command', { xmlns: commands, ...attrs }, ...inside)
  return (await ask(session, 'set', payload, 'a.test')).getChild('command')!
}

function form(values: Record<string, string>): LtxElement {
  return xml('x', { xmlns: 'jabber:x:data', type: 'submit' },
    ...Object.entries(values).map(([name, value]) => xml('field', { var: name }, xml('value', {}, value))))
}

function valuesOf(answer: LtxElement, name: string): (string | null)[] {
  const fields = answer.getChild('x', 'jabber:x:data')!.getChildren('field')
  const field = fields.find(({ attrs }) => attrs['var'] === name)!
  return field.getChildren('value').map((value) => (value as unknown as { text(): string }).text())
}

async function fill(session: LoggedIn, node: string, values: Record<string, string>): Promise<LtxElement> {
  const { attrs: { sessionid = '' } } = await command(session, { node, action: 'execute' })
  return await command(session, { node, sessionid, action: 'complete' }, form(values))
}

test('asks for a form, runs once, and forgets what is not finished', async () => {
  const alice = await house.login('alice')
  const asked = await command(alice, { node: appPassword, action: 'execute' })
  assert.is(asked.attrs['status'], 'executing')
  const { sessionid = '' } = asked.attrs
  const step = { node: appPassword, sessionid, action: 'complete' }
  const bob = await house.login('bob')
  assert.is(await refusal(command(bob, step, form({ name: 'tablet' }))), 'bad-request')
  const done = await command(alice, step, form({ name: 'tablet' }))
  const [password] = valuesOf(done, 'password')
  const session = await LoggedIn.open({ jid: 'alice@a.test', password: password!, port: house.port })
  await session.close()
  assert.is(await refusal(command(alice, step, form({ name: 'other' }))), 'bad-request')
  assert.is(await refusal(fill(alice, appPassword, { name: 'tablet' })), 'not-acceptable')
  assert.is(await refusal(fill(alice, appPassword, {})), 'not-acceptable')
  const again = await command(alice, { node: appPassword })
  const cancel = { node: appPassword, sessionid: again.attrs['sessionid']!, action: 'cancel' }
  assert.is((await command(alice, cancel)).attrs['status'], 'canceled')
  assert.is(await refusal(command(alice, cancel)), 'bad-request')
  assert.is(await refusal(command(alice, { node: 'nothing' })), 'item-not-found')
})

test('ends what was made in passing with the password of the login that made it', async () => {
  const { bridge: { host, connector: { credentials } } } = house
  const login = await host.accounts.create('carol')
  const [kept, lost] = [await credentials.add(login, 'laptop'), await credentials.add(login, 'phone')]
  const open = (password: string): Promise<LoggedIn> =>
    LoggedIn.open({ jid: 'carol@a.test', password, port: house.port })
  const thief = await open(lost)
  const [second] = valuesOf(await fill(thief, appPassword, { name: 'harmless' }), 'password')
  const again = await open(second!)
  const [third] = valuesOf(await fill(again, appPassword, { name: 'harmless too' }), 'password')
  const ends = [thief, again].map(({ client }) =>
    new Promise<void>((resolve) => client.on('disconnect', resolve)))
  await credentials.revoke(login.id, 'phone')
  await Promise.all(ends)
  for (const gone of [lost, second!, third!]) {
    assert.is(await open(gone).then(() => 'in', (error: { condition: string }) => error.condition),
      'not-authorized')
  }
  await (await open(kept)).close()
  assert.equal((await credentials.list(login.id)).map(({ name }) => name), ['laptop'])
})

test('lets the owner alone see, end and tell', async () => {
  const [owner, bob] = [await house.login('owner'), await house.login('bob', 'phone')]
  const nodes = async (session: LoggedIn): Promise<number> => (await ask(session, 'get', xml(
    'query', { xmlns: 'http://jabber.org/protocol/disco#items', node: commands },
  ), 'a.test')).getChild('query')!.getChildren('item').length
  assert.equal([await nodes(owner) > 5, await nodes(bob)], [true, 1])
  assert.is(await refusal(command(bob, { node: `${admin}#get-registered-users-list` })), 'forbidden')
  const get = async (what: string, field: string): Promise<(string | null)[]> =>
    valuesOf(await command(owner, { node: `${admin}#get-${what}` }), field)
  const all = await get('registered-users-list', 'registereduserjids')
  assert.ok(all.includes('owner@a.test') && all.includes('bob@a.test'))
  const online = await get('online-users-list', 'onlineuserjids')
  assert.ok(online.includes('bob@a.test'))
  assert.equal(await get('registered-users-num', 'registeredusersnum'), [String(all.length)])
  const stats = await fill(owner, `${admin}#get-user-stats`, { accountjid: 'bob@a.test' })
  assert.equal(valuesOf(stats, 'rostersize'), ['0'])
  await settled(bob)
  await fill(owner, `${admin}#announce`, { announcement: 'we restart at noon' })
  const told = await bob.find(hasBody('we restart at noon'))
  assert.equal([told.attrs['from'], told.attrs['type']], ['a.test', 'headline'])
  const over = new Promise<void>((resolve) => bob.client.on('disconnect', resolve))
  await fill(owner, `${admin}#end-user-session`, { accountjids: 'bob@a.test' })
  await over
})

test.run()
