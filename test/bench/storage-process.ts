/**
 * One process of the storage bench: a store, or a plain database under the same load, and what the
 * load does to it. Time of the store can be moved, so that mail expires without waiting.
 */
import { createHash } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import pg from 'pg'
import { envelopeId } from '../../protocol/envelope.ts'
import { hex } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import type { BoxId } from '../../protocol/ids.ts'
import { silentLog } from '../../node/ports.ts'
import type { MailboxItem, Store } from '../../node/ports.ts'
import { openLevelStore } from '../../node/storage/level-store.ts'
import { openStore } from '../../node/storage/open-store.ts'
import { openMysql } from '../../node/storage/sql/mysql-driver.ts'
import { openPostgresql } from '../../node/storage/sql/postgresql-driver.ts'
import { openSqlStore } from '../../node/storage/sql/sql-store.ts'
import type { StoreAddress } from '../../node/storage/store-address.ts'
import { serveCommands } from './bench-process.ts'

export type StorageCommand =
  | {
    readonly op: 'open'
    readonly directory: string
    readonly boxes: number
    readonly address?: StoreAddress
    /** Embedded, and not synced. */
    readonly unsynced?: boolean
  }
  | { readonly op: 'openPlain', readonly host: string, readonly boxes: number }
  /** Sixteen of our stores that write each put by itself. */
  | { readonly op: 'openSingly', readonly address: StoreAddress, readonly boxes: number }
  | { readonly op: 'put', readonly concurrency: number, readonly count: number }
  | { readonly op: 'plainPut', readonly concurrency: number, readonly count: number }
  | { readonly op: 'fetch', readonly boxes: number }
  | { readonly op: 'expire', readonly count: number }
  | { readonly op: 'written' }

/** Of some puts. */
export interface PutFigures {
  readonly perSecond: number
  /** The longest time in which none was answered, ms. */
  readonly stallMs: number
  readonly p50Ms: number
  readonly loopP99Ms: number
}

const bodyBytes = 1_024
const hourMs = 3_600_000
let offsetMs = 0
let store: Store | undefined
let plainPut: (() => Promise<unknown>) | undefined
let boxNames: BoxId[] = []
let sequence = 0

const clock = {
  now: () => systemClock.now() + offsetMs,
  monotonicMs: () => systemClock.monotonicMs(),
  after: (delayMs: number, callback: () => void) => systemClock.after(delayMs, callback),
}

function boxNumber(index: number): BoxId {
  return boxNames[index % boxNames.length]!
}

/** Every body another one, and cheap to make: what is measured is the store. */
function nextBody(): Uint8Array {
  const body = template.slice()
  new DataView(body.buffer).setFloat64(0, ++sequence)
  return body
}
const template = systemRandom.bytes(bodyBytes)

function nextItem(box: BoxId, expiresAtMs = clock.now() + 24 * hourMs): MailboxItem {
  const body = nextBody()
  return { box, id: envelopeId(body), expiresAtMs, body }
}

async function puts(
  { concurrency, count }: { concurrency: number, count: number },
  put: () => Promise<unknown>,
): Promise<PutFigures> {
  const loop = monitorEventLoopDelay({ resolution: 1 })
  loop.enable()
  const latencies: number[] = []
  let begun = 0
  let stallMs = 0
  const startedMs = performance.now()
  let lastMs = startedMs
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (begun < count) {
      begun++
      const fromMs = performance.now()
      await put()
      const nowMs = performance.now()
      latencies.push(nowMs - fromMs)
      stallMs = Math.max(stallMs, nowMs - lastMs)
      lastMs = nowMs
    }
  }))
  const seconds = (performance.now() - startedMs) / 1_000
  loop.disable()
  latencies.sort((a, b) => a - b)
  return {
    perSecond: count / seconds,
    stallMs,
    p50Ms: latencies[latencies.length >> 1] ?? 0,
    loopP99Ms: Math.max(0, loop.percentile(99) / 1e6 - 1),
  }
}

async function open({ directory, address, boxes, unsynced }: StorageCommand & { op: 'open' }): Promise<void> {
  store = unsynced === true
    ? await openLevelStore({ clock, log: silentLog, directory, unsynced })
    : await openStore({ clock, log: silentLog }, { directory, address })
  await makeBoxes(boxes)
}

async function makeBoxes(boxes: number): Promise<void> {
  boxNames = Array.from({ length: boxes }, () => hex(systemRandom.bytes(32)) as BoxId)
  const bounds = { itemsMax: 20_000, bytesMax: 2 ** 30, expiresAtMs: Infinity }
  const { mailbox } = store!
  for (let at = 0; at < boxes; at += 500) {
    await Promise.all(boxNames.slice(at, at + 500).map((box) => mailbox.setBox(box, bounds)))
  }
}

