/**
 * From a contact's location record to fresh sessions with their devices: takes prekeys from every
 * shelf the record names and checks them against the root key. Used for first contact and when a
 * session has to be made anew.
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
import type { Locations } from './locations.ts'
import { contactRootKey, trusts } from './records.ts'
import type { ContactId, ContactRecord } from './records.ts'
import { devicesOf, identityOf } from './sealing.ts'
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

export class Bundles {
  readonly #uplink: Uplink
  readonly #locations: Locations

  constructor(uplink: Uplink, locations: Locations) {
    this.#uplink = uplink
    this.#locations = locations
  }

  /** Refuses with LOCATION_*, SHELF_EMPTY or REQUEST_*. */
  async find(contact: ContactRecord): Promise<Result<Found>> {
    const located = await this.#locations.locate(contact)
    if (!located.ok) return located
    const content = located.value
    const holders = [...content.homes, ...content.replicas]
    const parts: ShelfParts[] = []
    for (const shelf of content.shelves) {
      const taken = await this.#take(contact.id, shelf, holders)
      if (taken.ok) parts.push(taken.value)
    }
    const [newest] = parts.map(({ list }) => list).sort((a, b) => b.list.number - a.list.number)
    if (newest === undefined) return { ok: false, code: 'SHELF_EMPTY' }
    const bundles = parts.filter(({ device }) => identityOf(newest, device) !== undefined)
    if (bundles.length === 0) return { ok: false, code: 'SHELF_EMPTY' }
    return { ok: true, value: { content, list: newest, bundles } }
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
  turn.contact = { ...contact, trust: trusts.changed }
  return { ok: false, code: 'DEVICE_LIST_FORK' }
}

/** Begins a session with every device that was found; refuses when none could be begun. */
export function beginSessions(context: Context, turn: Turn, found: Found): Result<undefined> {
  const pinned = pinDevices(turn, found.list)
  if (!pinned.ok) return pinned
  let refusal: Result<undefined> = { ok: false, code: 'SHELF_EMPTY' }
  for (const { device, bundle } of found.bundles) {
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
