/**
 * `ownDevices` (20), from the primary to our other devices: the account's newest device list, where
 * each device lays out its prekeys, the secrets that all devices share, and the inbox in which they
 * talk to each other.
 *
 * ```text
 *   opaque deviceList<V>        our signed DeviceList (account.ts)
 *   opaque primary[16]          the device that holds the root key
 *   OwnDevice devices<V>        at most 16, those of the list
 *   SharedSecrets secrets
 *   u32    generation           how many revocations there were
 *   OwnBoxState selfBox         contact-state.ts
 *
 *   OwnDevice
 *     opaque deviceId[16], opaque linkKey[32], opaque shelfKey[32], opaque shelfSecret[32]
 *   SharedSecrets
 *     opaque rendezvousSeed[15], opaque introReadSeed[32], opaque frontToken[15]
 * ```
 */
import { fixed, opaque, struct, u32, vector } from '../codec/struct.ts'
import { deviceIdCodec } from '../ids.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import { ownBoxStateCodec } from './contact-state.ts'
import type { OwnBoxState } from './contact-state.ts'

/** A device of our own account, as its siblings know it. */
export interface OwnDevice {
  readonly deviceId: DeviceId
  /** X25519; the node lets it in by this. */
  readonly linkKey: Uint8Array
  readonly shelfKey: Uint8Array
  readonly shelfSecret: Uint8Array
}

/** Replaced when a device is revoked that knew them. */
export interface SharedSecrets {
  /** 15 bytes; in every invite. */
  readonly rendezvousSeed: Uint8Array
  /** Ed25519 seed of the request boxes' read key. */
  readonly introReadSeed: Uint8Array
  /** 15 bytes; opens the front box like an invite's token opens its box. */
  readonly frontToken: Uint8Array
}

export interface OwnDevicesBody {
  readonly type: 'ownDevices'
  readonly deviceList: Uint8Array
  readonly primary: DeviceId
  readonly devices: OwnDevice[]
  readonly secrets: SharedSecrets
  readonly generation: number
  readonly selfBox: OwnBoxState
}

export const ownDeviceCodec = struct<OwnDevice>({
  deviceId: deviceIdCodec,
  linkKey: fixed(32),
  shelfKey: fixed(32),
  shelfSecret: fixed(32),
})

export const sharedSecretsCodec = struct<SharedSecrets>({
  rendezvousSeed: fixed(15),
  introReadSeed: fixed(32),
  frontToken: fixed(15),
})

export const ownDevicesCodec = struct<Omit<OwnDevicesBody, 'type'>>({
  deviceList: opaque(limits.deviceListBytesMax),
  primary: deviceIdCodec,
  devices: vector(ownDeviceCodec, limits.devicesMax),
  secrets: sharedSecretsCodec,
  generation: u32,
  selfBox: ownBoxStateCodec,
})
