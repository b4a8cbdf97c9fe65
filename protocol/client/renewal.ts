/**
 * A new device in the place of an old one: what `backup restore`, `devices renew` and the recovery
 * words have in common. Two that use the keys of one device would break each other's ratchets and
 * take each other's mail, so a state that may exist twice is never gone on with: the account, its
 * contacts, inboxes and history stay, everything that was this device goes.
 *
 * ```text
 *   begin      device keys drawn anew, `own/renewal` written: one batch, no network
 *   clear      at the next start: sessions and prekeys gone, unsent texts wait to be sealed anew,
 *              contacts are to be told everything; a batch per contact, may be cut anywhere
 *   list       when the node is reached: the next device list, without the old device (renewing.ts)
 * ```
 *
 * Until the new list is made nothing is sealed, published or laid out: nobody could know the device.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { decode, encode, oneOf, struct, vector } from '../codec/struct.ts'
import { deviceIdCodec, messageIdCodec } from '../ids.ts'
import type { DeviceId, MessageId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { Clock, KvOperation, KvStore } from '../ports.ts'
import { accountCodec, drawDeviceSecrets, openRecord } from './account-state.ts'
import type { OwnAccount } from './account-state.ts'
import { Batch } from './batch.ts'
import { keys } from './keys.ts'
import { ownCodec } from './own-devices.ts'
import type { OwnRecord } from './own-devices.ts'
import {
  contactCodec, freshThread, kinds, messageCodec, outboxCodec, readRecord, states, threadCodec,
} from './records.ts'
import type { ContactId, ContactRecord, MessageRecord, OutboxRecord } from './records.ts'

export const renewalPhases = { begun: 0, cleared: 1 } as const
/** `restored`: by somebody who knows the account. `recovered`: from the words, which know nothing else. */
export const renewalKinds = { restored: 0, recovered: 1 } as const

export interface RenewalRecord {
  readonly kind: (typeof renewalKinds)[keyof typeof renewalKinds]
  readonly phase: (typeof renewalPhases)[keyof typeof renewalPhases]
  /** In whose place it comes; of several renewals in a row all of them. */
  readonly replaces: DeviceId[]
}

export const renewalCodec = struct<RenewalRecord>({
  kind: oneOf(Object.values(renewalKinds), 'renewal kind'),
  phase: oneOf(Object.values(renewalPhases), 'renewal phase'),
  replaces: vector(deviceIdCodec, limits.devicesMax),
})

/** Texts of one contact that are sealed anew; bounds one batch. More have never been waited for. */
const textsMax = 20_000
const deletedAtOnce = 2_000

/**
 * Draws new keys for this device. Only where the root key is: a linked device is linked anew.
 * @throws ACCOUNT_MISSING, ACCOUNT_LINKED, CODEC_*, STORE_*
 */
export async function beginRenewal(
  { kv, random }: { kv: KvStore, random: Random },
): Promise<{ account: OwnAccount, replaced: DeviceId }> {
  const record = await readRecord(kv, accountCodec, keys.account)
  const own = await readRecord(kv, ownCodec, keys.own)
  if (record === undefined || own === undefined) {
    throw new OpenIMError('ACCOUNT_MISSING', 'there is no account in this store')
  }
  if (record.entropy === undefined) {
    throw new OpenIMError('ACCOUNT_LINKED', 'this is a linked device: remove it and link it anew')
  }
  const replaced = openRecord(record).deviceId
  const renewed = { ...record, ...drawDeviceSecrets(random) }
  const account = openRecord(renewed)
  const before = await readRecord(kv, renewalCodec, keys.renewal)
  const renewal: RenewalRecord = {
    kind: before?.kind ?? renewalKinds.restored,
    phase: renewalPhases.begun,
    replaces: [...before?.replaces ?? [], replaced].slice(-limits.devicesMax),
  }
  await kv.write([
    { type: 'put', key: keys.account, value: encode(accountCodec, renewed) },
    { type: 'put', key: keys.own, value: encode(ownCodec, inPlaceOf(own, { replaced, account })) },
    { type: 'put', key: keys.renewal, value: encode(renewalCodec, renewal) },
    { type: 'delete', key: keys.standing },
  ])
  return { account, replaced }
}

/** The list stays the old one until the network was asked for a newer. */
function inPlaceOf(
  own: OwnRecord,
  { replaced, account }: { replaced: DeviceId, account: OwnAccount },
): OwnRecord {
  const { deviceId, linkKeys, shelfKeys, shelfSecret } = account
  const siblings = own.devices.filter((device) => device.deviceId !== replaced)
  const device = { deviceId, linkKey: linkKeys.publicKey, shelfKey: shelfKeys.publicKey, shelfSecret }
  return { ...own, primary: deviceId, devices: [device, ...siblings] }
}

