/**
 * Location records: where an account is at home, for whoever holds its address and rendezvous
 * seed, kept by nodes that learn neither (DESIGN §5; the idea is Tor's rend-spec-v3 §A).
 *
 * ```text
 *   u8     version = 1
 *   opaque blindedKey[32]     Ed25519: root key · blinding factor of the period
 *   u64    sequence           of the account, over all periods; a higher one replaces a lower one
 *   u32    expiryHour         at most 48 hours ahead
 *   opaque nonce[24]
 *   opaque sealed[1808]       XChaCha20-Poly1305 of LocationContent padded to 1,792 bytes;
 *                             AD: the fields above up to expiryHour
 *   opaque signature[64]      by blindedKey, over "openim location record v1" ‖ everything above
 *
 *   LocationContent
 *     homes<V>                opaque[32] node keys, at most 4
 *     replicas<V>             opaque[32] node keys, at most 8: hold the request boxes
 *     opaque introReadKey[32] read key of the request boxes; their write keys come from invites
 *     shelves<V>              at most 16 { opaque deviceId[16], shelfKey[32], shelfSecret[32] }
 *     u64    deviceListNumber
 * ```
 *
 * Derivations, all HKDF-SHA-256 with 32 bytes out, secret = rootKey ‖ seed, salt = u64 period:
 *
 * ```text
 *   blinding factor = info "openim location blinding v1"
 *   content key     = info "openim location content v1"
 *   DHT key         = SHA-256("openim location key v1" ‖ blindedKey)
 * ```
 *
 * A period is a day that starts at an offset of the account's own (4 bytes of HKDF over the root
 * key, "openim location offset v1", as u32 modulo a day in milliseconds), so that not all records
 * of the network change at midnight. A reader asks for the periods before, at and after its clock's.
 * No record ever holds an IP address: nodes are named by their keys, the overlay finds them.
 */
import { concat, equalBytes, utf8 } from '../crypto/bytes.ts'
import { blindedSigner, blindPublicKey } from '../crypto/blinding.ts'
import { assert } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { Random } from '../crypto/random.ts'
import { encodePadded, tryDecodePadded } from './codec/padding.ts'
import { Reader } from './codec/reader.ts'
import { encode, fixed, oneOf, struct, tryDecode, u32, u64, vector } from './codec/struct.ts'
import { expiryMs } from './envelope.ts'
import { deviceIdCodec, nodeIdCodec } from './ids.ts'
import type { DeviceId, NodeId } from './ids.ts'
import { limits } from './limits.ts'

/** Where a device lays out its prekeys, and what opens them. */
export interface Shelf {
  readonly deviceId: DeviceId
  readonly shelfKey: Uint8Array
  readonly shelfSecret: Uint8Array
}

export interface LocationContent {
  readonly homes: NodeId[]
  /** They hold the account's request boxes and shelves while home is off. */
  readonly replicas: NodeId[]
  readonly introReadKey: Uint8Array
  readonly shelves: Shelf[]
  readonly deviceListNumber: number
}

export interface LocationKey {
  readonly period: number
  readonly blindedKey: Uint8Array
}

/** What a holder learns of a record, and all it learns. */
export interface CheckedLocationRecord {
  readonly blindedKey: Uint8Array
  readonly sequence: number
  readonly expiresAtMs: number
}

interface Header {
  readonly version: 1
  readonly blindedKey: Uint8Array
  readonly sequence: number
  readonly expiryHour: number
}
interface LocationRecord extends Header {
  readonly nonce: Uint8Array
  readonly sealed: Uint8Array
  readonly signature: Uint8Array
}

const dayMs = 86_400_000
const hourMs = 3_600_000
const signatureBytes = 64
const signatureLabel = utf8('openim location record v1')
const dhtKeyLabel = utf8('openim location key v1')

const headerFields = {
  version: oneOf([1], 'location record version'),
  blindedKey: fixed(32),
  sequence: u64,
  expiryHour: u32,
}
const headerCodec = struct<Header>(headerFields)
const recordCodec = struct<LocationRecord>({
  ...headerFields,
  nonce: fixed(24),
  sealed: fixed(limits.locationContentBytes + 16),
  signature: fixed(signatureBytes),
})
const contentCodec = struct<LocationContent>({
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
  introReadKey: fixed(32),
  shelves: vector(
    struct<Shelf>({ deviceId: deviceIdCodec, shelfKey: fixed(32), shelfSecret: fixed(32) }),
    limits.devicesMax,
  ),
  deviceListNumber: u64,
})

/** Everything that a reader of one account needs to know beforehand: its address and an invite's seed. */
interface Rendezvous {
  readonly rootKey: Uint8Array
  /** 15 bytes. */
  readonly seed: Uint8Array
}

/** How long after midnight UTC the account's day begins, in milliseconds. */
function periodOffsetMs(rootKey: Uint8Array): number {
  const info = utf8('openim location offset v1')
  const bytes = crypto.hkdf({ secret: rootKey, salt: new Uint8Array(0), info, length: 4 })
  return new Reader(bytes).u32() % dayMs
}

/** The account's own day number at `timeMs`. */
export function locationPeriod(rootKey: Uint8Array, timeMs: number): number {
  return Math.floor((timeMs - periodOffsetMs(rootKey)) / dayMs)
}

/** When a period begins; readers ask for its record one period earlier already. */
export function locationPeriodStartMs(rootKey: Uint8Array, period: number): number {
  return period * dayMs + periodOffsetMs(rootKey)
}

