/** Leases: one holder at a time, a successor soon after its end, and a frozen holder writes nothing. */
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import { utf8 } from '../../../crypto/bytes.ts'
import { Lease } from '../../../node/household/lease.ts'
import type { MemoryStore } from '../../../node/storage/memory-store.ts'
import { limits } from '../../../protocol/limits.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { suite } from '../../helpers/harness.ts'
import { sharedStores } from '../../helpers/house-room.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/household/lease')
const { householdLeaseMs: termMs, householdBeatMs: beatMs } = limits

/** One process: its connection, its lease, and what it was told. */
class Contender {
  readonly store: MemoryStore
  readonly lease: Lease
  readonly told: string[] = []
  readonly #clock: VirtualClock
  /** Its own clock stands while it is frozen, as seen by code that runs on. */
  frozenAtMs: number | undefined
  beats = true

  constructor(clock: VirtualClock, store: MemoryStore, name: string) {
    this.store = store
    this.#clock = clock
    const own: Clock = {
      now: () => clock.now(),
      monotonicMs: () => this.frozenAtMs ?? clock.monotonicMs(),
      after: (delayMs, callback) => clock.after(delayMs, () => {
        if (this.frozenAtMs === undefined) callback()
      }),
    }
    this.lease = new Lease({ kv: store.kv, clock: own, random: seededRandom(name) }, {
      name: 'work', holder: name, held: () => this.told.push('held'), lost: () => this.told.push('lost'),
    })
    this.#beat()
  }

  #beat(): void {
    this.#clock.after(beatMs, () => {
      if (this.beats) void this.lease.step().catch(() => {})
      this.#beat()
    })
  }
}

function contenders(count: number): { clock: VirtualClock, all: Contender[] } {
  const clock = new VirtualClock()
  const stores = sharedStores(clock, { count })
  return { clock, all: stores.map((store, i) => new Contender(clock, store, `process ${i}`)) }
}

function put(kv: KvStore, text: string): Promise<boolean> {
  return kv.write([{ type: 'put', key: 'record', value: utf8(text) }])
}

test('of many that want it at the same moment, one has it', async () => {
  const { clock, all } = contenders(8)
  await clock.advance(100)
  for (let i = 0; i < 20; i++) {
    await clock.advance(beatMs)
    assert.is(all.filter(({ lease }) => lease.isHeld).length, 1)
  }
  assert.equal(all.flatMap(({ told }) => told), ['held'], 'and it stays where it is')
})

test('another one has it at most a term and two beats after the holder fell silent', async () => {
  const { clock, all } = contenders(3)
  await clock.advance(5 * beatMs)
  const first = all.find(({ lease }) => lease.isHeld)!
  first.beats = false
  const silentMs = clock.monotonicMs()
  let overlap = 0
  while (!all.some((one) => one !== first && one.lease.isHeld)) {
    await clock.advance(50)
    if (all.filter(({ lease }) => lease.isHeld).length > 1) overlap++
  }
  assert.ok(clock.monotonicMs() - silentMs <= termMs + 2 * beatMs)
  assert.is(overlap, 0, 'never two at once')
  assert.equal(first.told, ['held', 'lost'], 'the silent one stopped by itself')
})

test('one that is given back is taken at the next beat', async () => {
  const { clock, all } = contenders(2)
  await clock.advance(3 * beatMs)
  const first = all.find(({ lease }) => lease.isHeld)!
  await clock.until(first.lease.stop(), { withinMs: 1_000 })
  await clock.advance(beatMs + 100)
  assert.ok(all.find((one) => one !== first)!.lease.isHeld)
})

test('a holder that was frozen, and does not know it, writes nothing after a takeover', async () => {
  const { clock, all } = contenders(2)
  await clock.advance(3 * beatMs)
  const frozen = all.find(({ lease }) => lease.isHeld)!
  const other = all.find((one) => one !== frozen)!
  const kv = frozen.lease.fenced(frozen.store.kv)
  assert.ok(await clock.until(put(kv, 'before'), { withinMs: 1_000 }))
  frozen.beats = false
  frozen.frozenAtMs = clock.monotonicMs()
  await clock.advance(termMs + 3 * beatMs)
  assert.ok(other.lease.isHeld)
  assert.ok(frozen.lease.isHeld, 'it believes so')
  await clock.until(put(other.lease.fenced(other.store.kv), 'after'), { withinMs: 1_000 })
  const code = await clock.until(put(kv, 'too late').then(String, errorCode), { withinMs: 1_000 })
  assert.is(code, 'HOUSEHOLD_LEASE_LOST')
  assert.equal((await other.store.kv.get('record'))?.value, utf8('after'))
  assert.equal(frozen.told, ['held', 'lost'], 'and now it knows')
})

test('a failed check of the caller\'s own is no lost lease', async () => {
  const { clock, all: [only] } = contenders(1)
  await clock.advance(3 * beatMs)
  const kv = only!.lease.fenced(only!.store.kv)
  const write = kv.write([{ type: 'check', key: 'record', version: 7 }])
  assert.is(await clock.until(write, { withinMs: 1_000 }), false)
  assert.ok(only!.lease.isHeld)
})

test('a wall clock that jumps by ten years moves nothing', async () => {
  const { clock, all } = contenders(3)
  await clock.advance(3 * beatMs)
  const first = all.find(({ lease }) => lease.isHeld)!
  for (const years of [10, -20]) {
    clock.jumpWall(years * 365 * 86_400_000)
    await clock.advance(3 * termMs)
    assert.equal(all.filter(({ lease }) => lease.isHeld), [first])
  }
})

test('a database that is away for longer than the term ends the work, and it begins again', async () => {
  const { clock, all: [only] } = contenders(1)
  await clock.advance(3 * beatMs)
  const { kv } = only!.store
  const { write } = kv
  kv.write = () => Promise.reject(new Error('away'))
  await clock.advance(termMs)
  assert.not(only!.lease.isHeld)
  kv.write = write
  await clock.advance(termMs + 2 * beatMs)
  assert.ok(only!.lease.isHeld)
  assert.equal(only!.told, ['held', 'lost', 'held'])
})

test.run()
