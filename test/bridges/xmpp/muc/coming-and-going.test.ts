/**
 * Rooms as their occupants see them come and go: who may come in, in what order they are told, under
 * which nicks, and with which status codes of XEP-0045.
 */
import * as assert from 'uvu/assert'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { mucNs } from '../../../../bridges/xmpp/muc/names.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { bodies, codes, condition, itemOf, roomJid, RoomPlay } from '../../../helpers/room-play.ts'

const test = suite('bridges/xmpp/muc/coming-and-going')
const [ann, bob, cat] = ['ann@a.test/1', 'bob@a.test/1', 'cat@b.test/1']
const from = (stanza: XmlElement | undefined): string | undefined => stanza?.attrs.from
const password = (text: string): XmlElement => el(mucNs.muc, 'password', {}, text)

test('makes a room for the first who comes (201), shut to others until it is configured', async () => {
  const play = await RoomPlay.open()
  const came = await play.join(ann, 'Ann')
  assert.equal(came.map(({ name }) => name), ['presence', 'message'])
  assert.equal(codes(came[0]).sort(), [110, 170, 201])
  assert.equal([itemOf(came[0]).affiliation, itemOf(came[0]).role], ['owner', 'moderator'])
  assert.is(came[1]!.childText('subject'), '')
  assert.is(condition((await play.join(bob, 'Bob'))[0]), 'item-not-found')
  await play.configure({})
  assert.equal(codes((await play.join(bob, 'Bob')).at(-2)), [110, 170].reverse())
})

test('leaves no room behind whose maker did not get in', async () => {
  const play = await RoomPlay.open()
  assert.is(condition((await play.join(ann, '\u200b'))[0]), 'not-acceptable')
  const [made] = await play.join(bob, 'Bob')
  assert.equal([codes(made).includes(201), itemOf(made).affiliation], [true, 'owner'])
})

test('lets people of other domains in, and refuses them a room of their own', async () => {
  const play = await RoomPlay.open()
  assert.is(condition((await play.join(cat, 'Cat'))[0]), 'not-allowed')
  await play.made()
  assert.is((await play.join(cat, 'Cat')).length, 3)
})

test('tells who comes in of everybody, then of themselves (110), then what was said', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(bob, 'Bob')
  await play.say(ann, 'one')
  await play.say(bob, 'two')
  const came = await play.join(cat, 'Cat')
  assert.equal(came.map((stanza) => `${stanza.name} ${from(stanza)}`), [
    `presence ${roomJid}/Ann`, `presence ${roomJid}/Bob`, `presence ${roomJid}/Cat`,
    `message ${roomJid}/Ann`, `message ${roomJid}/Bob`, `message ${roomJid}`,
  ])
  assert.equal(codes(came[2]).includes(110), true)
  assert.equal(bodies(came), ['one', 'two'])
  assert.is(came[3]!.child('delay', ns.delay)!.attrs.from, roomJid)
  assert.is(came[5]!.child('subject') !== undefined, true)
  assert.equal(play.taken(ann).filter(({ name }) => name === 'presence').map(from),
    [`${roomJid}/Bob`, `${roomJid}/Cat`])
})

test('gives as much of what was said as is asked for', async () => {
  const play = await RoomPlay.open()
  await play.made()
  for (let i = 0; i < 5; i++) await play.say(ann, `text ${i}`)
  const asked = async (attrs: Readonly<Record<string, string>>): Promise<string[]> => {
    const came = bodies(await play.join(bob, 'Bob', el(mucNs.muc, 'history', attrs)))
    await play.leave(bob, 'Bob')
    return came
  }
  assert.equal(await asked({ maxstanzas: '2' }), ['text 3', 'text 4'])
  assert.equal(await asked({ maxstanzas: '0' }), [])
  assert.equal(await asked({ maxchars: '6' }), ['text 4'])
  assert.equal(await asked({ seconds: '1' }), [])
  assert.is((await asked({ since: '2000-01-01T00:00:00Z' })).length, 5)
})

test('shows real addresses to moderators alone, or to everybody (100)', async () => {
  const play = await RoomPlay.open()
  await play.made()
  const seen = await play.join(bob, 'Bob')
  assert.is(itemOf(seen[0]).jid, undefined, 'of Ann')
  assert.is(itemOf(play.taken(ann).at(-1)).jid, bob, 'to Ann')
  assert.is(condition(await play.configure({ whois: 'anyone' })), 'none')
  assert.equal(codes(play.taken(bob).at(-1)), [172])
  const came = await play.join(cat, 'Cat')
  assert.is(itemOf(came[0]).jid, ann)
  assert.is(codes(came[2]).includes(100), true)
  await play.configure({ whois: 'moderators', enablearchiving: '0' })
  assert.equal(codes(play.taken(bob).at(-1)), [171, 173])
  await play.configure({ roomname: 'Tea' })
  assert.equal(codes(play.taken(bob).at(-1)), [104])
})

