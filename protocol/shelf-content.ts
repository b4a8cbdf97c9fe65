/**
 * What a device lays out on its shelf (service/shelf.ts), sealed so that the holder learns neither
 * whose prekeys it keeps nor which devices there are. The shelf secret stands in the location
 * record.
 *
 * ```text
 *   blob = opaque nonce[24] ‖ XChaCha20-Poly1305(shelfSecret, nonce, plaintext)
 *          AD: "openim shelf blob v1" ‖ u8 kind ‖ shelfKey[32]
 *
 *   kind 1, static                         padded so that the blob is a multiple of 4,096 bytes
 *     opaque deviceList<V>                 the owner's signed DeviceList (account.ts)
 *     u32 id, opaque key[32], signature[64]        signed prekey, X25519
 *     u32 id, opaque key[1184], signature[64]      last-resort prekey, ML-KEM-768
 *   kind 2, one-time                       all of one length by nature
 *     u32 id, opaque key[32]                       one-time prekey, X25519
 *     u32 id, opaque key[1184], signature[64]      one-time prekey, ML-KEM-768
 * ```
 *
 * Both together make the bundle from which a stranger starts a session.
 */
import { concat, utf8 } from '../crypto/bytes.ts'
import { assert } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import type { KemPrekey, OneTimePrekey, PrekeyBundle, SignedPrekey } from '../crypto/handshake/types.ts'
import { crypto } from '../crypto/index.ts'
import type { Random } from '../crypto/random.ts'
import type { DeviceCertificate } from './account.ts'
import { encodePadded, tryDecodePadded } from './codec/padding.ts'
import { encode, fixed, mapped, opaque, struct, tryDecode, u32 } from './codec/struct.ts'
import type { Codec } from './codec/struct.ts'
import { limits } from './limits.ts'
import { signatureBytes } from './signed.ts'

export interface ShelfStatic {
  readonly deviceList: Uint8Array
  readonly signedPrekey: SignedPrekey
  readonly lastResortKem: KemPrekey
}

export interface ShelfOneTime {
  readonly oneTimePrekey: OneTimePrekey
  readonly oneTimeKem: KemPrekey
}

/** What opens the blobs of one shelf. */
export interface ShelfSeal {
  readonly shelfKey: Uint8Array
  readonly shelfSecret: Uint8Array
}

const dhKeyBytes = 32
const kemKeyBytes = 1_184
const nonceBytes = 24
const overheadBytes = nonceBytes + 16
const adLabel = utf8('openim shelf blob v1')
const kinds = { static: 1, oneTime: 2 } as const

const oneTimePrekeyCodec = struct<OneTimePrekey>({ id: u32, publicKey: fixed(dhKeyBytes) })
const signedPrekeyCodec = signedCodec(dhKeyBytes)
const kemFieldsCodec = signedCodec(kemKeyBytes)

function signedCodec(keyBytes: number): Codec<SignedPrekey> {
  return struct<SignedPrekey>({ id: u32, publicKey: fixed(keyBytes), signature: fixed(signatureBytes) })
}

/** Which kind it is follows from the blob; the flag is under the prekey's own signature. */
function kemPrekeyCodec(oneTime: boolean): Codec<KemPrekey> {
  return mapped(kemFieldsCodec, {
    to: (prekey: KemPrekey) => prekey,
    from: (fields) => ({ ...fields, oneTime }),
  })
}

const staticCodec = struct<ShelfStatic>({
  deviceList: opaque(limits.deviceListBytesMax),
  signedPrekey: signedPrekeyCodec,
  lastResortKem: kemPrekeyCodec(false),
})
const oneTimeCodec = struct<ShelfOneTime>({
  oneTimePrekey: oneTimePrekeyCodec,
  oneTimeKem: kemPrekeyCodec(true),
})

export function sealShelfStatic(content: ShelfStatic, shelf: ShelfSeal, random: Random): Uint8Array {
  const length = encode(staticCodec, content).length + overheadBytes
  const padded = Math.ceil(length / limits.shelfStaticStepBytes) * limits.shelfStaticStepBytes
  assert(padded <= limits.shelfStaticBytesMax, `static shelf blob of ${padded} bytes`)
  const plaintext = encodePadded(staticCodec, content, padded - overheadBytes)
  return seal({ ...shelf, kind: kinds.static, plaintext, random })
}

export function sealShelfOneTime(content: ShelfOneTime, shelf: ShelfSeal, random: Random): Uint8Array {
  return seal({ ...shelf, kind: kinds.oneTime, plaintext: encode(oneTimeCodec, content), random })
}

/** Refuses with SHELF_SEALED (not ours to open, or altered) or CODEC_*. */
export function openShelfStatic(blob: Uint8Array, shelf: ShelfSeal): Result<ShelfStatic> {
  return open({ ...shelf, kind: kinds.static, blob }, (plaintext) => tryDecodePadded(staticCodec, plaintext))
}

/** Refuses with SHELF_SEALED (not ours to open, or altered) or CODEC_*. */
export function openShelfOneTime(blob: Uint8Array, shelf: ShelfSeal): Result<ShelfOneTime> {
  return open({ ...shelf, kind: kinds.oneTime, blob }, (plaintext) => tryDecode(oneTimeCodec, plaintext))
}

function seal(input: ShelfSeal & { kind: number, plaintext: Uint8Array, random: Random }): Uint8Array {
  const nonce = input.random.bytes(nonceBytes)
  const ad = concat(adLabel, new Uint8Array([input.kind]), input.shelfKey)
  return concat(nonce, crypto.sealX({ key: input.shelfSecret, nonce, plaintext: input.plaintext, ad }))
}

function open<T>(
  input: ShelfSeal & { kind: number, blob: Uint8Array },
  decodePlaintext: (plaintext: Uint8Array) => Result<T>,
): Result<T> {
  const { kind, blob, shelfKey, shelfSecret } = input
  if (blob.length < overheadBytes) return { ok: false, code: 'SHELF_SEALED' }
  const plaintext = crypto.openX({
    key: shelfSecret,
    nonce: blob.subarray(0, nonceBytes),
    ciphertext: blob.subarray(nonceBytes),
    ad: concat(adLabel, new Uint8Array([kind]), shelfKey),
  })
  return plaintext === undefined ? { ok: false, code: 'SHELF_SEALED' } : decodePlaintext(plaintext)
}

/**
 * What a session starts from, for one device of a verified list. Prekey signatures are checked by
 * the handshake, with the identity given here.
 */
export function shelfBundle(input: {
  device: DeviceCertificate
  static: ShelfStatic
  oneTime: ShelfOneTime | undefined
}): PrekeyBundle {
  const { device, static: laidOut, oneTime } = input
  const base = {
    identity: { signingKey: device.signingKey, dhKey: device.dhKey },
    signedPrekey: laidOut.signedPrekey,
  }
  if (oneTime === undefined) return { ...base, kemPrekey: laidOut.lastResortKem }
  return { ...base, kemPrekey: oneTime.oneTimeKem, oneTimePrekey: oneTime.oneTimePrekey }
}
