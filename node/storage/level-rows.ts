/**
 * Rows of the embedded store: keys are text, values are structs, each followed by a CRC-32 of key
 * and value, because LevelDB hands out flipped bits as if nothing were wrong (measured: 64 bytes
 * of a table changed, every key still read "fine").
 *
 * ```text
 *   s                              StateRow
 *   b <box>                        BoxRow          limits, usage, generation
 *   i <generation> <id>            SlotRow         an item or its tombstone: write-once place of an id
 *   o <generation> <number>        OrderRow        items of a box in arrival order
 *   p <number>                     body            in arrival order of the whole store
 *   q <generation> <number>        ProofRow        shared by the tombstones of one acknowledgement
 *   x <time> <number>              ExpiryRow       everything that ends, in order of its end
 *   g <generation>                 (empty)         a dropped box, whose rows are being swept
 *   k <key>                        KvRow
 *   e <time> <key>                 (empty)         records that end, in order of their end
 *
 *   box, id:             64 hex digits
 *   generation, number:  14 hex digits; all drawn from one counter, never used twice
 *   time:                16 hex digits of an IEEE 754 double ≥ 0, which sorts as its bytes do
 * ```
 *
 * Bodies lie under an arrival number, apart from the small index rows: compaction then rewrites
 * little of what is large (measured: 3.7 instead of 5.6 bytes written for each byte stored). A
 * box's rows carry its generation instead of its name, so that dropping a box is one small
 * commit, however full it is, and making it anew starts empty.
 */
import { crc32 } from 'node:zlib'
import {
  fixed, mapped, oneOf, opaque, struct, tryDecode, u16, u32, u64, varint,
} from '../../protocol/codec/struct.ts'
import type { Codec } from '../../protocol/codec/struct.ts'
import { boxIdCodec, envelopeIdCodec } from '../../protocol/ids.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'

export const rowKey = {
  state: 's',
  box: (box: BoxId) => `b${box}`,
  slot: (generation: number, id: EnvelopeId) => `i${numberText(generation)}${id}`,
  order: (generation: number, number: number) => `o${numberText(generation)}${numberText(number)}`,
  body: (number: number) => `p${numberText(number)}`,
  proof: (generation: number, number: number) => `q${numberText(generation)}${numberText(number)}`,
  expiry: (atMs: number, number: number) => `x${timeText(atMs)}${numberText(number)}`,
  garbage: (generation: number) => `g${numberText(generation)}`,
  kv: (key: string) => `k${key}`,
  recordExpiry: (atMs: number, key: string) => `e${timeText(atMs)}${key}`,
}

/** Sorts after every hex digit: `prefix + afterAll` ends the range of a prefix. */
export const afterAll = 'g'

export function numberText(number: number): string {
  return number.toString(16).padStart(14, '0')
}

const timeView = new DataView(new ArrayBuffer(8))

export function timeText(timeMs: number): string {
  timeView.setFloat64(0, timeMs + 0) // −0 becomes 0
  return timeView.getBigUint64(0).toString(16).padStart(16, '0')
}

/** The time in an `x` key. */
export function timeOf(key: string): number {
  timeView.setBigUint64(0, BigInt(`0x${key.slice(1, 17)}`))
  return timeView.getFloat64(0)
}

/** The number at the end of an `o`, `p`, `q` or `x` key. */
export function trailingNumber(key: string): number {
  return Number.parseInt(key.slice(-14), 16)
}

/** The record in an `e` key. */
export function recordOf(key: string): string {
  return key.slice(17)
}

/** The generation in an `i`, `o`, `q` or `g` key. */
export function generationOf(key: string): number {
  return Number.parseInt(key.slice(1, 15), 16)
}

/** The id in an `i` key. */
export function slotId(key: string): EnvelopeId {
  return key.slice(15) as EnvelopeId
}

/** The box in a `b` key. */
export function boxOf(key: string): BoxId {
  return key.slice(1) as BoxId
}

