/**
 * RFC 6121 between accounts of one server, and against somebody elsewhere who says what no client of
 * ours would: subscriptions, presence, priorities, and what is nobody else's business.
 */
import * as assert from 'uvu/assert'
import { xmppLimits } from '../../../bridges/xmpp/limits.ts'
import { el } from '../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../helpers/harness.ts'
import { ask, befriend, hasBody, isPresence, refusal, roster, settled } from '../../helpers/xmpp-asking.ts'
import { xml } from '../../helpers/xmpp-client.ts'
import type { LoggedIn, LtxElement } from '../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/rfc6121-scenes')

const houses: XmppHouse[] = []
test.after.each(async () => {
  for (const house of houses.splice(0)) await house.close()
})

async function open(): Promise<XmppHouse> {
  const house = await XmppHouse.open()
  houses.push(house)
  return house
}

/** Another domain, beside the server: says anything, and hears what is sent to it. */
function elsewhere(house: XmppHouse): { heard: XmlElement[], say(stanza: XmlElement): Promise<void> } {
  const heard: XmlElement[] = []
  house.bridge.host.addComponent({
    domain: 'else.test',
    receive: (stanza) => Promise.resolve(void heard.push(stanza)),
  })
  return { heard, say: (stanza) => house.bridge.host.fromRemote(stanza) }
}

const pushes = ({ stanzas }: LoggedIn): LtxElement[] => stanzas.filter((stanza) =>
  stanza.name === 'iq' && stanza.attrs['type'] === 'set'
  && stanza.getChild('query', 'jabber:iq:roster') !== undefined)

// ── Subscriptions ─────────────────────────────────────────────────────────────────────────────

test('one who was approved beforehand is answered at once, and nobody is asked (§3.4)', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  await bob.client.send(xml('presence', { to: 'alice@a.test', type: 'subscribed' }))
  const [approved] = await roster(bob)
  assert.equal(
    [approved!.attrs['jid'], approved!.attrs['subscription'], approved!.attrs['approved']],
    ['alice@a.test', 'none', 'true'],
  )
  await roster(alice)
  await alice.client.send(xml('presence', { to: 'bob@a.test', type: 'subscribe' }))
  await alice.find(isPresence('bob@a.test', 'subscribed'))
  await alice.find(isPresence('bob@a.test/'))
  await settled(bob)
  assert.not.ok(bob.stanzas.some(isPresence('alice@a.test', 'subscribe')))
  assert.is((await roster(bob))[0]!.attrs['subscription'], 'from')
})

test('a changed entry is told to devices that asked for the roster, and to no other (§2.1.6)', async () => {
  const house = await open()
  const [phone, laptop, mute] = [
    await house.login('alice', 'phone'), await house.login('alice', 'laptop'),
    await house.login('alice', 'mute'),
  ]
  for (const one of [phone, laptop]) await roster(one)
  const item = xml('item', { jid: 'bob@a.test', name: 'Bob' }, xml('group', {}, 'Friends'))
  await ask(phone, 'set', xml('query', { xmlns: 'jabber:iq:roster' }, item))
  for (const one of [phone, laptop, mute]) await settled(one)
  assert.equal([phone, laptop, mute].map((one) => pushes(one).length), [1, 1, 0])
  const pushed = pushes(laptop)[0]!.getChild('query')!
  assert.is(pushed.getChild('item')!.attrs['name'], 'Bob')
  assert.ok(pushed.attrs['ver'])
})

test('a push of somebody else is never handed on, and another roster is not read (row 36)', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  await roster(alice)
  const forged = (): LtxElement => xml('query', { xmlns: 'jabber:iq:roster' },
    xml('item', { jid: 'mallory@a.test', subscription: 'both' }))
  assert.is(await refusal(ask(bob, 'set', forged(), 'alice@a.test')), 'forbidden')
  assert.is(await refusal(ask(bob, 'set', forged(), alice.client.jid.toString())), 'service-unavailable')
  const read = ask(bob, 'get', xml('query', { xmlns: 'jabber:iq:roster' }), 'alice@a.test')
  assert.is(await refusal(read), 'forbidden')
  await settled(alice)
  assert.equal(pushes(alice), [])
  assert.equal(await roster(alice), [])
})

// ── Presence ──────────────────────────────────────────────────────────────────────────────────

test('a stranger who probes learns nothing but that there is no subscription (§4.3.2)', async () => {
  const house = await open()
  const other = elsewhere(house)
  const alice = await house.login('alice')
  await settled(alice)
  const probe = { from: 'eve@else.test', to: 'alice@a.test', type: 'probe' }
  await other.say(el(ns.client, 'presence', probe))
  await other.say(el(ns.client, 'presence', { ...probe, to: 'nobody@a.test' }))
  await settled(alice)
  const types = other.heard.map(({ attrs }) => [attrs.from, attrs.type])
  assert.equal(types, [['alice@a.test', 'unsubscribed'], ['nobody@a.test', 'unsubscribed']])
})

test('who was sent presence directly hears when the session is over (§4.6.3)', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  await alice.client.send(xml('presence', { to: 'bob@a.test' }))
  await bob.find(isPresence(alice.client.jid.toString()))
  const jid = alice.client.jid.toString()
  await alice.close()
  await bob.find(isPresence(jid, 'unavailable'))
})

