/**
 * The whole server of a domain with clients that nobody here wrote: roster, presence, messages on
 * every device, the archive, personal nodes.
 */
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { ask, befriend, isPresence, refusal } from '../../helpers/xmpp-asking.ts'
import { xml } from '../../helpers/xmpp-client.ts'
import type { LtxElement } from '../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/xmpp-bridge', { timeoutMs: 60_000 })

const houses: XmppHouse[] = []
test.after.each(async () => {
  for (const house of houses.splice(0)) await house.close()
})

async function open(): Promise<XmppHouse> {
  const house = await XmppHouse.open()
  houses.push(house)
  return house
}

test('two accounts subscribe, see each other come and go, and have each other in the roster', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  await befriend(alice, bob, ['alice@a.test', 'bob@a.test'])
  const roster = await ask(alice, 'get', xml('query', { xmlns: 'jabber:iq:roster' }))
  const [item] = roster.getChild('query')!.getChildren('item')
  assert.equal([item!.attrs['jid'], item!.attrs['subscription']], ['bob@a.test', 'both'])
  const version = roster.getChild('query')!.attrs['ver']!
  const same = await ask(alice, 'get', xml('query', { xmlns: 'jabber:iq:roster', ver: version }))
  assert.is(same.getChild('query'), undefined, 'nothing new')
  await bob.close()
  await alice.find(isPresence('bob@a.test/', 'unavailable'))
})

test('answers to a subscription that a client sends in one breath add up', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  for (const session of [alice, bob]) await ask(session, 'get', xml('query', { xmlns: 'jabber:iq:roster' }))
  await alice.client.send(xml('presence', { to: 'bob@a.test', type: 'subscribe' }))
  await bob.find(isPresence('alice@a.test', 'subscribe'))
  await Promise.all(['subscribed', 'subscribe'].map(
    (type) => bob.client.send(xml('presence', { to: 'alice@a.test', type })),
  ))
  await alice.find(isPresence('bob@a.test', 'subscribe'))
  const roster = await ask(bob, 'get', xml('query', { xmlns: 'jabber:iq:roster' }))
  const [item] = roster.getChild('query')!.getChildren('item')
  assert.equal([item!.attrs['subscription'], item!.attrs['ask']], ['from', 'subscribe'])
})

test('a message reaches every device of both, once', async () => {
  const house = await open()
  const phone = await house.login('alice', 'phone')
  const laptop = await house.login('alice', 'laptop')
  const bob = await house.login('bob')
  for (const session of [phone, laptop, bob]) await ask(
    session, 'set', xml('enable', { xmlns: 'urn:xmpp:carbons:2' }),
  )
  await bob.say('alice@a.test', 'to all of you')
  await Promise.all(
    [phone, laptop].map((one) => one.find((stanza) => stanza.getChildText('body') === 'to all of you')),
  )
  await phone.say('bob@a.test', 'from the phone')
  await bob.find((stanza) => stanza.getChildText('body') === 'from the phone')
  const copy = await laptop.find((stanza) => stanza.getChild('sent') !== undefined)
  assert.is(copy.attrs['from'], 'alice@a.test')
  const inner = copy.getChild('sent')!.getChild('forwarded')!.getChild('message')!
  assert.equal([inner.attrs['to'], inner.getChildText('body')], ['bob@a.test', 'from the phone'])
  assert.equal(
    [phone.texts, laptop.texts, bob.texts], [['to all of you'], ['to all of you'], ['from the phone']],
  )
})

test('what was written to somebody who is away waits, and is handed over once', async () => {
  const house = await open()
  const alice = await house.login('alice')
  await house.password('bob')
  for (let i = 0; i < 20; i++) await alice.say('bob@a.test', `text ${i}`)
  await ask(alice, 'get', xml('ping', { xmlns: 'urn:xmpp:ping' }))
  const bob = await house.login('bob')
  const last = await bob.find((stanza) => stanza.getChildText('body') === 'text 19')
  assert.equal(bob.texts, Array.from({ length: 20 }, (_, i) => `text ${i}`))
  assert.ok(last.getChild('delay')!.attrs['stamp']!.startsWith('20'))
  assert.is(last.getChild('stanza-id')!.attrs['by'], 'bob@a.test')
  await bob.close()
  const again = await house.login('bob')
  await ask(again, 'get', xml('ping', { xmlns: 'urn:xmpp:ping' }))
  assert.equal(again.texts, [])
})

