/**
 * Mail that came here and was not wrapped for one of our other devices, because its sender did not
 * know that device yet: it goes on through the self box.
 *
 * Of the devices that got it, the one with the lowest id forwards at once; the next ones would do
 * it a while later each, unless the device says in the meantime that it has it. All of them name
 * the copy alike, so doubles are dropped.
 *
 * What our devices tell each other needs this only while one of them has not heard of a new device:
 * then the primary, which has, passes it on. So what reaches the primary by way of another device goes
 * on too: the one that forwarded it may not have known the new device.
 */
import { concat, hexDecode, hex, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { DeviceId, MessageId } from '../ids.ts'
import { limits } from '../limits.ts'
import { encodePayload } from '../message/payload.ts'
import type { Body, Payload } from '../message/payload.ts'
import type { ReceivedCopyBody } from '../message/received-copy.ts'
import type { SealedMessage } from '../message/sealed.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { contactId, contactRootKey } from './records.ts'
import type { ContactId } from './records.ts'
import type { Turn } from './turns.ts'

/** What all our devices are to know; the rest is meant for one of them. */
const passedOn: ReadonlySet<string> =
  new Set(['sentCopy', 'receivedCopy', 'contactState', 'readMarks', 'inviteState'])
const copyIdLabel = utf8('openim received copy v1')

/** In the turn that took the message in. */
export function forward(
  parts: { readonly context: Context, readonly copies: Copies },
  turn: Turn,
  taken: { message: SealedMessage, device: DeviceId, payload: Payload },
): void {
  const { context: { own, account }, copies } = parts
  const { message, device, payload } = taken
  if (payload.body.type === 'unknown') return
  if (turn.id === own.self && !(own.isPrimary && isPassedOn(payload.body, own.self))) return
  const missing = siblingsWithout(message, own.siblings).filter((sibling) => sibling !== device)
  if (missing.length === 0) return
  const ours = [...own.siblings, account.deviceId]
  const before = message.entries
    .filter(({ recipientDevice: id }) => ours.includes(id) && id < account.deviceId).length
  const contact = contactRootKey(turn.id)
  const body: ReceivedCopyBody = { type: 'receivedCopy', contact, device, payload: encodePayload(payload) }
  copies.add(turn.batch, body, {
    devices: missing,
    messageId: copyId(turn, device, payload),
    delayMs: before * limits.forwardPatienceMs,
  })
}

/** Whether a word of one of our devices may come by way of another: once, and nothing of the primary's. */
export function isPassedOn(body: Body, self: ContactId): boolean {
  const isTwice = body.type === 'receivedCopy' && contactId(body.contact) === self
  return passedOn.has(body.type) && !isTwice
}

/** Our devices that hold no key for this message. */
export function siblingsWithout(message: SealedMessage, siblings: readonly DeviceId[]): DeviceId[] {
  return siblings.filter((sibling) =>
    message.entries.every(({ recipientDevice }) => recipientDevice !== sibling))
}

/** The same on every device of ours; nobody can choose a message id so that it meets another's. */
function copyId(turn: Turn, device: DeviceId, payload: Payload): MessageId {
  const name = concat(copyIdLabel, contactRootKey(turn.id), hexDecode(device), hexDecode(payload.messageId))
  return hex(crypto.sha256(name).subarray(0, 16)) as MessageId
}
