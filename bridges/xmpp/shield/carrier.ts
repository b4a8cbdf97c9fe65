/**
 * How messages go from the service account of this node to that of another: what the shield needs of an
 * openIM account and nothing else.
 */
import type { MessageId } from '../../../protocol/ids.ts'

/** `doubt`: something contradicts their key, and nothing is sent until an operator settled that. */
export type PeerState = 'unknown' | 'requested' | 'active' | 'doubt'

export interface CarrierListener {
  /**
   * From the account of this address, in the order sent as far as it is known, and again until it
   * settled once. While it rejects, nothing more of that account comes.
   */
  received(address: string, text: string): Promise<void>
  delivered(id: MessageId): void
  /** Nothing will be tried any more. */
  failed(id: MessageId): void
  /** Its `state` may be another now. */
  changed(address: string): void
}

export interface Carrier {
  readonly address: string
  start(listener: CarrierListener): Promise<void>
  stop(): Promise<void>
  /** Good once. */
  invite(): Promise<string>
  /** Of whom an invite is; `undefined`: it is none, or is over. */
  inviter(invite: string): string | undefined
  /** Uses an invite of theirs. Nothing to do where they are known already. */
  add(invite: string): Promise<void>
  state(address: string): Promise<PeerState>
  /** Forgets the account, with what waits for it. Idempotent. */
  remove(address: string): Promise<void>
  /** Durable when it settles. @throws CONTACT_UNKNOWN, OUTBOX_FULL, TRUST_CHANGED, STORE_* */
  send(address: string, text: string): Promise<MessageId>
  outcome(id: MessageId): Promise<'waiting' | 'delivered' | 'failed' | 'unknown'>
}
