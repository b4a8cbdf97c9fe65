/**
 * A whole store taken apart and put together again, the same whatever database is behind it: what
 * archives (../store-archive.ts), backups (../backup.ts) and moves from one database to another are made of.
 *
 * The order is canonical: records by key, then boxes by id, each followed by its mail as it came in
 * and its tombstones by id, then file boxes by id, each followed by its pieces. So two stores that
 * hold the same give the same parts, and one hash over them compares stores (`storeDigest`). What
 * belongs to a database alone is not in it: versions of records, positions of mail.
 */
import { concat, hex } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { encode, mapped, opaque, struct, text, u64, vector } from '../../protocol/codec/struct.ts'
import { boxIdCodec, envelopeIdCodec } from '../../protocol/ids.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { KvEntry } from '../../protocol/ports.ts'
import type { MailboxItem, Piece, Store, Tombstone } from '../ports.ts'

export type StoredRecord = Omit<KvEntry, 'version'>

export interface StoredBox {
  readonly box: BoxId
  readonly itemsMax: number
  readonly bytesMax: number
  readonly expiresAtMs: number
}

export interface StorePart {
  readonly records: readonly StoredRecord[]
  readonly boxes: readonly StoredBox[]
  readonly mail: readonly MailboxItem[]
  readonly tombstones: readonly (Tombstone & { readonly box: BoxId })[]
  readonly fileBoxes: readonly StoredBox[]
  readonly pieces: readonly (Piece & { readonly box: BoxId })[]
}

export interface StoreCounts {
  readonly records: number
  readonly mail: number
  readonly pieces: number
}

/** What is left out; everything is taken where it says nothing. */
export interface StoreSelection {
  readonly record?: (key: string) => boolean
  readonly box?: (box: BoxId) => boolean
  /** False: no file boxes. */
  readonly files?: boolean
}

/** A part is closed when it holds as much; one more entry may be on top. */
const partBytes = 256 * 1024
const partEntriesMax = 4_096
const pageItems = 256

const unbounded = { itemsMax: 2 ** 32 - 1, bytesMax: Number.MAX_SAFE_INTEGER }
export const emptyPart: StorePart = {
  records: [], boxes: [], mail: [], tombstones: [], fileBoxes: [], pieces: [],
}

/** Infinity as 0: nothing ends in 1970. */
const time = mapped(u64, {
  to: (timeMs: number) => (timeMs === Infinity ? 0 : timeMs),
  from: (timeMs) => (timeMs === 0 ? Infinity : timeMs),
})
const body = opaque(limits.envelopeBytesMax)
const boxCodec = struct<StoredBox>({ box: boxIdCodec, itemsMax: u64, bytesMax: u64, expiresAtMs: time })
export const storePartCodec = struct<StorePart>({
  records: vector(struct<StoredRecord>({
    key: text(limits.kvKeyBytesMax), value: opaque(limits.kvValueBytesMax), expiresAtMs: time,
  }), partEntriesMax),
  boxes: vector(boxCodec, partEntriesMax),
  mail: vector(struct<MailboxItem>({
    box: boxIdCodec, id: envelopeIdCodec, expiresAtMs: time, body,
  }), partEntriesMax),
  tombstones: vector(struct<StorePart['tombstones'][number]>({
    box: boxIdCodec, id: envelopeIdCodec, expiresAtMs: time, proof: opaque(limits.tombstoneProofBytesMax),
  }), partEntriesMax),
  fileBoxes: vector(boxCodec, partEntriesMax),
  pieces: vector(struct<StorePart['pieces'][number]>({
    box: boxIdCodec, id: envelopeIdCodec, body,
  }), partEntriesMax),
})

/** Reads a store in pages: it may be written meanwhile, and each page is true for its own moment. */
export async function* storeParts(store: Store, selection: StoreSelection = {}): AsyncGenerator<StorePart> {
  yield* recordParts(store, selection.record)
  for (const { box, limits: bounds } of byBox(await store.mailbox.boxes())) {
    if (selection.box?.(box) === false) continue
    yield { ...emptyPart, boxes: [{ box, ...bounds }] }
    yield* mailParts(store, box)
    yield* tombstoneParts(store, box)
  }
  if (selection.files === false) return
  for (const { box, limits: bounds } of byBox(await store.pieces.boxes())) {
    yield { ...emptyPart, fileBoxes: [{ box, ...bounds }] }
    yield* pieceParts(store, box)
  }
}

async function* recordParts(store: Store, isWanted?: (key: string) => boolean): AsyncGenerator<StorePart> {
  let records: StoredRecord[] = []
  let bytes = 0
  for await (const { key, value, expiresAtMs } of kvEntries(store.kv, '')) {
    if (isWanted?.(key) === false) continue
    records.push({ key, value, expiresAtMs })
    bytes += value.length
    if (bytes < partBytes && records.length < partEntriesMax) continue
    yield { ...emptyPart, records }
    records = []
    bytes = 0
  }
  if (records.length > 0) yield { ...emptyPart, records }
}

