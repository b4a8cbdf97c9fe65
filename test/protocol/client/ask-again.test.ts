/**
 * Whatever cannot be read is asked for again, and ends as recovered or as a visible loss: one test
 * for each way (DESIGN §7: never show nothing).
 */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { Random } from '../../../crypto/random.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import type { HistoryEntry } from '../../../protocol/client/api.ts'
import { keys } from '../../../protocol/client/keys.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { cardTarget } from '../../../protocol/client/sealing.ts'
import { unreadableCodec } from '../../../protocol/client/unreadables.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { createEnvelope, expiryHour, parseEnvelope } from '../../../protocol/envelope.ts'
import type { DeviceId, EnvelopeId, MessageId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { contentDigest, sealContent } from '../../../protocol/message/content.ts'
import { encodePayload } from '../../../protocol/message/payload.ts'
import { sealMessage } from '../../../protocol/message/sealed.ts'
import type { SealedEntry } from '../../../protocol/message/sealed.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/client/ask again', { timeoutMs: 60_000 })

type Records = { key: string, value: Uint8Array }[]

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).filter((entry) => entry.unreadable === undefined).map(({ text }) => text)
}

async function losses(person: Person): Promise<HistoryEntry[]> {
  return (await person.incoming()).filter((entry) => entry.unreadable !== undefined)
}

/** Codes and states of what could not be read, as it was told. */
function told(person: Person): string[] {
  return person.events.flatMap((event) =>
    (event.type === 'undecryptable' ? [`${event.code} ${event.state}`] : []))
}

async function states(person: Person): Promise<string[]> {
  return (await person.client.unreadable()).map(({ state }) => state)
}

async function contactOf(person: Person): Promise<ContactRecord> {
  const entries = await person.store.kv.list({ prefix: 'contact/' })
  return entries.map(({ value }) => decode(contactCodec, value)).find(({ name }) => name !== '')!
}

async function edit(world: World, person: Person, change: (records: Records) => Records): Promise<void> {
  await world.run(person.restore(change(await person.backup())))
}

function withoutSessions(records: Records): Records {
  return records.filter(({ key }) => !key.startsWith('session/'))
}

/** Nothing asked for is open any more, on either side. */
async function settled(world: World, people: readonly Person[], withinMs = 3_600_000): Promise<void> {
  await world.until(async () => {
    const open = await Promise.all(people.map(states))
    return open.flat().every((state) => state !== 'asked')
  }, { withinMs, stepMs: 5_000 })
}

interface Forgery {
  readonly senderDevice?: DeviceId
  readonly entries: (device: DeviceId, content: Uint8Array) => SealedEntry[]
  readonly content?: Uint8Array
}

/** What somebody with the write capability of Alice puts into Bob's inbox for her. */
async function deposit(world: World, people: readonly [Person, Person], forgery: Forgery): Promise<void> {
  const [alice, bob] = people
  const random = seededRandom(`${world.seed} forgery`)
  const target = cardTarget((await contactOf(alice)).card!)
  const [own, other] = [(await alice.client.info()).deviceId, (await bob.client.info()).deviceId]
  const content = forgery.content ?? random.bytes(100)
  const message = {
    senderDevice: forgery.senderDevice ?? own,
    entries: forgery.entries(other, content),
    deviceList: undefined,
    content,
  }
  bob.node.deposit(createEnvelope({
    writeKeys: target.writeKeys,
    readKey: target.readKey,
    expiryHour: expiryHour(world.clock.now() + limits.envelopeTtlMs),
    ciphertext: sealMessage(message, target.sealKey, random),
  }))
}

