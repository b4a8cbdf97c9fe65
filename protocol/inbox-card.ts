/**
 * An inbox card: the capability to write to one inbox, given to one contact inside an encrypted
 * message and to nobody else (DESIGN §6).
 *
 * ```text
 *   u64    sequence          a higher one replaces a lower one
 *   opaque writeSeed[32]     Ed25519 seed: whoever holds it may deposit
 *   opaque readKey[32]       Ed25519 public key of the owner; with the write key it names the box
 *   opaque sealKey[32]       XChaCha20-Poly1305 key of the outer seal (message/sealed.ts)
 *   homes<V>                 opaque[32] node keys, at most 4
 *   replicas<V>              opaque[32] node keys, at most 8
 * ```
 */
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import { fixed, struct, u64, vector } from './codec/struct.ts'
import { boxId } from './envelope.ts'
import { nodeIdCodec } from './ids.ts'
import type { BoxId, NodeId } from './ids.ts'
import { limits } from './limits.ts'

export interface InboxCard {
  readonly sequence: number
  readonly writeSeed: Uint8Array
  readonly readKey: Uint8Array
  readonly sealKey: Uint8Array
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
}

export const inboxCardCodec = struct<InboxCard>({
  sequence: u64,
  writeSeed: fixed(32),
  readKey: fixed(32),
  sealKey: fixed(32),
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
})

/** What the card lets its holder do. */
export function openCard(card: Pick<InboxCard, 'writeSeed' | 'readKey'>): {
  writeKeys: SigningKeyPair
  box: BoxId
} {
  const writeKeys = crypto.signingKeyPair(card.writeSeed)
  return { writeKeys, box: boxId({ writeKey: writeKeys.publicKey, readKey: card.readKey }) }
}
