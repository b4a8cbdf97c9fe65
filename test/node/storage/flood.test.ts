/**
 * A flood of one mailbox, on every database that syncs: what is over its quota is refused one by
 * one and stores nothing, the pages of the box stay bounded, and who writes to other boxes waits no
 * longer than if the same flood went to a thousand boxes. That ratio, not the time, is held: a
 * flood costs everybody on the same disk.
 */
import * as assert from 'uvu/assert'
import type { BoxId } from '../../../protocol/ids.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import type { PutResult, Store } from '../../../node/ports.ts'
import { boxNamed, itemOf, rejection, wide } from '../../compliance/store-subject.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { suite } from '../../helpers/harness.ts'
import { openPlace } from './kill-place.ts'
import { inDirectory } from './level-fixture.ts'
import { sharedKinds } from './shared-kinds.ts'

const quota = 1_000
const spreadBoxes = 1_000
const batch = 50
const flooders = 8
const victims = 10
const floodPuts = 100_000

interface Flood {
  readonly boxes: readonly BoxId[]
  readonly from: number
  readonly puts: number
}

/** The answers to a flood, and how long others waited meanwhile. */
async function flood(
  store: Store,
  { boxes, from, puts }: Flood,
): Promise<{ answers: Map<PutResult, number>, p99Ms: number }> {
  const answers = new Map<PutResult, number>()
  let next = 0
  let isOver = false
  const flooder = async (): Promise<void> => {
    while (next < puts) {
      const items = Array.from({ length: batch }, (_, i) => {
        const box = boxes[(next + i) % boxes.length]!
        return itemOf({ box, number: from + next + i, expiresAtMs: Infinity })
      })
      next += batch
      for (const answer of await store.mailbox.put(items)) answers.set(answer, (answers.get(answer) ?? 0) + 1)
    }
  }
  const waitedMs: number[] = []
  const victim = async (number: number): Promise<void> => {
    const box = boxNamed(`victim ${number}`)
    for (let n = 0; !isOver; n++) {
      const beforeMs = systemClock.monotonicMs()
      const [answer] = await store.mailbox.put([itemOf({ box, number: from + n, expiresAtMs: Infinity })])
      assert.is(answer, 'stored')
      waitedMs.push(systemClock.monotonicMs() - beforeMs)
    }
  }
  const others = Promise.all(Array.from({ length: victims }, (_, i) => victim(i)))
  await Promise.all(Array.from({ length: flooders }, flooder))
  isOver = true
  await others
  waitedMs.sort((a, b) => a - b)
  assert.ok(waitedMs.length > 100, `${waitedMs.length} other puts meanwhile`)
  return { answers, p99Ms: waitedMs[Math.floor(waitedMs.length * 0.99)]! }
}

async function bearsFlood(store: Store): Promise<void> {
  const flooded = boxNamed('flooded')
  const spread = Array.from({ length: spreadBoxes }, (_, i) => boxNamed(`spread ${i}`))
  const unlimited = { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity }
  await store.mailbox.setBox(flooded, { ...wide, itemsMax: quota })
  await Promise.all([
    ...spread.map((box) => store.mailbox.setBox(box, { ...wide, itemsMax: quota / spreadBoxes })),
    ...Array.from({ length: victims }, (_, i) => store.mailbox.setBox(boxNamed(`victim ${i}`), unlimited)),
  ])
  const many = await flood(store, { boxes: spread, from: 0, puts: floodPuts / 5 })
  const one = await flood(store, { boxes: [flooded], from: 1_000_000, puts: floodPuts })
  assert.equal([...one.answers].sort(), [['over-quota', floodPuts - quota], ['stored', quota]])
  assert.is(many.answers.get('stored'), quota)
  const ratio = one.p99Ms / many.p99Ms
  assert.ok(ratio < 3, `others waited ${one.p99Ms} ms, and ${many.p99Ms} ms with the flood spread out`)

  const usage = (await store.mailbox.boxes()).find(({ box }) => box === flooded)!.usage
  assert.equal(usage, { items: quota, bytes: quota * 200 })
  let seen = 0
  for (let after = 0, more = true; more;) {
    const page = await store.mailbox.list(flooded, { after, itemsMax: 300, bytesMax: 20_000 })
    assert.ok(page.entries.length > 0 && page.entries.length <= 100, 'a page keeps to its bytes')
    seen += page.entries.length
    after = page.entries.at(-1)!.position
    more = page.more
  }
  assert.is(seen, quota)
  const own = itemOf({ box: boxNamed('victim 0'), number: 9_000_000, expiresAtMs: Infinity })
  assert.is(await rejection(store.mailbox.put([own])), 'settled')
}

const name = 'a flood of one mailbox is refused beyond its quota and costs others no more than any other'

const levelTest = suite('node/storage/flood: level', { timeoutMs: 120_000 })
levelTest(name, () => inDirectory(async (directory) => {
  const store = await openPlace({ kind: 'level', directory })
  await bearsFlood(store)
  await store.close()
}))
levelTest.run()

for (const kind of sharedKinds) {
  const test = suite(`node/storage/flood: ${kind.name}`, { timeoutMs: 120_000 })
  let server: DatabaseProcess | undefined
  test.after(async () => { await server?.remove() })
  test.skipUnless(kind.isHere, `${kind.name} is not installed`)(name, async () => {
    server = await kind.start()
    const store = await openPlace(kind.place(server))
    try {
      await bearsFlood(store)
    } finally {
      await store.close()
    }
  })
  test.run()
}
