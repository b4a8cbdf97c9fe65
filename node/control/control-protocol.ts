/**
 * What the CLI asks of its node over the control socket: JSON, one object a line.
 *
 * ```text
 *   request   {"id": 7, "method": "send", "params": {"contact": "bob", "text": "hi"}}
 *   reply     {"id": 7, "result": {…}}
 *             {"id": 7, "error": {"code": "CONTACT_UNKNOWN", "message": "…"}}
 *   cancel    {"cancel": 7}                 the call ends early; its reply still comes
 *   event     {"event": {…}}                after `follow`, until the connection ends
 * ```
 *
 * Replies come in the order in which calls end. The socket is 0600 in a 0700 directory: who can
 * open it is the owner, so there is no login. JSON because both ends are ours, the figures are
 * small, and a person can speak it with `nc -U`.
 */
import type { ErrorDetails } from '../../crypto/errors.ts'
import type {
  ClientApi, ClientEvent, ClientInfo, Contact, ContactPlaces, Device, DevicesApi, FileStatus, HistoryEntry,
  Invite, LinkOffer, MessageState, MessageStatus, SafetyNumber, Unreadable,
} from '../../protocol/client/api.ts'
import type { DeviceId, MessageId } from '../../protocol/ids.ts'
import type { BackupSummary } from '../backup.ts'
import type { PeerInfo } from '../ports.ts'
import type { DeviceStatus, DoctorReport, NodeStatus, PingResult } from '../status.ts'

/** What the control server needs of a node, or of a linked device. */
export interface ControlledNode {
  readonly client: ClientApi & DevicesApi
  status(): Promise<NodeStatus | DeviceStatus>
  peers(): PeerInfo[]
  doctor(contact?: string): Promise<DoctorReport>
  ping(target: string): Promise<PingResult>
  /** While it runs. @throws ACCOUNT_LINKED, USAGE_EXISTS, STORE_*, DATA_DIR_* */
  backup(request: BackupRequest): Promise<BackupSummary>
}

/** What a bridge lets its operator do (bridges/). */
export interface BridgeControl {
  /** Checks `params` itself: they come from the CLI of any version. @throws OpenIMError */
  call(action: string, params: unknown): Promise<unknown>
}

export interface BackupRequest {
  /** Absolute; must not exist. */
  readonly path: string
  readonly passphrase: Uint8Array
  /** `config.toml` as it stands. */
  readonly config: string
}

export interface HistoryQuery {
  readonly after?: number
  readonly limit?: number
  readonly contact?: string
  readonly direction?: 'in' | 'out'
  readonly reverse?: boolean
}

interface Method<Params, Reply> {
  readonly params: Params
  readonly result: Reply
}
type None = Record<string, never>

/** Every method with what it takes and gives; both ends are typed by this. */
export interface ControlMethods {
  readonly status: Method<None, NodeStatus | DeviceStatus>
  readonly peers: Method<None, PeerInfo[]>
  readonly doctor: Method<{ contact?: string }, DoctorReport>
  readonly ping: Method<{ target: string }, PingResult>
  /** `passphrase` in hex: it is bytes. */
  readonly backup: Method<{ path: string, passphrase: string, config: string }, BackupSummary>
  readonly info: Method<None, ClientInfo>
  readonly invite: Method<{ expiresInMs?: number }, Invite>
  readonly add: Method<{ uri: string, name?: string }, Contact>
  readonly contacts: Method<None, Contact[]>
  readonly contact: Method<{ contact: string }, Contact>
  /** Where mail for them goes; null until their first inbox card came. */
  readonly places: Method<{ contact: string }, ContactPlaces | null>
  readonly rename: Method<{ contact: string, name: string }, Contact>
  readonly safetyNumber: Method<{ contact: string }, SafetyNumber>
  /** `compared`: 60 digits, or the text of a QR code, as the other side shows them. */
  readonly verify: Method<{ contact: string, compared: string }, Contact>
  readonly markVerified: Method<{ contact: string }, Contact>
  readonly unverify: Method<{ contact: string }, Contact>
  readonly acceptChange: Method<{ contact: string }, Contact>
  readonly acknowledgeAlarms: Method<None, null>
  readonly unreadable: Method<None, Unreadable[]>
  readonly remove: Method<{ contact: string }, null>
  readonly devices: Method<None, Device[]>
  readonly removeDevice: Method<{ device: DeviceId }, { readonly invitesEnded: number }>
  /** Events `link` say how it goes on, on connections that follow. */
  readonly openLink: Method<None, LinkOffer>
  readonly confirmLink: Method<{ isSame: boolean }, null>
  readonly closeLink: Method<None, null>
  readonly send: Method<{ contact: string, text: string }, MessageStatus>
  readonly messageStatus: Method<{ id: MessageId }, MessageStatus | null>
  /** `path` is absolute; the node reads the file itself. The transfer goes on without the caller. */
  readonly sendFile: Method<{ contact: string, path: string, name?: string }, FileStatus>
  readonly files: Method<None, FileStatus[]>
  readonly file: Method<{ id: MessageId }, FileStatus>
  /** `path` is absolute and the final place. */
  readonly saveFile: Method<{ id: MessageId, path: string, overwrite?: boolean }, FileStatus>
  readonly cancelFile: Method<{ id: MessageId }, FileStatus>
  /** Settles with the status once it is reached, when `timeoutMs` is over, or on cancel. */
  readonly waitFor: Method<{ id: MessageId, state: MessageState, timeoutMs: number }, MessageStatus>
  readonly history: Method<HistoryQuery, HistoryEntry[]>
  readonly cursor: Method<{ name: string }, number>
  readonly setCursor: Method<{ name: string, position: number }, null>
  readonly markRead: Method<{ contact: string, upTo: number }, null>
  /** An action of a bridge that runs here. @throws BRIDGE_OFF, and what the bridge says */
  readonly bridge: Method<{ bridge: string, action: string, params: unknown }, unknown>
  /** Events follow on this connection from now on. */
  readonly follow: Method<None, null>
}

export type ControlMethod = keyof ControlMethods
export type ParamsOf<M extends ControlMethod> = ControlMethods[M]['params']
export type ResultOf<M extends ControlMethod> = ControlMethods[M]['result']

export interface ControlError {
  readonly code: string
  readonly message: string
  readonly details?: ErrorDetails
}

export type ControlReply =
  | { readonly id: number, readonly result: unknown }
  /** `id` is null when the line could not be read. */
  | { readonly id: number | null, readonly error: ControlError }
  | { readonly event: ClientEvent }
