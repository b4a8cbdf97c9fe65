/**
 * For tests of the embedded store: directories that go away, a log that remembers, mail with a
 * pattern, and the invariants that must hold after any fault.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { envelopeId } from '../../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../../protocol/ids.ts'
import type { Clock } from '../../../protocol/ports.ts'
import type { Log, MailboxItem, Store } from '../../../node/ports.ts'
import { openLevelStore } from '../../../node/storage/level-store.ts'
import type { LevelStore } from '../../../node/storage/level-store.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

export interface LogLine {
  readonly level: string
  readonly fields: { readonly code?: string }
  readonly message: string
}

export function rememberingLog(): Log & { readonly lines: LogLine[] } {
  const lines: LogLine[] = []
  const at = (level: string) => (fields: object, message: string): void => {
    lines.push({ level, fields, message })
  }
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

export async function temporaryDirectory(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'openim-store-'))
}

/** Runs `work` in a directory of its own. */
export async function inDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await temporaryDirectory()
  try {
    return await work(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

export interface OpenOptions {
  readonly directory: string
  readonly clock?: Clock
  readonly log?: Log
  readonly ballastBytes?: number
}

/** With a small ballast, and so a small write buffer: tables appear after a few hundred items. */
export async function openStore(options: OpenOptions): Promise<LevelStore> {
  const { directory, clock = new VirtualClock(), log = rememberingLog(), ballastBytes = 512 * 1024 } = options
  return await openLevelStore({ directory, clock, log, ballastBytes })
}

/** Incompressible mail, so that damage to a table hits bodies and not a checked index alone. */
export function mailFor(
  box: BoxId,
  options: { count: number, from?: number, bytes?: number },
): MailboxItem[] {
  const { count, from = 0, bytes = 1_000 } = options
  return Array.from({ length: count }, (_, i) => {
    const body = seededRandom(`mail ${from + i}`).bytes(bytes)
    return { box, id: envelopeId(body), expiresAtMs: Infinity, body }
  })
}

/** Puts in steps that keep below the limits of one commit. */
export async function putAll(store: Store, mail: readonly MailboxItem[]): Promise<void> {
  for (let at = 0; at < mail.length; at += 200) {
    for (const result of await store.mailbox.put(mail.slice(at, at + 200))) assert.is(result, 'stored')
  }
}

/** All ids of a box, page by page, with every body checked. */
export async function readBox(store: Store, box: BoxId): Promise<Set<EnvelopeId>> {
  const ids = new Set<EnvelopeId>()
  for (let after = 0, more = true; more;) {
    const page = await store.mailbox.list(box, { after, itemsMax: 500, bytesMax: 1_000_000 })
    for (const { id, body, position } of page.entries) {
      assert.is(envelopeId(body), id)
      assert.is(ids.has(id), false)
      assert.ok(position > after)
      ids.add(id)
      after = position
    }
    more = page.more
    if (more) assert.ok(page.entries.length > 0, 'a page that is not the last has an entry')
  }
  return ids
}

/**
 * What must hold after any fault: what is listed is whole and can be got; usage is what is
 * listed; a put of anything ends with it there.
 */
export async function assertConsistent(
  store: Store,
  box: BoxId,
  mail: readonly MailboxItem[],
): Promise<void> {
  const before = await readBox(store, box)
  for (const id of before) assert.is((await store.mailbox.get(box, id))?.id, id)
  assert.is((await store.mailbox.usage()).items, before.size)
  for (let at = 0; at < mail.length; at += 200) {
    const items = mail.slice(at, at + 200)
    const expected = items.map(({ id }) => (before.has(id) ? 'duplicate' : 'stored'))
    assert.equal(await store.mailbox.put(items), expected)
  }
  const after = await readBox(store, box)
  for (const { id } of mail) assert.ok(after.has(id))
}

/** Files of the database whose names match. */
export async function databaseFiles(directory: string, pattern: RegExp): Promise<string[]> {
  const names = await readdir(join(directory, 'level'))
  return names.filter((name) => pattern.test(name)).sort().map((name) => join(directory, 'level', name))
}

export async function flipBytes(path: string, range: { from: number, count: number }): Promise<void> {
  const bytes = await readFile(path)
  for (let at = range.from; at < range.from + range.count; at++) bytes[at] = bytes[at]! ^ 0xa5
  await writeFile(path, bytes)
}
