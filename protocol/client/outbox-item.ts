/**
 * One envelope on its way and what is proven about it. Pure rules, no I/O: which proofs count,
 * and what state they earn (DESIGN §1, promise 1).
 *
 * - A store receipt counts when its signature is valid, names this envelope, and its signer is a
 *   home or replica that we addressed it to. Each signer counts once.
 * - One home is enough (1 of 1): it holds for the owner and pushes. Without home it takes
 *   W = min(3, replicas).
 * - A tombstone counts when the owner's read key of exactly this inbox signed it.
 */
import { hex } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { boxId } from '../envelope.ts'
import type { NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import { verifyTombstone } from '../service/acknowledge.ts'
import { verifyStoreReceipt } from '../service/deposit.ts'
import type { StoreReceipt } from '../service/deposit.ts'
import type { OutboxRecord } from './records.ts'

const patienceGrowth = 8

export interface OutboxItem {
  readonly number: number
  record: OutboxRecord
  /**
   * `waiting`: to be submitted; `sent`: not yet accepted; `accepted`: on the node's disk; `lost`: its
   * envelope was damaged here.
   */
  place: 'waiting' | 'sent' | 'accepted' | 'lost'
  sentAtMs: number
  /** In memory only until it was sent once, and only for a few. */
  bytes: Uint8Array | undefined
  /** A batch that settles it is being written: later news must not undo it. */
  isSettling: boolean
}

export interface Progress {
  readonly have: number
  readonly want: number
  readonly isStored: boolean
}

export function progress(record: Pick<OutboxRecord, 'homes' | 'replicas' | 'holders'>): Progress {
  if (record.homes.some((home) => record.holders.includes(home))) {
    return { have: 1, want: 1, isStored: true }
  }
  const have = record.holders.filter((holder) => record.replicas.includes(holder)).length
  const want = Math.max(1, Math.min(limits.replicasNeeded, record.replicas.length))
  return { have, want: record.homes.length > 0 && have === 0 ? 1 : want, isStored: have >= want }
}

/** A receipt covers up to 64 envelopes and comes once with each of them. */
const verifiedMax = 256

export class ReceiptCheck {
  readonly #verified = new Map<string, Result<StoreReceipt>>()

  /** The addressed nodes that these proofs show to hold the envelope. */
  holders(record: OutboxRecord, proofs: readonly Uint8Array[]): NodeId[] {
    const holders = new Set<NodeId>(record.holders)
    for (const proof of proofs) {
      const receipt = this.#verify(proof)
      if (!receipt.ok || !receipt.value.envelopeIds.includes(record.envelopeId)) continue
      const { nodeId } = receipt.value
      if (record.homes.includes(nodeId) || record.replicas.includes(nodeId)) holders.add(nodeId)
    }
    return [...holders]
  }

  #verify(proof: Uint8Array): Result<StoreReceipt> {
    const key = hex(crypto.sha256(proof))
    const known = this.#verified.get(key)
    if (known !== undefined) return known
    const result = verifyStoreReceipt(proof)
    if (this.#verified.size >= verifiedMax) this.#verified.clear()
    this.#verified.set(key, result)
    return result
  }
}

/** Whether the owner of the envelope's inbox signed that it has the envelope. */
export function isBuried(
  record: Pick<OutboxRecord, 'box' | 'envelopeId'>,
  proofs: readonly Uint8Array[],
): boolean {
  return proofs.some((proof) => {
    const tombstone = verifyTombstone(proof)
    return tombstone.ok
      && tombstone.value.envelopeIds.includes(record.envelopeId)
      && boxId(tombstone.value) === record.box
  })
}

/** The patience grows with each repeat: receipts may be slow because their node is off. */
export function repeatDueMs({ buriedAtMs, repeats }: OutboxRecord): number {
  if (repeats >= limits.repeatsMax) return Infinity
  return buriedAtMs + limits.receiptPatienceMs * patienceGrowth ** repeats
}
