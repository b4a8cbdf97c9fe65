/**
 * What goes wrong with a Redis and with processes that share it: killed, frozen, full, read-only,
 * busy, raced. Everything runs against a real server; nothing said to be stored may be lost.
 */
import * as assert from 'uvu/assert'
import { utf8 } from '../../../crypto/bytes.ts'
import { scripts } from '../../../node/storage/redis-scripts.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { boxNamed, idsIn, itemOf, proof, rejection, wide } from '../../compliance/store-subject.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { suite } from '../../helpers/harness.ts'
import { hasRedis, redisAddress, redisCommand, startRedis } from '../../helpers/redis-server.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { killCampaignAt, killServerCampaign } from './kill-campaign.ts'
import { RaceProcess } from './race-process.ts'
import { openOn } from './redis-fixture.ts'

const test = suite('node/storage/redis-faults', { timeoutMs: 120_000 })
const withRedis = test.skipUnless(hasRedis, 'redis-server is not installed')
const box = boxNamed('inbox')
const unlimited = { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity }
const itemNumbered = (number: number, bytes = 200) => itemOf({ box, number, expiresAtMs: Infinity, bytes })

let server: DatabaseProcess
test.before(async () => { if (hasRedis) server = await startRedis() })
test.after(async () => { if (hasRedis) await server.remove() })
test.before.each(async () => { if (hasRedis) await redisCommand(server, 'FLUSHALL') })

withRedis('loses nothing it said was stored when the server is killed in the middle of it', async () => {
  const place = { kind: 'Redis', address: redisAddress(server) } as const
  const { put, acknowledged } = await killServerCampaign(server, place, { rounds: 3, seed: 'redis' })
  assert.ok(put > 400 && acknowledged > 50, `${put} stored, ${acknowledged} acknowledged`)
})

withRedis('loses nothing it said was stored when its own process is killed three times', async () => {
  const place = { kind: 'Redis', address: redisAddress(server) } as const
  const { put, acknowledged } = await killCampaignAt(place, { rounds: 3, seed: 'redis' })
  assert.ok(put > 200 && acknowledged > 50, `${put} stored, ${acknowledged} acknowledged`)
})

withRedis('refuses while the server is frozen, and comes back when it thaws', async () => {
  const paceClock = new VirtualClock()
  const { store, log } = await openOn(server, { paceClock })
  await store.kv.write([{ type: 'put', key: 'k', value: utf8('before') }])
  const [process, token] = (await redisCommand(server, 'HGETALL', 'openim:links')) as string[]
  server.freeze()
  const late = rejection(store.kv.write([{ type: 'put', key: 'k', value: utf8('late') }]))
  const read = rejection(store.kv.get('k'))
  // Both are sent in this turn of the event loop, before the clock moves.
  await new Promise((resolve) => { setImmediate(resolve) })
  await paceClock.advance(limits.databaseQueryMs)
  assert.equal([await late, await read], ['STORE_AWAY', 'STORE_AWAY'])
  assert.is(store.health().away, true)
  assert.is(await rejection(store.kv.get('k')), 'STORE_AWAY')
  assert.is(await rejection(store.mailbox.put([itemNumbered(1)])), 'STORE_AWAY')

  const back = log.heard('is back')
  server.thaw()
  await paceClock.advance(1_000)
  await back
  assert.is(await store.kv.write([{ type: 'put', key: 'k', value: utf8('after') }]), true)
  // What the connection that was given up may still have under way.
  const args = ['openim:', '0', process!, token!, 'kv_write', '3', '0', 'delete', 'k']
  const zombie = redisCommand(server, 'EVALSHA', scripts.write.sha, '0', ...args)
  assert.match(String(await zombie.catch((error: unknown) => error)), 'FENCED')
  assert.equal((await store.kv.get('k'))!.value, utf8('after'))
  await store.close()
})

withRedis('bounds what waits in memory for a server that is slow', async () => {
  const { store } = await openOn(server)
  await store.mailbox.setBox(box, unlimited)
  server.freeze()
  const count = Math.ceil(limits.commitQueueBytesMax / limits.envelopeBytesMax) + 40
  const puts = Array.from({ length: count }, (_, number) =>
    rejection(store.mailbox.put([itemNumbered(number, limits.envelopeBytesMax)])))
  assert.is(await puts.at(-1), 'STORE_BUSY')
  server.thaw()
  const results = await Promise.all(puts)
  const taken = results.filter((result) => result === 'settled').length
  assert.ok(taken > 100 && results.every((result) => ['settled', 'STORE_BUSY'].includes(result)))
  assert.is((await store.mailbox.usage()).items, taken)
  await store.close()
})

withRedis('refuses what needs room at the memory limit, still deletes, and goes on with more', async () => {
  const { store } = await openOn(server)
  await store.mailbox.setBox(box, unlimited)
  const info = String(await redisCommand(server, 'INFO', 'memory'))
  const used = Number(/used_memory:(\d+)/.exec(info)![1])
  await redisCommand(server, 'CONFIG', 'SET', 'maxmemory', String(used + 2_000_000))
  const stored: number[] = []
  let refusal = ''
  for (let number = 0; refusal === ''; number++) {
    const result = await rejection(store.mailbox.put([itemNumbered(number, 50_000)]))
    if (result === 'settled') stored.push(number)
    else refusal = result
  }
  assert.is(refusal, 'STORE_FULL')
  const idOf = (number: number): EnvelopeId => itemNumbered(number, 50_000).id
  assert.equal(await idsIn(store, box), stored.map(idOf))

  // Far over the limit, whatever buffers come and go.
  await redisCommand(server, 'CONFIG', 'SET', 'maxmemory', '1')
  assert.is(await rejection(store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])), 'STORE_FULL')
  assert.is(store.health().full, true)
  const kept = { expiresAtMs: Infinity, proof }
  const both = await Promise.all([
    rejection(store.mailbox.put([itemNumbered(9_999)])),
    store.mailbox.acknowledge(box, [idOf(stored[0]!)], kept),
  ])
  assert.equal(both, ['STORE_FULL', 1])
  assert.is(await store.mailbox.acknowledge(box, stored.slice(1).map(idOf), kept), stored.length - 1)
  assert.equal(await store.mailbox.tombstone(box, idOf(stored[0]!)), proof)
  await redisCommand(server, 'CONFIG', 'SET', 'maxmemory', String(used + 2_000_000))
  assert.equal(await store.mailbox.put([itemNumbered(9_999)]), ['stored'], 'what was deleted made room')
  assert.is(store.health().full, false)
  await redisCommand(server, 'CONFIG', 'SET', 'maxmemory', '0')
  await store.close()
})

