/**
 * Prekeys: keys laid out beforehand, so that a session can start while their owner is away.
 *
 * ```text
 *   signed prekey      signature by the device's signing key over
 *                      "openim prekey x25519 v1" ‖ dhKey[32] ‖ u32 id ‖ publicKey[32]
 *   KEM prekey         "openim prekey mlkem768 last-resort v1" or "… one-time v1", ‖ the same
 *   one-time prekey    not signed: it only adds secrecy, and the handshake binds it
 * ```
 *
 * The identity DH key stands in what is signed, so a bundle also proves that signing and DH key
 * belong together. Whether a KEM prekey is one-time is part of the label: who hands out bundles
 * cannot pass a last-resort key off as fresh. There is no signature over the bundle as a whole,
 * since its parts lie on different shelves; taking the optional part away only costs the secrecy
 * it would have added, and the KEM prekey is not optional.
 */
import { concat } from '../bytes.ts'
import { assert } from '../errors.ts'
import { u32Bytes } from '../fields.ts'
import { crypto } from '../index.ts'
import { labels } from '../labels.ts'
import type { Random } from '../random.ts'
import type {
  OneTimePrekey, OwnIdentity, OwnKemPrekey, OwnOneTimePrekey, OwnSignedPrekey, PrekeyBundle, SignedPrekey,
} from './types.ts'

const idMax = 2 ** 32 - 1
const dhKeyBytes = 32
const kemKeyBytes = 1_184
const kemSeedBytes = 64

export function createSignedPrekey(input: { own: OwnIdentity, id: number, random: Random }): OwnSignedPrekey {
  const { own, id } = input
  const prekey = createOneTimePrekey(input)
  const signature = signPrekey(own, labels.signedPrekey, { id, publicKey: prekey.keys.publicKey })
  return { ...prekey, signature }
}

/** @param input.oneTime false makes the last-resort prekey, which is handed out when no other is left */
export function createKemPrekey(input: {
  own: OwnIdentity
  id: number
  oneTime: boolean
  random: Random
}): OwnKemPrekey {
  const { own, id, oneTime, random } = input
  assert(Number.isInteger(id) && id >= 0 && id <= idMax, `prekey id ${id}`)
  const keys = crypto.kemKeyPair(random.bytes(kemSeedBytes))
  const signature = signPrekey(own, kemLabel(oneTime), { id, publicKey: keys.publicKey })
  return { id, oneTime, keys, signature }
}

export function createOneTimePrekey({ id, random }: { id: number, random: Random }): OwnOneTimePrekey {
  assert(Number.isInteger(id) && id >= 0 && id <= idMax, `prekey id ${id}`)
  return { id, keys: crypto.dhKeyPair(random.bytes(dhKeyBytes)) }
}

/** What is wrong with a bundle; `undefined` when its signing key vouches for all that it must. */
export function bundleProblem(bundle: PrekeyBundle): string | undefined {
  const { identity: { signingKey, dhKey }, signedPrekey, kemPrekey, oneTimePrekey } = bundle
  const dhKeys = [dhKey, signedPrekey.publicKey, oneTimePrekey?.publicKey]
  if (dhKeys.some((key) => key && key.length !== dhKeyBytes)) return 'an X25519 key of another length'
  if (kemPrekey.publicKey.length !== kemKeyBytes) return 'an ML-KEM-768 key of another length'
  if (!crypto.isVerifyKey(signingKey)) return 'the signing key is not usable'
  const vouchedFor = (label: Uint8Array, prekey: SignedPrekey): boolean => crypto.verify({
    publicKey: signingKey,
    message: signedMessage({ label, dhKey, prekey }),
    signature: prekey.signature,
  })
  if (!vouchedFor(labels.signedPrekey, signedPrekey)) return 'the signed prekey is not signed'
  if (!vouchedFor(kemLabel(kemPrekey.oneTime), kemPrekey)) return 'the KEM prekey is not signed'
  return undefined
}

function signPrekey(own: OwnIdentity, label: Uint8Array, prekey: OneTimePrekey): Uint8Array {
  return crypto.sign(own.signingKeys, signedMessage({ label, dhKey: own.dhKeys.publicKey, prekey }))
}

function kemLabel(oneTime: boolean): Uint8Array {
  return oneTime ? labels.oneTimeKemPrekey : labels.lastResortKemPrekey
}

function signedMessage(input: { label: Uint8Array, dhKey: Uint8Array, prekey: OneTimePrekey }): Uint8Array {
  return concat(input.label, input.dhKey, u32Bytes(input.prekey.id), input.prekey.publicKey)
}
