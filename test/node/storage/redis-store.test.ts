/**
 * What a store in Redis asks of its server before it holds mail, and what it does with damage.
 */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import * as assert from 'uvu/assert'
import { utf8 } from '../../../crypto/bytes.ts'
import type { OpenIMError } from '../../../crypto/errors.ts'
import type { Store } from '../../../node/ports.ts'
import { MemoryStore } from '../../../node/storage/memory-store.ts'
import { migrate, schemaVersion } from '../../../node/storage/redis-schema.ts'
import type { Migration, RedisScript } from '../../../node/storage/redis-schema.ts'
import { StoreFiller, storeDigest, storeParts } from '../../../node/storage/store-parts.ts'
import { limits } from '../../../protocol/limits.ts'
import { boxNamed, hourMs, idsIn, itemOf, proof, rejection, wide } from '../../compliance/store-subject.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { freePort } from '../../helpers/free-port.ts'
import { suite } from '../../helpers/harness.ts'
import { hasRedis, redisAddress, redisCommand, startRedis } from '../../helpers/redis-server.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { openOn } from './redis-fixture.ts'

const test = suite('node/storage/redis-store', { timeoutMs: 60_000 })
const withRedis = test.skipUnless(hasRedis, 'redis-server is not installed')
const box = boxNamed('inbox')
const set = async (name: string, value: string): Promise<void> => {
  await redisCommand(server, 'CONFIG', 'SET', name, value)
}
const keyOf = (kind: string): Buffer =>
  Buffer.concat([Buffer.from(`openim:${kind}:`), Buffer.from(box, 'hex')])
const items = [1, 2, 3].map((number) => itemOf({ box, number, expiresAtMs: Infinity }))

let server: DatabaseProcess
test.before(async () => { if (hasRedis) server = await startRedis() })
test.after(async () => { if (hasRedis) await server.remove() })
test.before.each(async () => { if (hasRedis) await redisCommand(server, 'FLUSHALL') })

withRedis('refuses settings under which mail may be lost, and names them', async () => {
  const { store } = await openOn(server)
  assert.is(store.health().durable, true)
  await store.close()
  const wrong = [
    ['appendonly', 'no', 'yes'], ['appendfsync', 'everysec', 'always'],
    ['no-appendfsync-on-rewrite', 'yes', 'no'], ['maxmemory-policy', 'allkeys-lru', 'noeviction'],
  ] as const
  for (const [name, bad, good] of wrong) {
    await set(name, bad)
    const error = await openOn(server).catch((thrown: OpenIMError) => thrown) as OpenIMError
    assert.is(error.code, 'STORE_SETTINGS')
    assert.match(error.message, `${name} is ${bad} and must be ${good}`)

    const { store: loose, log } = await openOn(server, { allowNonDurable: true })
    assert.is(loose.health().durable, false)
    assert.match(loose.health().undurable.join(), name)
    assert.match(log.lines.join(), 'may lose what it stored')
    await loose.close()
    await set(name, good)
  }
})

withRedis('notices at the next connection that the settings have changed', async () => {
  const { store, log } = await openOn(server)
  const noticed = log.heard('appendfsync')
  await set('appendfsync', 'everysec')
  await redisCommand(server, 'CLIENT', 'KILL', 'TYPE', 'normal')
  await noticed
  assert.is(await rejection(store.mailbox.usage()), 'STORE_AWAY')
  const back = log.heard('is back')
  await set('appendfsync', 'always')
  await back
  assert.equal(await store.mailbox.usage(), { items: 0, bytes: 0 })
  await store.close()
})

withRedis('vouches for nothing where it may not ask for the settings', async () => {
  await redisCommand(server, 'ACL', 'SETUSER',
    'openim', 'reset', 'on', '>secret word', '~openim:*', '+@all', '-config')
  const address = { ...redisAddress(server), user: 'openim', password: 'secret word' }
  const error = await openOn(server, { address }).catch((thrown: OpenIMError) => thrown) as OpenIMError
  assert.is(error.code, 'STORE_SETTINGS')
  assert.match(error.message, '+config|get')
  const { store } = await openOn(server, { address, allowNonDurable: true })
  assert.is(store.health().durable, false)
  await store.close()
})

