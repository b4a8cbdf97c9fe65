/**
 * Which devices of an account have which envelope, while not all have it: `acked/BOX/ID`. What all
 * have is done, and its record goes. Processes of a household count the same records, each with
 * another device in session, so every change checks that nobody else changed them meanwhile.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { decode, encode, struct, text, vector } from '../../protocol/codec/struct.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { KvOperation, KvStore } from '../../protocol/ports.ts'
import type { MailboxStore } from '../ports.ts'

const ackedPrefix = 'acked/'
const ackedCodec = struct<{ devices: string[] }>({ devices: vector(text(64), limits.devicesMax) })
/** Other devices acknowledge the same page in between so often at most. */
const triesMax = 100

/** A device of an account that lives here. */
export interface HomeDevice {
  readonly account: string
  readonly id: string
}

export interface AcknowledgementsComponents {
  readonly mailbox: MailboxStore
  readonly kv: KvStore
}

export interface AcknowledgementsOptions {
  readonly devicesOf: (account: string) => readonly string[] | Promise<readonly string[]>
}

export class Acknowledgements {
  readonly #components: AcknowledgementsComponents
  readonly #options: AcknowledgementsOptions

  constructor(components: AcknowledgementsComponents, options: AcknowledgementsOptions) {
    this.#components = components
    this.#options = options
  }

  /** Ids of this page that the device has not acknowledged yet. */
  async missing(device: HomeDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<Set<EnvelopeId>> {
    if ((await this.#options.devicesOf(device.account)).length <= 1) return new Set(ids)
    const left = new Set<EnvelopeId>()
    for (const id of ids) {
      const entry = await this.#components.kv.get(ackedKey(box, id))
      if (entry === undefined || !decode(ackedCodec, entry.value).devices.includes(device.id)) left.add(id)
    }
    return left
  }

  /** Notes it, and gives what all devices of the account have now. @throws STORE_BUSY */
  async add(device: HomeDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<EnvelopeId[]> {
    for (let tries = 0; tries < triesMax; tries++) {
      const devices = await this.#options.devicesOf(device.account)
      if (devices.length <= 1) return [...ids]
      const { done, operations } = await this.#counted(devices, device, { box, ids })
      if (operations.length === 0 || await this.#components.kv.write(operations)) return done
    }
    throw new OpenIMError('STORE_BUSY', 'other devices acknowledged the same mail meanwhile; try again')
  }

  async #counted(
    devices: readonly string[],
    device: HomeDevice,
    { box, ids }: { box: BoxId, ids: readonly EnvelopeId[] },
  ): Promise<{ done: EnvelopeId[], operations: KvOperation[] }> {
    const { kv, mailbox } = this.#components
    const done: EnvelopeId[] = []
    const operations: KvOperation[] = []
    for (const id of new Set(ids)) {
      const key = ackedKey(box, id)
      const entry = await kv.get(key)
      // Said again after all had it: nothing is left to wait for.
      if (entry === undefined && await mailbox.tombstone(box, id) !== undefined) continue
      const known = entry === undefined ? [] : decode(ackedCodec, entry.value).devices
      const acked = devices.filter((other) => other === device.id || known.includes(other))
      const isDone = acked.length === devices.length
      if (isDone) done.push(id)
      operations.push({ type: 'check', key, version: entry?.version ?? 0 }, isDone
        ? { type: 'delete', key }
        : { type: 'put', key, value: encode(ackedCodec, { devices: acked }) })
    }
    return { done, operations }
  }

  /** Boxes in which some devices have something that others miss. */
  async boxes(): Promise<Set<BoxId>> {
    const boxes = new Set<BoxId>()
    for await (const { key } of kvEntries(this.#components.kv, ackedPrefix)) {
      boxes.add(key.slice(ackedPrefix.length, key.lastIndexOf('/')) as BoxId)
    }
    return boxes
  }

  /** What every device that is left has acknowledged. */
  async ofRest(account: string, box: BoxId): Promise<EnvelopeId[]> {
    const devices = await this.#options.devicesOf(account)
    const { kv } = this.#components
    const prefix = `${ackedPrefix}${box}/`
    const done: EnvelopeId[] = []
    const over: string[] = []
    for await (const { key, value } of kvEntries(kv, prefix)) {
      const acked = decode(ackedCodec, value).devices
      const isDone = devices.every((device) => acked.includes(device))
      if (isDone) done.push(key.slice(prefix.length) as EnvelopeId)
      // A single device needs no book-keeping.
      if (isDone || devices.length <= 1) over.push(key)
    }
    if (over.length > 0) await kv.write(over.map((key) => ({ type: 'delete', key })))
    return done
  }

  /** The box is given up. */
  async forget(box: BoxId): Promise<void> {
    const { kv } = this.#components
    for await (const { key } of kvEntries(kv, `${ackedPrefix}${box}/`)) {
      await kv.write([{ type: 'delete', key }])
    }
  }
}

function ackedKey(box: BoxId, id: EnvelopeId): string {
  return `${ackedPrefix}${box}/${id}`
}
