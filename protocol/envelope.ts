/**
 * The envelope: the one thing that travels between nodes (DESIGN §6). Chat, receipt, contact
 * request, bridged stanza: on the wire all are this, and only its size class shows.
 *
 * ```text
 *   u8     version = 1
 *   opaque writeKey[32]      Ed25519, the capability that was given to one contact
 *   opaque readKey[32]       Ed25519, the owner's
 *   u32    expiryHour        hours since 1970, rounded up so that it tells little
 *   opaque ciphertext<V>     exactly one size class long, above the largest a Padmé length
 *   opaque signature[64]     by writeKey, over label ‖ everything above
 * ```
 *
 * An inbox's id is the hash of both keys, so any node can check a deposit (write key signed) or a
 * read (read key signed) without an account database. An envelope's id is the hash of its signed
 * content and never covers the signature: signatures are malleable in principle, ids must not be.
 */
import { concat, utf8 } from '../crypto/bytes.ts'
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import type { Result } from '../crypto/errors.ts'
import { padme } from './codec/padding.ts'
import { Writer } from './codec/writer.ts'
import { decode, encode, fixed, oneOf, opaque, struct, tryDecode, u32 } from './codec/struct.ts'
import type { BoxId, EnvelopeId } from './ids.ts'
import { limits } from './limits.ts'

export interface Envelope {
  readonly version: 1
  readonly writeKey: Uint8Array
  readonly readKey: Uint8Array
  readonly expiryHour: number
  readonly ciphertext: Uint8Array
  readonly signature: Uint8Array
}

const boxLabel = utf8('openim box v1')
const idLabel = utf8('openim envelope id v1')
const signatureLabel = utf8('openim envelope v1')
const signatureBytes = 64
const hourMs = 3_600_000

export const envelopeCodec = struct<Envelope>({
  version: oneOf([1], 'envelope version'),
  writeKey: fixed(32),
  readKey: fixed(32),
  expiryHour: u32,
  ciphertext: opaque(limits.ciphertextBytesMax),
  signature: fixed(signatureBytes),
})

export function boxId(keys: { writeKey: Uint8Array, readKey: Uint8Array }): BoxId {
  return crypto.sha256Hex(concat(boxLabel, keys.writeKey, keys.readKey)) as BoxId
}

/** Hours since 1970, rounded up. */
export function expiryHour(timeMs: number): number {
  return Math.ceil(timeMs / hourMs)
}

export function expiryMs(hour: number): number {
  return hour * hourMs
}

/** The smallest class that holds `length` bytes; `undefined` above the largest. */
export function sizeClass(length: number): number | undefined {
  return limits.sizeClassesBytes.find((size) => size >= length)
}

/** What any ciphertext of at least `length` bytes is long: a class, above them Padmé. */
export function ciphertextLength(length: number): number | undefined {
  const padded = sizeClass(length) ?? padme(length)
  return padded <= limits.ciphertextBytesMax ? padded : undefined
}

/** Id of an encoded envelope: covers all but the signature at its end. */
export function envelopeId(encoded: Uint8Array): EnvelopeId {
  const content = encoded.subarray(0, encoded.length - signatureBytes)
  return crypto.sha256Hex(concat(idLabel, content)) as EnvelopeId
}

/** Seals an envelope with the box's write key. `ciphertext` is already padded (`ciphertextLength`). */
export function createEnvelope(input: {
  writeKeys: SigningKeyPair
  readKey: Uint8Array
  expiryHour: number
  ciphertext: Uint8Array
}): Uint8Array {
  const unsigned = encode(envelopeCodec, {
    version: 1,
    writeKey: input.writeKeys.publicKey,
    readKey: input.readKey,
    expiryHour: input.expiryHour,
    ciphertext: input.ciphertext,
    signature: new Uint8Array(signatureBytes),
  })
  const body = unsigned.subarray(0, unsigned.length - signatureBytes)
  const writer = new Writer(unsigned.length)
  writer.raw(body)
  writer.raw(crypto.sign(input.writeKeys, concat(signatureLabel, body)))
  return writer.finish()
}

/** What a node needs of an envelope, without its content. */
export interface CheckedEnvelope {
  readonly envelope: Envelope
  readonly id: EnvelopeId
  readonly box: BoxId
  readonly expiresAtMs: number
}

/** Structure only: decodes, derives both ids, checks the size class. Cheap; no signature check. */
export function parseEnvelope(encoded: Uint8Array): Result<CheckedEnvelope> {
  const decoded = tryDecode(envelopeCodec, encoded)
  if (!decoded.ok) return decoded
  const envelope = decoded.value
  if (ciphertextLength(envelope.ciphertext.length) !== envelope.ciphertext.length) {
    const detail = `${envelope.ciphertext.length} bytes is no size class`
    return { ok: false, code: 'ENVELOPE_SIZE_CLASS', detail }
  }
  return {
    ok: true,
    value: {
      envelope,
      id: envelopeId(encoded),
      box: boxId(envelope),
      expiresAtMs: expiryMs(envelope.expiryHour),
    },
  }
}

/** Whether the write key really signed `encoded`, which parsed to `envelope`. */
export function verifyEnvelope(encoded: Uint8Array, envelope: Envelope): boolean {
  const body = encoded.subarray(0, encoded.length - signatureBytes)
  return crypto.verify({
    publicKey: envelope.writeKey,
    message: concat(signatureLabel, body),
    signature: envelope.signature,
  })
}

/** The same of one whose bytes are gone: encodings are canonical, so there is no other. */
export function isSigned(envelope: Envelope): boolean {
  return verifyEnvelope(encode(envelopeCodec, envelope), envelope)
}

/** For trusted bytes (our own store). @throws CODEC_* */
export function decodeEnvelope(encoded: Uint8Array): Envelope {
  return decode(envelopeCodec, encoded)
}