withRedis('does with the rights that the manual names', async () => {
  await redisCommand(server, 'ACL', 'SETUSER', 'openim', 'reset', 'on', '>secret word', '~openim:*',
    ...'&openim:* +evalsha +eval +info +config|get +@hash +@sortedset +exists +unlink +del'.split(' '),
    '+publish', '+subscribe')
  const address = { ...redisAddress(server), user: 'openim', password: 'secret word' }
  const { store } = await openOn(server, { address })
  await store.mailbox.setBox(box, wide)
  await store.mailbox.put(items)
  await store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
  await store.mailbox.dropBox(box)
  assert.is((await store.kv.list({ prefix: '' })).length, 1)
  const heard = new Promise((resolve) => { store.hints.listen(resolve) })
  let isHeard = false
  void heard.then(() => { isHeard = true })
  while (!isHeard) {
    store.hints.publish(utf8('hint'))
    await redisCommand(server, 'PING')
  }
  await store.close()
  assert.is(await rejection(openOn(server, { address, prefix: 'foreign:' })), 'STORE_ACCESS')
})

withRedis('never shows a password, right or wrong', async () => {
  await redisCommand(server, 'ACL', 'SETUSER', 'openim', 'reset', 'on', '>right word', '~*', '+@all')
  const base = redisAddress(server)
  const refused = [
    { ...base, user: 'openim', password: 'wrong word' },
    { ...base, user: 'nobody', password: 'wrong word' },
    { ...base, user: 'openim', password: 'right word', database: 99 },
    { ...base, host: '/nowhere/socket', user: 'openim', password: 'right word' },
  ]
  const codes: string[] = []
  for (const address of refused) {
    const error = await openOn(server, { address }).catch((thrown: unknown) => thrown) as OpenIMError
    codes.push(error.code)
    assert.not.match(inspect(error, { depth: 10, showHidden: true }), /(wrong|right) word/)
  }
  assert.equal(codes, ['STORE_ACCESS', 'STORE_ACCESS', 'STORE_ACCESS', 'STORE_AWAY'])
  const right = { ...base, user: 'openim', password: 'right word' }
  const { store, log } = await openOn(server, { address: right })
  const back = log.heard('is back')
  await redisCommand(server, 'CLIENT', 'KILL', 'TYPE', 'normal')
  await back
  assert.not.match(inspect(store, { depth: 10, showHidden: true }) + log.lines.join(), 'right word')
  await store.close()
})

withRedis('refuses a database that a newer openIM wrote, also when that happens meanwhile', async () => {
  const { store, log } = await openOn(server)
  const noticed = log.heard('STORE_NEWER')
  await redisCommand(server, 'HSET', 'openim:meta', 'schema', '99')
  assert.is(await rejection(store.mailbox.put(items)), 'STORE_AWAY')
  await noticed
  assert.is(await rejection(openOn(server)), 'STORE_NEWER')
  await store.close()
})

withRedis('migrates in steps, by several at once, and shuts out who knows only the old layout', async () => {
  const { store, log } = await openOn(server)
  const noticed = log.heard('STORE_NEWER')
  const records = Array.from({ length: 95 }, (_, i) =>
    ({ type: 'put', key: `k${i}`, value: utf8('v') }) as const)
  await store.kv.write(records)
  // Each row gets a mark behind it, ten a step; done twice it would have two.
  const migration: Migration = {
    from: schemaVersion,
    step: `
      local done, rows = 0, redis.call('HGETALL', prefix .. 'kv-rows')
      for at = 1, #rows, 2 do
        if done == 10 then return true end
        if not string.find(rows[at + 1], ' marked') then
          redis.call('HSET', prefix .. 'kv-rows', rows[at], rows[at + 1] .. ' marked')
          done = done + 1
        end
      end
      return false`,
  }
  let steps = 0
  const evaluate = async ({ text }: RedisScript): Promise<unknown> => {
    steps++
    return await redisCommand(server, 'EVAL', text, '0', 'openim:')
  }
  const [, , refused] = await Promise.all([
    migrate(evaluate, migration), migrate(evaluate, migration),
    (async () => {
      while (steps < 4) await redisCommand(server, 'PING')
      return await rejection(store.kv.write(records))
    })(),
  ])
  assert.is(refused, 'STORE_AWAY')
  await noticed
  const rows = await redisCommand(server, 'HVALS', 'openim:kv-rows') as string[]
  assert.ok(rows.length === 95 && rows.every((row) => /^\d+ inf marked$/.test(row)))
  assert.equal(await redisCommand(server, 'HMGET', 'openim:meta', 'schema', 'migrating'),
    [String(schemaVersion + 1), null])
  assert.ok(steps >= 11, `${steps} steps`)
  await store.close()
})

