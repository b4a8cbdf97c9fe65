/**
 * What every part of the Client SDK is given, and nothing more: its corner of the store, time,
 * randomness, the account it serves and a way to tell the app. Parts know each other only through
 * constructor arguments, in one direction (client.ts has the picture).
 */
import type { Random } from '../../crypto/random.ts'
import type { Clock, KvStore } from '../ports.ts'
import type { OwnAccount } from './account-state.ts'
import type { ClientEvent } from './api.ts'
import type { OwnDevices } from './own-devices.ts'

/** Structured log; never secrets, never content. The node's log fits. */
export interface ClientLog {
  debug(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export const silentClientLog: ClientLog = { debug() {}, warn() {} }

export interface Context {
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: ClientLog
  /** Keys of this device. */
  readonly account: OwnAccount
  /** What changes: device list, siblings, shared secrets. */
  readonly own: OwnDevices
  /** To the app's listeners; called only after the change is durable. */
  emit(event: ClientEvent): void
}
