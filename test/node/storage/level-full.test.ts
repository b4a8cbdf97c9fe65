/**
 * A full disk, on a small file system of its own (needs root to mount one): new mail is refused
 * with a reason, reading and deleting go on, nothing is lost, and it ends by itself.
 */
import { execFileSync } from 'node:child_process'
import { open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import type { MailboxItem, Store } from '../../../node/ports.ts'
import { boxNamed, proof, rejection } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { inDirectory, mailFor, openStore, readBox, rememberingLog } from './level-fixture.ts'

const box = boxNamed('inbox')
const roomy = { itemsMax: 100_000, bytesMax: 1e9, expiresAtMs: Infinity }
const tombstone = { expiresAtMs: Infinity, proof }

function canMount(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0
}

/** Runs `work` on a file system of 24 MB. */
async function onSmallDisk(work: (directory: string) => Promise<void>): Promise<void> {
  await inDirectory(async (directory) => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', directory])
    try {
      await work(directory)
    } finally {
      // Lazily: a failed test may have left a store open.
      execFileSync('umount', ['-l', directory])
    }
  })
}

/** Writes `bytes`, or until not one more page fits. */
async function fill(path: string, bytes = Infinity): Promise<void> {
  const file = await open(path, 'w')
  try {
    let written = 0
    for (const chunk of [Buffer.alloc(65_536, 1), Buffer.alloc(4_096, 1)]) {
      try {
        while (written < bytes) written += (await file.write(chunk)).bytesWritten
      } catch (error) {
        if (errorCode(error) !== 'ENOSPC') throw error
      }
    }
  } finally {
    await file.close()
  }
}

/** Puts one after the other until the store is full; returns what it said is stored. */
async function putUntilFull(store: Store, from: number): Promise<MailboxItem[]> {
  const stored: MailboxItem[] = []
  for (let number = from; ; number++) {
    const mail = mailFor(box, { count: 1, from: number, bytes: 8_000 })
    try {
      assert.equal(await store.mailbox.put(mail), ['stored'])
    } catch (error) {
      assert.is(errorCode(error), 'STORE_FULL')
      return stored
    }
    stored.push(mail[0]!)
  }
}

async function assertHolds(store: Store, mail: readonly MailboxItem[]): Promise<void> {
  assert.equal([...await readBox(store, box)].toSorted(), mail.map(({ id }) => id).toSorted())
}

const test = suite('node/storage/level-full', { timeoutMs: 120_000 })
const mountTest = test.skipUnless(canMount(), 'only root can mount a small file system', { allowInCI: true })
const smallDiskTest = (name: string, work: (disk: string) => Promise<void>): void =>
  mountTest(name, () => onSmallDisk(work))

smallDiskTest('refuses new mail while the disk is nearly full, and goes on by itself', async (disk) => {
  const directory = join(disk, 'store')
  const log = rememberingLog()
  const store = await openStore({ directory, log, ballastBytes: 3 * 1024 * 1024 })
  await store.mailbox.setBox(box, roomy)
  const filler = join(disk, 'filler')
  await fill(filler, 14 * 1024 * 1024)

  let held = await putUntilFull(store, 0)
  assert.ok(held.length > 200, `${held.length} stored`)
  // LevelDB may give back a log it is writing out just now: take that room away as well.
  await fill(join(disk, 'filler 2'), 2.5 * 1024 * 1024)
  const record = { type: 'put', key: 'k', value: new Uint8Array(10) } as const
  assert.is(await rejection(store.kv.write([record])), 'STORE_FULL')
  assert.is(store.health().full, true)
  assert.equal([log.lines[0]!.level, log.lines[0]!.fields.code], ['warn', 'STORE_FULL'])
  await assertHolds(store, held)

  const gone = held.slice(0, 50).map(({ id }) => id)
  assert.is(await store.mailbox.acknowledge(box, gone, tombstone), 50)
  held = held.slice(50)
  await assertHolds(store, held)

  await rm(filler)
  const [late] = mailFor(box, { count: 1, from: 100_000 })
  assert.equal(await store.mailbox.put([late!]), ['stored'])
  assert.is(store.health().full, false)
  await assertHolds(store, [...held, late!])
  await store.close()
})

