/**
 * The promise itself: what was said to be sent arrives once and in order, whatever happens to
 * sessions, deliveries and processes on the way.
 */
import * as assert from 'uvu/assert'
import { ratchetLimits } from '../../../crypto/ratchet/limits.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import { sleep } from '../../../protocol/timers.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import type { Faults } from '../../helpers/client-network.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger } from '../../helpers/seeded-random.ts'

const test = suite('protocol/client/storm', { timeoutMs: 120_000 })
const hourMs = 3_600_000
/** Texts each way. */
const count = 500

/**
 * Sends `count` numbered texts in bursts. A crash may take a promise away after its text became
 * durable, so the history tells where to go on.
 */
async function talk(world: World, from: Person, to: string): Promise<void> {
  let next = 0
  while (next < count) {
    const burst = Math.min(count - next, 1 + randomInteger(world.network.random, 8))
    const texts = Array.from({ length: burst }, (_, i) => `${from.name} ${next + i}`)
    await Promise.allSettled(texts.map((text) => from.client.send(to, text)))
    await sleep(world.clock, randomInteger(world.network.random, 300))
    while (!from.isAlive) await sleep(world.clock, 20)
    next = await textsWritten(from).catch(() => next)
  }
}

async function textsWritten(person: Person): Promise<number> {
  const [last] = await person.client.history({ direction: 'out', limit: 1, reverse: true })
  return last === undefined ? 0 : Number(last.text.split(' ')[1]) + 1
}

/** Kills and restarts a person at random moments until told to stop. */
function torment(world: World, person: Person, everyMs: number): () => Promise<void> {
  let isOver = false
  const run = (async () => {
    while (!isOver) {
      await sleep(world.clock, randomInteger(world.network.random, 2 * everyMs))
      person.crash()
      await sleep(world.clock, randomInteger(world.network.random, 500))
      await person.recover()
    }
  })()
  return () => {
    isOver = true
    return run
  }
}

function texts(from: string): string[] {
  return Array.from({ length: count }, (_, i) => `${from} ${i}`)
}

function sorted(seen: readonly string[]): string[] {
  const number = (text: string): number => Number(text.split(' ')[1])
  return [...seen].sort((a, b) => number(a) - number(b))
}

/** Both talk while everything goes wrong; gives what each saw of the other when it is over. */
async function storm(seed: string, faults: Faults): Promise<{ atAlice: string[], atBob: string[] }> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  world.network.faults = faults
  alice.node.session!.reset()
  bob.node.session!.reset()
  const ends = [torment(world, alice, 4_000), torment(world, bob, 5_000)]
  const talks = [talk(world, alice, 'Bob'), talk(world, bob, 'Alice')]
  await world.run(Promise.all(talks), hourMs)
  await world.run(Promise.all(ends.map((end) => end())), hourMs)
  await world.until(async () => (await alice.client.info()).outbox + (await bob.client.info()).outbox === 0,
    { withinMs: hourMs, stepMs: 5_000 })
  for (const person of [alice, bob]) {
    const sent = await person.client.history({ direction: 'out' })
    assert.is(sent.length, count)
    assert.ok(sent.every((entry) => entry.status?.state === 'delivered'), 'every state is delivered')
    assert.ok(person.crashes > 2, `${person.crashes} crashes`)
  }
  const seen = async (person: Person): Promise<string[]> => (await person.incoming()).map(
    (entry) => entry.text,
  )
  const result = { atAlice: await seen(alice), atBob: await seen(bob) }
  await world.end()
  return result
}

const steady: Faults = { drop: 0, double: 0.3, shuffle: 0, resetEveryMs: 8_000 }
/** Deliveries are also lost and come much later, shuffled. */
const wild: Faults = { drop: 0.2, double: 0.2, shuffle: 0.3, resetEveryMs: 8_000 }