test('asks for a password where there is one', async () => {
  const play = await RoomPlay.open()
  await play.made({ passwordprotectedroom: '1', roomsecret: 'earl grey' })
  assert.is(condition((await play.join(bob, 'Bob'))[0]), 'not-authorized')
  assert.is(condition((await play.join(bob, 'Bob', password('oolong')))[0]), 'not-authorized')
  assert.is(condition((await play.join(bob, 'Bob', password('earl grey')))[0]), 'none')
})

test('lets members alone into a room for members, and puts out who is none (321, 322)', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(bob, 'Bob')
  await play.join(cat, 'Cat')
  await play.admin({ jid: 'cat@b.test', affiliation: 'member' })
  play.taken()
  await play.configure({ membersonly: '1' })
  const out = play.taken(bob)[0]
  assert.equal([from(out), codes(out), itemOf(out).role], [`${roomJid}/Bob`, [322, 110], 'none'])
  assert.is(condition((await play.join(bob, 'Bob'))[0]), 'registration-required')
  play.taken()
  await play.admin({ jid: 'cat@b.test', affiliation: 'none' })
  assert.equal(codes(play.taken(cat)[0]), [321, 110])
})

test('refuses a nick that somebody has, in any case or width, and mends others (210)', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(bob, 'Straße')
  for (const nick of ['Ann', 'aNN', 'Ａｎｎ', 'STRASSE', ' Ann ']) {
    assert.is(condition((await play.join(cat, nick))[0]), 'conflict', nick)
  }
  for (const nick of ['\u200b', 'Ann\u202e', 'a'.repeat(200)]) {
    assert.is(condition((await play.join(cat, nick))[0]), 'not-acceptable', JSON.stringify(nick))
  }
  const came = await play.join(cat, 'Cat   of B')
  assert.is(from(came[2]), `${roomJid}/Cat of B`)
  assert.is(codes(came[2]).includes(210), true)
})

test('tells a new nick to everybody (303)', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(bob, 'Bob')
  play.taken()
  const presence = (to: string): XmlElement =>
    el(ns.client, 'presence', { from: bob, to: `${roomJid}/${to}` })
  await play.send(presence('Rob'))
  const [away, here] = play.taken(ann)
  assert.equal([from(away), codes(away), itemOf(away).nick], [`${roomJid}/Bob`, [303], 'Rob'])
  assert.equal([from(here), here!.attrs.type], [`${roomJid}/Rob`, undefined])
  assert.equal(play.taken(bob).map(codes), [[303, 110], [110]])
  await play.send(presence('ann'))
  assert.is(condition(play.taken(bob)[0]), 'conflict')
})

test('has several devices of one person under one nick, who leave one by one', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(bob, 'Bob')
  const came = await play.join('bob@a.test/2', 'Bob')
  assert.equal(came.map(from), [`${roomJid}/Ann`, `${roomJid}/Bob`, roomJid])
  play.taken()
  await play.say(ann, 'both')
  assert.equal([bob, 'bob@a.test/2'].map((to) => bodies(play.taken(to))), [['both'], ['both']])
  await play.leave(bob, 'Bob')
  assert.is(play.taken(bob)[0]!.attrs.type, 'unavailable')
  assert.equal(play.taken(ann).slice(-1).map((stanza) => [from(stanza), stanza.attrs.type]),
    [[`${roomJid}/Bob`, undefined]], 'as the other device shows itself')
  await play.leave('bob@a.test/2', 'Bob')
  assert.is(play.taken(ann).some(({ attrs }) => attrs.type === 'unavailable'), true)
})

test('forgets whose stanzas come back (333), and says so to who is in the room', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(cat, 'Cat')
  play.taken()
  const error = el(ns.client, 'error', { type: 'cancel' }, el(ns.stanzaErrors, 'remote-server-not-found'))
  await play.send(
    el(ns.client, 'message', { type: 'error', from: cat, to: `${roomJid}/Ann` }, error),
  )
  const told = play.taken(ann)
  assert.equal([told.length, from(told[0]), told[0]!.attrs.type, codes(told[0])],
    [1, `${roomJid}/Cat`, 'unavailable', [333]])
})

