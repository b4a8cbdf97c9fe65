/**
 * The three key derivations of the Double Ratchet (Signal's specification, §5.2), with HMAC and
 * HKDF over SHA-256.
 *
 * ```text
 *   root step      rootKey' ‖ chainKey ‖ nextHeaderKey =
 *                    HKDF(salt rootKey, secret DH output [‖ KEM secret], info label ‖ u8 mode)
 *   chain step     chainKey' = HMAC(chainKey, label),  seed = HMAC(chainKey, other label)
 *   message key    HMAC(seed, label ‖ salt)
 * ```
 *
 * `mode` is 0: X25519 alone. It is the place of a later step that mixes an ML-KEM secret in; the
 * same byte is reserved in the message header.
 *
 * The salt is 16 random bytes from the header. Without them a state restored from a backup would
 * encrypt a second message under the key of the first; with them the worst is that one message
 * cannot be decrypted.
 */
import { concat, utf8, wipe } from '../bytes.ts'
import { crypto } from '../index.ts'
import { labels } from '../labels.ts'

const keyBytes = 32
const rootInfo = concat(labels.ratchetRoot, utf8('\0'))

export interface RootStep {
  readonly rootKey: Uint8Array
  readonly chainKey: Uint8Array
  readonly nextHeaderKey: Uint8Array
}

/** Wipes `dhOutput`. */
export function stepRoot(rootKey: Uint8Array, dhOutput: Uint8Array): RootStep {
  const out = crypto.hkdf({ secret: dhOutput, salt: rootKey, info: rootInfo, length: 3 * keyBytes })
  const step = {
    rootKey: out.slice(0, keyBytes),
    chainKey: out.slice(keyBytes, 2 * keyBytes),
    nextHeaderKey: out.slice(2 * keyBytes),
  }
  wipe(dhOutput, out)
  return step
}

/** The seed of the next message and the chain key after it; the caller wipes the old one. */
export function stepChain(chainKey: Uint8Array): { seed: Uint8Array, chainKey: Uint8Array } {
  return {
    seed: crypto.hmacSha256(chainKey, labels.ratchetMessageSeed),
    chainKey: crypto.hmacSha256(chainKey, labels.ratchetChain),
  }
}

export function messageKey(seed: Uint8Array, salt: Uint8Array): Uint8Array {
  return crypto.hmacSha256(seed, concat(labels.ratchetMessageKey, salt))
}
