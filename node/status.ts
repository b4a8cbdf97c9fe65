/**
 * What the node says about itself: plain values that cross the control socket as JSON and that
 * `openim status`, `doctor`, `ping` and `start` print. They are the stable shapes of `--json`:
 * fields are added, never renamed.
 *
 * Every figure is what is true at that moment; what is not known is absent or `unknown`, never
 * guessed. Here too: what the composition root needs to open a node.
 */
import type { AccountAlarm, RouteName, Standing, Trust } from '../protocol/client/api.ts'
import type { DeviceId } from '../protocol/ids.ts'
import type { NodeConfig } from './config.ts'
import type { NodeKeys } from './keys-file.ts'
import type { Log } from './ports.ts'
import type { StorePlace } from './storage/open-store.ts'

export interface NodeOptions {
  /** Absolute, exists with mode 0700, and is locked by the caller (`lockDataDir`). */
  readonly dataDir: string
  readonly keys: NodeKeys
  readonly config: NodeConfig
  /** Absent: the embedded database in `dataDir`. */
  readonly database?: StorePlace
  readonly log: Log
}

/** By name of the door: `tcp`, `udp`, `ws`, `http2`. */
export type DoorAddresses = Readonly<Record<string, string>>

/** The same of a linked device. */
export interface DeviceReady {
  readonly pid: number
  readonly address: string
  readonly deviceId: DeviceId
  /** Where its node is looked for. */
  readonly home: readonly string[]
}

/** Printed once by `openim start --json`, with `event: 'ready'` before it. */
export interface NodeReady {
  readonly pid: number
  readonly address: string
  readonly nodeId: string
  /** Multiaddrs that others can dial, each with the peer id at its end. */
  readonly p2p: readonly string[]
  /** `host:port` of each door for devices, with the port that was really taken. */
  readonly listen: DoorAddresses
}

/** `unknown` until somebody outside told us how they see us. */
export type Reachability = 'yes' | 'no' | 'unknown'

export interface ContactStatus {
  readonly name: string
  readonly address: string
  readonly trust: Trust
  /** Error code of what there is to know about their key. */
  readonly alarm?: string
  readonly state: 'requested' | 'active'
  /** When anything of theirs last reached us. */
  readonly lastSeenAtMs?: number
  /** The way to their home at this moment; `none` when there is no link. Only the node knows it. */
  readonly route?: RouteName
}

/** What a node and a linked device have in common. */
export interface AccountStatus {
  readonly version: string
  readonly pid: number
  readonly startedAtMs: number
  readonly uptimeMs: number
  readonly name: string
  readonly address: string
  readonly dataDir: string
  /** Whether the account's session with its node is up. */
  readonly online: boolean
  /** Whether the keys of this device are its own alone; if not, nothing is sent and nothing taken. */
  readonly standing: Standing
  /** It is new in its account and not listed yet. */
  readonly isRenewing: boolean
  /** Own messages not yet delivered. */
  readonly queue: { readonly out: number }
  /** Nodes that hold mail for us while we are away. */
  readonly replicas: { readonly have: number, readonly want: number }
  /** About the account's own keys; empty when all is well. */
  readonly alarms: readonly AccountAlarm[]
  /** What contacts wanted too often, since the start: sessions begun anew, messages once more. */
  readonly refused: { readonly resets: number, readonly asks: number }
  readonly contacts: readonly ContactStatus[]
}

/** The processes that share this node's database. */
export interface HouseholdReport {
  /** Ourselves first. */
  readonly members: readonly {
    readonly nodeId: string
    readonly addresses: readonly string[]
    /** Since its last beat that was seen. */
    readonly silentMs: number
  }[]
  /** Work that one of them does for all: the node id of who does, absent while nobody does. */
  readonly leases: Readonly<Record<string, string | undefined>>
  /** False: another process hosts the account, and what is said of the account here is not known. */
  readonly hostsAccount: boolean
}

export interface NodeStatus extends AccountStatus {
  readonly role: 'node'
  /** Absent when the node is alone on its database. */
  readonly household?: HouseholdReport
  readonly nodeId: string
  readonly reachable: Reachability
  readonly peers: { readonly now: number, readonly max: number }
  readonly dht: { readonly mode: 'client' | 'server', readonly known: number }
  readonly p2p: readonly string[]
  readonly listen: DoorAddresses
  /** Each door's counters since it opened, by its name. */
  readonly doors: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly queue: {
    /** Own messages not yet delivered. */
    readonly out: number
    /** Mail held for other people, within the budget lent to them. */
    readonly held: { readonly boxes: number, readonly bytes: number, readonly bytesMax: number }
  }
  /** Nodes that hold our current location record. */
  readonly location: { readonly holders: number }
}

export interface DeviceStatus extends AccountStatus {
  readonly role: 'device'
  readonly deviceId: DeviceId
  readonly home: HomeStatus
  /** Older messages on their way to this device, which was linked lately. */
  readonly sync?: { readonly have: number, readonly want: number }
}

/** A linked device's way to its node. */
export interface HomeStatus {
  /** All that are tried, as `home.json` has them. */
  readonly addresses: readonly string[]
  /** The one in use; only while online. */
  readonly address?: string
  /** Why there is none. */
  readonly code?: string
}

export interface DoctorCheck {
  /** Short noun: `clock`, `disk`, `peers`, `location of carol`. */
  readonly name: string
  readonly ok: boolean
  /** One line: what was found, with the value and the limit. */
  readonly detail: string
  /** One line: what to do; only when there is something to do. */
  readonly cure?: string
}

export interface DoctorReport {
  /** All checks passed. */
  readonly ok: boolean
  /** Petname, when one contact was examined. */
  readonly contact?: string
  readonly checks: readonly DoctorCheck[]
}

export interface PingResult {
  /** As asked for: petname or node id. */
  readonly target: string
  readonly ok: boolean
  /** The node that answered, or that was tried last. */
  readonly nodeId?: string
  readonly route: RouteName
  /** Multiaddr of the connection in use. */
  readonly address?: string
  readonly rttMs?: number
  /** Why not, when `ok` is false. */
  readonly code?: string
}
