/**
 * Accounts this node is home to, and their devices: who may log in at its doors.
 *
 * A device is known by the X25519 key that it proves in the handshake. The first one of an account
 * is its primary, which says what others there are (frame `devices`).
 */
import { equalBytes, hex } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { decode, encode, fixed, struct, text, vector } from '../../protocol/codec/struct.ts'
import { changeEntry, kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { KvStore } from '../../protocol/ports.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import type { HouseholdPort } from '../ports.ts'

export const accountPrefix = 'account/'

interface AccountRecord {
  readonly address: string
  /** The primary first. */
  readonly deviceKeys: Uint8Array[]
  /** Devices that were let in once: they are told so. */
  readonly revokedKeys: Uint8Array[]
}
const accountCodec = struct<AccountRecord>({
  address: text(128),
  deviceKeys: vector(fixed(32), limits.devicesMax),
  revokedKeys: vector(fixed(32), limits.formerDevicesMax),
})

/** A device that logged in: its account's address and its key as hex. */
export interface KnownDevice {
  readonly account: string
  readonly id: string
}

export class Accounts {
  readonly #kv: KvStore
  readonly #household: HouseholdPort
  readonly #byDevice = new Map<string, KnownDevice>()
  /** By account, the primary first. */
  readonly #devices = new Map<string, string[]>()
  readonly #revoked = new Set<string>()

  constructor(components: { kv: KvStore, household: HouseholdPort }) {
    this.#kv = components.kv
    this.#household = components.household
  }

  /** Reads all; again when another process may have changed them. */
  async start(): Promise<void> {
    for await (const entry of kvEntries(this.#kv, accountPrefix)) {
      const record = decode(accountCodec, entry.value)
      this.#index(record)
    }
  }

  /** Another process changed this one. */
  async refresh(address: string): Promise<void> {
    const record = await this.#read(address)
    if (record.deviceKeys.length > 0) this.#index(record)
  }

  /** Devices that are logged in here and not listed any more. */
  revokedOf(devices: Iterable<string>): string[] {
    return [...devices].filter((id) => !this.#byDevice.has(id) && this.#revoked.has(id))
  }

  /**
   * Lets a device of an account log in from now on; the first one is its primary. Idempotent.
   * @throws ACCOUNT_DEVICES
   */
  async register(address: string, deviceKey: Uint8Array): Promise<void> {
    const id = hex(deviceKey)
    const devices = this.#devices.get(address) ?? []
    if (devices.includes(id)) return
    await this.#change(address, (known) => {
      // On disk, but not read yet: before `start`, or of another process.
      if (known.deviceKeys.some((key) => equalBytes(key, deviceKey))) return undefined
      if (known.deviceKeys.length >= limits.devicesMax) {
        const message = `an account has at most ${limits.devicesMax} devices; remove one first`
        throw new OpenIMError('ACCOUNT_DEVICES', message)
      }
      return {
        address,
        deviceKeys: [...known.deviceKeys, deviceKey],
        revokedKeys: known.revokedKeys.filter((key) => !equalBytes(key, deviceKey)),
      }
    })
  }

  /**
   * The primary says which other devices there are. Gives the ids of those that are out now.
   * @throws DEVICE_NOT_PRIMARY, DEVICE_TAKEN
   */
  async setDevices(by: KnownDevice, linkKeys: readonly Uint8Array[]): Promise<string[]> {
    let removed: Uint8Array[] = []
    await this.#change(by.account, (known) => {
      const keys = this.#listed(by, known, linkKeys)
      removed = known.deviceKeys.filter((key) => !keys.has(hex(key)))
      const isSame = keys.size === known.deviceKeys.length && removed.length === 0
      if (isSame) return undefined
      const revoked = [...known.revokedKeys, ...removed].filter((key) => !keys.has(hex(key)))
      return {
        address: by.account,
        deviceKeys: [...keys.values()].slice(0, limits.devicesMax),
        revokedKeys: revoked.slice(-limits.formerDevicesMax),
      }
    })
    return removed.map(hex)
  }

  /** None of its devices may log in any more. Idempotent. */
  async deregister(address: string): Promise<void> {
    await this.#change(address, ({ deviceKeys, revokedKeys }) => deviceKeys.length === 0 ? undefined : {
      address,
      deviceKeys: [],
      revokedKeys: [...revokedKeys, ...deviceKeys].slice(-limits.formerDevicesMax),
    })
  }

  /** The primary's key and the others', by id. */
  #listed(by: KnownDevice, known: AccountRecord, linkKeys: readonly Uint8Array[]): Map<string, Uint8Array> {
    const [primary] = known.deviceKeys
    if (primary === undefined || hex(primary) !== by.id) {
      throw new OpenIMError('DEVICE_NOT_PRIMARY', 'only an account\'s primary device may change its devices')
    }
    const ownerOf = (key: Uint8Array): string => this.#byDevice.get(hex(key))?.account ?? by.account
    const taken = linkKeys.find((key) => ownerOf(key) !== by.account)
    if (taken !== undefined) {
      throw new OpenIMError('DEVICE_TAKEN', 'a device of another account cannot be let in as yours')
    }
    return new Map([primary, ...linkKeys].map((key) => [hex(key), key.slice()]))
  }

  authorise(deviceKey: Uint8Array): Result<KnownDevice> {
    const device = this.#byDevice.get(hex(deviceKey))
    if (device === undefined && this.#revoked.has(hex(deviceKey))) {
      return { ok: false, code: 'DEVICE_REVOKED', detail: 'the account does not list this device any more' }
    }
    if (device === undefined) {
      return { ok: false, code: 'DEVICE_UNKNOWN', detail: 'no account here has this device' }
    }
    return { ok: true, value: device }
  }

  devicesOf(account: string): readonly string[] {
    return this.#devices.get(account) ?? []
  }

  /** As the store says: what is deleted for all devices must not forget one that is new. */
  async devicesNow(account: string): Promise<readonly string[]> {
    if (!this.#household.isAlone) await this.refresh(account)
    return this.devicesOf(account)
  }

  async #read(address: string): Promise<AccountRecord> {
    return recordOf(address, (await this.#kv.get(accountPrefix + address))?.value)
  }

  async #change(
    address: string,
    change: (known: AccountRecord) => AccountRecord | undefined,
  ): Promise<void> {
    let record: AccountRecord | undefined
    const key = accountPrefix + address
    await changeEntry(this.#kv, key, (value) => {
      const known = recordOf(address, value)
      const changed = change(known)
      record = changed ?? known
      return changed === undefined ? undefined : encode(accountCodec, changed)
    })
    if (record === undefined) return
    this.#index(record)
    this.#household.tell({ kind: hintKinds.changed, subject: key })
  }

  #index({ address, deviceKeys, revokedKeys }: AccountRecord): void {
    const ids = deviceKeys.map(hex)
    for (const id of this.#devices.get(address) ?? []) this.#byDevice.delete(id)
    for (const id of ids) {
      // A key belongs to the account that had it first.
      if (!this.#byDevice.has(id)) this.#byDevice.set(id, { account: address, id })
      this.#revoked.delete(id)
    }
    this.#devices.set(address, ids)
    for (const key of revokedKeys) if (!this.#byDevice.has(hex(key))) this.#revoked.add(hex(key))
  }
}

function recordOf(address: string, value: Uint8Array | undefined): AccountRecord {
  return value === undefined ? { address, deviceKeys: [], revokedKeys: [] } : decode(accountCodec, value)
}
