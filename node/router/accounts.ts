/**
 * Accounts this node is home to, and their devices: who may log in at its doors.
 *
 * A device is known by the X25519 key that it proves in the handshake.
 */
import { hex } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { decode, encode, fixed, struct, text, vector } from '../../protocol/codec/struct.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { KvStore } from '../../protocol/ports.ts'

const accountPrefix = 'account/'

interface AccountRecord {
  readonly address: string
  readonly deviceKeys: Uint8Array[]
}
const accountCodec = struct<AccountRecord>({
  address: text(128),
  deviceKeys: vector(fixed(32), limits.devicesMax),
})

/** A device that logged in: its account's address and its key as hex. */
export interface KnownDevice {
  readonly account: string
  readonly id: string
}

export class Accounts {
  readonly #kv: KvStore
  readonly #byDevice = new Map<string, KnownDevice>()
  readonly #devices = new Map<string, string[]>()

  constructor(components: { kv: KvStore }) {
    this.#kv = components.kv
  }

  async start(): Promise<void> {
    for await (const entry of kvEntries(this.#kv, accountPrefix)) {
      const record = decode(accountCodec, entry.value)
      for (const key of record.deviceKeys) this.#index(record.address, hex(key))
    }
  }

  /** Lets a device of an account log in from now on. Idempotent. @throws ACCOUNT_DEVICES */
  async register(address: string, deviceKey: Uint8Array): Promise<void> {
    const id = hex(deviceKey)
    const devices = this.#devices.get(address) ?? []
    if (devices.includes(id)) return
    if (devices.length >= limits.devicesMax) {
      const message = `an account has at most ${limits.devicesMax} devices; remove one first`
      throw new OpenIMError('ACCOUNT_DEVICES', message)
    }
    const entry = await this.#kv.get(accountPrefix + address)
    const known = entry === undefined ? [] : decode(accountCodec, entry.value).deviceKeys
    const record: AccountRecord = { address, deviceKeys: [...known, deviceKey] }
    await this.#kv.write([{ type: 'put', key: accountPrefix + address, value: encode(accountCodec, record) }])
    this.#index(address, id)
  }

  authorise(deviceKey: Uint8Array): Result<KnownDevice> {
    const device = this.#byDevice.get(hex(deviceKey))
    if (device === undefined) {
      return { ok: false, code: 'DEVICE_UNKNOWN', detail: 'no account here has this device' }
    }
    return { ok: true, value: device }
  }

  devicesOf(account: string): readonly string[] {
    return this.#devices.get(account) ?? []
  }

  #index(account: string, id: string): void {
    this.#byDevice.set(id, { account, id })
    this.#devices.set(account, [...this.#devices.get(account) ?? [], id])
  }
}
