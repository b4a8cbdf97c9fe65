/**
 * A full disk under a database server, on a small file system of its own (needs root to mount one):
 * what needs room is refused with a reason, or the server dies of it and is away; nothing that was
 * said to be stored is lost, and everything goes on when there is room again.
 */
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import type { MailboxItem, Store } from '../../../node/ports.ts'
import { boxNamed, idsIn, itemOf, proof, rejection } from '../../compliance/store-subject.ts'
import { canMount } from '../../helpers/database-process.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { eventually } from '../../helpers/cli-node.ts'
import { suite } from '../../helpers/harness.ts'
import { mailFor } from './level-fixture.ts'
import { openPlace } from './kill-place.ts'
import { sharedKinds } from './shared-kinds.ts'
import type { SharedKind } from './shared-kinds.ts'

const box = boxNamed('inbox')
const unlimited = { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity }
const tombstone = { expiresAtMs: Infinity, proof }
const putsMax = 5_000
/** What a server needs for itself, and little more. */
const diskMegabytes = { PostgreSQL: 160, MariaDB: 320, Redis: 24 }
/** Its own settings, so that it writes what it holds soon, and keeps no room aside. */
const settings = {
  PostgreSQL: ['min_wal_size=32MB', 'max_wal_size=32MB'], MariaDB: ['innodb-log-file-size=8M'], Redis: [],
}

/** Takes all room but `leave` bytes; returns how to give it back. */
async function fill(folder: string, leave: number): Promise<() => Promise<void>> {
  const path = join(folder, 'filler')
  const file = await open(path, 'w')
  let bytes = 0
  try {
    const chunk = new Uint8Array(65_536).fill(1)
    for (;;) bytes += (await file.write(chunk)).bytesWritten
  } catch (error) {
    if (errorCode(error) !== 'ENOSPC') throw error
    await file.truncate(Math.max(0, bytes - leave))
  } finally {
    await file.close()
  }
  return () => rm(path)
}

/** Nothing that a database could press together. */
const item = (number: number): MailboxItem => mailFor(box, { count: 1, from: number, bytes: 20_000 })[0]!

/** Until it refuses for the first time; what it said is stored, and the code. */
async function putUntilRefused(store: Store): Promise<{ stored: EnvelopeId[], code: string }> {
  const stored: EnvelopeId[] = []
  for (let number = 0; number < putsMax; number++) {
    const one = item(number)
    const code = await rejection(store.mailbox.put([one]))
    if (code !== 'settled') return { stored, code }
    stored.push(one.id)
  }
  throw new Error(`${putsMax} puts found room`)
}

async function fullDisk(kind: SharedKind, server: DatabaseProcess): Promise<void> {
  const store = await openPlace(kind.place(server))
  try {
    await store.mailbox.setBox(box, unlimited)
    const early = Array.from({ length: 50 }, (_, i) => item(10_000 + i))
    await store.mailbox.put(early)
    const giveBack = await fill(server.folder, 4 * 1024 * 1024)
    const { stored, code } = await putUntilRefused(store)
    assert.ok(['STORE_FULL', 'STORE_AWAY'].includes(code), `${code} after ${stored.length}`)

    // It works, or is refused with a reason; nothing in between.
    const gone = early.slice(0, 10).map(({ id }) => id)
    const acknowledged = await rejection(store.mailbox.acknowledge(box, gone, tombstone))
    assert.ok(['settled', 'STORE_FULL', 'STORE_AWAY'].includes(acknowledged), acknowledged)
    const late = itemOf({ box, number: 20_000, expiresAtMs: Infinity })
    const again = await rejection(store.mailbox.put([late]))
    assert.ok(['settled', 'STORE_FULL', 'STORE_AWAY'].includes(again), again)

    await giveBack()
    await eventually(async () => {
      // A server that died of it is started by whoever looks after it.
      if (server.hasEnded) await server.start()
      return await rejection(store.mailbox.put([late])) === 'settled' ? true : undefined
    }, { withinMs: 30_000, what: 'a put after there was room again' })
    assert.equal(await store.mailbox.put([late]), ['duplicate'])
    await store.mailbox.acknowledge(box, gone, tombstone)
    const held = new Set(await idsIn(store, box))
    for (const id of stored) assert.ok(held.has(id), `${id} is lost`)
    for (const { id } of early.slice(10)) assert.ok(held.has(id), `${id} is lost`)
    for (const id of gone) assert.not.ok(held.has(id))
    assert.is((await store.mailbox.usage()).items, held.size)
  } finally {
    await store.close()
  }
}

for (const kind of sharedKinds) {
  const test = suite(`node/storage/shared-full: ${kind.name}`, { timeoutMs: 120_000 })
  const reason = canMount() ? `${kind.name} is not installed` : 'only root can mount a small file system'
  const diskTest = test.skipUnless(canMount() && kind.isHere, reason, { allowInCI: true })
  diskTest('refuses new mail on a full disk, loses nothing, and goes on when there is room', async () => {
    const server = await kind.start({ diskMegabytes: diskMegabytes[kind.name] }, settings[kind.name])
    try {
      await fullDisk(kind, server)
    } finally {
      await server.remove()
    }
  })
  test.run()
}