smallDiskTest('bears somebody else filling the disk to its last byte', async (disk) => {
  const directory = join(disk, 'store')
  const store = await openStore({ directory, ballastBytes: 3 * 1024 * 1024 })
  await store.mailbox.setBox(box, roomy)
  let held = mailFor(box, { count: 400, bytes: 4_000 })
  for (let at = 0; at < held.length; at += 50) await store.mailbox.put(held.slice(at, at + 50))
  await store.kv.write([{ type: 'put', key: 'k', value: new Uint8Array(10) }])
  assert.ok((await readdir(directory)).includes('ballast'))
  const filler = join(disk, 'filler')
  await fill(filler)

  // All at once, in one group: what needs room is refused, the rest is done.
  const late = mailFor(box, { count: 20, from: 1_000, bytes: 60_000 })
  const [put, write, acknowledged, deleted] = await Promise.all([
    rejection(store.mailbox.put(late)),
    rejection(store.kv.write([{ type: 'put', key: 'k2', value: new Uint8Array(500_000) }])),
    store.mailbox.acknowledge(box, held.slice(0, 10).map(({ id }) => id), tombstone),
    store.kv.write([{ type: 'delete', key: 'k' }]),
  ])
  assert.equal([put, write, acknowledged, deleted], ['STORE_FULL', 'STORE_FULL', 10, true])
  held = held.slice(10)
  assert.not.ok((await readdir(directory)).includes('ballast'))
  await assertHolds(store, held)
  assert.is(await store.kv.get('k'), undefined)

  for (let i = 0; i < 20; i++) {
    assert.is(await store.mailbox.acknowledge(box, [held[i]!.id], tombstone), 1)
    assert.is(await rejection(store.mailbox.put(late)), 'STORE_FULL')
  }
  held = held.slice(20)
  await store.close()

  const again = await openStore({ directory, ballastBytes: 3 * 1024 * 1024 })
  await assertHolds(again, held)
  assert.is(await rejection(again.mailbox.put(late)), 'STORE_FULL')
  await rm(filler)
  assert.equal(await again.mailbox.put(late), late.map(() => 'stored'))
  assert.ok((await readdir(directory)).includes('ballast'))
  await assertHolds(again, [...held, ...late])
  await again.close()
})

smallDiskTest('settles everything, and comes back, when even the ballast did not help', async (disk) => {
  const directory = join(disk, 'store')
  const store = await openStore({ directory, ballastBytes: 3 * 1024 * 1024 })
  await store.mailbox.setBox(box, roomy)
  const held = mailFor(box, { count: 400, bytes: 4_000 })
  for (let at = 0; at < held.length; at += 50) await store.mailbox.put(held.slice(at, at + 50))
  const ids = held.map(({ id }) => id)
  const refused: string[] = []
  const big = { expiresAtMs: Infinity, proof: new Uint8Array(15_000) }
  for (let round = 0; round < 8; round++) {
    await fill(join(disk, `filler ${round}`))
    refused.push(...await Promise.all([
      rejection(store.mailbox.acknowledge(box, ids.slice(round, round + 1), big)),
      rejection(store.mailbox.put(mailFor(box, { count: 1, from: 5_000, bytes: 60_000 }))),
    ]))
  }
  assert.ok(refused.every((code) => code === 'STORE_FULL' || code === 'settled'), refused.join())
  assert.ok(refused.filter((code) => code === 'STORE_FULL').length > 8, refused.join())

  for (let round = 0; round < 8; round++) await rm(join(disk, `filler ${round}`))
  await store.mailbox.acknowledge(box, ids.slice(0, 8), tombstone)
  assert.equal(await store.mailbox.put(mailFor(box, { count: 1, from: 6_000 })), ['stored'])
  await assertHolds(store, [...held.slice(8), ...mailFor(box, { count: 1, from: 6_000 })])
  await store.close()
})

smallDiskTest('opens on a disk that is full, with the room of its ballast', async (disk) => {
  const directory = join(disk, 'store')
  const store = await openStore({ directory, ballastBytes: 3 * 1024 * 1024 })
  await store.mailbox.setBox(box, roomy)
  const held = mailFor(box, { count: 300, bytes: 5_000 })
  for (let at = 0; at < held.length; at += 50) await store.mailbox.put(held.slice(at, at + 50))
  await store.close()
  await fill(join(disk, 'filler'))
  for (let round = 0; round < 3; round++) {
    const again = await openStore({ directory, ballastBytes: 3 * 1024 * 1024 })
    assert.is(again.health().full, true)
    await assertHolds(again, held)
    await again.close()
  }
})

smallDiskTest('says so when the first start finds no room', async (disk) => {
  await fill(join(disk, 'filler'))
  assert.is(await rejection(openStore({ directory: join(disk, 'store') })), 'STORE_FULL')
  await rm(join(disk, 'filler'))
  await (await openStore({ directory: join(disk, 'store') })).close()
})

test.run()
