/**
 * Registration by invite (XEP-0401, XEP-0445, XEP-0077): a stranger on a stream of their own, and what
 * somebody who is logged in may change.
 */
import { once } from 'node:events'
import { connect } from 'node:tls'
import * as assert from 'uvu/assert'
import { Invites } from '../../../../bridges/xmpp/xeps/xep-0401-invites.ts'
import { xmppLimits } from '../../../../bridges/xmpp/limits.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { RawClient, streamHeader } from '../../../helpers/raw-xmpp-client.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'
import { ask, isPresence, befriend, refusal } from '../../../helpers/xmpp-asking.ts'
import { LoggedIn, xml } from '../../../helpers/xmpp-client.ts'
import type { LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/xeps/xep-0077-registration')

const strangers: RawClient[] = []
let house: XmppHouse
test.before(async () => {
  const any = { host: '127.0.0.1', port: 0 }
  house = await XmppHouse.open({ bridge: { listen: { clients: any, clientsTls: any } } })
})
test.after(async () => {
  for (const one of strangers) one.drop()
  await house.close()
})

async function stranger(): Promise<{ client: RawClient, features: string }> {
  const port = Number(house.bridge.addresses()['xmpps']!.split(':').at(-1))
  const socket = connect({ host: '127.0.0.1', port, servername: 'a.test', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const client = new RawClient(socket)
  strangers.push(client)
  client.say(streamHeader)
  return { client, features: await client.hears('</stream:features>') }
}

async function says(client: RawClient, type: string, payload: string): Promise<string> {
  client.say(`<iq type='${type}' id='r' to='a.test'>${payload}</iq>`)
  return await client.hears(/<\/iq>|<iq[^>]*\/>/)
}

const preauth = (token: string): string => `<preauth xmlns='urn:xmpp:pars:0' token='${token}'/>`
const query = (inside = ''): string => `<query xmlns='jabber:iq:register'>${inside}</query>`
const account = (name: string, password: string): string =>
  query(`<username>${name}</username><password>${password}</password>`)
const tokenOf = (uri: string): string => /preauth=([\w-]+)/.exec(uri)![1]!
const password = 'correct horse battery'

test('makes an account for who shows an invite, once, and for nobody else', async () => {
  const { client, features } = await stranger()
  assert.match(features, 'urn:xmpp:ibr-token:0')
  assert.not.match(features, 'http://jabber.org/features/iq-register')
  assert.match(await says(client, 'set', account('eve', password)), 'not-allowed')
  assert.match(await says(client, 'set', preauth('guessed')), 'item-not-found')
  const token = tokenOf((await house.bridge.invites.create()).uri)
  assert.match(await says(client, 'set', preauth(token)), /type=["']result/)
  assert.match(await says(client, 'get', query()), '<username')
  assert.match(await says(client, 'set', account('owner', password)), 'conflict')
  assert.match(await says(client, 'set', account('a b', password)), 'not-acceptable')
  assert.match(await says(client, 'set', account('carol', 'short')), 'not-acceptable')
  assert.match(await says(client, 'set', account('carol', password)), /type=["']result/)
  assert.match(await says(client, 'set', account('mallory', password)), 'not-allowed')
  assert.match(await says(client, 'set', preauth(token)), 'item-not-found')
  const carol = await LoggedIn.open({ jid: 'carol@a.test', password, port: house.port })
  await carol.close()
})

test('gives one account for an invite that two show at once, and no name but the invite\'s', async () => {
  const [one, two] = [await stranger(), await stranger()]
  const token = tokenOf((await house.bridge.invites.create()).uri)
  for (const { client } of [one, two]) await says(client, 'set', preauth(token))
  const answers = await Promise.all([
    says(one.client, 'set', account('dave', password)), says(two.client, 'set', account('erin', password)),
  ])
  assert.is(answers.filter((answer) => answer.includes('item-not-found')).length, 1)
  const named = await house.bridge.invites.create('frank')
  assert.match(named.uri, /^xmpp:frank@a\.test\?register;preauth=/)
  const { client } = await stranger()
  await says(client, 'set', preauth(tokenOf(named.uri)))
  assert.match(await says(client, 'set', account('grace', password)), 'not-acceptable')
  assert.match(await says(client, 'set', account('frank', password)), /type=["']result/)
})

test('an invite is good for a week, is kept as a hash, and there are not many', async () => {
  const [kv, clock] = [memoryKv(), new VirtualClock()]
  const invites = new Invites({ kv, clock, random: seededRandom('invites') }, { domain: 'a.test' })
  const token = tokenOf((await invites.create()).uri)
  assert.ok(Buffer.from(token, 'base64url').length >= 16)
  for (const { key } of await kv.list({ prefix: '', limit: 10 })) assert.not.match(key, token)
  await clock.advance(xmppLimits.inviteMs - 1)
  assert.ok(await invites.find(token) !== undefined)
  await clock.advance(1)
  assert.is(await invites.find(token), undefined)
  for (let i = 0; i < xmppLimits.invitesMax; i++) await invites.create()
  const full = await invites.create().then(() => 'made', (error: { code: string }) => error.code)
  assert.is(full, 'XMPP_INVITES_TOO_MANY')
})

const own = (...inside: LtxElement[]): LtxElement => xml('query', { xmlns: 'jabber:iq:register' }, ...inside)

test('changes the app password of the login that asks, and no other', async () => {
  const other = await house.password('heidi')
  const heidi = await house.login('heidi')
  const change = (username: string): Promise<LtxElement> =>
    ask(heidi, 'set', own(xml('username', {}, username), xml('password', {}, password)), 'a.test')
  assert.is(await refusal(change('bob')), 'not-allowed')
  await change('heidi')
  for (const one of [password, other]) {
    const session = await LoggedIn.open({ jid: 'heidi@a.test', password: one, port: house.port })
    await session.close()
  }
})

test('removes an account with all it kept and tells its contacts, but never that of the owner', async () => {
  const [ivan, judy] = [await house.login('ivan'), await house.login('judy')]
  const owner = await house.login('owner')
  await befriend(ivan, judy, ['ivan@a.test', 'judy@a.test'])
  await judy.say('ivan@a.test', 'to be forgotten')
  await ask(ivan, 'set', xml('vCard', { xmlns: 'vcard-temp' }, xml('FN', {}, 'Ivan')))
  assert.is(await refusal(ask(owner, 'set', own(xml('remove')))), 'not-allowed')
  const { id } = (await house.bridge.host.accounts.record('ivan'))!
  const over = new Promise<void>((resolve) => ivan.client.on('disconnect', resolve))
  await ask(ivan, 'set', own(xml('remove')))
  await over
  await judy.find(isPresence('ivan@a.test', 'unsubscribed'))
  assert.is(await house.bridge.host.accounts.record('ivan'), undefined)
  await house.bridge.host.stop()
  const left = (await house.kv.list({ prefix: '', limit: 10_000 })).filter(({ key }) => key.includes(id))
  assert.equal(left.map(({ key }) => key), [])
})

test.run()