for (const who of ['sender', 'receiver'] as const) {
  test(`is recovered when the ${who} lost its sessions`, async () => {
    const world = new World(`lost state of the ${who}`)
    const [alice, bob] = await world.pair()
    await world.run(alice.client.send('Bob', 'one'))
    await world.clock.advance(3_000)
    if (who === 'receiver') await edit(world, bob, withoutSessions)
    await world.run(alice.client.send('Bob', 'two'))
    await world.clock.advance(1_000)
    if (who === 'sender') await edit(world, alice, withoutSessions)
    await world.run(alice.client.send('Bob', 'three'))
    await world.until(async () => (await texts(bob)).length === 3, { withinMs: 120_000 })
    assert.equal((await texts(bob)).toSorted(), ['one', 'three', 'two'])
    await settled(world, [alice, bob])
    assert.equal(await losses(bob), [])
    if (who === 'receiver') assert.ok(told(bob).some((line) => line.endsWith('recovered')), told(bob).join())
    await world.end()
  })

  test(`is recovered when the ${who} goes back to an older state`, async () => {
    const world = new World(`snapshot of the ${who}`)
    const [alice, bob] = await world.pair()
    const victim = who === 'sender' ? alice : bob
    await world.run(alice.client.send('Bob', 'first'))
    await world.run(bob.client.send('Alice', 'first'))
    await world.clock.advance(3_000)
    const backup = await victim.backup()
    for (let i = 0; i < 3; i++) {
      await world.run(alice.client.send('Bob', `forgotten ${i}`))
      await world.run(bob.client.send('Alice', `forgotten ${i}`))
      await world.clock.advance(1_000)
    }
    await world.run(victim.restore(backup))
    for (let i = 0; i < 3; i++) {
      await world.run(alice.client.send('Bob', `new ${i}`))
      await world.clock.advance(1_000)
    }
    await world.until(async () => {
      const seen = await texts(bob)
      return [0, 1, 2].every((i) => seen.includes(`new ${i}`))
    }, { withinMs: 1_200_000, stepMs: 1_000 })
    await settled(world, [alice, bob], 7_200_000)
    assert.is(new Set(await texts(bob)).size, (await texts(bob)).length, 'nothing twice')
    await world.end()
  })
}

test('a copy that the node damaged is neither shown nor acknowledged, and the real one is read', async () => {
  const world = new World('flipped')
  const [alice, bob] = await world.pair()
  bob.node.withholds = () => true
  await world.run(alice.client.send('Bob', 'hello'))
  await world.clock.advance(2_000)
  const [real] = [...bob.node.held.values()].flatMap((box) => [...box.values()])
  const flipped = real!.slice()
  flipped[200]! ^= 1
  bob.node.push({ type: 'deliver', envelopes: [flipped] })
  await world.clock.advance(2_000)
  assert.equal(told(bob), [])
  assert.ok(bob.warnings.some((line) => line.includes('forged')))
  const parsed = parseEnvelope(flipped)
  const acknowledged = bob.node.heard.flatMap((frame) =>
    (frame.type === 'acknowledge' ? frame.envelopeIds : []))
  assert.not.ok(parsed.ok && acknowledged.includes(parsed.value.id))
  bob.node.withholds = () => false
  bob.node.session?.reset()
  await world.until(async () => (await texts(bob)).length === 1)
  await world.end()
})

test('of an unknown device is lost, and has its line in the conversation', async () => {
  const world = new World('unknown device')
  const people = await world.pair()
  const [alice, bob] = people
  const senderDevice = hex(seededRandom('ghost').bytes(16)) as DeviceId
  await deposit(world, people, {
    senderDevice, entries: (device) => [{ recipientDevice: device, wrap: new Uint8Array(135) }],
  })
  await world.until(() => told(bob).length > 0)
  await settled(world, [alice, bob])
  assert.equal(told(bob), ['DEVICE_UNKNOWN asked', 'DEVICE_UNKNOWN lost'])
  const [line] = await losses(bob)
  assert.is(line?.unreadable, 'DEVICE_UNKNOWN')
  assert.is(line?.contact, 'Alice')
  await world.run(bob.client.markRead('Alice', line!.cursor))
  await world.run(alice.client.send('Bob', 'hello'))
  await world.until(async () => (await texts(bob)).length === 1)
  await world.end()
})