withRedis('does not take an empty server for the one that it had', async () => {
  const { store, log } = await openOn(server)
  await store.mailbox.setBox(box, wide)
  const noticed = log.heard('STORE_CORRUPT')
  await redisCommand(server, 'FLUSHALL')
  assert.is(await rejection(store.mailbox.setBox(box, wide)), 'STORE_AWAY')
  await noticed
  assert.is(await redisCommand(server, 'DBSIZE'), 0)
  await store.close()
})

withRedis('two that open an empty database at once share it', async () => {
  const stores = await Promise.all(Array.from({ length: 4 }, async () => (await openOn(server)).store))
  await stores[0]!.mailbox.setBox(box, wide)
  const results = await Promise.all(stores.map((store) => store.mailbox.put(items)))
  assert.is(results.flat().filter((result) => result === 'stored').length, 3)
  for (const store of stores) await store.close()
  assert.is(await redisCommand(server, 'EXISTS', 'openim:links'), 0, 'who closes takes leave')
})

withRedis('lets nobody write who lost its token, and gives it another', async () => {
  const [one, { store: two }] = [await openOn(server), await openOn(server)]
  const back = one.log.heard('is back')
  const crashed = Array.from({ length: 1_001 }, (_, i) => [`crashed ${i}`, 'token']).flat()
  await redisCommand(server, 'HSET', 'openim:links', ...crashed)
  await redisCommand(server, 'CLIENT', 'KILL', 'TYPE', 'normal')
  await back
  await one.store.mailbox.setBox(box, wide)
  for (const result of await untilUp(() => two.mailbox.put(items))) assert.is(result, 'stored')
  assert.is(await redisCommand(server, 'HLEN', 'openim:links'), 2)
  await one.store.close()
  await two.close()
})

withRedis('talks TLS, and only to whom the certificate names', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'openim-tls-'))
  const fixtures = new URL('../../fixtures/', import.meta.url)
  // Readable for the user under whom the server runs.
  for (const name of ['cert', 'key']) {
    const pem = await readFile(new URL(`tls-test-${name}.pem`, fixtures))
    await writeFile(join(folder, name), pem, { mode: 0o644 })
  }
  await chmod(folder, 0o755)
  const port = await freePort()
  const tlsServer = await startRedis({
    'tls-port': String(port), 'tls-cert-file': join(folder, 'cert'), 'tls-key-file': join(folder, 'key'),
    'tls-auth-clients': 'no',
  })
  const ca = await readFile(join(folder, 'cert'), 'utf8')
  const { store } = await openOn(tlsServer, { address: { host: 'localhost', port, tls: { ca } } })
  assert.equal(await store.mailbox.usage(), { items: 0, bytes: 0 })
  await store.close()
  const strange = [
    { host: 'localhost', port, tls: {} },
    { host: '127.0.0.2', port, tls: { ca } },
  ]
  for (const address of strange) assert.is(await rejection(openOn(tlsServer, { address })), 'STORE_TLS')
  const plain = { host: 'localhost', port }
  assert.is(await rejection(openOn(tlsServer, { address: plain })), 'STORE_AWAY')
  const plainPort = await freePort()
  const plainServer = await startRedis({ port: String(plainPort) })
  const wanted = { host: 'localhost', port: plainPort, tls: { ca } }
  const codeThere = await rejection(openOn(plainServer, { address: wanted }))
  await plainServer.remove()
  // It ends the connection without a word.
  assert.is(codeThere, 'STORE_AWAY')
  await tlsServer.remove()
  await rm(folder, { recursive: true })
})

withRedis('waits for a server that is loading, and is away for that time', async () => {
  const settings: Record<string, string> = {}
  const slow = await startRedis(settings)
  const { store, log } = await openOn(slow)
  for (let i = 0; i < 20; i++) {
    await store.kv.write(Array.from({ length: 100 }, (_, j) =>
      ({ type: 'put', key: `${i} ${j}`, value: new Uint8Array(10) })))
  }
  const back = log.heard('is back')
  // Microseconds for each of some 8,000 commands.
  settings['key-load-delay'] = '300'
  await slow.kill()
  const started = slow.start()
  const waited = log.heard('waiting for it')
  const second = await untilUp(() => openOn(slow, { log }))
  await waited
  await started
  await back
  for (const { kv } of [store, second.store]) assert.is((await kv.list({ prefix: '' })).length, 2_000)
  await second.store.close()
  await store.close()
  await slow.remove()
})