withRedis('holds quota, duplicates and counts exactly when processes race', async () => {
  const { store } = await openOn(server)
  const place = { kind: 'Redis', address: redisAddress(server) } as const
  const children = await Promise.all([RaceProcess.start(place), RaceProcess.start(place)])
  try {
    await store.mailbox.setBox(box, { ...wide, itemsMax: 100 })
    const numbers = Array.from({ length: 100 }, (_, i) => i)
    const quota = await Promise.all(children.map((child, i) =>
      child.ask<string[]>({ do: 'put', box, numbers: numbers.map((n) => n + 1_000 * i), expiresAtMs: null })))
    const results = quota.flat()
    assert.is(results.filter((result) => result === 'stored').length, 100)
    assert.is(results.filter((result) => result === 'over-quota').length, 100)

    await store.mailbox.dropBox(box)
    await store.mailbox.setBox(box, wide)
    const same = await Promise.all(children.map((child) =>
      child.ask<string[]>({ do: 'put', box, numbers, expiresAtMs: null })))
    for (const number of numbers) {
      assert.equal(same.map((one) => one[number]).toSorted(), ['duplicate', 'stored'])
    }
    assert.equal(await store.mailbox.usage(), { items: 100, bytes: 20_000 })

    const expiresAtMs = Date.UTC(2100, 0, 1)
    await store.mailbox.dropBox(box)
    await store.mailbox.setBox(box, wide)
    const many = Array.from({ length: 500 }, (_, i) => i)
    for (const number of many) await store.mailbox.put([itemOf({ box, number, expiresAtMs })])
    const [gone, read] = await Promise.all([
      children[0]!.ask<number>({ do: 'expire', box, numbers: [], expiresAtMs }),
      children[1]!.ask<number>({ do: 'acknowledge', box, numbers: many, expiresAtMs }),
    ])
    assert.is(gone + read, 500)
    assert.equal(await store.mailbox.usage(), { items: 0, bytes: 0 })
    for (const number of many) {
      assert.ok(await store.mailbox.tombstone(box, itemOf({ box, number, expiresAtMs }).id))
    }
  } finally {
    await Promise.all(children.map((child) => child.kill()))
  }
  await store.close()
})

withRedis('goes on when Redis forgets its scripts', async () => {
  const { store } = await openOn(server)
  await store.mailbox.setBox(box, wide)
  await redisCommand(server, 'SCRIPT', 'FLUSH')
  const results = await Promise.all([1, 2, 3].map((number) => store.mailbox.put([itemNumbered(number)])))
  assert.equal(results.flat(), ['stored', 'stored', 'stored'])
  await redisCommand(server, 'SCRIPT', 'FLUSH')
  assert.is((await idsIn(store, box)).length, 3)
  await store.close()
})

withRedis('refuses while the server is a replica or busy, and comes back by itself', async () => {
  const { store, log } = await openOn(server)
  await store.mailbox.setBox(box, wide)
  const interrupt = async (begin: () => Promise<unknown>, end: () => Promise<unknown>): Promise<void> => {
    await begin()
    const back = log.heard('is back')
    assert.is(await rejection(store.mailbox.put([itemNumbered(1)])), 'STORE_AWAY')
    await end()
    await back
    assert.is(await rejection(store.mailbox.put([itemNumbered(1)])), 'settled')
  }
  await interrupt(
    () => redisCommand(server, 'REPLICAOF', '127.0.0.1', '1'),
    () => redisCommand(server, 'REPLICAOF', 'NO', 'ONE'),
  )
  await redisCommand(server, 'CONFIG', 'SET', 'busy-reply-threshold', '1')
  await interrupt(
    async () => {
      // Never answered: it ends when it is killed.
      const ended = redisCommand(server, 'EVAL', 'while true do end', '0').catch(() => {})
      await untilBusy()
      return { ended }
    },
    () => redisCommand(server, 'SCRIPT', 'KILL'),
  )
  await store.close()
})

async function untilBusy(): Promise<void> {
  for (;;) {
    const reply = await redisCommand(server, 'GET', 'nothing').catch((error: unknown) => String(error))
    if (String(reply).includes('BUSY')) return
  }
}

withRedis('lets one write that meets foreign data fail alone', async () => {
  const { store } = await openOn(server)
  const other = boxNamed('other')
  await store.mailbox.setBox(box, wide)
  await store.mailbox.setBox(other, wide)
  const key = Buffer.concat([Buffer.from('openim:order:'), Buffer.from(other, 'hex')])
  await redisCommand(server, 'SET', key, 'not ours')
  const [foreign, own] = await Promise.all([
    rejection(store.mailbox.put([{ ...itemNumbered(1), box: other }])),
    store.mailbox.put([itemNumbered(1)]),
  ])
  assert.equal([foreign, own], ['STORE_IO', ['stored']])
  await store.close()
})

test.run()