/** @throws BLINDING_KEY for a root key that is not torsion-free; addresses and invites check that */
export function locationKeys(input: Rendezvous & { timeMs: number }): {
  previous: LocationKey
  current: LocationKey
  next: LocationKey
} {
  const now = locationPeriod(input.rootKey, input.timeMs)
  const key = (period: number): LocationKey => ({ period, blindedKey: blindedKeyOf(input, period) })
  return { previous: key(now - 1), current: key(now), next: key(now + 1) }
}

/** Public keys that were blinded lately: each costs a millisecond or two, and the same few are asked for. */
const blinded = new Map<string, Uint8Array>()
const blindedMax = 1_024

function blindedKeyOf({ rootKey, seed }: Rendezvous, period: number): Uint8Array {
  const factor = blindingFactor({ rootKey, seed }, period)
  // The factor is a secret of those who know the seed, its hash is not.
  const name = crypto.sha256Hex(concat(rootKey, factor))
  const known = blinded.get(name)
  if (known !== undefined) return known
  const key = blindPublicKey({ publicKey: rootKey, factor })
  blinded.set(name, key)
  if (blinded.size > blindedMax) blinded.delete(blinded.keys().next().value!)
  return key
}

function blindingFactor(rendezvous: Rendezvous, period: number): Uint8Array {
  return derive(rendezvous, period, 'openim location blinding v1')
}

function derive({ rootKey, seed }: Rendezvous, period: number, label: string): Uint8Array {
  assert(seed.length === 15, `a rendezvous seed has 15 bytes, got ${seed.length}`)
  const secret = concat(rootKey, seed)
  return crypto.hkdf({ secret, salt: encode(u64, period), info: utf8(label), length: 32 })
}

export function createLocationRecord(input: {
  /** Ed25519 seed of the root key. */
  rootSeed: Uint8Array
  seed: Uint8Array
  period: number
  sequence: number
  expiryHour: number
  content: LocationContent
  random: Random
}): Uint8Array {
  const { seed, period } = input
  const rootKey = crypto.signingKeyPair(input.rootSeed).publicKey
  const signer = blindedSigner({ seed: input.rootSeed, factor: blindingFactor({ rootKey, seed }, period) })
  const header: Header = {
    version: 1,
    blindedKey: signer.publicKey,
    sequence: input.sequence,
    expiryHour: input.expiryHour,
  }
  const nonce = input.random.bytes(24)
  const sealed = crypto.sealX({
    key: derive({ rootKey, seed }, period, 'openim location content v1'),
    nonce,
    plaintext: encodePadded(contentCodec, input.content, limits.locationContentBytes),
    ad: encode(headerCodec, header),
  })
  const unsigned = concat(encode(headerCodec, header), nonce, sealed)
  return concat(unsigned, signer.sign(concat(signatureLabel, unsigned)))
}

/**
 * Reads a record that somebody brought us. Refuses with CODEC_*, LOCATION_OTHER (not of this
 * account, seed and period), SIGNATURE_INVALID or LOCATION_SEALED (does not open). Dates and
 * sequence are `checkLocationRecord`'s.
 */
export function openLocationRecord(
  input: Rendezvous & { period: number, record: Uint8Array },
): Result<LocationContent> {
  const decoded = tryDecode(recordCodec, input.record)
  if (!decoded.ok) return decoded
  const record = decoded.value
  const isExpected = equalBytes(record.blindedKey, blindedKeyOf(input, input.period))
  if (!isExpected) return { ok: false, code: 'LOCATION_OTHER' }
  if (!signatureFits(input.record, record)) return { ok: false, code: 'SIGNATURE_INVALID' }
  const plaintext = crypto.openX({
    key: derive(input, input.period, 'openim location content v1'),
    nonce: record.nonce,
    ciphertext: record.sealed,
    ad: encode(headerCodec, record),
  })
  if (plaintext === undefined) return { ok: false, code: 'LOCATION_SEALED' }
  return tryDecodePadded(contentCodec, plaintext)
}

/**
 * The holder's side: shape, dates and the signature of the blinded key. Refuses with CODEC_*,
 * LOCATION_EXPIRED, LOCATION_EXPIRY (too far ahead) or SIGNATURE_INVALID. Whether the sequence is
 * above the one held is the holder's to compare.
 */
export function checkLocationRecord(bytes: Uint8Array, nowMs: number): Result<CheckedLocationRecord> {
  const decoded = tryDecode(recordCodec, bytes)
  if (!decoded.ok) return decoded
  const { blindedKey, sequence, expiryHour } = decoded.value
  const expiresAtMs = expiryMs(expiryHour)
  if (expiresAtMs <= nowMs - limits.clockSkewMs) return { ok: false, code: 'LOCATION_EXPIRED' }
  // Expiry is rounded up to the hour, so it may lie up to one hour above the limit.
  if (expiresAtMs > nowMs + limits.locationTtlMs + hourMs + limits.clockSkewMs) {
    return { ok: false, code: 'LOCATION_EXPIRY' }
  }
  if (!signatureFits(bytes, decoded.value)) return { ok: false, code: 'SIGNATURE_INVALID' }
  return { ok: true, value: { blindedKey: blindedKey.slice(), sequence, expiresAtMs } }
}

function signatureFits(bytes: Uint8Array, record: LocationRecord): boolean {
  const message = concat(signatureLabel, bytes.subarray(0, bytes.length - signatureBytes))
  return crypto.verify({ publicKey: record.blindedKey, message, signature: record.signature })
}

/** Where in the DHT a record lies: its holders are the nodes nearest to this. */
export function locationKey(blindedKey: Uint8Array): Uint8Array {
  return crypto.sha256(concat(dhtKeyLabel, blindedKey))
}
