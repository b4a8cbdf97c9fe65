/** What cannot be read is named, and comes again from a session that can (DESIGN §7). */
import * as assert from 'uvu/assert'
import { boxId, createEnvelope, expiryHour } from '../../../protocol/envelope.ts'
import { openCard } from '../../../protocol/inbox-card.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/repair')

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).map((entry) => entry.text)
}

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

async function record(person: Person): Promise<ContactRecord> {
  const [entry] = await person.store.kv.list({ prefix: 'contact/' })
  return decode(contactCodec, entry!.value)
}

/** Deletes a person's ratchets while the process is down, as a damaged disk would. */
async function loseSessions(world: World, person: Person): Promise<void> {
  const records = (await person.backup()).filter(({ key }) => !key.startsWith('session/'))
  await world.run(person.restore(records))
}

for (const who of ['sender', 'receiver'] as const) {
  test(`brings everything in the end when the ${who} goes back to an older backup`, async () => {
    const world = new World(`backup of the ${who}`)
    const [alice, bob] = await world.pair()
    const victim = who === 'sender' ? alice : bob
    await world.run(alice.client.send('Bob', 'first'))
    await world.run(bob.client.send('Alice', 'hi'))
    await world.clock.advance(3_000)
    const backup = await victim.backup()
    for (let i = 0; i < 4; i++) {
      await world.run(alice.client.send('Bob', `lost ${i}`))
      await world.run(bob.client.send('Alice', `also lost ${i}`))
      await world.clock.advance(1_000)
    }
    await world.run(victim.restore(backup))
    for (let i = 0; i < 6; i++) {
      await world.run(alice.client.send('Bob', `new ${i}`))
      await world.run(bob.client.send('Alice', `also new ${i}`))
      await world.clock.advance(1_000)
    }
    const expected = Array.from({ length: 6 }, (_, i) => `new ${i}`)
    await world.until(async () => {
      const [at, from] = [await texts(bob), await texts(alice)]
      return expected.every((text) => at.includes(text) && from.includes(`also ${text}`))
    }, { withinMs: 600_000, stepMs: 1_000 })
    const all = [...await texts(bob), ...await texts(alice)]
    assert.is(new Set(all).size, all.length, 'nothing twice')
    await world.until(async () => (await alice.client.info()).outbox + (await bob.client.info()).outbox === 0,
      { withinMs: 900_000, stepMs: 1_000 })
    await world.end()
  })
}

test('names what cannot be decrypted, repairs the session and gets the text again', async () => {
  const world = new World('amnesia')
  const [alice, bob] = await world.pair()
  await world.run(alice.client.send('Bob', 'one'))
  await world.clock.advance(3_000)
  await loseSessions(world, bob)
  const { id } = await world.run(alice.client.send('Bob', 'two'))
  await world.clock.advance(2_000)
  assert.equal(undecryptable(bob).slice(0, 1), ['SESSION_UNKNOWN'])
  await world.until(async () => (await texts(bob)).length === 2, { withinMs: 60_000 })
  assert.equal(await texts(bob), ['one', 'two'])
  await world.until(async () => (await alice.client.info()).outbox === 0, { withinMs: 60_000 })
  assert.is((await alice.client.status(id))?.state, 'delivered')
  await world.run(bob.client.send('Alice', 'three'))
  await world.until(async () => (await texts(alice)).length === 1)
  const kept = await bob.store.kv.list({ prefix: 'unreadable/' })
  assert.ok(kept.length > 0, 'written down')
  await world.end()
})

test('repairs a session from either side, whoever made the invite', async () => {
  const world = new World('amnesia of the inviter')
  const [alice, bob] = await world.pair()
  await loseSessions(world, alice)
  await world.run(bob.client.send('Alice', 'hello'))
  await world.until(async () => (await texts(alice)).length === 1, { withinMs: 60_000 })
  await world.run(alice.client.send('Bob', 'hello yourself'))
  await world.until(async () => (await texts(bob)).length === 1)
  await world.end()
})

test('repairs at most once in ten minutes', async () => {
  const world = new World('twice')
  const [alice, bob] = await world.pair()
  const takes = (): number => bob.node.heard.filter((frame) => frame.type === 'shelfTake').length
  await loseSessions(world, bob)
  await world.run(alice.client.send('Bob', 'one'))
  await world.until(async () => (await texts(bob)).length === 1, { withinMs: 60_000 })
  const before = takes()
  await loseSessions(world, bob)
  await world.run(alice.client.send('Bob', 'two'))
  await world.clock.advance(60_000)
  assert.is(takes(), before)
  await world.until(async () => (await texts(bob)).length === 2, { withinMs: 30 * 60_000, stepMs: 10_000 })
  assert.ok(takes() > before)
  await world.end()
})

test('names rubbish in an inbox, acknowledges it, and reads on', async () => {
  const world = new World('rubbish')
  const [alice, bob] = await world.pair()
  const card = (await record(alice)).card!
  const { writeKeys } = openCard(card)
  const bytes = createEnvelope({
    writeKeys, readKey: card.readKey, expiryHour: expiryHour(
      world.clock.now() + 86_400_000,
    ), ciphertext: new Uint8Array(512),
  })
  bob.node.deposit(bytes)
  await world.clock.advance(2_000)
  assert.equal(undecryptable(bob).slice(0, 1), ['MESSAGE_SEAL'])
  const box = boxId({ writeKey: writeKeys.publicKey, readKey: card.readKey })
  assert.is(bob.node.held.get(box)?.size, 0, 'acknowledged')
  await world.run(alice.client.send('Bob', 'hello'))
  await world.until(async () => (await texts(bob)).length === 1)
  await world.end()
})

test('keeps mail at the node while its disk is full', async () => {
  const world = new World('full disk')
  const [alice, bob] = await world.pair()
  let isFull = true
  bob.beforeWrite = () => {
    if (isFull) throw Object.assign(new Error('no room'), { code: 'STORE_FULL' })
  }
  await world.run(alice.client.send('Bob', 'hello'))
  await world.clock.advance(20_000)
  assert.equal(await texts(bob), [])
  const rejected = await world.run(
    bob.client.send('Alice', 'no').then(() => undefined, (error: { code: string }) => error.code),
  )
  assert.is(rejected, 'STORE_FULL')
  isFull = false
  await world.until(async () => (await texts(bob)).length === 1)
  await world.run(bob.client.send('Alice', 'yes'))
  await world.until(async () => (await texts(alice)).length === 1)
  assert.equal(await texts(alice), ['yes'])
  assert.is((await alice.incoming())[0]?.afterGap, undefined)
  await world.end()
})

test.run()
