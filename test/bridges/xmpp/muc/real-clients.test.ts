/**
 * Rooms with clients that nobody here wrote, over the whole server: found, made, joined, talked in,
 * read later, told when the server stops.
 */
import * as assert from 'uvu/assert'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { ask, hasBody, isPresence } from '../../../helpers/xmpp-asking.ts'
import { xml } from '../../../helpers/xmpp-client.ts'
import type { LoggedIn, LtxElement } from '../../../helpers/xmpp-client.ts'
import { XmppHouse } from '../../../helpers/xmpp-house.ts'

const test = suite('bridges/xmpp/muc/real-clients', { timeoutMs: 60_000 })
const room = 'tea@rooms.a.test'

const houses: XmppHouse[] = []
test.after.each(async () => {
  for (const house of houses.splice(0)) await house.close()
})

async function open(kv = memoryKv()): Promise<XmppHouse> {
  const house = await XmppHouse.open({ kv })
  houses.push(house)
  return house
}

async function join(session: LoggedIn, nick: string): Promise<LtxElement> {
  await session.client.send(xml('presence', { to: `${room}/${nick}` },
    xml('x', { xmlns: 'http://jabber.org/protocol/muc' })))
  return await session.find((stanza) => stanza.name === 'presence' && status(stanza, '110'))
}

function status(stanza: LtxElement, code: string): boolean {
  const x = stanza.getChild('x', 'http://jabber.org/protocol/muc#user')
  return x?.getChildren('status').some(({ attrs }) => attrs['code'] === code) === true
}

async function unlock(session: LoggedIn): Promise<void> {
  await ask(session, 'set', xml('query', { xmlns: 'http://jabber.org/protocol/muc#owner' },
    xml('x', { xmlns: 'jabber:x:data', type: 'submit' })), room)
}

async function say(session: LoggedIn, text: string): Promise<void> {
  await session.client.send(xml('message', { to: room, type: 'groupchat', id: text }, xml('body', {}, text)))
}

test('two clients find the service, meet in a room and talk; who goes offline has left', async () => {
  const house = await open()
  const [alice, bob] = [await house.login('alice'), await house.login('bob')]
  const query = xml('query', { xmlns: 'http://jabber.org/protocol/disco#items' })
  const items = await ask(alice, 'get', query, 'a.test')
  assert.ok(items.getChild('query')!.getChildren('item').some(({ attrs }) => attrs['jid'] === 'rooms.a.test'))
  assert.is(status(await join(alice, 'Alice'), '201'), true)
  await unlock(alice)
  await join(bob, 'Bob')
  await alice.find(isPresence(`${room}/Bob`))
  for (let i = 0; i < 20; i++) await say(i % 2 === 0 ? alice : bob, `text ${i}`)
  for (const one of [alice, bob]) {
    await Promise.all([18, 19].map((i) => one.find(hasBody(`text ${i}`))))
    assert.equal([...one.texts].sort(), Array.from({ length: 20 }, (_, i) => `text ${i}`).sort())
  }
  const nicks = (session: LoggedIn): (string | undefined)[] =>
    session.stanzas.filter((one) => one.getChildText('body') !== null).map(({ attrs }) => attrs['id'])
  assert.equal(nicks(alice), nicks(bob), 'in one order')
  await bob.close()
  await alice.find(isPresence(`${room}/Bob`, 'unavailable'))
})

test('a room outlives its server: occupants are told (332), come back and read what was said', async () => {
  const kv = memoryKv()
  const house = await open(kv)
  const alice = await house.login('alice')
  await join(alice, 'Alice')
  await unlock(alice)
  await say(alice, 'before')
  await alice.find(hasBody('before'))
  const told = alice.find((stanza) => stanza.attrs['type'] === 'unavailable' && status(stanza, '332'))
  await Promise.all([told, house.bridge.stop()])
  const again = await (await open(kv)).login('bob')
  assert.is(status(await join(again, 'Bob'), '201'), false)
  await again.find(hasBody('before'))
  await ask(again, 'set', xml('query', { xmlns: 'urn:xmpp:mam:2' }), room)
  const results = again.stanzas.filter((stanza) => stanza.getChild('result') !== undefined)
  assert.equal(results.map((one) => one.getChild('result')!.getChild('forwarded')!.getChild('message')!
    .getChildText('body')), ['before'])
})

test.run()
