/** A node that takes deposits, honest unless told otherwise: what the outbox meets outside. */
import { decode, encode } from '../../protocol/codec/struct.ts'
import { parseEnvelope } from '../../protocol/envelope.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  depositReplyCodec, depositRequestCodec, depositResults, signStoreReceipt,
} from '../../protocol/service/deposit.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'
import type { Peer } from './room-network.ts'

export class PlayedHolder {
  readonly peer: Peer
  /** In the order of arrival, with repeats. */
  readonly got: EnvelopeId[] = []
  readonly batches: EnvelopeId[][] = []
  /** Set: how it answers instead of storing. */
  answer: ((ids: EnvelopeId[]) => DepositReply) | undefined
  /** True: like a frozen process, it takes calls and never answers. */
  frozen = false

  constructor(peer: Peer) {
    this.peer = peer
    peer.overlay.handle(services.deposit, async (_from, body) => {
      if (this.frozen) return await new Promise(() => {})
      const { envelopes } = decode(depositRequestCodec, body)
      const ids = envelopes.map((bytes) => {
        const parsed = parseEnvelope(bytes)
        if (!parsed.ok) throw new Error(parsed.code)
        return parsed.value.id
      })
      this.got.push(...ids)
      this.batches.push(ids)
      return { ok: true, value: encode(depositReplyCodec, (this.answer ?? this.stored)(ids)) }
    })
  }

  get nodeId() {
    return this.peer.nodeId
  }

  readonly stored = (ids: EnvelopeId[]): DepositReply => ({
    results: ids.map(() => depositResults.stored),
    receipt: this.receipt(ids),
    tombstones: [],
  })

  receipt(envelopeIds: EnvelopeId[]): Uint8Array {
    const storedHour = Math.floor(this.peer.clock.now() / 3_600_000)
    return signStoreReceipt({ nodeId: this.nodeId, storedHour, envelopeIds }, this.peer.nodeKeys)
  }
}