test('answers a ping to one\'s own nick, and says who is not in the room (XEP-0410)', async () => {
  const play = await RoomPlay.open()
  await play.made()
  const ping = el(mucNs.ping, 'ping')
  assert.is((await play.ask(ann, 'get', ping, `${roomJid}/Ann`)).attrs.type, 'result')
  assert.is(condition(await play.ask(bob, 'get', ping, `${roomJid}/Ann`)), 'not-acceptable')
  await play.join(bob, 'Bob')
  await play.send(el(ns.client, 'iq', { type: 'get', id: 'p', from: bob, to: `${roomJid}/Ann` }, ping))
  assert.is(play.taken(bob).length, 0, 'Ann herself answers others')
  assert.is(play.taken(ann).at(-1)!.attrs.from, `${roomJid}/Bob`)
})

test('gives everybody an id of their own that nobody forges (XEP-0421)', async () => {
  const play = await RoomPlay.open()
  await play.made()
  await play.join(bob, 'Bob')
  play.taken()
  const forged = el(mucNs.occupantId, 'occupant-id', { id: 'forged' })
  const stanzaId = el(ns.stanzaIds, 'stanza-id', { by: roomJid, id: 'forged' })
  await play.say(bob, 'one', forged, forged, stanzaId, stanzaId)
  const [heard] = play.taken(ann)
  const [id, ...more] = heard!.elements('occupant-id', mucNs.occupantId)
  assert.is(more.length, 0)
  assert.match(id!.attrs.id!, /^[0-9a-f]{40}$/)
  assert.is(heard!.elements('stanza-id', ns.stanzaIds).length, 1)
  assert.is.not(heard!.child('stanza-id', ns.stanzaIds)!.attrs.id, 'forged')
  await play.leave(bob, 'Bob')
  const [, again] = await play.join('bob@a.test/other', 'Robert')
  assert.is(again!.child('occupant-id', mucNs.occupantId)!.attrs.id, id!.attrs.id)
})

test('tells everybody when the service stops (332), and is there again with what it kept', async () => {
  const kv = memoryKv()
  const play = await RoomPlay.open(kv)
  await play.made({ roomname: 'Tea', membersonly: '1' })
  await play.admin({ jid: 'bob@a.test', affiliation: 'admin' })
  await play.say(ann, 'before')
  await play.send(el(ns.client, 'message', { from: ann, to: roomJid, type: 'groupchat' },
    el(ns.client, 'subject', {}, 'green or black')))
  play.taken()
  await play.component.stop()
  assert.equal(codes(play.taken(ann)[0]), [332, 110])
  const later = await RoomPlay.open(kv)
  const came = await later.join(bob, 'Bob')
  assert.equal(came.map(({ name }) => name), ['presence', 'message', 'message'])
  assert.is(itemOf(came[0]).affiliation, 'admin')
  assert.equal([bodies(came), came[2]!.childText('subject')], [['before'], 'green or black'])
  assert.is(condition((await later.join(cat, 'Cat')).at(-1)), 'registration-required')
})

test('ends a temporary room with its last occupant, and nothing of it is left', async () => {
  const kv = memoryKv()
  const play = await RoomPlay.open(kv)
  await play.made({ persistentroom: '0' })
  await play.say(ann, 'gone')
  assert.is((await kv.list({ prefix: 'muc/' })).length, 1)
  await play.leave(ann, 'Ann')
  await play.clock.settle()
  for (const prefix of ['muc/', 'mam/', 'mam-with/']) {
    assert.equal((await kv.list({ prefix })).map(({ key }) => key), [], prefix)
  }
})

test('lets nobody come and go in a storm, nor speak without end; who leaves always may', async () => {
  const play = await RoomPlay.open()
  await play.made()
  play.stepMs = 0
  const refusals: string[] = []
  for (let i = 0; i < 40; i++) {
    refusals.push(condition((await play.join(bob, 'Bob')).at(-1)))
    await play.leave(bob, 'Bob')
  }
  assert.is(refusals.filter((one) => one === 'none').length, 20)
  assert.is(refusals.at(-1), 'resource-constraint')
  play.taken()
  for (let i = 0; i < 200; i++) await play.say(ann, `text ${i}`)
  const came = play.taken(ann)
  // Configuring the room was the first of a hundred.
  assert.is(bodies(came).length, 99)
  assert.is(condition(came.at(-1)), 'resource-constraint')
})

test.run()
