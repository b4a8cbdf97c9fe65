/**
 * The devices of our own account, for the app: which there are, letting a new one in, putting one
 * out. Both are the primary's to do, because both need the root key.
 *
 * Letting in makes a longer device list and tells the siblings; contacts hear of it with whatever
 * they are sent next. Putting out also replaces everything that the device knew:
 *
 * ```text
 *   at once, one batch    list without it · shared secrets · self box · invites end · siblings told
 *   then, by errands      node shuts it out · each contact's inbox changes · contacts told · record
 * ```
 *
 * Each later step is recognised by what is written down (the generation of an inbox, the number of
 * the list that a contact was told), so a crash in between forgets nothing.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { createDeviceList, deviceId, devicesProblem, findDevice } from '../account.ts'
import type { DeviceCertificate, VerifiedDeviceList } from '../account.ts'
import { verifyDeviceRequest } from '../device-request.ts'
import type { DeviceRequest } from '../device-request.ts'
import type { BoxId, DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import { encodeLinkPackage } from '../link-package.ts'
import type { OwnDevicesBody } from '../message/own-devices.ts'
import type { Device } from './api.ts'
import type { Batch } from './batch.ts'
import { boxState } from './contact-states.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import type { Inboxes } from './inboxes.ts'
import { freshSecrets } from './own-devices.ts'
import type { OwnRecord } from './own-devices.ts'
import { newContact } from './records.ts'
import type { ContactRecord } from './records.ts'
import type { Telling } from './telling.ts'
import type { Turn, Turns } from './turns.ts'

const hourMs = 3_600_000

export interface DevicesParts {
  readonly turns: Turns
  readonly copies: Copies
  readonly inboxes: Inboxes
  readonly telling: Telling
  /** The network and the others hear of the change. */
  readonly onOwn: () => void
}

export class Devices {
  readonly #context: Context
  readonly #parts: DevicesParts

  constructor(context: Context, parts: DevicesParts) {
    this.#context = context
    this.#parts = parts
  }

  list(): Device[] {
    const { account, own } = this.#context
    return own.list.list.devices.map(({ signingKey, name, addedHour }) => {
      const id = deviceId(signingKey)
      const seenAtMs = own.seenAtMs(id)
      return {
        id,
        name,
        addedAtMs: addedHour * hourMs,
        isThis: id === account.deviceId,
        isPrimary: id === own.record.primary,
        ...seenAtMs === 0 ? {} : { lastSeenAtMs: seenAtMs },
      }
    })
  }

