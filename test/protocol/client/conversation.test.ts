/** What people see: order, gaps, history, reading positions, receipts, many at once. */
import * as assert from 'uvu/assert'
import { Client } from '../../../protocol/client/client.ts'
import { limits } from '../../../protocol/limits.ts'
import { parseEnvelope } from '../../../protocol/envelope.ts'
import type { EnvelopeId, MessageId } from '../../../protocol/ids.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/conversation')

/** Keeps every `nth` submitted text of a person from its receiver until called. */
function keepBack(from: Person, to: Person, count: number): () => void {
  const kept = new Set<EnvelopeId>()
  let isOver = false
  to.node.withholds = (bytes) => {
    const parsed = parseEnvelope(bytes)
    if (isOver || !parsed.ok || !from.node.outgoing.has(parsed.value.id)) return false
    if (kept.size < count) kept.add(parsed.value.id)
    return kept.has(parsed.value.id)
  }
  return () => {
    isOver = true
    to.node.session!.reset()
  }
}

async function say(world: World, from: Person, texts: readonly string[]): Promise<MessageId[]> {
  const to = await from.only()
  const ids: MessageId[] = []
  for (const text of texts) {
    ids.push((await world.run(from.client.send(to.name, text))).id)
    await world.clock.advance(200)
  }
  return ids
}

test('holds a text until the one before it is there', async () => {
  const world = new World('hold')
  const [alice, bob] = await world.pair()
  await world.clock.advance(3_000)
  const letGo = keepBack(alice, bob, 1)
  await say(world, alice, ['one', 'two', 'three'])
  await world.clock.advance(10_000)
  assert.equal(await bob.incoming(), [])
  assert.is(bob.events.filter((event) => event.type === 'message').length, 0)
  letGo()
  await world.until(async () => (await bob.incoming()).length === 3)
  const entries = await bob.incoming()
  assert.equal(
    entries.map(({ text, afterGap }) => [text, afterGap]),
    [['one', undefined], ['two', undefined], ['three', undefined]],
  )
  const told = bob.events.flatMap((event) => (event.type === 'message' ? [event.entry.cursor] : []))
  assert.equal(told, entries.map(({ cursor }) => cursor))
  await world.end()
})

test('shows held texts after a minute, marked, after a restart too, and the late one later', async () => {
  const world = new World('gap')
  const [alice, bob] = await world.pair()
  await world.clock.advance(3_000)
  const letGo = keepBack(alice, bob, 1)
  await say(world, alice, ['one', 'two', 'three'])
  await world.clock.advance(10_000)
  bob.crash()
  await world.clock.advance(1_000)
  await world.run(bob.recover())
  await world.clock.advance(30_000)
  assert.equal(await bob.incoming(), [])
  await world.clock.advance(limits.gapWaitMs)
  const shown = (await bob.incoming()).map(({ text, afterGap }) => [text, afterGap])
  assert.equal(shown, [['two', true], ['three', undefined]])
  letGo()
  await world.until(async () => (await bob.incoming()).length === 3)
  assert.is((await bob.incoming())[2]?.text, 'one')
  await say(world, alice, ['four'])
  await world.until(async () => (await bob.incoming()).length === 4)
  assert.is((await bob.incoming())[3]?.afterGap, undefined)
  await world.end()
})

test('pages through a long history both ways, by contact and by direction', async () => {
  const world = new World('history')
  const [alice, bob] = await world.pair()
  const many = Array.from({ length: 600 }, (_, i) => `text ${i}`)
  await world.run(Promise.all(many.map((text) => alice.client.send('Bob', text))))
  await say(world, bob, ['answer'])
  await world.until(async () => (await bob.client.history({ limit: 1_000 })).length === 601)
  const all = await bob.client.history({})
  assert.is(all.length, 601)
  assert.ok(all.every((entry, i) => i === 0 || entry.cursor > all[i - 1]!.cursor), 'cursors grow')
  const middle = all[299]!.cursor
  const after = await bob.client.history({ after: middle, limit: 10, contact: 'Alice', direction: 'in' })
  assert.is(after.length, 10)
  assert.ok(after.every((entry) => entry.cursor > middle && entry.direction === 'in'))
  const before = await bob.client.history({ after: middle, limit: 10, reverse: true })
  assert.equal(
    before.map(({ cursor }) => cursor),
    all.slice(289, 299).reverse().map(({ cursor }) => cursor),
  )
  assert.equal(
    (await bob.client.history({ direction: 'out', contact: 'Alice' })).map(({ text }) => text),
    ['answer'],
  )
  assert.is((await bob.client.history({ direction: 'out' }))[0]?.status?.state !== undefined, true)
  await world.end()
})