test('the archive gives everything back, in pages and by partner, to its owner alone', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  for (let i = 0; i < 5; i++) await alice.say('bob@a.test', `text ${i}`)
  await bob.find((stanza) => stanza.getChildText('body') === 'text 4')
  await bob.say('alice@a.test', 'answer')
  await alice.find((stanza) => stanza.getChildText('body') === 'answer')
  const page = async (...inside: LtxElement[]): Promise<{ fin: LtxElement, texts: (string | null)[] }> => {
    alice.stanzas.length = 0
    const answer = await ask(alice, 'set', xml('query', { xmlns: 'urn:xmpp:mam:2', queryid: 'q' }, ...inside))
    const results = alice.stanzas.filter((stanza) => stanza.getChild('result') !== undefined)
    const texts = results.map((stanza) =>
      stanza.getChild('result')!.getChild('forwarded')!.getChild('message')!.getChildText('body'))
    return { fin: answer.getChild('fin')!, texts }
  }
  const set = (...inside: LtxElement[]): LtxElement => xml(
    'set', { xmlns: 'http://jabber.org/protocol/rsm' }, ...inside,
  )
  const first = await page(set(xml('max', {}, '4')))
  assert.equal(first.texts, ['text 0', 'text 1', 'text 2', 'text 3'])
  assert.is(first.fin.attrs['complete'], undefined)
  const after = first.fin.getChild('set')!.getChildText('last')!
  const second = await page(set(xml('max', {}, '4'), xml('after', {}, after)))
  assert.equal(second.texts, ['text 4', 'answer'])
  assert.is(second.fin.attrs['complete'], 'true')
  const last = await page(set(xml('max', {}, '1'), xml('before', {}, '')))
  assert.equal(last.texts, ['answer'])
  const foreign = ask(alice, 'set', xml('query', { xmlns: 'urn:xmpp:mam:2' }), 'bob@a.test')
  assert.is(await refusal(foreign), 'forbidden')
})

test('OMEMO has what it needs: published lists and bundles, open to contacts, with events', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  const node = 'eu.siacs.conversations.axolotl.devicelist'
  const options = xml('publish-options', {}, xml('x', { xmlns: 'jabber:x:data', type: 'submit' },
    ...[['FORM_TYPE', 'http://jabber.org/protocol/pubsub#publish-options'], ['pubsub#access_model', 'open'],
      ['pubsub#persist_items', 'true'], ['pubsub#max_items', 'max']].map(([name, value]) =>
      xml('field', { var: name }, xml('value', {}, value!)))))
  const list = xml('list', { xmlns: 'eu.siacs.conversations.axolotl' }, xml('device', { id: '12345' }))
  const published = await ask(alice, 'set', xml('pubsub', { xmlns: 'http://jabber.org/protocol/pubsub' },
    xml('publish', { node }, xml('item', { id: 'current' }, list)), options))
  assert.is(published.getChild('pubsub')!.getChild('publish')!.getChild('item')!.attrs['id'], 'current')
  const items = xml('pubsub', { xmlns: 'http://jabber.org/protocol/pubsub' }, xml('items', { node }))
  const got = await ask(bob, 'get', items, 'alice@a.test')
  const item = got.getChild('pubsub')!.getChild('items')!.getChild('item')!
  assert.is(item.getChild('list')!.getChild('device')!.attrs['id'], '12345')
})

test('a blocked address is neither heard nor told', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  await ask(alice, 'set', xml('block', { xmlns: 'urn:xmpp:blocking' }, xml('item', { jid: 'bob@a.test' })))
  await bob.say('alice@a.test', 'are you there?')
  const bounce = await bob.find(({ attrs }) => attrs['type'] === 'error')
  assert.ok(bounce.getChild('error')!.getChild('service-unavailable') !== undefined)
  assert.equal(alice.texts, [])
  await ask(alice, 'set', xml('unblock', { xmlns: 'urn:xmpp:blocking' }))
  await bob.say('alice@a.test', 'and now?')
  await alice.find((stanza) => stanza.getChildText('body') === 'and now?')
})

test('addresses that are blocked in one breath are all blocked', async () => {
  const house = await open()
  const alice = await house.login('alice')
  const jids = Array.from({ length: 5 }, (_, i) => `bob${i}@a.test`)
  await Promise.all(jids.map((jid) =>
    ask(alice, 'set', xml('block', { xmlns: 'urn:xmpp:blocking' }, xml('item', { jid })))))
  const answer = await ask(alice, 'get', xml('blocklist', { xmlns: 'urn:xmpp:blocking' }))
  const blocked = answer.getChild('blocklist')!.getChildren('item').map(({ attrs }) => attrs['jid'])
  assert.equal(blocked, jids)
})

test('service discovery offers what is there', async () => {
  const house = await open()
  const alice = await house.login('alice')
  const info = await ask(
    alice, 'get', xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' }), 'a.test',
  )
  const features = info.getChild('query')!.getChildren('feature').map(({ attrs }) => attrs['var'])
  const offered = ['urn:xmpp:carbons:2', 'urn:xmpp:blocking', 'urn:xmpp:ping', 'msgoffline', 'vcard-temp']
  for (const one of offered) {
    assert.ok(features.includes(one), one)
  }
  const own = await ask(
    alice, 'get', xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' }), 'alice@a.test',
  )
  const account = own.getChild('query')!.getChildren('feature').map(({ attrs }) => attrs['var'])
  assert.ok(
    account.includes('urn:xmpp:mam:2') && account.includes(
      'http://jabber.org/protocol/pubsub#publish-options',
    )
  )
})

test.run()