withRedis('keeps stores of other prefixes apart', async () => {
  const [one, two] = [(await openOn(server)).store, (await openOn(server, { prefix: 'other:' })).store]
  await one.mailbox.setBox(box, wide)
  await one.mailbox.put(items)
  await one.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
  assert.equal(await two.mailbox.put(items), ['no-box', 'no-box', 'no-box'])
  assert.is(await two.kv.get('k'), undefined)
  await one.close()
  await two.close()
})

withRedis('carries hints to every process, itself too, again after the connection broke', async () => {
  const [one, two] = [(await openOn(server)).store, (await openOn(server)).store]
  const heard = { one: [] as string[], two: [] as string[] }
  const endOne = one.hints.listen((message) => { heard.one.push(String(Buffer.from(message))) })
  two.hints.listen((message) => { heard.two.push(String(Buffer.from(message))) })
  const untilBothHear = async (text: string): Promise<void> => {
    while (!heard.one.includes(text) || !heard.two.includes(text)) {
      one.hints.publish(utf8(text))
      await redisCommand(server, 'PING')
    }
  }
  await untilBothHear('first')
  await redisCommand(server, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
  await untilBothHear('second')

  two.hints.publish(new Uint8Array(limits.storeHintBytesMax + 1))
  endOne()
  const before = heard.one.length
  two.hints.publish(utf8('third'))
  while (!heard.two.includes('third')) await redisCommand(server, 'PING')
  assert.is(heard.one.length, before)
  assert.ok(heard.two.every((text) => text.length < 10))
  await one.close()
  await two.close()
  two.hints.publish(utf8('lost'))
  two.hints.listen(() => {})
})

withRedis('goes on without hints where they are not allowed, and says so once', async () => {
  await redisCommand(server, 'ACL', 'SETUSER', 'openim', 'reset', 'on', '>word', '~*', '+@all', '-@pubsub')
  const address = { ...redisAddress(server), user: 'openim', password: 'word' }
  const { store, log } = await openOn(server, { address })
  const told = log.heard('does not allow hints')
  store.hints.listen(() => {})
  for (let i = 0; i < 5; i++) store.hints.publish(utf8('hint'))
  await told
  assert.equal(await store.mailbox.usage(), { items: 0, bytes: 0 })
  await store.close()
  assert.is(log.lines.filter((line) => line.includes('hints')).length, 1)
})

withRedis('lists more than a script looks at in one step', async () => {
  const { store } = await openOn(server)
  const { mailbox, pieces, kv } = store
  const boxes = Array.from({ length: 450 }, (_, i) => boxNamed(`box ${i}`))
  await Promise.all(boxes.flatMap((one) => [mailbox.setBox(one, wide), pieces.setBox(one, wide)]))
  assert.equal((await mailbox.boxes()).map((one) => one.box), boxes)
  assert.equal((await pieces.boxes()).map((one) => one.box), boxes)

  const large = new Uint8Array(limits.kvValueBytesMax)
  const keys = Array.from({ length: 9 }, (_, i) => `large/${i}`)
  for (const key of keys) await kv.write([{ type: 'put', key, value: large }])
  const value = utf8('v')
  await kv.write(Array.from({ length: 700 }, (_, i) => ({ type: 'put', key: `small/${i}`, value })))
  const found = async (reverse: boolean): Promise<string[]> =>
    (await kv.list({ prefix: 'large/', reverse })).map(({ key }) => key)
  assert.equal(await found(false), keys)
  assert.equal(await found(true), keys.toReversed())
  assert.is((await kv.list({ prefix: 'small/' })).length, 700)
  assert.is((await kv.list({ prefix: '', limit: 605 })).length, 605)

  const [first] = boxes
  const mail = Array.from({ length: 450 }, (_, number) =>
    itemOf({ box: first!, number, expiresAtMs: Infinity }))
  assert.ok((await mailbox.put(mail)).every((result) => result === 'stored'))
  assert.equal(await idsIn(store, first!), mail.map(({ id }) => id))
  const ids = mail.map(({ id }) => id).toSorted()
  await mailbox.acknowledge(first!, ids, { expiresAtMs: Infinity, proof })
  const tombstones = await mailbox.tombstones(first!, { limit: 440 })
  assert.equal(tombstones.map(({ id }) => id), ids.slice(0, 440))
  await store.close()
})

withRedis('holds the same as any other store after a move there and back', async () => {
  const clock = new VirtualClock()
  const { store } = await openOn(server, { clock })
  const source = new MemoryStore({ clock })
  const expiresAtMs = clock.now() + hourMs
  await source.mailbox.setBox(box, wide)
  await source.mailbox.put([...items, itemOf({ box, number: 9, expiresAtMs })])
  await source.mailbox.acknowledge(box, [items[1]!.id], { expiresAtMs, proof })
  await source.pieces.setBox(box, { ...wide, expiresAtMs })
  await source.pieces.put(box, items)
  await source.kv.write([
    { type: 'put', key: 'k', value: utf8('v') }, { type: 'put', key: 'ends', value: utf8('e'), expiresAtMs },
  ])
  const copy = async (from: Store, to: Store): Promise<void> => {
    const filler = new StoreFiller(to)
    for await (const part of storeParts(from)) await filler.add(part)
    await filler.finish()
  }
  await copy(source, store)
  const home = new MemoryStore({ clock })
  await copy(store, home)
  const digests = await Promise.all([source, store, home].map(storeDigest))
  assert.is(new Set(digests).size, 1)
  await store.close()
})

withRedis('drops a body that is damaged or gone, and takes it again', async () => {
  const { store } = await openOn(server)
  await store.mailbox.setBox(box, wide)
  await store.mailbox.put(items)
  await redisCommand(server, 'HSET', keyOf('body'), Buffer.from(items[0]!.id, 'hex'), 'flipped')
  await redisCommand(server, 'HDEL', keyOf('body'), Buffer.from(items[1]!.id, 'hex'))
  assert.equal(await idsIn(store, box), [items[2]!.id])
  assert.is(store.health().corrupt, 2)
  assert.equal(await store.mailbox.put(items), ['stored', 'stored', 'duplicate'])
  assert.equal(await store.mailbox.usage(), { items: 3, bytes: 600 })
  assert.equal((await idsIn(store, box)).toSorted(), items.map(({ id }) => id).toSorted())
  await store.close()
})

withRedis('leaves a damaged piece out, and takes it again behind the others', async () => {
  const { store } = await openOn(server)
  const { pieces } = store
  await pieces.setBox(box, wide)
  await pieces.put(box, items)
  const swapped = Buffer.concat([Buffer.from(items[0]!.id, 'hex'), items[1]!.body])
  await redisCommand(server, 'HSET', keyOf('piece'), '1', swapped)
  const page = { after: 0, itemsMax: 10, bytesMax: 10_000 }
  const listed = async (): Promise<[number, string][]> =>
    (await pieces.list(box, page)).entries.map(({ position, id }) => [position, id])
  const rest: [number, string][] = [[2, items[1]!.id], [3, items[2]!.id]]
  assert.equal([await listed(), await listed()], [rest, rest])
  assert.is(store.health().corrupt, 1)
  assert.equal(await pieces.put(box, items), ['stored', 'duplicate', 'duplicate'])
  assert.equal(await listed(), [...rest, [4, items[0]!.id]])
  await store.close()
})

withRedis('gets on past a page that is damaged wholly', async () => {
  const { store } = await openOn(server)
  await store.mailbox.setBox(box, wide)
  await store.mailbox.put(items)
  for (const { id } of items.slice(0, 2)) {
    await redisCommand(server, 'HSET', keyOf('body'), Buffer.from(id, 'hex'), 'flipped')
  }
  const page = await store.mailbox.list(box, { after: 0, itemsMax: 2, bytesMax: 10_000 })
  assert.equal(page.entries.map(({ id }) => id), [items[2]!.id])
  assert.is(page.more, false)
  await store.close()
})

withRedis('never returns a damaged record, until it is written anew', async () => {
  const { store } = await openOn(server)
  await store.kv.write([{ type: 'put', key: 'k', value: utf8('value') }])
  await redisCommand(server, 'HSET', 'openim:kv-values', 'k', 'valux1234')
  assert.is(await rejection(store.kv.get('k')), 'STORE_CORRUPT')
  assert.is(await rejection(store.kv.list({ prefix: '' })), 'STORE_CORRUPT')
  await store.kv.write([{ type: 'put', key: 'k', value: utf8('again') }])
  assert.equal((await store.kv.get('k'))!.value, utf8('again'))
  await store.close()
})

/** Asks until it is not away; each time a round trip, so that others get on. */
async function untilUp<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      assert.is((error as OpenIMError).code, 'STORE_AWAY')
      await redisCommand(server, 'PING')
    }
  }
}

test.run()