test('a device of negative priority takes nothing for all; what waits comes when that changes', async () => {
  const house = await open()
  const [bot, bob] = [await house.login('alice', 'bot', { isAvailable: false }), await house.login('bob')]
  await bot.client.send(xml('presence', {}, xml('priority', {}, '-1')))
  await settled(bot)
  await bob.say('alice@a.test', 'for a person')
  await bob.say(bot.client.jid.toString(), 'for the bot')
  await bot.find(hasBody('for the bot'))
  assert.equal(bot.texts, ['for the bot'])
  await bot.client.send(xml('presence', {}, xml('priority', {}, '1')))
  await bot.find(hasBody('for a person'))
  await bot.client.send(xml('presence', {}, xml('priority', {}, '2')))
  await settled(bot)
  assert.equal(bot.texts, ['for the bot', 'for a person'])
})

// ── Blocking ──────────────────────────────────────────────────────────────────────────────────

test('who is blocked sees the account go, and nothing of it until they are let in again', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  await befriend(alice, bob, ['alice@a.test', 'bob@a.test'])
  await ask(alice, 'set', xml('block', { xmlns: 'urn:xmpp:blocking' }, xml('item', { jid: 'bob@a.test' })))
  await bob.find(isPresence('alice@a.test/', 'unavailable'))
  bob.stanzas.length = 0
  await alice.client.send(xml('presence', {}, xml('status', {}, 'still here')))
  await settled(alice)
  await settled(bob)
  assert.not.ok(bob.stanzas.some(isPresence('alice@a.test')), 'a change of presence')
  const ping = (): LtxElement => xml('ping', { xmlns: 'urn:xmpp:ping' })
  assert.is(await refusal(ask(bob, 'get', ping(), alice.client.jid.toString())), 'service-unavailable')
  assert.is(await refusal(ask(bob, 'get', ping(), 'alice@a.test')), 'service-unavailable')
  assert.is(await refusal(ask(alice, 'get', ping(), bob.client.jid.toString())), 'not-acceptable')
  await alice.client.send(xml('presence', { to: 'bob@a.test', id: 'direct' }))
  const refused = await alice.find(({ name, attrs }) => name === 'presence' && attrs['id'] === 'direct')
  assert.ok(refused.getChild('error')!.getChild('not-acceptable') !== undefined)
  await ask(alice, 'set', xml('unblock', { xmlns: 'urn:xmpp:blocking' }))
  await bob.find(isPresence('alice@a.test/'))
})

// ── What is nobody else's ─────────────────────────────────────────────────────────────────────

test('ids and delays that only we may give are taken off (row 33)', async () => {
  const house = await open()
  const other = elsewhere(house)
  const alice = await house.login('alice')
  await settled(alice)
  const forged = (by: string): XmlElement => el(ns.stanzaIds, 'stanza-id', { by, id: 'FORGED' })
  const delay = (from: string): XmlElement => el(ns.delay, 'delay', { from, stamp: '1999-01-01T00:00:00Z' })
  await other.say(el(
    ns.client, 'message', { from: 'eve@else.test/x', to: 'alice@a.test', type: 'chat' },
    el(ns.client, 'body', {}, 'hello'),
    forged('alice@a.test'), forged('alice@a.test'), forged('ALICE@A.test'), forged('a.test'),
    forged('else.test'), delay('a.test'), delay('alice@a.test'), delay('else.test'),
  ))
  const got = await alice.find(hasBody('hello'))
  const ids = got.getChildren('stanza-id').map(({ attrs }) => [attrs['by'], attrs['id'] === 'FORGED'])
  assert.equal(ids, [['else.test', true], ['alice@a.test', false]])
  assert.equal(got.getChildren('delay').map(({ attrs }) => attrs['from']), ['else.test'])
})

test('private XML of somebody else is neither read nor written (row 37)', async () => {
  const house = await open()
  await house.password('bob')
  const alice = await house.login('alice')
  const query = (): LtxElement =>
    xml('query', { xmlns: 'jabber:iq:private' }, xml('storage', { xmlns: 'storage:bookmarks' }))
  assert.is(await refusal(ask(alice, 'get', query(), 'bob@a.test')), 'forbidden')
  assert.is(await refusal(ask(alice, 'set', query(), 'bob@a.test')), 'forbidden')
})

test('personal nodes are bounded in number, and are their owner\'s to write (row 45)', async () => {
  const house = await open()
  await house.password('bob')
  const alice = await house.login('alice')
  const publish = (node: string, to?: string): Promise<LtxElement> => ask(alice, 'set', xml(
    'pubsub', { xmlns: 'http://jabber.org/protocol/pubsub' },
    xml('publish', { node }, xml('item', { id: 'a' }, xml('x', { xmlns: 'test:x' }))),
  ), to)
  for (let i = 0; i < xmppLimits.pepNodesMax; i++) await publish(`node ${i}`)
  assert.is(await refusal(publish('one more')), 'resource-constraint')
  await publish('node 0')
  assert.is(await refusal(publish('node', 'bob@a.test')), 'forbidden')
})

test.run()
