/**
 * Attacks that only a whole client can stand (checklist.ts, 1, 4, 8 and 14): replays in fresh
 * envelopes, used-up prekeys, false devices, storms of resets. The network is simulated, keys and
 * messages are real.
 */
import * as assert from 'uvu/assert'
import { ratchetLimits } from '../../../crypto/ratchet/limits.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import { readAccount } from '../../../protocol/client/account-state.ts'
import { keys } from '../../../protocol/client/keys.ts'
import { contactId } from '../../../protocol/client/records.ts'
import type { InboxCard } from '../../../protocol/inbox-card.ts'
import { limits } from '../../../protocol/limits.ts'
import { bytesOf } from '../../helpers/actors.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'
import { deviceListOf, Dishonest } from '../support/dishonest-contact.ts'

const test = suite('crypto/attacks/clients', { timeoutMs: 60_000 })

const card: InboxCard = {
  sequence: 1,
  writeSeed: bytesOf('write'),
  readKey: bytesOf('read'),
  sealKey: bytesOf('seal'),
  homes: [],
  replicas: [],
}

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).map((entry) => entry.text)
}

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

/** How often a person's node was asked for frames of a type. */
function heard(person: Person, type: string): number {
  return person.node.heard.filter((frame) => frame.type === type).length
}

/** Bob, and an Alice who does as she pleases. */
async function dishonest(seed: string): Promise<{ world: World, bob: Person, alice: Dishonest }> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  await world.run(alice.client.send('Bob', 'honest'))
  await world.run(bob.client.send('Alice', 'honest too'))
  await world.clock.advance(5_000)
  return { world, bob, alice: await Dishonest.contact(world, alice, bob) }
}

// ── Replays ─────────────────────────────────────────────────────────────────────────────────

test('a ciphertext that comes again in a fresh envelope is told and not shown again', async () => {
  const { world, bob, alice } = await dishonest('rewrapped')
  const envelope = alice.envelope('once')
  alice.deposit(envelope)
  await world.clock.advance(2_000)
  for (let hours = 1; hours <= 5; hours++) alice.deposit(alice.rewrapped(envelope, hours))
  await world.clock.advance(2_000)
  assert.equal(await texts(bob), ['honest', 'once'])
  assert.equal(undecryptable(bob), Array.from({ length: 5 }, () => 'SESSION_DUPLICATE'))
  await world.end()
})

test('a first message that comes again in a fresh envelope begins no second session', async () => {
  const { world, bob, alice } = await dishonest('rewrapped first')
  alice.begin()
  const envelope = alice.envelope('anew')
  alice.deposit(envelope)
  await world.clock.advance(2_000)
  alice.deposit(alice.rewrapped(envelope))
  await world.clock.advance(2_000)
  assert.equal(await texts(bob), ['honest', 'anew'])
  assert.equal(undecryptable(bob), ['SESSION_DUPLICATE'])
  await world.end()
})

test('a client reads nothing in a session that was superseded longer ago than a letter lives', async () => {
  const { world, bob, alice } = await dishonest('late for ever')
  const stolen = alice.session.clone()
  alice.begin()
  const current = alice.session
  alice.deposit(alice.envelope('anew'))
  await world.clock.advance(2_000)
  alice.session = stolen
  alice.deposit(alice.envelope('late'))
  await world.clock.advance(2_000)
  assert.equal(await texts(bob), ['honest', 'anew', 'late'])
  await world.clock.advance(limits.supersededSessionMs)
  alice.deposit(alice.envelope('too late'))
  await world.clock.advance(2_000)
  assert.equal(undecryptable(bob), ['SESSION_UNDECRYPTABLE'])
  alice.session = current
  alice.deposit(alice.envelope('of today'))
  await world.until(async () => (await texts(bob)).includes('of today'))
  assert.not.ok((await texts(bob)).includes('too late'))
  await world.end()
})

// ── Wrong devices ───────────────────────────────────────────────────────────────────────────

test('a contact request under a list that does not name its device makes no contact', async () => {
  const world = new World('wrong certificate')
  const victim = await world.person('Victor')
  const [mallory, carol] = [await world.person('Mallory'), await world.person('Carol')]
  await world.clock.advance(5_000)
  const { uri } = await world.run(victim.client.invite())
  await world.clock.advance(1_000)
  const stranger = await Dishonest.stranger(world, mallory, { victim, uri })
  const { rootKey: carolsRoot } = (await readAccount(carol.store.kv))!
  const [carols, mallorys] = [await deviceListOf(carol), await deviceListOf(mallory)]
  for (const [rootKey, deviceList] of [
    [carolsRoot, carols], [stranger.own.rootKey, carols], [carolsRoot, mallorys],
  ] as const) {
    stranger.begin()
    stranger.deposit(stranger.envelope({
      type: 'contactRequest', name: 'Carol', text: undefined,
      rootKey, deviceList, card, seed: bytesOf('seed', 15), box: stranger.target.box,
    }))
    await world.clock.advance(2_000)
  }
  assert.equal(await victim.client.contacts(), [])
  assert.equal(undecryptable(victim), ['DEVICE_UNKNOWN', 'SIGNATURE_INVALID', 'SIGNATURE_INVALID'])
  await world.end()
})

