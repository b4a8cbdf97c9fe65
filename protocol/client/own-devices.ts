/**
 * What changes in the life of our own account: its newest device list, where each of its devices
 * lays out prekeys, and the secrets that all devices share. Keys of this very device, which never
 * change, are in account-state.ts.
 *
 * The *primary* device holds the root key: it alone makes device lists, publishes location records
 * and answers contact requests. *Linked* devices have keys of their own and the shared secrets.
 * The record is changed in turns of the self contact only (self.ts), so changes never race.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { accountRendezvousSeed } from '../../crypto/recovery.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { deviceId, verifyDeviceList } from '../account.ts'
import type { VerifiedDeviceList } from '../account.ts'
import { opaque, struct, u32, vector } from '../codec/struct.ts'
import { deviceIdCodec } from '../ids.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import { ownDeviceCodec, sharedSecretsCodec } from '../message/own-devices.ts'
import type { OwnDevice, SharedSecrets } from '../message/own-devices.ts'
import type { KvStore } from '../ports.ts'
import type { Batch } from './batch.ts'
import { keys } from './keys.ts'
import { contactId, readRecord } from './records.ts'
import type { ContactId } from './records.ts'

const tokenBytes = 15

export interface OwnRecord {
  /** Signed bytes of the newest list. */
  readonly deviceList: Uint8Array
  readonly primary: DeviceId
  /** Those of the list, this one among them. */
  readonly devices: OwnDevice[]
  readonly secrets: SharedSecrets
  /** Counts revocations: an inbox of an earlier generation is known to a device that is gone. */
  readonly generation: number
}

export const ownCodec = struct<OwnRecord>({
  deviceList: opaque(limits.deviceListBytesMax),
  primary: deviceIdCodec,
  devices: vector(ownDeviceCodec, limits.devicesMax),
  secrets: sharedSecretsCodec,
  generation: u32,
})

/** The seed comes from the recovery words, so that they alone lead to our location record. */
export function freshSecrets(
  random: Random,
  { entropy, generation }: { entropy: Uint8Array, generation: number },
): SharedSecrets {
  return {
    rendezvousSeed: accountRendezvousSeed(entropy, generation),
    introReadSeed: random.bytes(32),
    frontToken: random.bytes(tokenBytes),
  }
}

/** Of account-state.ts, as far as it matters here. */
interface OwnKeys {
  readonly rootKey: Uint8Array
  readonly rootSeed: Uint8Array | undefined
  readonly deviceId: DeviceId
}

export class OwnDevices {
  /** Our own account as a contact: what our devices say to each other is a conversation of its own. */
  readonly self: ContactId
  readonly #account: OwnKeys
  #record: OwnRecord
  #list: VerifiedDeviceList
  #introReadKeys: SigningKeyPair
  readonly #seenAtMs = new Map<DeviceId, number>()

  private constructor(account: OwnKeys, record: OwnRecord) {
    this.self = contactId(account.rootKey)
    this.#account = account
    this.#record = record
    this.#list = verifiedOwnList(record.deviceList, account.rootKey)
    this.#introReadKeys = crypto.signingKeyPair(record.secrets.introReadSeed)
  }

  /** @throws ACCOUNT_CORRUPT, CODEC_* */
  static async load(kv: KvStore, account: OwnKeys): Promise<OwnDevices> {
    const record = await readRecord(kv, ownCodec, keys.own)
    if (record === undefined) {
      throw new OpenIMError('ACCOUNT_CORRUPT', 'the own device list is missing: restore a backup')
    }
    return new OwnDevices(account, record)
  }

  get record(): OwnRecord {
    return this.#record
  }

  /** The newest list of our own account. */
  get list(): VerifiedDeviceList {
    return this.#list
  }

  /** Whether this device holds the root key. */
  get isPrimary(): boolean {
    return this.#account.rootSeed !== undefined
  }

  get devices(): readonly OwnDevice[] {
    return this.#record.devices
  }

  /** Our other devices, as the newest list has them. */
  get siblings(): DeviceId[] {
    return this.#list.list.devices
      .map(({ signingKey }) => deviceId(signingKey))
      .filter((id) => id !== this.#account.deviceId)
  }

  /** Position of this device in the list: whoever comes first speaks first. */
  get rank(): number {
    const at = this.#list.list.devices
      .findIndex(({ signingKey }) => deviceId(signingKey) === this.#account.deviceId)
    return Math.max(0, at)
  }

  /** 15 bytes; in every invite. */
  get rendezvousSeed(): Uint8Array {
    return this.#record.secrets.rendezvousSeed
  }

  get introReadKeys(): SigningKeyPair {
    return this.#introReadKeys
  }

  /** 15 bytes; opens the front box. */
  get frontToken(): Uint8Array {
    return this.#record.secrets.frontToken
  }

  /** When something came from that device; 0 when nothing did since this start. */
  seenAtMs(device: DeviceId): number {
    return this.#seenAtMs.get(device) ?? 0
  }

  noteSeen(device: DeviceId, atMs: number): void {
    this.#seenAtMs.set(device, Math.max(atMs, this.seenAtMs(device)))
  }

  /** Into the batch of a turn of the self contact; known here when that is durable. */
  write(batch: Batch, record: OwnRecord): void {
    const list = verifiedOwnList(record.deviceList, this.#account.rootKey)
    const introReadKeys = crypto.signingKeyPair(record.secrets.introReadSeed)
    batch.put(keys.own, ownCodec, record)
    batch.then(() => {
      this.#record = record
      this.#list = list
      this.#introReadKeys = introReadKeys
    })
  }
}

/** @throws ACCOUNT_CORRUPT */
export function verifiedOwnList(bytes: Uint8Array, rootKey: Uint8Array): VerifiedDeviceList {
  const list = verifyDeviceList(bytes, rootKey)
  if (list.ok) return list.value
  throw new OpenIMError(
    'ACCOUNT_CORRUPT',
    `the own device list does not verify (${list.code}): restore a backup`,
  )
}
