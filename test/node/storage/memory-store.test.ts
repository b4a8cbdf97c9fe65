/** What only the in-memory store promises: virtual time of syncs, crashes, a full disk. */
import * as assert from 'uvu/assert'
import { utf8 } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import { MemoryStore } from '../../../node/storage/memory-store.ts'
import { boxNamed, idsIn, itemOf, proof, rejection, wide } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/storage/memory-store')
const box = boxNamed('inbox')
const item = (number: number) => itemOf({ box, number, expiresAtMs: Infinity })

/** Every coin toss falls the same way. */
const always = (byte: number): Random => ({ bytes: (length) => new Uint8Array(length).fill(byte) })

/** What a promise came to, without waiting for it. */
function watch(promise: Promise<unknown>): { outcome: string } {
  const watched = { outcome: 'pending' }
  promise.then(
    (value) => { watched.outcome = JSON.stringify(value) ?? 'done' },
    (error: { code: string }) => { watched.outcome = error.code },
  )
  return watched
}

test('settles a write when its sync has finished, and shows it only then', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock }, { syncDelayMs: 10 })
  const write = watch(store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }]))
  await clock.advance(9)
  assert.is(write.outcome, 'pending')
  assert.is(await store.kv.get('k'), undefined)
  await clock.advance(1)
  assert.is(write.outcome, 'true')
  assert.equal((await store.kv.get('k'))!.value, utf8('v'))
})

test('groups what is written during a sync into the next one', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock }, { syncDelayMs: 10 })
  const first = [watch(store.mailbox.setBox(box, wide)), watch(store.mailbox.put([item(1)]))]
  await clock.advance(5)
  const second = [watch(store.mailbox.put([item(2)])), watch(store.mailbox.put([item(2)]))]
  await clock.advance(5)
  const outcomes = [...first, ...second].map(({ outcome }) => outcome)
  assert.equal(outcomes, ['done', '["stored"]', 'pending', 'pending'])
  await clock.advance(10)
  assert.equal(second.map(({ outcome }) => outcome), ['["stored"]', '["duplicate"]'])
})

test('loses everything unsynced in a crash and says stored of nothing it lost', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock }, { syncDelayMs: 10 })
  store.mailbox.setBox(box, wide).catch(assert.unreachable)
  const kept = watch(store.mailbox.put([item(1)]))
  await clock.advance(10)
  const syncing = watch(store.mailbox.put([item(2)]))
  await clock.advance(5)
  const waiting = watch(store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }]))
  store.crash()
  await clock.advance(100)
  assert.is(kept.outcome, '["stored"]')
  assert.equal([syncing.outcome, waiting.outcome], ['STORE_CLOSED', 'STORE_CLOSED'])
  assert.is(clock.pending, 0)
  assert.is(await rejection(store.mailbox.put([item(3)])), 'STORE_CLOSED')
  assert.is(await rejection(store.kv.get('k')), 'STORE_CLOSED')

  const after = store.reopen()
  assert.equal(await idsIn(after, box), [item(1).id])
  assert.is(await after.kv.get('k'), undefined)
})

test('with a random, the group being synced is on disk after a crash every other time', async () => {
  for (const [byte, survives] of [[0x00, true], [0xff, false]] as const) {
    const clock = new VirtualClock()
    const store = new MemoryStore({ clock, random: always(byte) }, { syncDelayMs: 10 })
    const syncing = watch(store.kv.write([{ type: 'put', key: 'syncing', value: utf8('v') }]))
    await clock.advance(5)
    const waiting = watch(store.kv.write([{ type: 'put', key: 'waiting', value: utf8('v') }]))
    store.crash()
    await clock.advance(100)
    assert.equal([syncing.outcome, waiting.outcome], ['STORE_CLOSED', 'STORE_CLOSED'])
    const after = store.reopen()
    assert.is((await after.kv.get('syncing')) !== undefined, survives)
    assert.is(await after.kv.get('waiting'), undefined)
  }
})

test('close waits for the syncs under way', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock }, { syncDelayMs: 10 })
  const write = watch(store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }]))
  const closed = watch(store.close())
  await clock.advance(9)
  assert.equal([write.outcome, closed.outcome], ['pending', 'pending'])
  await clock.advance(1)
  assert.equal([write.outcome, closed.outcome], ['true', 'done'])
  assert.equal((await store.reopen().kv.get('k'))!.value, utf8('v'))
})

test('a crash while it closes ends the closing', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock }, { syncDelayMs: 10 })
  const write = watch(store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }]))
  const closed = watch(store.close())
  store.crash()
  await clock.settle()
  assert.equal([write.outcome, closed.outcome], ['STORE_CLOSED', 'done'])
})

test('a full disk refuses what needs room, and takes it again after deletions', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore({ clock }, { capacityBytes: 1_000 })
  await store.mailbox.setBox(box, wide)
  await store.mailbox.put([item(1), item(2), item(3), item(4)])
  await store.kv.write([{ type: 'put', key: 'k', value: new Uint8Array(150) }])
  assert.is(await rejection(store.mailbox.put([item(5)])), 'STORE_FULL')
  const record = { type: 'put', key: 'k2', value: new Uint8Array(150) } as const
  assert.is(await rejection(store.kv.write([record])), 'STORE_FULL')
  assert.is((await idsIn(store, box)).length, 4)

  assert.is(await store.mailbox.acknowledge(box, [item(1).id], { expiresAtMs: Infinity, proof }), 1)
  assert.is(await store.kv.write([{ type: 'delete', key: 'k' }]), true)
  assert.equal(await store.mailbox.put([item(5)]), ['stored'])
})

test('20,000 puts and 20,000 records take well under a second of real time', async () => {
  const store = new MemoryStore({ clock: new VirtualClock() })
  const startMs = performance.now()
  await store.mailbox.setBox(box, { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity })
  for (let i = 0; i < 20_000; i++) {
    await store.mailbox.put([item(i)])
    await store.kv.write([{ type: 'put', key: `k/${(i * 7_919) % 20_000}`, value: item(i).body }])
    if (i % 100 === 0) await store.kv.list({ prefix: 'k/', limit: 10 })
  }
  const ms = performance.now() - startMs
  // Ten times what it takes on a slow machine: a table gone quadratic takes a minute.
  assert.ok(ms < 10_000, `${Math.round(ms)} ms`)
})

test.run()
