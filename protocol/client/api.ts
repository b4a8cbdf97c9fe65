/**
 * What the Client SDK offers to an app: plain values in, plain values and events out. The CLI is
 * a thin face on this, hosted in the node; a phone or a page uses the same.
 */
import type { DeviceId, MessageId, NodeId } from '../ids.ts'

/**
 * A message's state at its sender. Each is earned: `stored` by signed store receipts that were
 * checked here, `delivered` and `read` by an encrypted receipt of the contact (or the owner's
 * signed tombstone). `failed` only when nothing will be tried any more (expired, refused).
 */
export type MessageState = 'queued' | 'stored' | 'delivered' | 'read' | 'failed'

export type RouteName = 'none' | 'local' | 'direct' | 'relayed' | 'replicas'

export interface MessageStatus {
  readonly id: MessageId
  readonly contact: string
  readonly state: MessageState
  readonly stored: { readonly have: number, readonly want: number }
  readonly route: RouteName
  /** Privacy level it really had. */
  readonly level: number
  readonly sentAtMs: number
  readonly storedAtMs?: number
  readonly deliveredAtMs?: number
  readonly readAtMs?: number
  /** Error code when `failed`, or why it is still queued. */
  readonly code?: string
}

/** How sure we are of a contact's key. */
export type Trust = 'invite' | 'verified' | 'changed'

export interface Contact {
  /** Petname: local, unique, chosen by us (or taken from their invite and made unique). */
  readonly name: string
  readonly address: string
  readonly trust: Trust
  /** `requested`: our request is on its way; `active`: both have each other's inbox. */
  readonly state: 'requested' | 'active'
  readonly addedAtMs: number
  readonly lastSeenAtMs?: number
}

export interface HistoryEntry {
  /** Position in the whole account's history: growing, without doubles; the cursor of `inbox`. */
  readonly cursor: number
  readonly id: MessageId
  readonly contact: string
  readonly direction: 'in' | 'out'
  readonly text: string
  readonly sentAtMs: number
  /** When it arrived here (in) or was written here (out). */
  readonly receivedAtMs: number
  /** Set when one before it never came in time; shown, never hidden. */
  readonly afterGap?: boolean
  readonly status?: MessageStatus
}

export interface Invite {
  readonly uri: string
  readonly expiresAtMs: number
}

export type ClientEvent =
  | { readonly type: 'message', readonly entry: HistoryEntry }
  | { readonly type: 'status', readonly status: MessageStatus }
  | { readonly type: 'contact', readonly contact: Contact }
  /** Something arrived that cannot be read: named, never silent. */
  | { readonly type: 'undecryptable', readonly contact: string, readonly code: string, readonly atMs: number }
  | { readonly type: 'connection', readonly online: boolean }

export interface ClientInfo {
  readonly address: string
  readonly name: string
  readonly deviceId: DeviceId
  readonly online: boolean
  /** Messages not yet delivered. */
  readonly outbox: number
  readonly contacts: number
  /** Replicas that hold mail for this account's front box when home is off. */
  readonly replicas: { readonly have: number, readonly want: number }
  /** Nodes that hold the current location record. */
  readonly locationHolders: number
}

export interface ContactPlaces {
  readonly homes: readonly NodeId[]
  readonly replicas: readonly NodeId[]
}

export interface ClientApi {
  info(): Promise<ClientInfo>
  invite(options?: { expiresInMs?: number }): Promise<Invite>
  /**
   * Settles when the request is durable here; the contact becomes `active` later.
   * @throws INVITE_*, CONTACT_*
   */
  add(uri: string, options?: { name?: string }): Promise<Contact>
  contacts(): Promise<Contact[]>
  /** By petname or address. @throws CONTACT_UNKNOWN */
  contact(nameOrAddress: string): Promise<Contact>
  /** Where mail for them goes, as their last inbox card says; `undefined` until one came. */
  places(nameOrAddress: string): Promise<ContactPlaces | undefined>
  /**
   * Asks the location database for their current record, signed and opened: for the doctor and
   * for recovery. `undefined` when nobody has one. @throws CONTACT_UNKNOWN, REQUEST_*
   */
  locate(nameOrAddress: string): Promise<ContactPlaces | undefined>
  rename(nameOrAddress: string, name: string): Promise<Contact>
  remove(nameOrAddress: string): Promise<void>
  /** Durable here when it settles (`queued`). @throws CONTACT_UNKNOWN, TEXT_TOO_LONG, OUTBOX_FULL */
  send(contact: string, text: string): Promise<MessageStatus>
  status(id: MessageId): Promise<MessageStatus | undefined>
  /** Settles with the status once it is at least `state` (or `failed`), or when `signal` aborts. */
  waitFor(id: MessageId, state: MessageState, signal?: AbortSignal): Promise<MessageStatus>
  /** Oldest first after `after`; `limit` ≤ 1,000. With `direction`, only those. */
  history(options: {
    after?: number, limit?: number, contact?: string, direction?: 'in' | 'out', reverse?: boolean
  }): Promise<HistoryEntry[]>
  /** A named, durable reading position over incoming messages; 0 at first. */
  cursor(name: string): Promise<number>
  setCursor(name: string, position: number): Promise<void>
  /** Says "read" to the contact for everything incoming up to this cursor. */
  markRead(contact: string, upTo: number): Promise<void>
  /** Returns an unsubscribe function. Events come after their change is durable. */
  on(listener: (event: ClientEvent) => void): () => void
}
