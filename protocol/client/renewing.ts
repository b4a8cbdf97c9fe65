/**
 * The last step of a renewal, when the node is reached: the device list in which this device stands
 * in the place of the old one.
 *
 * ```text
 *   own location record ─► shelves ─► newest list of ours that anybody holds
 *      found and current       number + 1, chained to it
 *      nothing, or too old     seconds since 1970: a gap in the chain, but never a fork
 * ```
 *
 * The old device, should it still run, finds that list in the same way and retires (standing.ts).
 */
import { assert } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { accountRendezvousSeed } from '../../crypto/recovery.ts'
import { certifyDevice, createDeviceList, findDevice } from '../account.ts'
import type { VerifiedDeviceList } from '../account.ts'
import type { Frame } from '../frame/frame.ts'
import type { LocationContent } from '../location-record.ts'
import { sleep } from '../timers.ts'
import type { Bundles } from './bundles.ts'
import type { Context } from './context.ts'
import type { Devices } from './devices.ts'
import { keys } from './keys.ts'
import type { FoundLocation, Locations } from './locations.ts'
import type { OwnRecord } from './own-devices.ts'
import { numberCodec, readRecord } from './records.ts'
import { renewalCodec, renewalKinds } from './renewal.ts'
import type { RenewalRecord } from './renewal.ts'
import type { Uplink } from './uplink.ts'

const hourMs = 3_600_000
/** A node that has just started knows nobody yet: it is asked again after these. */
const lookUpPausesMs = [0, 3_000, 9_000]
/** How often an account is believed to have replaced its rendezvous seed. */
const generationsMax = 8
/** While the new list is not made: enough to ask for it, and to take what comes. */
const allowed: ReadonlySet<Frame['type']> = new Set(['locate', 'shelfTake', 'acknowledge'])

export interface RenewingParts {
  readonly uplink: Uplink
  readonly devices: Devices
  readonly locations: Locations
  readonly bundles: Bundles
}

interface LookUp {
  readonly generation: number
  readonly seed: Uint8Array
  readonly location: FoundLocation | undefined
  readonly list: VerifiedDeviceList | undefined
}

export class Renewing {
  readonly #context: Context
  readonly #parts: RenewingParts
  readonly #onDone: () => void
  readonly #stopping = new AbortController()
  #record: RenewalRecord | undefined
  #running: Promise<void> | undefined

  /** @param onDone everything may go on now */
  constructor(context: Context, parts: RenewingParts, onDone: () => void) {
    this.#context = context
    this.#parts = parts
    this.#onDone = onDone
  }

  get isPending(): boolean {
    return this.#record !== undefined
  }

  async load(): Promise<void> {
    this.#record = await readRecord(this.#context.kv, renewalCodec, keys.renewal)
    if (this.isPending) this.#parts.uplink.restrict(allowed)
  }

  /** A session with the node began. */
  reset(): void {
    if (this.#record === undefined || this.#running !== undefined) return
    const record = this.#record
    this.#running = this.#run(record)
      .catch((error: unknown) => {
        this.#context.log.warn({ err: error }, 'the new device could not be listed; it is tried again')
      })
      .finally(() => { this.#running = undefined })
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(record: RenewalRecord): Promise<void> {
    const { own, log } = this.#context
    const { devices, uplink } = this.#parts
    const found = await this.#lookUp(record)
    if (this.#stopping.signal.aborted) return
    const next = this.#next(record, found)
    await devices.renew(next.record, (batch) => {
      // Above what the old device published, whatever the clocks say.
      if (found.location !== undefined) {
        batch.put(keys.meta('location'), numberCodec, { value: found.location.sequence })
      }
      batch.delete(keys.renewal)
    })
    this.#record = undefined
    uplink.restrict(undefined)
    const { isChained } = next
    log.warn({ number: own.list.list.number, isChained, replaced: record.replaces.length },
      isChained
        ? 'a new device of the account is listed; the old one is not listed any more'
        : 'a new device of the account is listed; nobody had the list before it')
    this.#context.emit({ type: 'standing', standing: 'good' })
    this.#onDone()
  }

  /** What the network has of us; the newest list that was found, or that we had. */
  async #lookUp({ kind }: RenewalRecord): Promise<LookUp> {
    const { clock, own, account } = this.#context
    const { entropy } = account
    assert(entropy !== undefined, 'only the primary device is renewed')
    const isRecovered = kind === renewalKinds.recovered
    const seeds = isRecovered
      ? Array.from({ length: generationsMax }, (_, generation) =>
        ({ generation, seed: accountRendezvousSeed(entropy, generation) }))
      : [{ generation: own.record.generation, seed: own.rendezvousSeed }]
    for (const pauseMs of lookUpPausesMs) {
      await sleep(clock, pauseMs, this.#stopping.signal)
      for (const { generation, seed } of seeds.toReversed()) {
        const located = await this.#parts.locations.locateOwn(seed)
        if (!located.ok) continue
        const list = await this.#parts.bundles.newestList(own.self, located.value.content)
        return { generation, seed, location: located.value, list }
      }
    }
    return { ...seeds[0]!, location: undefined, list: undefined }
  }

  #next(
    { kind }: RenewalRecord,
    { generation, seed, location, list }: LookUp,
  ): { record: OwnRecord, isChained: boolean } {
    const { own, account, clock } = this.#context
    const { rootSeed } = account
    assert(rootSeed !== undefined, 'only the primary device is renewed')
    const isRecovered = kind === renewalKinds.recovered
    const previous = newer(list, isRecovered ? undefined : own.list)
    const isChained = previous !== undefined && isCurrent(previous, location?.content)
    const device = certifyDevice({
      rootKey: account.rootKey,
      signingKeys: account.identity.signingKeys,
      dhKey: account.identity.dhKeys.publicKey,
      addedHour: Math.floor(clock.now() / hourMs),
    })
    const [self, ...others] = own.devices
    assert(self !== undefined && self.deviceId === account.deviceId, 'this device comes first')
    // Those that we know and that were not removed meanwhile. Who was linked since the backup does
    // not know us, nor we it: it is linked anew.
    const listed = previous ?? own.list
    const siblings = others.flatMap((sibling) => {
      const certificate = findDevice(listed.list, sibling.deviceId)
      return certificate === undefined ? [] : [{ sibling, certificate }]
    })
    const { bytes } = createDeviceList({
      rootKeys: crypto.signingKeyPair(rootSeed),
      devices: [device, ...siblings.map(({ certificate }) => certificate)],
      ...previous === undefined ? {} : { previous },
      ...isChained ? {} : { numberMin: Math.floor(clock.now() / 1_000) },
    })
    return {
      isChained,
      record: {
        ...own.record,
        deviceList: bytes,
        devices: [self, ...siblings.map(({ sibling }) => sibling)],
        secrets: { ...own.record.secrets, rendezvousSeed: seed },
        generation,
      },
    }
  }
}

function newer(
  a: VerifiedDeviceList | undefined,
  b: VerifiedDeviceList | undefined,
): VerifiedDeviceList | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return a.list.number > b.list.number ? a : b
}

/** The location record says which list was the newest when it was published. */
function isCurrent({ list }: VerifiedDeviceList, content: LocationContent | undefined): boolean {
  return content !== undefined && list.number >= content.deviceListNumber
}