  /** @throws ACCOUNT_LINKED, ACCOUNT_DEVICES, DEVICE_REQUEST, SIGNATURE_INVALID, CODEC_* */
  async certify(bytes: Uint8Array): Promise<Uint8Array> {
    const verified = verifyDeviceRequest(bytes)
    if (!verified.ok) {
      throw new OpenIMError(verified.code, 'the new device sent something that is no request: link anew')
    }
    const request = verified.value
    return await this.#parts.turns.run(this.#context.own.self, (turn) => {
      const { account, own, clock } = this.#context
      const certificate: DeviceCertificate = {
        signingKey: request.signingKey.slice(),
        dhKey: request.dhKey.slice(),
        addedHour: Math.floor(clock.now() / hourMs),
        name: request.name,
        proof: request.proof.slice(),
      }
      const id = deviceId(certificate.signingKey)
      const list = this.#nextList((devices) => {
        this.#checkNew(devices, certificate, request)
        return [...devices, certificate]
      })
      const record: OwnRecord = {
        ...own.record,
        deviceList: list.bytes,
        devices: [...own.record.devices, {
          deviceId: id,
          linkKey: request.linkKey.slice(),
          shelfKey: request.shelfKey.slice(),
          shelfSecret: request.shelfSecret.slice(),
        }],
      }
      const self = { ...turn.contact ?? this.#newSelf(), deviceList: list.bytes }
      turn.contact = self
      this.#write(turn, record, { siblings: own.siblings })
      this.#parts.telling.begin(turn.batch, id)
      return encodeLinkPackage({
        version: 1, name: account.name, rootKey: account.rootKey, own: ownBody(record, self),
      })
    })
  }

  /** @throws ACCOUNT_LINKED, DEVICE_UNKNOWN, DEVICE_PRIMARY */
  remove(id: DeviceId): Promise<{ readonly invitesEnded: number }> {
    return this.#parts.turns.run(this.#context.own.self, (turn) => {
      const { account, own, random } = this.#context
      const generation = own.record.generation + 1
      const list = this.#nextList((devices) => {
        if (findDevice(own.list.list, id) === undefined) {
          throw new OpenIMError('DEVICE_UNKNOWN', 'this account has no device with that id')
        }
        if (id === account.deviceId) {
          throw new OpenIMError('DEVICE_PRIMARY', 'the primary device holds the root key: it stays')
        }
        return devices.filter(({ signingKey }) => deviceId(signingKey) !== id)
      })
      const record: OwnRecord = {
        ...own.record,
        deviceList: list.bytes,
        devices: own.record.devices.filter((device) => device.deviceId !== id),
        secrets: freshSecrets(random, { entropy: account.entropy!, generation }),
        generation,
      }
      // They know the new inbox only from this very message.
      const box = turn.contact?.box.id
      const invitesEnded = this.#parts.inboxes.endInvites(turn.batch)
      if (turn.contact !== undefined) {
        const rotated = this.#parts.inboxes.rotated(turn.batch, turn.contact, generation)
        turn.contact = { ...rotated, deviceList: list.bytes }
      }
      const siblings = own.siblings.filter((sibling) => sibling !== id)
      this.#parts.copies.prune(turn.batch, siblings)
      this.#parts.telling.end(turn.batch, id)
      this.#write(turn, record, { siblings, box })
      return { invitesEnded }
    })
  }

  /** This device came in the place of another one (renewing.ts): the siblings that are left hear of it. */
  async renew(record: OwnRecord, more: (batch: Batch) => void): Promise<void> {
    const { account, own } = this.#context
    await this.#parts.turns.run(own.self, (turn) => {
      if (turn.contact !== undefined) turn.contact = { ...turn.contact, deviceList: record.deviceList }
      const siblings = record.devices.map((device) => device.deviceId).filter((id) => id !== account.deviceId)
      this.#parts.copies.prune(turn.batch, siblings)
      this.#write(turn, record, { siblings })
      more(turn.batch)
    })
  }

  /** @throws ACCOUNT_LINKED */
  #nextList(
    change: (devices: readonly DeviceCertificate[]) => readonly DeviceCertificate[],
  ): VerifiedDeviceList {
    const { account: { rootSeed, entropy }, own } = this.#context
    if (rootSeed === undefined || entropy === undefined) {
      throw new OpenIMError(
        'ACCOUNT_LINKED',
        'only the device with the root key changes the devices of an account: do it there',
      )
    }
    const rootKeys = crypto.signingKeyPair(rootSeed)
    return createDeviceList({ rootKeys, previous: own.list, devices: change(own.list.list.devices) })
  }

  #checkNew(
    devices: readonly DeviceCertificate[],
    certificate: DeviceCertificate,
    request: DeviceRequest,
  ): void {
    if (devices.length >= limits.devicesMax) {
      throw new OpenIMError(
        'ACCOUNT_DEVICES',
        `an account has at most ${limits.devicesMax} devices: remove one first`,
      )
    }
    const problem = devicesProblem([...devices, certificate], this.#context.account.rootKey)
    if (problem === undefined && this.#isLinkKeyFree(request.linkKey)) return
    const reason = problem ?? 'its link key is known'
    throw new OpenIMError('DEVICE_REQUEST', `the new device cannot be listed (${reason}): link it anew`)
  }

  #isLinkKeyFree(linkKey: Uint8Array): boolean {
    return this.#context.own.devices.every((device) => !equalBytes(device.linkKey, linkKey))
  }

  /** The record, and the word to all who are to hear of it. */
  #write(
    turn: Turn,
    record: OwnRecord,
    told: { siblings: readonly DeviceId[], box?: BoxId | undefined },
  ): void {
    this.#context.own.write(turn.batch, record)
    if (turn.contact !== undefined) {
      const body = { type: 'ownDevices', ...ownBody(record, turn.contact) } as const
      const { siblings: devices, box } = told
      this.#parts.copies.add(turn.batch, body, box === undefined ? { devices } : { devices, box })
    }
    turn.batch.then(() => this.#parts.onOwn())
  }

  #newSelf(): ContactRecord {
    const { own, clock } = this.#context
    return newContact({ id: own.self, name: '', box: this.#parts.inboxes.create(), addedAtMs: clock.now() })
  }
}

function ownBody(record: OwnRecord, self: ContactRecord): Omit<OwnDevicesBody, 'type'> {
  return { ...record, selfBox: boxState(self.box) }
}