for (const seed of ['calm wind', 'west wind']) {
  test(`brings 500 texts each way, in order, through doubles, resets and crashes (${seed})`, async () => {
    const { atAlice, atBob } = await storm(seed, steady)
    assert.equal(atBob, texts('Alice'))
    assert.equal(atAlice, texts('Bob'))
  })
}

test('brings every text once when deliveries are lost, shuffled and late as well', async () => {
  const { atAlice, atBob } = await storm('north wind', wild)
  assert.equal(sorted(atBob), texts('Alice'))
  assert.equal(sorted(atAlice), texts('Bob'))
})

// A text that is later than the ratchet keeps keys is sealed anew, and that takes its time.
const isPatient = ratchetLimits.pastChainsMax >= 64
test.skipUnless(isPatient, 'the ratchet keeps keys of too few past chains', { allowInCI: true })(
  'keeps the order when deliveries are lost, shuffled and late', async () => {
    const { atAlice, atBob } = await storm('east wind', wild)
    assert.equal(atBob, texts('Alice'))
    assert.equal(atAlice, texts('Bob'))
  })

test('loses and doubles nothing by a crash between any two writes of a first contact', async () => {
  for (let at = 1; ; at++) {
    const world = new World(`write ${at}`)
    const alice = await world.person('Alice')
    const bob = await world.person('Bob')
    const victim = at % 2 === 0 ? alice : bob
    let writes = 0
    victim.beforeWrite = () => {
      if (++writes === Math.ceil(at / 2)) queueMicrotask(() => victim.crash())
    }
    const isOver = await play(world, { alice, bob, victim })
    await world.end()
    if (isOver && at > 20) break
  }
})

/** True when the play ended before the crash was due. */
async function play(
  world: World,
  people: { alice: Person, bob: Person, victim: Person },
): Promise<boolean> {
  const { alice, bob, victim } = people
  const lifeguard = (async () => {
    while (victim.isAlive) await sleep(world.clock, 10)
    await sleep(world.clock, 200)
    await victim.recover()
  })()
  const alive = async <T>(person: Person, work: () => Promise<T>): Promise<T> => {
    for (;;) {
      while (!person.isAlive) await sleep(world.clock, 10)
      try {
        return await work()
      } catch (error) {
        if (person.isAlive && (error as { code?: string }).code !== 'STORE_CLOSED') throw error
        await sleep(world.clock, 20)
      }
    }
  }
  const { uri } = await world.run(alive(alice, () => alice.client.invite()))
  await world.run(alive(bob, () => bob.client.add(uri)))
  const ids: MessageId[] = []
  const write = (person: Person, text: string): Promise<void> => alive(person, async () => {
    const contact = await person.only()
    const [last] = await person.client.history({ direction: 'out', limit: 1, reverse: true })
    if (last?.text !== text) ids.push((await person.client.send(contact.name, text)).id)
  })
  await world.run(write(bob, 'before the answer'))
  // A condition must not wait for the clock, which moves between its calls.
  const holds = (condition: () => Promise<boolean>) => async (): Promise<boolean> =>
    alice.isAlive && bob.isAlive && await condition().catch(() => false)
  await world.until(holds(async () => (await alice.client.contacts())[0]?.state === 'active'))
  await world.run(write(alice, 'welcome'))
  await world.run(write(bob, 'thanks'))
  await world.until(holds(async () =>
    (await alice.incoming()).length >= 2 && (await bob.incoming()).length >= 1 &&
    (await alice.client.info()).outbox + (await bob.client.info()).outbox === 0),
  { withinMs: 300_000, stepMs: 500 })
  assert.equal((await alice.incoming()).map((entry) => entry.text), ['before the answer', 'thanks'])
  assert.equal((await bob.incoming()).map((entry) => entry.text), ['welcome'])
  assert.is((await alice.only()).state, 'active')
  assert.is((await bob.only()).state, 'active')
  const isOver = victim.crashes === 0
  if (!isOver) await world.run(lifeguard)
  return isOver
}

test.run()
