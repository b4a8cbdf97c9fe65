/**
 * A table of damage: whatever happens to the files, what comes back is whole mail or a clear
 * refusal, never wrong bytes and never an empty store; and after `repairLevelStore` everything
 * that can still be read is there.
 */
import { readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import type { MailboxItem } from '../../../node/ports.ts'
import { LevelDatabase } from '../../../node/storage/level-database.ts'
import { repairLevelStore } from '../../../node/storage/level-repair.ts'
import { rowKey } from '../../../node/storage/level-rows.ts'
import { checkStore } from '../../../node/store-check.ts'
import { boxNamed, hourMs, itemOf, proof, rejection } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import {
  assertConsistent, databaseFiles, flipBytes, inDirectory, mailFor, openStore, putAll, readBox,
  rememberingLog,
} from './level-fixture.ts'

const test = suite('node/storage/level-faults')
const diskTest = (name: string, work: (directory: string) => Promise<void>): void =>
  test(name, () => inDirectory(work))
const box = boxNamed('inbox')
const roomy = { itemsMax: 100_000, bytesMax: 1e9, expiresAtMs: Infinity }
const count = 3_000
const writeBufferBytes = 4 * 1024 * 1024
const mail = mailFor(box, { count })

/** A closed store with mail in many tables, and some in the log. */
async function fill(directory: string): Promise<void> {
  const store = await openStore({ directory })
  await store.mailbox.setBox(box, roomy)
  await putAll(store, mail)
  await store.kv.write(mail.slice(0, 50).map(({ body: value }, i) => ({ type: 'put', key: `k/${i}`, value })))
  await store.close()
}

/** Opens after damage: either refused as corrupt, or everything it shows is whole. */
async function openOrRefuse(directory: string): Promise<'refused' | number> {
  let store
  try {
    store = await openStore({ directory })
  } catch (error) {
    assert.is(errorCode(error), 'STORE_CORRUPT')
    assert.match((error as Error).message, 'repair')
    return 'refused'
  }
  try {
    return (await readBox(store, box)).size
  } catch (error) {
    assert.is(errorCode(error), 'STORE_CORRUPT')
    return 'refused'
  } finally {
    await store.close()
  }
}

interface Damage {
  readonly name: string
  readonly apply: (directory: string) => Promise<void>
  readonly opens: 'refused' | 'any'
  /** Of 3,000 messages. */
  readonly keptMin: number
}

const damages: readonly Damage[] = [
  {
    name: '64 bytes flipped in the middle of a table',
    async apply(directory) {
      const [path] = await largest(directory)
      await flipBytes(path!, { from: Math.floor((await stat(path!)).size / 2), count: 64 })
    },
    opens: 'any',
    keptMin: count - 200,
  },
  {
    name: 'a table with a damaged footer',
    async apply(directory) {
      const [path] = await largest(directory)
      await flipBytes(path!, { from: (await stat(path!)).size - 40, count: 40 })
    },
    opens: 'any',
    // How much was in it, compaction decides.
    keptMin: 1,
  },
  {
    // One alone may be a left-over of a compaction that LevelDB has no use for.
    name: 'all tables but one gone',
    async apply(directory) {
      for (const path of (await largest(directory)).slice(0, -1)) await rm(path)
    },
    opens: 'refused',
    keptMin: 1,
  },
  {
    name: 'CURRENT gone',
    apply: async (directory) => { await rm(join(directory, 'level', 'CURRENT')) },
    opens: 'refused',
    keptMin: count,
  },
  {
    name: 'CURRENT empty',
    apply: async (directory) => { await writeFile(join(directory, 'level', 'CURRENT'), '') },
    opens: 'refused',
    keptMin: count,
  },
  {
    name: 'MANIFEST gone',
    apply: async (directory) => { await rm((await databaseFiles(directory, /^MANIFEST/))[0]!) },
    opens: 'refused',
    keptMin: count,
  },
  {
    name: 'MANIFEST damaged',
    async apply(directory) {
      const [path] = await databaseFiles(directory, /^MANIFEST/)
      await flipBytes(path!, { from: 0, count: 32 })
    },
    opens: 'refused',
    keptMin: count,
  },
  {
    name: 'the log cut in half',
    async apply(directory) {
      const [path] = await databaseFiles(directory, /\.log$/)
      await truncate(path!, Math.floor((await stat(path!)).size / 2))
    },
    opens: 'any',
    keptMin: count - 800,
  },
]

async function largest(directory: string): Promise<string[]> {
  const paths = await databaseFiles(directory, /\.ldb$/)
  const sized = await Promise.all(paths.map(async (path) => ({ path, size: (await stat(path)).size })))
  return sized.sort((a, b) => b.size - a.size).map(({ path }) => path)
}

for (const damage of damages) {
  diskTest(`${damage.name}: refuses or shows whole mail, and is repaired`, async (directory) => {
    await fill(directory)
    await damage.apply(directory)
    const opened = await openOrRefuse(directory)
    if (damage.opens === 'refused') {
      assert.is(opened, 'refused')
      // Refusing touched nothing: the next start refuses as well.
      assert.is(await openOrRefuse(directory), 'refused')
    }
    const report = await repairLevelStore(directory)
    assert.ok(report.items >= damage.keptMin, `${report.items} of ${count} kept`)
    assert.ok((await readdir(report.keptAt)).length > 0)
    assert.not.ok((await readdir(directory)).some((name) => /repair/.test(name)))

    const store = await openStore({ directory })
    assert.is((await readBox(store, box)).size, report.items)
    await assertConsistent(store, box, mail)
    assert.is(store.health().corrupt, 0)
    await store.close()
  })
}

diskTest('a healthy store comes out of a repair as it was', async (directory) => {
  await fill(directory)
  const before = await openStore({ directory })
  const gone = mail.slice(0, 10).map(({ id }) => id)
  await before.mailbox.acknowledge(box, gone, { expiresAtMs: Infinity, proof })
  await before.mailbox.setBox(boxNamed('dropped'), roomy)
  await putAll(before, mailFor(boxNamed('dropped'), { count: 10 }))
  await before.mailbox.dropBox(boxNamed('dropped'))
  const usage = await before.mailbox.usage()
  const page = await before.mailbox.list(box, { after: 0, itemsMax: 50, bytesMax: 1_000_000 })
  await before.close()

  const { keptAt: _, ...report } = await repairLevelStore(directory)
  assert.equal(report, { items: count - 10, itemsLost: 0, boxesLost: 0, records: 50, damagedKeys: [] })
  const after = await openStore({ directory })
  assert.equal(await after.mailbox.usage(), usage)
  assert.equal(await after.mailbox.list(box, { after: 0, itemsMax: 50, bytesMax: 1_000_000 }), page)
  for (const id of gone) assert.equal(await after.mailbox.tombstone(box, id), proof)
  assert.is((await after.kv.list({ prefix: 'k/' })).length, 50)
  await after.close()
})

diskTest('does not repair a store that is open', async (directory) => {
  const store = await openStore({ directory })
  assert.is(await rejection(repairLevelStore(directory)), 'STORE_LOCKED')
  await store.kv.write([{ type: 'put', key: 'k', value: new Uint8Array(3) }])
  await store.close()
  assert.is((await repairLevelStore(directory)).records, 1)
})

diskTest('finishes a repair that was cut off before its last step', async (directory) => {
  await fill(directory)
  await rename(join(directory, 'level'), join(directory, 'level.repaired'))
  assert.is(await rejection(openStore({ directory })), 'STORE_CORRUPT')
  assert.is((await repairLevelStore(directory)).items, count)
})

diskTest('says that a part of the log was lost', async (directory) => {
  await fill(directory)
  const [path] = await databaseFiles(directory, /\.log$/)
  const { length } = await readFile(path!)
  await flipBytes(path!, { from: Math.floor(length / 3), count: 20 })
  const log = rememberingLog()
  const store = await openStore({ directory, log })
  assert.ok(store.health().logBytesLost > 0)
  assert.equal(log.lines.map(({ level, fields }) => [level, fields.code]), [['error', 'STORE_CORRUPT']])
  await assertConsistent(store, box, mail)
  await store.close()
})

/** Changes rows of a closed store behind its back. */
async function spoil(
  directory: string,
  keys: readonly string[],
  how: (row: Uint8Array) => Uint8Array | undefined,
): Promise<void> {
  const location = join(directory, 'level')
  const database = await LevelDatabase.open({ location, createIfMissing: false, writeBufferBytes })
  for (const key of keys) {
    const row = (await database.read((handle) => handle.get(key)))!
    const value = how(new Uint8Array(row))
    await database.write([value === undefined ? { type: 'del', key } : { type: 'put', key, value }])
  }
  await database.close()
}

const flipped = (row: Uint8Array): Uint8Array =>
  row.map((byte, i) => (i === row.length >> 1 ? byte ^ 0x10 : byte))

/** A closed store with ten items; their numbers and the box's generation. */
async function ten(
  directory: string,
): Promise<{ items: MailboxItem[], numbers: number[], generation: number }> {
  const items = mail.slice(0, 10)
  const store = await openStore({ directory })
  await store.mailbox.setBox(box, roomy)
  await putAll(store, items)
  await store.kv.write(['k/1', 'k/2', 'k/3'].map((key) => ({ type: 'put', key, value: new Uint8Array(100) })))
  const { entries } = await store.mailbox.list(box, { after: 0, itemsMax: 10, bytesMax: 100_000 })
  await store.close()
  const numbers = entries.map(({ position }) => position)
  return { items, numbers, generation: numbers[0]! - 1 }
}

diskTest('drops, counts and reports a body that is damaged, and takes it again', async (directory) => {
  const { items, numbers } = await ten(directory)
  await spoil(directory, [rowKey.body(numbers[3]!)], flipped)
  await spoil(directory, [rowKey.body(numbers[5]!)], () => undefined)
  const log = rememberingLog()
  const store = await openStore({ directory, log })
  const left = items.filter((_, i) => i !== 3 && i !== 5).map(({ id }) => id)
  assert.equal([...await readBox(store, box)], left)
  assert.is(store.health().corrupt, 2)
  assert.equal(log.lines.map(({ fields }) => fields.code), ['STORE_CORRUPT', 'STORE_CORRUPT'])
  assert.is(await store.mailbox.get(box, items[3]!.id), undefined)
  assert.equal(await store.mailbox.put([items[3]!, items[4]!, items[5]!]), ['stored', 'duplicate', 'stored'])
  assert.equal(await store.mailbox.usage(), { items: 10, bytes: 10_000 })
  assert.is(store.health().corrupt, 2)
  await store.close()
})

diskTest('a check drops what is damaged, nothing that only its clock calls expired', async (directory) => {
  const clock = new VirtualClock()
  const { items, numbers } = await ten(directory)
  const first = await openStore({ directory, clock })
  const mortal = itemOf({ box, number: 1, expiresAtMs: clock.now() + hourMs })
  await first.mailbox.put([mortal])
  await first.close()
  await spoil(directory, [rowKey.body(numbers[3]!)], flipped)
  const ahead = new VirtualClock()
  await ahead.advance(48 * hourMs)
  const wrong = await openStore({ directory, clock: ahead })
  const checked = await checkStore(wrong)
  assert.equal([checked.mail, checked.dropped, checked.damaged], [9, 1, []])
  await wrong.close()
  const right = await openStore({ directory, clock })
  assert.is((await readBox(right, box)).size, 10)
  assert.is((await right.mailbox.get(box, mortal.id))?.id, mortal.id)
  assert.is(await right.mailbox.get(box, items[3]!.id), undefined)
  await right.close()
})

diskTest('gives the pages after one that was damaged as a whole', async (directory) => {
  const { items, numbers } = await ten(directory)
  await spoil(directory, numbers.slice(0, 4).map(rowKey.body), flipped)
  const store = await openStore({ directory })
  const page = await store.mailbox.list(box, { after: 0, itemsMax: 2, bytesMax: 100_000 })
  assert.equal([page.entries.map(({ id }) => id), page.more], [items.slice(4, 6).map(({ id }) => id), true])
  await store.close()
})

diskTest('survives damaged index rows, and loses at most their items', async (directory) => {
  const { items, numbers, generation } = await ten(directory)
  const spoiled = [
    rowKey.slot(generation, items[1]!.id),
    rowKey.order(generation, numbers[2]!),
    rowKey.expiry(Infinity, numbers[4]!),
  ]
  await spoil(directory, spoiled, flipped)
  const store = await openStore({ directory })
  assert.ok((await readBox(store, box)).size >= 9)
  assert.ok(store.health().corrupt > 0)
  await store.close()
  const report = await repairLevelStore(directory)
  assert.ok(report.items >= 9)
  const repaired = await openStore({ directory })
  await assertConsistent(repaired, box, items)
  await repaired.close()
})

diskTest('rebuilds every index row from bodies', async (directory) => {
  const { items, numbers, generation } = await ten(directory)
  const slots = items.map(({ id }) => rowKey.slot(generation, id))
  const orders = numbers.map((number) => rowKey.order(generation, number))
  await spoil(directory, [...slots.slice(0, 5), ...orders.slice(5)], () => undefined)
  await spoil(directory, numbers.map((number) => rowKey.expiry(Infinity, number)), () => undefined)
  await spoil(directory, [rowKey.state], flipped)
  assert.is(await rejection(openStore({ directory })), 'STORE_CORRUPT')
  assert.is((await repairLevelStore(directory)).items, 10)
  const store = await openStore({ directory })
  await assertConsistent(store, box, items)
  const [entry] = await store.kv.list({ prefix: 'k/' })
  assert.is(await store.kv.write([{ type: 'put', key: 'k/1', value: new Uint8Array(1) }]), true)
  assert.ok((await store.kv.get('k/1'))!.version > entry!.version)
  await store.close()
})

diskTest('a damaged record is refused by name, never dropped, healed by writing it', async (directory) => {
  await ten(directory)
  await spoil(directory, [rowKey.kv('k/2')], flipped)
  const store = await openStore({ directory })
  for (const read of [() => store.kv.get('k/2'), () => store.kv.list({ prefix: 'k/' })]) {
    try {
      await read()
      assert.unreachable()
    } catch (error) {
      assert.is(errorCode(error), 'STORE_CORRUPT')
      assert.match((error as Error).message, 'k/2')
    }
  }
  assert.is(await rejection(store.kv.write([{ type: 'check', key: 'k/2', version: 1 }])), 'STORE_CORRUPT')
  assert.is((await store.kv.list({ prefix: 'k/', after: 'k/2' })).length, 1)
  await store.close()

  assert.equal((await repairLevelStore(directory)).damagedKeys, ['k/2'])
  const again = await openStore({ directory })
  assert.is(await rejection(again.kv.get('k/2')), 'STORE_CORRUPT')
  await again.kv.write([{ type: 'put', key: 'k/2', value: new Uint8Array(1) }])
  assert.is((await again.kv.list({ prefix: 'k/' })).length, 3)
  await again.close()
})

test.run()