/** A double: times (Infinity: never) and limits. */
const double: Codec<number> = mapped(fixed(8), {
  to(value: number) {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setFloat64(0, value)
    return bytes
  },
  from: (bytes) => new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0),
})

export interface StateRow {
  /** Layout of this file; a newer one is refused. Stays the first field for ever. */
  readonly schema: number
  /** The next arrival number, generation or version. */
  readonly nextNumber: number
  /** Nothing expires before this: scanning starts here, past the deletions of earlier scans. */
  readonly expiryMarkMs: number
}
export const schemaVersion = 1
export const stateRow = struct<StateRow>({ schema: u16, nextNumber: u64, expiryMarkMs: double })

export interface BoxRow {
  readonly generation: number
  readonly itemsMax: number
  readonly bytesMax: number
  readonly expiresAtMs: number
  readonly items: number
  readonly bytes: number
}
export const boxRow = struct<BoxRow>({
  generation: u64,
  itemsMax: double,
  bytesMax: double,
  expiresAtMs: double,
  items: u64,
  bytes: u64,
})

export const slotKind = { item: 0, tombstone: 1 } as const

export interface SlotRow {
  readonly kind: 0 | 1
  readonly number: number
  readonly expiresAtMs: number
  /** Of the body; 0 for a tombstone. */
  readonly bytes: number
  /** Number of the proof; 0 for an item. */
  readonly proof: number
}
export const slotRow = struct<SlotRow>({
  kind: oneOf([slotKind.item, slotKind.tombstone], 'slot kind'),
  number: u64,
  expiresAtMs: double,
  bytes: u32,
  proof: varint,
})

export interface OrderRow {
  readonly id: EnvelopeId
  readonly expiresAtMs: number
  readonly bytes: number
}
export const orderRow = struct<OrderRow>({ id: envelopeIdCodec, expiresAtMs: double, bytes: u32 })

export interface ProofRow {
  readonly expiresAtMs: number
  readonly proof: Uint8Array
}
export const proofRow = struct<ProofRow>({
  expiresAtMs: double,
  proof: opaque(limits.tombstoneProofBytesMax),
})

export const expiryKind = { slot: 0, box: 1, proof: 2 } as const

export interface ExpiryRow {
  readonly kind: 0 | 1 | 2
  readonly atMs: number
  readonly box: BoxId
  /** Of a slot; zeros otherwise. */
  readonly id: EnvelopeId
}
export const expiryRow = struct<ExpiryRow>({
  kind: oneOf([expiryKind.slot, expiryKind.box, expiryKind.proof], 'expiry kind'),
  atMs: double,
  box: boxIdCodec,
  id: envelopeIdCodec,
})
export const noId = '0'.repeat(64) as EnvelopeId

export interface KvRow {
  readonly version: number
  readonly expiresAtMs: number
  readonly value: Uint8Array
}
export const kvRow = struct<KvRow>({
  version: u64,
  expiresAtMs: double,
  value: { write: (w, v) => w.raw(v), read: (r) => r.rest() },
})

const checksumBytes = 4

/** `value` with its checksum. */
export function sealRow(key: string, value: Uint8Array): Uint8Array {
  const row = new Uint8Array(value.length + checksumBytes)
  row.set(value)
  new DataView(row.buffer).setUint32(value.length, crc32(value, crc32(key)))
  return row
}

/** The value of a row as a view; undefined when the checksum does not fit. */
export function openRow(key: string, row: Uint8Array): Uint8Array | undefined {
  const length = row.length - checksumBytes
  if (length < 0) return undefined
  const value = new Uint8Array(row.buffer, row.byteOffset, length)
  const checksum = new DataView(row.buffer, row.byteOffset + length, checksumBytes).getUint32(0)
  return crc32(value, crc32(key)) === checksum ? value : undefined
}

/** Both steps: undefined for a row that is damaged in any way. */
export function decodeRow<T>(codec: Codec<T>, key: string, row: Uint8Array): T | undefined {
  const value = openRow(key, row)
  if (value === undefined) return undefined
  const decoded = tryDecode(codec, value)
  return decoded.ok ? decoded.value : undefined
}
