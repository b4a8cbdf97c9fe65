/**
 * What a room does with a store that is slow or full: nothing is told that is not kept, and what could
 * not be kept is not shown as if it were. And what it does with stanzas that mean no good.
 */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../../crypto/errors.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import type { KvOperation, KvStore } from '../../../../protocol/ports.ts'
import { mucNs } from '../../../../bridges/xmpp/muc/names.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { bodies, codes, condition, itemOf, roomJid, RoomPlay } from '../../../helpers/room-play.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('bridges/xmpp/muc/durable')
const [ann, bob] = ['ann@a.test/1', 'bob@a.test/1']

/** A store whose writes wait, or fail. */
class FaultyKv {
  readonly kv: KvStore
  gate: Promise<unknown> = Promise.resolve()
  isFull = false

  constructor() {
    const kept = memoryKv()
    this.kv = {
      get: (key) => kept.get(key),
      list: (range) => kept.list(range),
      expire: (nowMs, budget) => kept.expire(nowMs, budget),
      write: async (operations: readonly KvOperation[]) => {
        await this.gate
        if (this.isFull) throw new OpenIMError('STORE_FULL', 'the disk has no room')
        return await kept.write(operations)
      },
    }
  }
}

test('tells nobody what was said before it is kept, and keeps the order', async () => {
  const store = new FaultyKv()
  const play = await RoomPlay.open(store.kv)
  await play.made()
  play.stepMs = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  store.gate = promise
  const saying = [play.say(ann, 'one'), play.say(ann, 'two')]
  const asking = play.ask(ann, 'get', el(mucNs.ping, 'ping'))
  await play.clock.settle()
  assert.equal(play.taken().length, 0)
  resolve()
  await Promise.all([...saying, asking])
  assert.equal(bodies(play.taken(ann)), ['one', 'two'])
})

test('tells the sender when there is no room, and nobody hears it, then or later', async () => {
  const store = new FaultyKv()
  const play = await RoomPlay.open(store.kv)
  await play.made()
  await play.join(bob, 'Bob')
  play.taken()
  store.isFull = true
  await play.say(ann, 'lost')
  assert.is(condition(play.taken(ann)[0]), 'resource-constraint')
  assert.equal(play.taken(bob), [])
  store.isFull = false
  await play.say(ann, 'kept')
  assert.equal(bodies(await play.join('cat@a.test/1', 'Cat')), ['kept'])
})

test('starts anew from what is kept when a ban could not be (332): nothing is half done', async () => {
  const store = new FaultyKv()
  const play = await RoomPlay.open(store.kv)
  await play.made()
  await play.join(bob, 'Bob')
  play.taken()
  store.isFull = true
  assert.is(condition(await play.admin({ jid: 'bob@a.test', affiliation: 'outcast' })), 'resource-constraint')
  assert.is(codes(play.taken(ann)[0]).includes(332), true)
  store.isFull = false
  const [self] = (await play.join(ann, 'Ann')).filter((stanza) => codes(stanza).includes(110))
  assert.is(itemOf(self).affiliation, 'owner')
  assert.is(condition((await play.join(bob, 'Bob'))[0]), 'none')
})

for (const [who, others] of [['strangers', [bob, 'cat@b.test/1', 'b.test']], ['its owner', [ann]]] as const) {
  test(`takes 3,000 stanzas of chance from ${who} and answers with stanzas alone`, () => ofChance(others))
}

async function ofChance(people: readonly string[]): Promise<void> {
  const random = seededRandom(`hostile ${people[0]}`)
  const draw = <T>(from: readonly T[]): T => from[random.bytes(1)[0]! % from.length]!
  const spaces = [
    ...Object.values(mucNs), ns.client, ns.dataForm, ns.mam, ns.discoInfo, ns.delay, ns.stanzaIds,
  ]
  const names = ['x', 'query', 'item', 'invite', 'decline', 'destroy', 'history', 'apply-to', 'moderate',
    'retract', 'field', 'value', 'body', 'subject', 'occupant-id', 'error', 'status', 'set', 'max']
  const words = ['', '1', '-1', 'none', 'owner', 'outcast', 'submit', 'cancel', 'Ann', roomJid, 'ann@a.test',
    '@', 'muc#roomconfig_whois', 'FORM_TYPE', mucNs.request, '\u202e', 'x'.repeat(600), '2026-99-99']
  const attrs = ['jid', 'nick', 'role', 'affiliation', 'to', 'from', 'id', 'var', 'type', 'by', 'since']
  const made = (depth: number): XmlElement => el(draw(spaces), draw(names),
    Object.fromEntries(Array.from({ length: draw([0, 1, 2, 3]) }, () => [draw(attrs), draw(words)])),
    ...Array.from({ length: depth === 0 ? 0 : draw([0, 1, 2, 3]) }, () => made(depth - 1)),
    draw(words))
  const play = await RoomPlay.open()
  await play.made()
  const types = [undefined, 'get', 'set', 'result', 'error', 'groupchat', 'chat', 'unavailable', 'subscribe']
  const ends = [roomJid, `${roomJid}/Ann`, `${roomJid}/Bob`, 'rooms.a.test', 'new@rooms.a.test/Bob']
  for (let i = 0; i < 3_000; i++) {
    const from = draw(people)
    const stanza = el(ns.client, draw(['message', 'presence', 'iq']), {
      from, to: draw(ends), type: draw(types), id: draw(['a', undefined]),
    }, ...Array.from({ length: draw([0, 1, 1, 2]) }, () => made(3)))
    await play.send(stanza)
    for (const { name } of play.taken()) assert.ok(['message', 'presence', 'iq'].includes(name))
  }
  if (people.includes(ann)) return
  const own = el(mucNs.owner, 'query')
  assert.is((await play.ask(ann, 'get', own)).attrs.type, 'result', 'Ann owns it')
  assert.is(condition(await play.ask(bob, 'get', own)), 'forbidden')
}

test.run()