/** For a fresh store whose account is about to be made from recovery words. */
export async function markRecovered(kv: KvStore): Promise<void> {
  const renewal = { kind: renewalKinds.recovered, phase: renewalPhases.begun, replaces: [] }
  await kv.write([{ type: 'put', key: keys.renewal, value: encode(renewalCodec, renewal) }])
}

/**
 * Before anything else of a client is read. Does nothing unless a renewal has begun.
 * @throws STORE_*, CODEC_*
 */
export async function clearOldDevice(kv: KvStore, clock: Clock): Promise<void> {
  const renewal = await readRecord(kv, renewalCodec, keys.renewal)
  if (renewal?.phase !== renewalPhases.begun) return
  for (const prefix of [keys.allSessions, keys.prekeys, keys.laids]) await deleteAll(kv, prefix)
  const texts = await outgoingTexts(kv)
  for await (const entry of kvEntries(kv, keys.contacts)) {
    await renewContact(kv, { contact: decode(contactCodec, entry.value), clock, texts })
  }
  // Only now: a text is here or waits anew, at every moment.
  await deleteAll(kv, keys.outboxes)
  await deleteAll(kv, keys.bodies)
  const cleared = encode(renewalCodec, { ...renewal, phase: renewalPhases.cleared })
  await kv.write([
    { type: 'delete', key: keys.meta('prekeys') },
    { type: 'put', key: keys.renewal, value: cleared },
  ])
}

interface OutgoingText {
  readonly id: MessageId
  readonly message: MessageRecord
}

/** Texts that nobody has confirmed yet, by contact, in the order they were written. */
async function outgoingTexts(kv: KvStore): Promise<Map<ContactId, OutgoingText[]>> {
  const texts = new Map<ContactId, OutgoingText[]>()
  for await (const entry of kvEntries(kv, keys.outboxes)) {
    const { contact, messageId, kind, message }: OutboxRecord = decode(outboxCodec, entry.value)
    if (kind !== kinds.text || message === undefined) continue
    texts.set(contact, [...texts.get(contact) ?? [], { id: messageId, message }])
  }
  return texts
}

/**
 * They are told of the new device and where it lives as soon as there is a session. What this device
 * writes is numbered anew, for the receiver counts by device.
 */
async function renewContact(
  kv: KvStore,
  { contact, clock, texts }: {
    contact: ContactRecord, clock: Clock, texts: ReadonlyMap<ContactId, readonly OutgoingText[]>
  },
): Promise<void> {
  const { id, box, introduction } = contact
  const batch = new Batch()
  const sealed = texts.get(id) ?? []
  // Cut off half-way before: those of the outbox may wait already.
  const known = new Set(sealed.map((text) => text.id))
  const waiting = [...sealed, ...(await waitingTexts(kv, id)).filter((text) => !known.has(text.id))]
  for (const row of await kv.list({ prefix: keys.waitings(id) })) batch.delete(row.key)
  let sequence = 0
  for (const { id: messageId, message } of waiting) {
    if (++sequence > textsMax) {
      const failed = { ...message, state: states.failed, code: 'OUTBOX_FULL' }
      batch.put(keys.message(messageId), messageCodec, failed)
    } else {
      batch.putBytes(keys.waiting(id, sequence), encode(messageIdCodec, messageId))
      batch.put(keys.message(messageId), messageCodec, { ...message, sequence })
    }
  }
  const thread = await readRecord(kv, threadCodec, keys.thread(id)) ?? freshThread
  batch.put(keys.thread(id), threadCodec, { ...thread, nextSequence: Math.min(sequence, textsMax) + 1 })
  batch.put(keys.contact(id), contactCodec, {
    ...contact,
    // Above what the old device told since: they take no older card.
    box: { ...box, sequence: Math.max(box.sequence + 1, clock.now()) },
    ...introduction === undefined ? {} : { introduction: { ...introduction, request: undefined } },
    toldSequence: 0,
    toldListNumber: 0,
    isReachDue: true,
    isBroken: false,
    repairedAtMs: 0,
  })
  await batch.commit(kv)
}

async function waitingTexts(kv: KvStore, contact: ContactId): Promise<OutgoingText[]> {
  const texts: OutgoingText[] = []
  for await (const row of kvEntries(kv, keys.waitings(contact))) {
    const id = decode(messageIdCodec, row.value)
    const message = await readRecord(kv, messageCodec, keys.message(id))
    if (message !== undefined) texts.push({ id, message })
  }
  return texts
}

async function deleteAll(kv: KvStore, prefix: string): Promise<void> {
  for (;;) {
    const rows = await kv.list({ prefix, limit: deletedAtOnce })
    if (rows.length === 0) return
    await kv.write(rows.map(({ key }): KvOperation => ({ type: 'delete', key })))
  }
}

