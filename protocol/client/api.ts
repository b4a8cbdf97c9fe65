/**
 * What the Client SDK offers to an app: plain values in, plain values and events out. The CLI is
 * a thin face on this, hosted in the node; a phone or a page uses the same.
 */
import type { ShortCode } from '../../crypto/short-auth.ts'
import type { DeviceId, EnvelopeId, MessageId, NodeId } from '../ids.ts'

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

/**
 * How sure we are of a contact's key: it came with an invite; people compared safety numbers; or
 * something contradicts it (`Contact.alarm` says what), and nothing is sent until that is settled.
 */
export type Trust = 'invite' | 'verified' | 'changed'

/** Something is wrong with our own account: a contact has a device list of it that we never made. */
export interface AccountAlarm {
  readonly code: string
  readonly atMs: number
  /** Petname of who has it, or their address when they are no contact any more. */
  readonly contact: string
  /** Of the list. */
  readonly number: number
}

/** How far later theft of keys reaches into the session with one device of a contact. */
export interface SessionSecrecy {
  readonly device: DeviceId
  /**
   * It began from last-resort prekeys alone, because one-time prekeys had run out: who steals those
   * later reads it, until each side has answered the other.
   */
  readonly weakForwardSecrecy: boolean
  /** Changes of direction since the newest post-quantum secret; always below 32. */
  readonly pqAgeSteps: number
}

/** What two people compare (the digits are the same on both sides), and how well sessions keep secrets. */
export interface SafetyNumber {
  /** 12 groups of 5 digits. */
  readonly digits: readonly string[]
  /** For a QR code: `openim-verify:…`, at most 106 characters. */
  readonly code: string
  /** With each of their devices that there is a session with, from this device. */
  readonly sessions: readonly SessionSecrecy[]
}

export interface Contact {
  /** Petname: local, unique, chosen by us (or taken from their invite and made unique). */
  readonly name: string
  readonly address: string
  readonly trust: Trust
  /** Error code of what there is to know about their key; always with `changed`. */
  readonly alarm?: string
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
  /** It could not be read and is lost: error code; `text` is empty. */
  readonly unreadable?: string
  /** It is a file; `text` is empty. */
  readonly file?: HistoryFile
  /** Their key is in doubt at this moment; error code. Shown with what they write, hides nothing. */
  readonly alarm?: string
  readonly status?: MessageStatus
}

/**
 * `sending` → `sent`; `offered` → `fetching` → `saved`. `expired`: nobody has it any more, and it
 * was not saved. `failed` and `cancelled` are the end of an outgoing one.
 */
export type FileState =
  'sending' | 'sent' | 'offered' | 'fetching' | 'saved' | 'cancelled' | 'failed' | 'expired'

export interface FileStatus {
  /** Of its message. */
  readonly id: MessageId
  readonly contact: string
  readonly direction: 'in' | 'out'
  /** Fit to be shown and to be the name of a file. */
  readonly name: string
  /** As the sender says it; may be empty. */
  readonly mediaType: string
  readonly size: number
  readonly state: FileState
  /** Content bytes moved: out, to enough holders; in, to here. */
  readonly done: number
  /** Of an outgoing one: replicas that hold all of it. 0 of 0: only the own node, which must stay on. */
  readonly stored?: { readonly have: number, readonly want: number }
  readonly startedAtMs: number
  readonly expiresAtMs: number
  /** What the sink said. */
  readonly savedAs?: string
  readonly savedAtMs?: number
  /** Why it failed, or does not get on. */
  readonly code?: string
}

export type HistoryFile = Pick<FileStatus, 'name' | 'mediaType' | 'size' | 'state' | 'savedAs' | 'savedAtMs'>

