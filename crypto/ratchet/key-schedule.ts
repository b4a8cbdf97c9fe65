/**
 * The key derivations of the Double Ratchet (Signal's specification, §5.2), with HMAC and HKDF over
 * SHA-256.
 *
 * ```text
 *   root step      rootKey' ‖ chainKey ‖ nextHeaderKey =
 *                    HKDF(salt rootKey,
 *                         secret DH output [‖ KEM secret],
 *                         info label ‖ u8 mode [‖ kemHash])
 *   kemHash        SHA-256(label ‖ KEM public key[1184] ‖ ciphertext[1088])
 *   chain step     chainKey' = HMAC(chainKey, label),  messageKey = HMAC(chainKey, other label)
 * ```
 *
 * `mode` is that of the chain which the step begins (kem-step.ts); KEM secret and hash are there
 * when it is 2.
 *
 * Weighed: one HMAC-SHA-512 for both keys of a chain step. It would be one call less for each
 * message, but passing over a missing message would cost as much as reading it, and SHA-512 is what
 * browsers are slow at.
 */
import { concat, wipe } from '../bytes.ts'
import { u8Bytes } from '../fields.ts'
import { crypto } from '../index.ts'
import { labels } from '../labels.ts'
import type { ChainMode } from './kem-step.ts'

const keyBytes = 32
const nothing = new Uint8Array(0)

export interface RootStep {
  readonly rootKey: Uint8Array
  readonly chainKey: Uint8Array
  readonly nextHeaderKey: Uint8Array
}

/** What a KEM step adds to a root step. */
export interface KemInput {
  readonly secret: Uint8Array
  /** See `kemStepHash`. */
  readonly hash: Uint8Array
}

/** Wipes `dhOutput` and the secret of `kem`, which is there exactly in the mode `answer`. */
export function stepRoot(
  rootKey: Uint8Array,
  input: { dhOutput: Uint8Array, mode: ChainMode, kem?: KemInput | undefined },
): RootStep {
  const { dhOutput, mode, kem } = input
  const secret = kem === undefined ? dhOutput : concat(dhOutput, kem.secret)
  const info = concat(labels.ratchetRoot, u8Bytes(mode), kem?.hash ?? nothing)
  const out = crypto.hkdf({ secret, salt: rootKey, info, length: 3 * keyBytes })
  const step = {
    rootKey: out.slice(0, keyBytes),
    chainKey: out.slice(keyBytes, 2 * keyBytes),
    nextHeaderKey: out.slice(2 * keyBytes),
  }
  wipe(dhOutput, secret, out)
  if (kem !== undefined) wipe(kem.secret)
  return step
}

/** The key of the next message. */
export function nextMessageKey(chainKey: Uint8Array): Uint8Array {
  return crypto.hmacSha256(chainKey, labels.ratchetMessageKey)
}

/** The chain key after `chainKey`, which the caller wipes. */
export function nextChainKey(chainKey: Uint8Array): Uint8Array {
  return crypto.hmacSha256(chainKey, labels.ratchetChain)
}