const wrongWraps: readonly (readonly [string, Forgery['entries']])[] = [
  ['a wrap that is no message', (device) => [{ recipientDevice: device, wrap: new Uint8Array(10) }]],
  ['a wrap of no session', (device) => [{
    recipientDevice: device, wrap: new Uint8Array([2, 1, ...seededRandom('wrap').bytes(133)]),
  }]],
  ['no wrap for this device', () => [{
    recipientDevice: hex(seededRandom('other').bytes(16)) as DeviceId, wrap: new Uint8Array(135),
  }]],
]
for (const [what, entries] of wrongWraps) {
  test(`with ${what} is lost visibly when its sender knows nothing of it`, async () => {
    const world = new World(what)
    const people = await world.pair()
    const [alice, bob] = people
    await deposit(world, people, { entries })
    await world.until(() => told(bob).length > 0)
    await settled(world, [alice, bob])
    assert.equal(await states(bob), ['lost'])
    assert.is((await losses(bob)).length, 1)
    await world.run(alice.client.send('Bob', 'hello'))
    await world.until(async () => (await texts(bob)).length === 1)
    await world.end()
  })
}

test('with content that does not open with its key is lost visibly', async () => {
  const world = new World('content')
  const people = await world.pair()
  const [alice, bob] = people
  await world.run(alice.client.send('Bob', 'one'))
  await world.run(bob.client.send('Alice', 'one'))
  await world.clock.advance(3_000)
  const [stored] = await alice.store.kv.list({ prefix: 'session/' })
  const session = SecureSession.deserialize(stored!.value)
  const random = seededRandom('content forgery')
  const { content } = sealContent({
    messageId: hex(random.bytes(16)) as MessageId, sentAtMs: world.clock.now(), sequence: 9,
    body: { type: 'text', text: 'never read' },
  }, random)
  await deposit(world, people, {
    content,
    entries: (device) => [{
      recipientDevice: device,
      wrap: session.encrypt({ plaintext: random.bytes(32), ad: contentDigest(content), random }),
    }],
  })
  await world.until(() => told(bob).includes('MESSAGE_CONTENT asked'))
  await settled(world, [alice, bob])
  assert.ok(told(bob).includes('MESSAGE_CONTENT lost'))
  await world.end()
})

test('of a newer openIM is named and not asked for: asking would not help', async () => {
  const world = new World('newer')
  const people = await world.pair()
  const [alice, bob] = people
  await world.run(alice.client.send('Bob', 'one'))
  await world.clock.advance(3_000)
  const [stored] = await alice.store.kv.list({ prefix: 'session/' })
  const session = SecureSession.deserialize(stored!.value)
  const random = seededRandom('newer')
  const payload = encodePayload({
    messageId: hex(random.bytes(16)) as MessageId, sentAtMs: world.clock.now(), sequence: 0,
    body: { type: 'text', text: '' },
  })
  // The tag stands behind version, id, time and sequence.
  payload[33] = 15
  const sealed = sealRaw(payload, random)
  await deposit(world, people, {
    content: sealed.content,
    entries: (device) => [{
      recipientDevice: device,
      wrap: session.encrypt({ plaintext: sealed.key, ad: contentDigest(sealed.content), random }),
    }],
  })
  await world.until(() => told(bob).length > 0)
  assert.equal(told(bob), ['MESSAGE_KIND_UNKNOWN lost'])
  await world.end()
})

