/**
 * The post-quantum half of the ratchet: now and then a whole ML-KEM-768 key travels, and its secret
 * goes into the root key beside a DH output. So a stolen state heals against a quantum computer
 * too, and a session does not rest on the KEM secret of its handshake for ever.
 *
 * Root steps alternate strictly (ratchet.ts), so both ends number them alike from 0. Even ones begin
 * chains of the initiator, odd ones of the responder; step 2t and 2t + 1 are *turn* t. A KEM step is
 * one turn:
 *
 * ```text
 *   step 2t      mode 1, offer     every header of the chain carries a fresh public key[1184]
 *   step 2t + 1  mode 2, answer    every header of the chain carries a ciphertext[1088] to that key;
 *                                  its secret enters the root step: this chain and all later ones,
 *                                  of both directions, come from it
 *   turns        1 (the first after the handshake was answered), then every 16th:
 *                t mod 16 = first byte of the binding mod 16
 * ```
 *
 * Why so:
 * - *Nothing is negotiated.* The mode of every chain follows from its number, and no other is taken.
 *   An offer that is stripped, or never answered, is a chain that does not open: there is nothing to
 *   downgrade, and no patience to be tuned.
 * - *One side offers, the other answers.* The secret enters the root key, which both directions come
 *   from, and both ends put something fresh into it: either's stolen state heals. Offers cannot meet.
 *   (Who steals a state between offer and answer has that key; the next step heals.)
 * - *Every message of the chain carries it*, until the other side's next chain shows that it arrived,
 *   so messages may be lost and reordered as ever. The ciphertext must be there, no message opens
 *   without it; the key must be there, the answer is due in the next chain. Handing the key over in
 *   pieces (as SPQR does) saves bytes that padding takes anyway: 135 bytes of a wrap become 1,319 or
 *   1,223, less than the 1,397 of a first message, and a short message goes from 512 to 2,048 bytes.
 * - *Not in step 0 and 1.* First messages carry a KEM ciphertext already.
 * - *The turn depends on the binding*, which differs from session to session: those with several
 *   devices turn together, and should not all carry a key in the same envelope.
 * - *No clock.* What is exposed is counted in messages, not in days, and receipts turn the ratchet.
 */
import { concat } from '../bytes.ts'
import { crypto } from '../index.ts'
import { labels } from '../labels.ts'
import { ratchetLimits } from './limits.ts'

/** What the headers of a chain carry. */
export const chainModes = { plain: 0, offer: 1, answer: 2 } as const
export type ChainMode = typeof chainModes[keyof typeof chainModes]

const publicKeyBytes = 1_184
const ciphertextBytes = 1_088
export const kemSeedBytes = 64
/** Twelve bits for each of 3 × 256 coefficients, then 32 bytes of seed (FIPS 203 §7.2). */
const packedBytes = 1_152
const modulus = 3_329

/** The mode of the chain that root step `step` begins. */
export function modeOfStep(step: number, binding: Uint8Array): ChainMode {
  const turn = Math.floor(step / 2)
  const { kemPeriodTurns } = ratchetLimits
  const isKemTurn = turn === 1 || (turn > 1 && turn % kemPeriodTurns === binding[0]! % kemPeriodTurns)
  if (!isKemTurn) return chainModes.plain
  return step % 2 === 0 ? chainModes.offer : chainModes.answer
}

/** What a header of this mode is longer by. */
export function kemPartBytes(mode: ChainMode): number {
  if (mode === chainModes.plain) return 0
  return mode === chainModes.offer ? publicKeyBytes : ciphertextBytes
}

/** How many of the `steps` root steps made so far are newer than the last secret of a KEM. */
export function stepsSinceKem(steps: number, binding: Uint8Array): number {
  let since = 0
  while (since < steps && modeOfStep(steps - 1 - since, binding) !== chainModes.answer) since++
  return since
}

/**
 * Whether `kemEncapsulate` will take it: every coefficient is below the modulus. Asked when an offer
 * comes in, because the answer is made later, when the message is read and gone.
 */
export function isKemPublicKey(bytes: Uint8Array): boolean {
  if (bytes.length !== publicKeyBytes) return false
  for (let at = 0; at < packedBytes; at += 3) {
    const low = bytes[at]! | (bytes[at + 1]! & 15) << 8
    const high = bytes[at + 1]! >> 4 | bytes[at + 2]! << 4
    if (low >= modulus || high >= modulus) return false
  }
  return true
}

/** Binds what travelled: another key or ciphertext gives other root keys. */
export function kemStepHash(sent: { publicKey: Uint8Array, ciphertext: Uint8Array }): Uint8Array {
  return crypto.sha256(concat(labels.ratchetKem, sent.publicKey, sent.ciphertext))
}