/** Quota and duplicates judged by one statement, which is a transaction for each put; sixteen connections. */
async function openPlain(host: string, boxes: number): Promise<void> {
  const pool = new pg.Pool({ host, user: 'openim', database: 'postgres', max: 16 })
  // The server is ended first.
  pool.on('error', () => {})
  await pool.query('CREATE TABLE plain_box '
    + '(box bytea PRIMARY KEY, items bigint NOT NULL, bytes bigint NOT NULL)')
  await pool.query('CREATE TABLE plain_mail (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, '
    + 'slot bytea NOT NULL UNIQUE, box bytea NOT NULL, expires_at bigint NOT NULL, data bytea NOT NULL)')
  await pool.query('CREATE INDEX ON plain_mail (box, position)')
  await pool.query('CREATE INDEX ON plain_mail (expires_at, slot)')
  const names = Array.from({ length: boxes }, () => Buffer.from(systemRandom.bytes(32)))
  await pool.query('INSERT INTO plain_box SELECT unnest($1::bytea[]), 0, 0', [names])
  const statement = `WITH room AS (
      UPDATE plain_box SET items = items + 1, bytes = bytes + $5
      WHERE box = $2 AND items < 20000 AND bytes + $5 <= 1073741824 RETURNING 1)
    INSERT INTO plain_mail (slot, box, expires_at, data) SELECT $1, $2, $3, $4 FROM room
    ON CONFLICT DO NOTHING`
  plainPut = () => {
    const body = Buffer.from(nextBody())
    const id = createHash('sha256').update(body).digest()
    const values = [id, names[(7_919 * sequence) % boxes], clock.now(), body, body.length]
    return pool.query({ name: 'put', text: statement, values })
  }
}

/** All that our store judges, in one transaction for each put, with sixteen connections. */
async function openSingly({ address, boxes }: StorageCommand & { op: 'openSingly' }): Promise<void> {
  const { kind, host, user, database } = address
  const where = { host, user: user ?? '', database }
  const stores = await Promise.all(Array.from({ length: 16 }, async () => {
    const open = kind === 'mysql' ? openMysql : openPostgresql
    const driver = await open(where, { log: silentLog })
    return await openSqlStore({ driver, clock, log: silentLog, operationsMax: 1 })
  }))
  store = stores[0]!
  await makeBoxes(boxes)
  let turn = 0
  plainPut = () => stores[turn++ % stores.length]!.mailbox.put([nextItem(boxNumber(7_919 * sequence))])
}

/** Mailboxes a second: a page of 100 and its acknowledgement. */
async function fetchAndAcknowledge(boxes: number): Promise<number> {
  const { mailbox } = store!
  const tombstone = { expiresAtMs: clock.now() + 24 * hourMs, proof: new Uint8Array(100) }
  const chosen = Array.from({ length: boxes }, (_, i) => boxNumber(7_919 * (i + sequence)))
  for (const box of chosen) await mailbox.put(Array.from({ length: 100 }, () => nextItem(box)))
  const startedMs = performance.now()
  await Promise.all([0, 1, 2, 3].map(async (worker) => {
    for (let i = worker; i < chosen.length; i += 4) {
      const page = { after: 0, itemsMax: 100, bytesMax: 1_048_576 }
      const { entries } = await mailbox.list(chosen[i]!, page)
      await mailbox.acknowledge(chosen[i]!, entries.map(({ id }) => id), tombstone)
    }
  }))
  return boxes * 1_000 / (performance.now() - startedMs)
}

/** Items a second. */
async function expire(count: number): Promise<number> {
  const { mailbox } = store!
  const endMs = clock.now() + hourMs
  for (let at = 0; at < count; at += 100) {
    await mailbox.put(Array.from({ length: 100 }, () => nextItem(boxNumber(at), endMs)))
  }
  offsetMs += hourMs + 1
  const startedMs = performance.now()
  let gone = 0
  for (let step = -1; step !== 0;) gone += step = await mailbox.expire(clock.now(), 500)
  return (gone + 1) * 1_000 / (performance.now() - startedMs)
}

await serveCommands<StorageCommand>({
  store: async () => async (command) => {
    switch (command.op) {
      case 'open': return await open(command)
      case 'openPlain': return await openPlain(command.host, command.boxes)
      case 'openSingly': return await openSingly(command)
      case 'put':
        return await puts(command, () => store!.mailbox.put([nextItem(boxNumber(7_919 * sequence))]))
      case 'plainPut': return await puts(command, plainPut!)
      case 'fetch': return await fetchAndAcknowledge(command.boxes)
      case 'expire': return await expire(command.count)
      case 'written': return sequence * bodyBytes
    }
  },
})
