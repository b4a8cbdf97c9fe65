/**
 * From a contact's location record to fresh sessions with their devices: takes prekeys from the
 * shelves that the record names and checks them against the root key. Used for first contact, for
 * devices that are new, and when a session has to be made anew. Where our own other devices lay out
 * their prekeys is known without a record.
 */
import type { Result } from '../../crypto/errors.ts'
import type { PrekeyBundle } from '../../crypto/handshake/types.ts'
import { SecureSession } from '../../crypto/secure-session.ts'
import { compareDeviceLists, verifyDeviceList } from '../account.ts'
import type { VerifiedDeviceList } from '../account.ts'
import type { DeviceId, NodeId } from '../ids.ts'
import type { LocationContent, Shelf } from '../location-record.ts'
import { openShelfOneTime, openShelfStatic } from '../shelf-content.ts'
import type { Context } from './context.ts'
import type { Front } from './inboxes.ts'
import type { Locations } from './locations.ts'
import { contactRootKey } from './records.ts'
import type { ContactId, ContactRecord } from './records.ts'
import { devicesOf, identityOf, listsIdentity } from './sealing.ts'
import { alarmed } from './trust.ts'
import type { Turn } from './turns.ts'
import type { Uplink } from './uplink.ts'

/** What is needed to write to a contact whose sessions we do not have. */
export interface Found {
  readonly content: LocationContent
  readonly list: VerifiedDeviceList
  readonly bundles: readonly { readonly device: DeviceId, readonly bundle: PrekeyBundle }[]
}

interface ShelfParts {
  readonly device: DeviceId
  readonly list: VerifiedDeviceList
  readonly bundle: PrekeyBundle
}

/** Chooses the shelves to take from: every take costs their owner a one-time prekey. */
export type ChooseShelf = (shelf: Shelf, index: number) => boolean

export class Bundles {
  readonly #context: Context
  readonly #uplink: Uplink
  readonly #locations: Locations
  readonly #front: () => Front

  constructor(
    context: Context,
    parts: { uplink: Uplink, locations: Locations, front: () => Front },
  ) {
    this.#context = context
    this.#uplink = parts.uplink
    this.#locations = parts.locations
    this.#front = parts.front
  }

  /** Refuses with LOCATION_*, SHELF_EMPTY or REQUEST_*. */
  async find(contact: ContactRecord, choose: ChooseShelf = () => true): Promise<Result<Found>> {
    const located = await this.#locate(contact)
    if (!located.ok) return located
    const content = located.value
    const holders = [...content.homes, ...content.replicas]
    const parts: ShelfParts[] = []
    for (const shelf of content.shelves.filter(choose)) {
      const taken = await this.#take(contact.id, shelf, holders)
      if (taken.ok) parts.push(taken.value)
    }
    const [newest] = parts.map(({ list }) => list).sort((a, b) => b.list.number - a.list.number)
    if (newest === undefined) return { ok: false, code: 'SHELF_EMPTY' }
    const bundles = parts.filter(({ device }) => identityOf(newest, device) !== undefined)
    if (bundles.length === 0) return { ok: false, code: 'SHELF_EMPTY' }
    return { ok: true, value: { content, list: newest, bundles } }
  }

  /** Of an account, as its shelves show it; `undefined` when no holder has one. */
  async newestList(id: ContactId, content: LocationContent): Promise<VerifiedDeviceList | undefined> {
    const holders = [...content.homes, ...content.replicas]
    let newest: VerifiedDeviceList | undefined
    for (const shelf of content.shelves) {
      const taken = await this.#take(id, shelf, holders)
      const list = taken.ok ? taken.value.list : undefined
      if (list !== undefined && list.list.number > (newest?.list.number ?? 0)) newest = list
    }
    return newest
  }

  async #locate(contact: ContactRecord): Promise<Result<LocationContent>> {
    const { own, account } = this.#context
    if (contact.id !== own.self) return await this.#locations.locate(contact)
    const { homes, replicas } = this.#front()
    const shelves = own.devices.filter(({ deviceId }) => deviceId !== account.deviceId)
    const introReadKey = own.introReadKeys.publicKey
    const deviceListNumber = own.list.list.number
    const content = { homes: [...homes], replicas: [...replicas], introReadKey, shelves, deviceListNumber }
    return { ok: true, value: content }
  }

  async #take(contact: ContactId, shelf: Shelf, holders: NodeId[]): Promise<Result<ShelfParts>> {
    const answer = await this.#uplink.request(
      { type: 'shelfTake', shelfKey: shelf.shelfKey, holders },
      'shelfTaken',
    )
    if (!answer.ok) return answer
    const { taken } = answer.value
    if (taken === undefined) return { ok: false, code: 'SHELF_EMPTY' }
    const opened = openShelfStatic(taken.static, shelf)
    if (!opened.ok) return opened
    const list = verifyDeviceList(opened.value.deviceList.slice(), contactRootKey(contact))
    if (!list.ok) return list
    const identity = identityOf(list.value, shelf.deviceId)
    if (identity === undefined) return { ok: false, code: 'DEVICE_UNKNOWN' }
    const oneTime = taken.oneTime === undefined ? undefined : openShelfOneTime(taken.oneTime, shelf)
    const { signedPrekey, lastResortKem } = opened.value
    const bundle: PrekeyBundle = oneTime?.ok === true
      ? {
        identity,
        signedPrekey,
        kemPrekey: oneTime.value.oneTimeKem,
        oneTimePrekey: oneTime.value.oneTimePrekey,
      }
      : { identity, signedPrekey, kemPrekey: lastResortKem }
    return { ok: true, value: { device: shelf.deviceId, list: list.value, bundle } }
  }
}

/** Pins a device list unless it is older than ours; a fork is an alarm and changes nothing else. */
export function pinDevices(turn: Turn, offered: VerifiedDeviceList): Result<undefined> {
  const { contact } = turn
  if (contact === undefined) return { ok: false, code: 'CONTACT_UNKNOWN' }
  const known = devicesOf(contact)
  const { order } = known === undefined ? { order: 'newer' } : compareDeviceLists({ known, offered })
  if (order === 'newer') turn.contact = { ...contact, deviceList: offered.bytes.slice() }
  if (order !== 'fork') return { ok: true, value: undefined }
  turn.contact = alarmed(contact, { code: 'DEVICE_LIST_FORK', rival: offered })
  return { ok: false, code: 'DEVICE_LIST_FORK' }
}

/**
 * Begins a session with every device that was found; refuses when none could be begun.
 * @param input.choose leaves devices out: those that there is a good session with
 */
export function beginSessions(
  context: Context,
  turn: Turn,
  input: { found: Found, choose?: (device: DeviceId) => boolean },
): Result<undefined> {
  const { found, choose = () => true } = input
  const pinned = pinDevices(turn, found.list)
  if (!pinned.ok) return pinned
  const pinnedList = turn.contact && devicesOf(turn.contact)
  let refusal: Result<undefined> = { ok: false, code: 'SHELF_EMPTY' }
  for (const { device, bundle } of found.bundles) {
    // A list newer than what they laid out may have come meanwhile.
    const isListed = pinnedList !== undefined && listsIdentity(pinnedList, bundle.identity)
    if (!isListed || !choose(device)) continue
    const existing = turn.session(device)
    const { account: { identity: own }, random } = context
    const before = existing === undefined ? {} : { existing }
    const begun = SecureSession.initiate({ own, bundle, random, ...before })
    if (begun.ok) {
      turn.keepSession(device, begun.value)
      refusal = { ok: true, value: undefined }
    } else if (!refusal.ok) {
      refusal = begun
    }
  }
  return refusal
}
