/**
 * What the tombstones of one reply prove: that the owner of an inbox has an envelope of exactly
 * that inbox. An owner speaks for its own inbox only, or any holder could declare any message
 * delivered. Each signature is checked once, however many envelopes it names.
 */
import { boxId } from '../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { verifyTombstone } from '../../protocol/service/acknowledge.ts'

interface Named {
  readonly box: BoxId
  readonly id: EnvelopeId
}

export class DeliveryProofs {
  readonly #proofs = new Map<string, Uint8Array>()

  constructor(tombstones: readonly Uint8Array[]) {
    for (const bytes of tombstones) {
      const tombstone = verifyTombstone(bytes)
      if (!tombstone.ok) continue
      const box = boxId(tombstone.value)
      for (const id of tombstone.value.envelopeIds) this.#proofs.set(key({ box, id }), bytes)
    }
  }

  /** The tombstone that proves it, if there is one. */
  of(envelope: Named): Uint8Array | undefined {
    return this.#proofs.get(key(envelope))
  }
}

function key({ box, id }: Named): string {
  return `${box}/${id}`
}