test('what was delivered long ago is sealed anew from the history when it is asked for', async () => {
  const world = new World('filed')
  const [alice, bob] = await world.pair()
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  await world.until(async () => (await alice.client.status(id))?.state === 'delivered')
  await world.clock.advance(5_000)
  const [filed] = (await alice.store.kv.list({ prefix: 'filed/' })).filter(({ value }) =>
    hex(value).includes(id))
  const [, hour, envelopeId] = filed!.key.split('/') as [string, string, EnvelopeId]
  // As another device of Bob's would find itself: it got the envelope and could not read it.
  const asked = { envelopeId, expiryHour: Number(hour), atMs: world.clock.now() }
  await edit(world, bob, (records) => [
    ...records.filter(({ key }) => !key.startsWith('arrived/')), openRecord(1, asked),
  ].map(ofContact(records)))
  await settled(world, [alice, bob])
  assert.equal(await states(bob), ['recovered'])
  assert.equal(await texts(bob), ['hello', 'hello'])
  assert.is((await alice.client.status(id))?.state, 'delivered')
  await world.until(async () => (await alice.client.info()).outbox === 0, { withinMs: 120_000 })
  await world.end()
})

test('a device that lost its sessions gets what its sibling could read, once', async () => {
  const world = new World('one of two devices')
  const [alice, bob] = await world.pair()
  const phone = await world.device(bob, 'phone')
  await world.until(async () => (await phone.client.contacts()).some(({ state }) => state === 'active'))
  await world.run(alice.client.send('Bob', 'one'))
  await world.until(async () => (await texts(phone)).length === 1)
  await edit(world, phone, withoutSessions)
  await world.run(alice.client.send('Bob', 'two'))
  await world.until(async () => (await texts(phone)).length === 2, { withinMs: 1_800_000, stepMs: 1_000 })
  await settled(world, [alice, bob, phone], 7_200_000)
  assert.equal(await texts(phone), ['one', 'two'])
  assert.equal(await texts(bob), ['one', 'two'])
  assert.equal([...await losses(phone), ...await losses(bob)], [])
  await world.end()
})

test('a contact gets no message sealed anew that was for somebody else', async () => {
  const world = new World('not theirs')
  const [alice, bob] = await world.pair()
  const carol = await world.person('Carol')
  await world.meet(alice, carol)
  await world.run(alice.client.send('Carol', 'for Carol alone'))
  await world.clock.advance(5_000)
  const rows = await alice.store.kv.list({ prefix: 'filed/' })
  await edit(world, bob, (records) => [...records, ...rows.map(({ key }, i) => {
    const [, hour, envelopeId] = key.split('/') as [string, string, EnvelopeId]
    return openRecord(i + 1, { envelopeId, expiryHour: Number(hour), atMs: world.clock.now() })
  })].map(ofContact(records)))
  await settled(world, [alice, bob])
  assert.equal(await texts(bob), [])
  assert.ok((await states(bob)).includes('lost'))
  await world.end()
})

test('a flood of what cannot be read is asked for in few messages, each thing once', async () => {
  const world = new World('flood')
  const people = await world.pair()
  const [alice, bob] = people
  const random = seededRandom('flood')
  const target = cardTarget((await contactOf(alice)).card!)
  const hour = expiryHour(world.clock.now() + limits.envelopeTtlMs)
  for (let i = 0; i < 300; i++) {
    bob.node.deposit(createEnvelope({
      writeKeys: target.writeKeys, readKey: target.readKey, expiryHour: hour, ciphertext: random.bytes(512),
    }))
    if (i % 50 === 0) await world.clock.advance(500)
  }
  const before = bob.node.heard.filter(({ type }) => type === 'submit').length
  await world.clock.advance(60_000)
  const sent = bob.node.heard.filter(({ type }) => type === 'submit').length - before
  // Besides the questions: receipts for the answers.
  assert.ok(sent <= 2 * (limits.asksBurst + 1) + 4, `${sent} envelopes in a minute`)
  await settled(world, [alice, bob], 12 * 3_600_000)
  assert.is((await states(bob)).filter((state) => state === 'lost').length, 300)
  await world.run(alice.client.send('Bob', 'and now?'))
  await world.until(async () => (await texts(bob)).length === 1)
  await world.end()
})