test('a contact request that is moved to the box of another invite makes no contact', async () => {
  const world = new World('moved request')
  const victim = await world.person('Victor')
  const mallory = await world.person('Mallory')
  await world.clock.advance(5_000)
  const uris = [await world.run(victim.client.invite()), await world.run(victim.client.invite())]
  await world.clock.advance(1_000)
  const [asked, other] = [
    await Dishonest.stranger(world, mallory, { victim, uri: uris[0]!.uri }),
    await Dishonest.stranger(world, mallory, { victim, uri: uris[1]!.uri }),
  ]
  asked.begin()
  const request = asked.envelope({
    type: 'contactRequest', name: 'Mallory', text: undefined, rootKey: asked.own.rootKey,
    deviceList: await deviceListOf(mallory), card, seed: bytesOf('seed', 15), box: asked.target.box,
  })
  asked.deposit(asked.moved(request, other.target))
  await world.clock.advance(2_000)
  assert.equal(await victim.client.contacts(), [])
  assert.equal(undecryptable(victim), ['CONTACT_REQUEST'])
  asked.deposit(request)
  await world.clock.advance(2_000)
  assert.is((await victim.client.contacts()).length, 1, 'in its own box it is taken')
  await world.end()
})

// ── Prekeys ─────────────────────────────────────────────────────────────────────────────────

test('with every one-time prekey taken strangers still get through, and shelves fill again', async () => {
  const world = new World('drained')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const holders = [alice.node, ...world.replicas]
  const shelves = (): { oneTime: Uint8Array[] }[] => holders.flatMap((node) => [...node.shelves.values()])
  for (const shelf of shelves()) shelf.oneTime.length = 0
  const bob = await world.person('Bob')
  await world.meet(alice, bob)
  await world.run(bob.client.send('Alice', 'with the last resort'))
  await world.until(async () => (await texts(alice)).length === 1)
  // Where one was taken is refilled at once, the others when the session begins again.
  alice.node.session!.reset()
  await world.clock.advance(10_000)
  const left = shelves().map(({ oneTime }) => oneTime.length)
  assert.ok(left.every((count) => count > limits.prekeysLow), left.join())
  await world.end()
})

test('a one-time prekey that is handed out twice serves one; the other gets through later', async () => {
  const world = new World('handed out twice')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  for (const node of [alice.node, ...world.replicas]) {
    for (const { oneTime } of node.shelves.values()) oneTime.unshift(oneTime[0]!)
  }
  const bob = await world.person('Bob')
  await world.meet(alice, bob)
  const carol = await world.person('Carol')
  const { uri } = await world.run(alice.client.invite())
  await world.run(carol.client.add(uri))
  await world.clock.advance(10_000)
  assert.ok(undecryptable(alice).includes('HANDSHAKE_PREKEY'))
  await world.until(async () => (await alice.client.contacts()).length === 2,
    { withinMs: limits.inviteTtlMs, stepMs: 60_000 })
  await world.end()
})

// ── Storms ──────────────────────────────────────────────────────────────────────────────────

test('messages that cannot be read make a client begin anew at most once in ten minutes', async () => {
  const { world, bob, alice } = await dishonest('unreadable')
  const takes = heard(bob, 'shelfTake')
  const fork = SecureSession.deserialize(alice.session.serialize())
  for (let minute = 0; minute < 9; minute++) {
    alice.session = SecureSession.deserialize(fork.serialize())
    for (let i = 0; i < 5; i++) alice.deposit(alice.envelope('the same places in the chain'))
    await world.clock.advance(60_000)
  }
  assert.ok(undecryptable(bob).length > 20, `${undecryptable(bob).length} unreadable`)
  assert.is(heard(bob, 'shelfTake') - takes, 1)
  await world.end()
})

test('a storm of new sessions is refused above the limit of an hour', async () => {
  const { world, bob, alice } = await dishonest('storm')
  const names = Array.from({ length: 40 }, (_, i) => `session ${i}`)
  for (const name of names) {
    alice.begin()
    alice.deposit(alice.envelope(name))
    await world.clock.advance(1_000)
  }
  const taken = limits.sessionResetsPerHour
  assert.equal(await texts(bob), ['honest', ...names.slice(0, taken)])
  assert.equal([...new Set(undecryptable(bob))], ['SESSION_RESETS'])
  const id = contactId(alice.own.rootKey)
  const stored = await bob.store.kv.get(keys.session(id, alice.own.deviceId))
  const most = (1 + ratchetLimits.archivedSessionsMax) * 6_000 + 37 * ratchetLimits.seenHandshakesMax
  assert.ok(stored!.value.length < most, `${stored!.value.length} bytes`)
  await world.end()
})

test('a storm of new sessions does not make a client send everything again for each', async () => {
  const { world, bob, alice } = await dishonest('amplified')
  const waiting = 20
  for (let i = 0; i < waiting; i++) await world.run(bob.client.send('Alice', `unconfirmed ${i}`))
  await world.clock.advance(5_000)
  alice.swallow()
  await world.clock.advance(5_000)
  const before = heard(bob, 'submit')
  const sessions = 30
  for (let i = 0; i < sessions; i++) {
    alice.begin()
    alice.deposit(alice.envelope(`session ${i}`))
    await world.clock.advance(1_000)
    alice.swallow()
    await world.clock.advance(1_000)
  }
  const submitted = heard(bob, 'submit') - before
  // A receipt for each of theirs, and what waited once or twice more.
  assert.ok(submitted <= sessions + 3 * waiting, `${submitted} envelopes for ${sessions} of theirs`)
  await world.end()
})

test.run()
