/**
 * Collects what replicas held while we were away: reads an inbox at one replica page by page into
 * our own mailbox, and tells the replica at once about everything the owner has taken over since.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import { boxId, parseEnvelope } from '../../protocol/envelope.ts'
import type { EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import {
  acknowledgeRequestCodec, signTombstone, tombstoneIdsMax,
} from '../../protocol/service/acknowledge.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositResults } from '../../protocol/service/deposit.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'
import { fetchReplyCodec, fetchRequestCodec, signReadProof } from '../../protocol/service/fetch.ts'
import type { Courier } from '../ports.ts'

const fetchTimeoutMs = 10_000
/** Against a replica that never ends: no inbox has more pages of what an honest one fills. */
const pagesMax = 256

export interface DrainComponents {
  readonly courier: Courier
  readonly clock: Clock
  readonly self: NodeId
  readonly depositHere: (envelopes: readonly Uint8Array[]) => Promise<DepositReply>
}

export interface DrainInbox {
  readonly writeKey: Uint8Array
  readonly readKeys: SigningKeyPair
}

export interface DrainResult {
  /** False when the replica did not answer to the end. */
  readonly complete: boolean
  /** Ids that this replica still holds and the owner has not acknowledged yet. */
  readonly waiting: readonly EnvelopeId[]
}

export async function drainReplica(
  components: DrainComponents,
  inbox: DrainInbox,
  replica: NodeId,
): Promise<DrainResult> {
  const { clock, courier, self } = components
  const box = boxId({ writeKey: inbox.writeKey, readKey: inbox.readKeys.publicKey })
  const waiting: EnvelopeId[] = []
  let after = 0
  let seen = 0
  for (let page = 0; page < pagesMax; page++) {
    const proof = signReadProof({
      writeKey: inbox.writeKey,
      readKey: inbox.readKeys.publicKey,
      holder: replica,
      reader: self,
      timeMs: clock.now(),
    }, inbox.readKeys)
    const request = encode(fetchRequestCodec, {
      proof, after, itemsMax: limits.fetchItemsMax, bytesMax: limits.fetchBytesMax,
    })
    const options = { timeoutMs: fetchTimeoutMs, level: 0 } as const
    const answer = await courier.call(replica, services.fetch, request, options)
    const reply = answer.ok ? tryDecode(fetchReplyCodec, answer.value) : answer
    if (!reply.ok) return { complete: false, waiting }
    const { entries, more } = reply.value
    seen += entries.length
    // No inbox is larger: it tells the same again and again.
    if (seen > limits.boxItemsMax) return { complete: false, waiting }
    const taken: EnvelopeId[] = []
    for (let at = 0; at < entries.length; at += limits.depositItemsMax) {
      const found = entries.slice(at, at + limits.depositItemsMax).flatMap(({ envelope: bytes }) => {
        const parsed = parseEnvelope(bytes)
        return parsed.ok && parsed.value.box === box ? [{ bytes, id: parsed.value.id }] : []
      })
      if (found.length === 0) continue
      const { results } = await components.depositHere(found.map(({ bytes }) => bytes))
      found.forEach(({ id }, i) => {
        const { acknowledged } = depositResults
        ;(results[i] === acknowledged ? taken : waiting).push(id)
      })
    }
    if (taken.length > 0) await buryAt(components, inbox, { replica, ids: taken })
    const last = entries.at(-1)
    if (!more || last === undefined) return { complete: true, waiting }
    // Positions grow; a replica that goes back would keep us here for ever.
    if (last.position <= after) return { complete: false, waiting }
    after = last.position
  }
  return { complete: false, waiting }
}

/** Tells one replica that the owner has these; best effort, the next drain repeats it. */
export async function buryAt(
  components: Pick<DrainComponents, 'courier'>,
  inbox: DrainInbox,
  { replica, ids }: { replica: NodeId, ids: readonly EnvelopeId[] },
): Promise<void> {
  const tombstones = signTombstones(inbox, ids)
  const body = encode(acknowledgeRequestCodec, { tombstones: tombstones.slice(0, 64) })
  await components.courier.call(replica, services.acknowledge, body, { timeoutMs: fetchTimeoutMs, level: 0 })
}

/** One signature for each `tombstoneIdsMax` ids. */
export function signTombstones(inbox: DrainInbox, ids: readonly EnvelopeId[]): Uint8Array[] {
  const tombstones: Uint8Array[] = []
  for (let at = 0; at < ids.length; at += tombstoneIdsMax) {
    tombstones.push(signTombstone({
      writeKey: inbox.writeKey,
      readKey: inbox.readKeys.publicKey,
      envelopeIds: ids.slice(at, at + tombstoneIdsMax),
    }, inbox.readKeys))
  }
  return tombstones
}