test('a storm of new sessions costs a few handshakes; the rest is refused, and read later', async () => {
  const world = new World('storm')
  const [alice, bob] = await world.pair()
  const storms = limits.sessionResetsPerHour + 3
  for (let i = 0; i < storms; i++) {
    await edit(world, alice, (records) => withoutSessions(records).map(({ key, value }) => {
      if (!key.startsWith('contact/')) return { key, value }
      const contact = decode(contactCodec, value)
      return { key, value: encode(contactCodec, { ...contact, isBroken: true, repairedAtMs: 0 }) }
    }))
    await world.clock.advance(10_000)
  }
  const { refused } = await bob.client.info()
  assert.ok(refused.resets > 0 && refused.resets <= storms, `${refused.resets} refused`)
  assert.ok(told(bob).some((line) => line.startsWith('SESSION_RESETS')))
  await world.run(alice.client.send('Bob', 'finally'))
  await world.until(async () => (await texts(bob)).includes('finally'),
    { withinMs: 7_200_000, stepMs: 10_000 })
  await settled(world, [alice, bob], 24 * 3_600_000)
  await world.end()
})

test('a contact who asks for very much is answered in parts', async () => {
  const world = new World('greed')
  const [alice, bob] = await world.pair()
  const random = seededRandom('greed')
  const asked = limits.askAnswersPerHour + 100
  await edit(world, bob, (records) => [
    ...records,
    ...Array.from({ length: asked }, (_, i) => openRecord(i + 1, { random, atMs: world.clock.now() })),
  ].map(ofContact(records)))
  await world.clock.advance(1_800_000)
  assert.ok((await alice.client.info()).refused.asks > 0)
  assert.ok((await states(bob)).includes('asked'))
  await settled(world, [alice, bob], 12 * 3_600_000)
  assert.is((await states(bob)).filter((state) => state === 'lost').length, asked)
  await world.end()
})

test('what nobody answers is lost when its time is over', async () => {
  const world = new World('silence')
  const [alice, bob] = await world.pair()
  const random = seededRandom('silence')
  alice.crash()
  const atMs = world.clock.now() - limits.envelopeTtlMs + 1_800_000
  await edit(world, bob, (records) => [...records, openRecord(1, { random, atMs })].map(ofContact(records)))
  await world.clock.advance(600_000)
  assert.equal(await states(bob), ['asked'])
  await world.clock.advance(2_400_000)
  assert.equal(await states(bob), ['lost'])
  assert.is((await losses(bob)).length, 1)
  await world.run(alice.recover())
  await world.end()
})

/** Something that came before and could not be read, as it lies on the disk; of nobody yet. */
function openRecord(
  number: number,
  known: { random?: Random, atMs: number, envelopeId?: EnvelopeId, expiryHour?: number },
): { key: string, value: Uint8Array } {
  const { random, atMs, expiryHour = 500_000 } = known
  const envelopeId = known.envelopeId ?? hex(random!.bytes(32)) as EnvelopeId
  const value = encode(unreadableCodec, {
    contact: undefined, envelopeId, expiryHour, device: undefined, code: 'SESSION_UNKNOWN', atMs, state: 0,
    asks: 0, askedAtMs: 0, messageId: undefined,
  })
  return { key: keys.unreadable(number), value }
}

/** Of the one contact in `records`. */
function ofContact(records: Records): (record: Records[number]) => Records[number] {
  const contact = records.flatMap(({ key, value }) =>
    (key.startsWith('contact/') ? [decode(contactCodec, value)] : [])).find(({ name }) => name !== '')!.id
  return ({ key, value }) => {
    if (!key.startsWith('unreadable/')) return { key, value }
    return { key, value: encode(unreadableCodec, { ...decode(unreadableCodec, value), contact }) }
  }
}

/** Content of any bytes under a fresh key. */
function sealRaw(plaintext: Uint8Array, random: Random): {
  readonly content: Uint8Array
  readonly key: Uint8Array
} {
  const key = random.bytes(32)
  return { key, content: crypto.seal({ key, nonce: new Uint8Array(12), plaintext }) }
}

test.run()