async function* mailParts(store: Store, box: BoxId): AsyncGenerator<StorePart> {
  for (let after = 0; ;) {
    const page = { after, itemsMax: pageItems, bytesMax: partBytes }
    const { entries, more } = await store.mailbox.list(box, page)
    const last = entries.at(-1)
    if (last === undefined) return
    const mail = entries.map(({ id, expiresAtMs, body: bytes }) => ({ box, id, expiresAtMs, body: bytes }))
    yield { ...emptyPart, mail }
    if (!more) return
    after = last.position
  }
}

async function* tombstoneParts(store: Store, box: BoxId): AsyncGenerator<StorePart> {
  let after: EnvelopeId | undefined
  for (;;) {
    const page = { ...after === undefined ? {} : { after }, limit: pageItems }
    const tombstones = await store.mailbox.tombstones(box, page)
    if (tombstones.length === 0) return
    yield { ...emptyPart, tombstones: tombstones.map((tombstone) => ({ box, ...tombstone })) }
    after = tombstones.at(-1)!.id
  }
}

async function* pieceParts(store: Store, box: BoxId): AsyncGenerator<StorePart> {
  for (let after = 0; ;) {
    const page = { after, itemsMax: pageItems, bytesMax: partBytes }
    const { entries, more } = await store.pieces.list(box, page)
    const last = entries.at(-1)
    if (last === undefined) return
    yield { ...emptyPart, pieces: entries.map(({ id, body: bytes }) => ({ box, id, body: bytes })) }
    if (!more) return
    after = last.position
  }
}

/**
 * Puts parts into a store. Each step is idempotent: what was cut off is begun again and loses
 * nothing.
 */
export class StoreFiller {
  readonly #store: Store
  /** A box may hold more than it takes today: its own limits come when all is in. */
  readonly #boxes: StoredBox[] = []
  readonly #fileBoxes: StoredBox[] = []

  constructor(store: Store) {
    this.#store = store
  }

  /** @throws STORE_* */
  async add(part: StorePart): Promise<void> {
    const { kv, mailbox, pieces } = this.#store
    if (part.records.length > 0) {
      await kv.write(part.records.map((record) => ({ type: 'put', ...record })))
    }
    for (const { box, expiresAtMs } of part.boxes) await mailbox.setBox(box, { ...unbounded, expiresAtMs })
    this.#boxes.push(...part.boxes)
    if (part.mail.length > 0) await mailbox.put(part.mail)
    for (const { box, id, expiresAtMs, proof } of part.tombstones) {
      await mailbox.acknowledge(box, [id], { expiresAtMs, proof })
    }
    for (const { box, expiresAtMs } of part.fileBoxes) await pieces.setBox(box, { ...unbounded, expiresAtMs })
    this.#fileBoxes.push(...part.fileBoxes)
    const [first] = part.pieces
    if (first !== undefined) await pieces.put(first.box, part.pieces)
  }

  /** After the last part. @throws STORE_* */
  async finish(): Promise<void> {
    const { mailbox, pieces } = this.#store
    for (const { box, ...bounds } of this.#boxes) await mailbox.setBox(box, bounds)
    for (const { box, ...bounds } of this.#fileBoxes) await pieces.setBox(box, bounds)
  }
}

export function addCounts(counts: StoreCounts, part: StorePart): StoreCounts {
  return {
    records: counts.records + part.records.length,
    mail: counts.mail + part.mail.length,
    pieces: counts.pieces + part.pieces.length,
  }
}

export const noCounts: StoreCounts = { records: 0, mail: 0, pieces: 0 }

/** A chain of SHA-256 over all entries in order: equal for stores that hold the same. */
export class PartsDigest {
  #chain: Uint8Array = new Uint8Array(32)
  #entries = 0

  /** Entry by entry: how they were cut into parts is the database's affair. */
  add(part: StorePart): void {
    for (const kind of Object.keys(emptyPart) as (keyof StorePart)[]) {
      for (const entry of part[kind]) {
        const bytes = encode(storePartCodec, { ...emptyPart, [kind]: [entry] })
        this.#chain = crypto.sha256(concat(this.#chain, crypto.sha256(bytes)))
        this.#entries++
      }
    }
  }

  get entries(): number {
    return this.#entries
  }

  get hash(): Uint8Array {
    return this.#chain
  }
}

/** Of a store that nobody writes to. */
export async function storeDigest(store: Store): Promise<string> {
  const digest = new PartsDigest()
  for await (const part of storeParts(store)) digest.add(part)
  return hex(digest.hash)
}

function byBox<T extends { readonly box: BoxId }>(boxes: readonly T[]): T[] {
  return boxes.toSorted((a, b) => (a.box < b.box ? -1 : 1))
}