/** Where the content of a file comes from. */
export interface FileSource {
  readonly size: number
  /** Exactly `length` bytes, or fewer when the file became shorter. */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

/** Where it goes to: somewhere temporary, until `finish`. */
export interface FileSink {
  /** Nothing of an earlier try is here. */
  readonly isFresh: boolean
  /** In any order; several at once. */
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Everything written is durable. */
  sync(): Promise<void>
  read(offset: number, length: number): Promise<Uint8Array>
  /** It is whole and checked: gives it its final name and says where it is. May be said again. */
  finish(): Promise<string>
  /** Given up: removes what was written. */
  discard(): Promise<void>
  close(): Promise<void>
}

/** Opens again, after a restart, what the app called `ref`. */
export interface FileOpener {
  source(ref: string): Promise<FileSource>
  /** `finish`: nothing more is written, only the final name may be missing. */
  sink(ref: string, stage: 'resume' | 'finish'): Promise<FileSink>
}

interface TransferOptions {
  /** How the `FileOpener` finds it after a restart; without it a restart ends the transfer. */
  readonly ref?: string
  /** Cancels the transfer. */
  readonly signal?: AbortSignal
  /** At most some times a second. */
  readonly progress?: (status: FileStatus) => void
}

export interface SendFileOptions extends TransferOptions {
  /** What the contact sees; made fit to be a file name. */
  readonly name: string
  /** Media type, `image/png`. */
  readonly type?: string
}

export type SaveFileOptions = TransferOptions

export interface FileTransfer {
  readonly status: FileStatus
  /** Settles at its end. @throws FILE_*, CONTACT_UNKNOWN, TRUST_CHANGED, STORE_*, CLIENT_STOPPED */
  readonly done: Promise<FileStatus>
}

/** Attachments: each lies in pieces at the own node and at holders, for 14 days. */
export interface FilesApi {
  /**
   * Settles when the transfer is durable; it goes on by itself, and the message leaves when enough
   * holders have all. @throws CONTACT_UNKNOWN, TRUST_CHANGED, FILE_TOO_LARGE, FILE_TYPE, STORE_*
   */
  send(contact: string, source: FileSource, options: SendFileOptions): Promise<FileTransfer>
  /** Fetches, opens and checks it. @throws FILE_UNKNOWN, FILE_EXPIRED, FILE_BUSY, STORE_* */
  save(id: MessageId, sink: FileSink, options?: SaveFileOptions): Promise<FileTransfer>
  /** Ends what is under way; an outgoing file cannot be fetched any more. @throws FILE_UNKNOWN */
  cancel(id: MessageId): Promise<FileStatus>
  /** @throws FILE_UNKNOWN */
  status(id: MessageId): Promise<FileStatus>
  /** The newest first, at most 1,000. */
  list(): Promise<FileStatus[]>
}

/** `asked`: again, of its sender. `lost`: nobody has it any more; also a line in the history. */
export type UnreadableState = 'asked' | 'recovered' | 'lost'

export interface Unreadable {
  readonly id: EnvelopeId
  /** Petname; empty for a request of somebody unknown. */
  readonly contact: string
  /** Why it could not be read. */
  readonly code: string
  readonly atMs: number
  readonly state: UnreadableState
}

export interface Invite {
  readonly uri: string
  readonly expiresAtMs: number
}

/**
 * Whether this device may go on: `cloned` when its keys are at work in two places or it went back in
 * time, `retired` when another device took its place, `revoked` when the node says that the account
 * removed it. Then nothing is sent and nothing taken.
 */
export type Standing = 'good' | 'cloned' | 'retired' | 'revoked'

export type ClientEvent =
  | { readonly type: 'message', readonly entry: HistoryEntry }
  | { readonly type: 'status', readonly status: MessageStatus }
  /** A transfer began, gets on, waits, or ended. */
  | { readonly type: 'file', readonly file: FileStatus }
  | { readonly type: 'contact', readonly contact: Contact }
  /**
   * A contact's key: verified, in doubt, or (`from` and `to` alike, with a `code`) something to know
   * about it. `contact` is a petname.
   */
  | {
    readonly type: 'trust', readonly contact: string, readonly from: Trust, readonly to: Trust,
    readonly code?: string, readonly atMs: number,
  }
  /** Something that arrived cannot be read, and what became of it: named, never silent. */
  | { readonly type: 'undecryptable' } & Unreadable
  | { readonly type: 'alarm', readonly alarm: AccountAlarm }
  /** Everything incoming up to this cursor was read, here or on another device of ours. */
  | { readonly type: 'read', readonly contact: string, readonly upTo: number }
  | { readonly type: 'connection', readonly online: boolean }
  /** A new device is being let in; at the device that made the code. */
  | { readonly type: 'link' } & LinkProgress
  /** `good`: a renewed device was listed, or a revoked one let in again. */
  | { readonly type: 'standing', readonly standing: Standing, readonly code?: string }

/** A device of our own account. */
export interface Device {
  readonly id: DeviceId
  /** As it was called when it was linked; may be empty. */
  readonly name: string
  readonly addedAtMs: number
  readonly isThis: boolean
  /** Holds the root key: lets others in and puts them out. */
  readonly isPrimary: boolean
  /** When something came from it, since this program started; absent when nothing did. */
  readonly lastSeenAtMs?: number
}

export interface ClientInfo {
  readonly address: string
  readonly name: string
  readonly deviceId: DeviceId
  readonly online: boolean
  readonly standing: Standing
  /** This device is new in its account and not listed yet: it sends as soon as it is. */
  readonly isRenewing: boolean
  /** Messages not yet delivered. */
  readonly outbox: number
  /** About our own keys; empty when all is well. */
  readonly alarms: readonly AccountAlarm[]
  /** What contacts wanted too often, since this start: sessions begun anew, messages once more. */
  readonly refused: { readonly resets: number, readonly asks: number }
  readonly contacts: number
  /** Replicas that hold mail for this account's front box when home is off. */
  readonly replicas: { readonly have: number, readonly want: number }
  /** Nodes that hold the current location record; only the primary device publishes it. */
  readonly locationHolders: number
  /** Older messages on their way to this device, which was linked lately. */
  readonly sync?: { readonly have: number, readonly want: number }
}

/** A link code, for the new device's screen or keyboard. */
export interface LinkOffer {
  readonly uri: string
  /** All addresses of the node's doors; the code holds two of them. */
  readonly addresses: readonly string[]
  readonly expiresAtMs: number
}

/** How far the linking of a new device is. */
export type LinkProgress =
  /** The new device shows the same digits and pictures, or somebody is between. Then `confirmLink`. */
  | { readonly state: 'comparing', readonly code: ShortCode, readonly name: string }
  | { readonly state: 'linked' }
  | { readonly state: 'failed', readonly reason: string }

/** The devices of our own account. Letting in and putting out need the root key: the primary does it. */
export interface DevicesApi {
  devices(): Promise<Device[]>
  /**
   * Lets a new device in: `request` is of its `makeDeviceRequest`, the answer for its
   * `Client.createLinked`, with secrets in the clear. The new device is listed when it settles.
   * @throws ACCOUNT_LINKED, ACCOUNT_DEVICES, DEVICE_REQUEST, SIGNATURE_INVALID, CODEC_*
   */
  certify(request: Uint8Array): Promise<Uint8Array>
  /**
   * Puts a device out and replaces all secrets that it knew; open invites therefore end.
   * @throws ACCOUNT_LINKED, DEVICE_UNKNOWN, DEVICE_PRIMARY
   */
  removeDevice(id: DeviceId): Promise<{ readonly invitesEnded: number }>
  /**
   * Makes a link code, in place of an earlier one; events `link` follow.
   * @throws ACCOUNT_LINKED, LINK_BUSY, REQUEST_*
   */
  openLink(): Promise<LinkOffer>
  /** What the person says of the two codes. @throws LINK_CODE_OVER */
  confirmLink(isSame: boolean): Promise<void>
  /** Gives the linking up. Idempotent. */
  closeLink(): Promise<void>
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
  /** The first time for a contact costs some milliseconds. @throws CONTACT_UNKNOWN */
  safetyNumber(nameOrAddress: string): Promise<SafetyNumber>
  /**
   * Compares what the other side shows, 60 digits or the text of its QR code; then `verified`.
   * @throws CONTACT_UNKNOWN, SAFETY_NUMBER_FORMAT, SAFETY_NUMBER_VERSION, SAFETY_NUMBER_MISMATCH
   */
  verify(nameOrAddress: string, compared: string): Promise<Contact>
  /** The person compared the numbers and says that they are the same. @throws CONTACT_UNKNOWN */
  markVerified(nameOrAddress: string): Promise<Contact>
  /** From `verified` back to `invite`. @throws CONTACT_UNKNOWN */
  unverify(nameOrAddress: string): Promise<Contact>
  /** Ends an alarm on the person's word: `changed` becomes `invite`. @throws CONTACT_UNKNOWN */
  acceptChange(nameOrAddress: string): Promise<Contact>
  /** The person has seen `info().alarms`; what is still so comes back. */
  acknowledgeAlarms(): Promise<void>
  remove(nameOrAddress: string): Promise<void>
  /**
   * Durable here when it settles (`queued`).
   * @throws CONTACT_UNKNOWN, TEXT_TOO_LONG, OUTBOX_FULL; TRUST_CHANGED while their key is in doubt
   */
  send(contact: string, text: string): Promise<MessageStatus>
  readonly files: FilesApi
  status(id: MessageId): Promise<MessageStatus | undefined>
  /** Settles with the status once it is at least `state` (or `failed`), or when `signal` aborts. */
  waitFor(id: MessageId, state: MessageState, signal?: AbortSignal): Promise<MessageStatus>
  /** Oldest first after `after`; `limit` ≤ 1,000. With `direction`, only those. */
  history(options: {
    after?: number, limit?: number, contact?: string, direction?: 'in' | 'out', reverse?: boolean
  }): Promise<HistoryEntry[]>
  /** What could not be read, the oldest first; the last 1,000. */
  unreadable(): Promise<Unreadable[]>
  /** A named, durable reading position over incoming messages; 0 at first. */
  cursor(name: string): Promise<number>
  setCursor(name: string, position: number): Promise<void>
  /** Says "read" to the contact for everything incoming up to this cursor. */
  markRead(contact: string, upTo: number): Promise<void>
  /** Returns an unsubscribe function. Events come after their change is durable. */
  on(listener: (event: ClientEvent) => void): () => void
  /**
   * The same as an async iterable: it begins with the first `next` and ends with the loop, with
   * `signal`, or with EVENTS_TOO_MANY when the loop falls behind.
   */
  events(options?: { signal?: AbortSignal }): AsyncGenerator<ClientEvent, void, undefined>
}