test('keeps named reading positions', async () => {
  const world = new World('cursors')
  const bob = await world.person('Bob')
  assert.is(await bob.client.cursor('cli'), 0)
  await world.run(bob.client.setCursor('cli', 41))
  bob.crash()
  await world.run(bob.recover())
  assert.is(await bob.client.cursor('cli'), 41)
  for (const [name, position] of [['', 1], ['x'.repeat(65), 1], ['cli', -1], ['cli', 1.5]] as const) {
    const code = await bob.client.setCursor(name, position).catch((error: { code: string }) => error.code)
    assert.match(String(code), /^CURSOR_/)
  }
  await world.end()
})

test('tells what was read, once, however many there are', async () => {
  const world = new World('read')
  const [alice, bob] = await world.pair()
  const ids = await world.run(
    Promise.all(Array.from({ length: 300 }, async (_, i) => (await alice.client.send('Bob', `${i}`)).id)),
  )
  await world.until(async () => (await bob.incoming()).length === 300)
  const entries = await bob.incoming()
  await world.run(bob.client.markRead('Alice', entries[149]!.cursor))
  await world.run(alice.client.waitFor(ids[149]!, 'read'))
  await world.clock.advance(3_000)
  const states = await Promise.all(ids.map(async (id) => (await alice.client.status(id))?.state))
  assert.is(states.filter((state) => state === 'read').length, 150)
  assert.is(states.filter((state) => state === 'delivered').length, 150)
  await world.run(bob.client.markRead('Alice', entries.at(-1)!.cursor))
  await world.run(alice.client.waitFor(ids.at(-1)!, 'read'))
  await world.end()
})

test('bundles receipts: one envelope for many texts', async () => {
  const world = new World('bundles')
  const [alice, bob] = await world.pair()
  await world.clock.advance(2_000)
  const before = bob.node.heard.filter((frame) => frame.type === 'submit').length
  await world.run(Promise.all(Array.from({ length: 200 }, (_, i) => alice.client.send('Bob', `${i}`))))
  await world.until(async () => (await alice.client.info()).outbox === 0)
  const receipts = bob.node.heard.filter((frame) => frame.type === 'submit').length - before
  assert.ok(receipts <= 20, `${receipts} envelopes of receipts`)
  await world.end()
})

test('refuses what cannot be sent', async () => {
  const world = new World('bounds')
  const [alice] = await world.pair()
  const codes = await Promise.all(['', 'é'.repeat(limits.textBytesMax / 2 + 1)].map((text) =>
    alice.client.send('Bob', text).catch((error: { code: string }) => error.code)))
  assert.equal(codes, ['TEXT_EMPTY', 'TEXT_TOO_LONG'])
  await world.run(alice.client.send('Bob', 'é'.repeat(limits.textBytesMax / 2)))
  await world.end()
  assert.is(
    await alice.client.send('Bob', 'late').catch((error: { code: string }) => error.code),
    'CLIENT_STOPPED',
  )
})

test('stops twice, opens without an account with a clear refusal, and makes no second one', async () => {
  const world = new World('lifecycle')
  const bob = await world.person('Bob')
  await world.run(bob.client.stop())
  await world.run(bob.client.stop())
  assert.is((await bob.client.info()).online, false)
  const { kv } = bob.store
  const { clock, network: { random } } = world
  const again = await world.run(Client.create({ kv, clock, random, name: 'Eve' })
    .catch((error: { code: string }) => error.code))
  assert.is(again, 'ACCOUNT_EXISTS')
  const empty = { ...kv, get: async () => undefined }
  const missing = await Client.open({
    kv: empty, clock: world.clock, random: world.network.random, connect: bob.node.connect,
  })
    .catch((error: { code: string }) => error.code)
  assert.is(missing, 'ACCOUNT_MISSING')
})

test('tells the app when it is online and when not', async () => {
  const world = new World('online')
  const bob = await world.person('Bob')
  await world.clock.advance(1_000)
  assert.is((await bob.client.info()).online, true)
  bob.node.session!.reset()
  await world.clock.advance(3_000)
  await world.run(bob.client.stop())
  const told = bob.events.flatMap((event) => (event.type === 'connection' ? [event.online] : []))
  assert.equal(told, [true, false, true, false])
})

test.run()
