/**
 * From a payload to a finished envelope, and back: content key, one wrap for each device, outer
 * seal, inbox signature (message/content.ts, message/sealed.ts, envelope.ts).
 */
import { equalBytes, hex, wipe } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import type { RemoteIdentity } from '../../crypto/handshake/types.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import type { SecureSession } from '../../crypto/secure-session.ts'
import { deviceId, findDevice, verifyDeviceList } from '../account.ts'
import type { VerifiedDeviceList } from '../account.ts'
import { createEnvelope, envelopeId, expiryHour } from '../envelope.ts'
import type { BoxId, DeviceId, EnvelopeId, MessageId, NodeId } from '../ids.ts'
import type { InboxCard } from '../inbox-card.ts'
import { openCard } from '../inbox-card.ts'
import { contentDigest, openContent, sealContent } from '../message/content.ts'
import type { Payload } from '../message/payload.ts'
import { sealMessage } from '../message/sealed.ts'
import type { SealedEntry, SealedMessage } from '../message/sealed.ts'
import { contactRootKey } from './records.ts'
import type { ContactRecord } from './records.ts'

export function newMessageId({ random }: { readonly random: Random }): MessageId {
  return hex(random.bytes(16)) as MessageId
}

/** An inbox that may be written to: a contact's, or the request box of an invite. */
export interface Target {
  readonly box: BoxId
  readonly writeKeys: SigningKeyPair
  readonly readKey: Uint8Array
  readonly sealKey: Uint8Array
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
}

export interface SealedEnvelope {
  readonly id: EnvelopeId
  readonly target: Target
  readonly bytes: Uint8Array
  /** Number of our device list that goes with it; 0 when none does. */
  readonly listNumber: number
}

/** Key derivation costs more than the rest of a short message; cards are few and never change. */
const targets = new WeakMap<InboxCard, Target>()

export function cardTarget(card: InboxCard): Target {
  const known = targets.get(card)
  if (known !== undefined) return known
  const { readKey, sealKey, homes, replicas } = card
  const target = { ...openCard(card), readKey, sealKey, homes, replicas }
  targets.set(card, target)
  return target
}

const deviceLists = new WeakMap<Uint8Array, VerifiedDeviceList>()

/** The contact's pinned devices. The bytes were verified when they came; they are ours since. */
export function devicesOf(contact: ContactRecord): VerifiedDeviceList | undefined {
  const bytes = contact.deviceList
  if (bytes === undefined) return undefined
  const known = deviceLists.get(bytes)
  if (known !== undefined) return known
  const verified = verifyDeviceList(bytes, contactRootKey(contact.id))
  if (!verified.ok) return undefined
  deviceLists.set(bytes, verified.value)
  return verified.value
}

/** The keys of one of the contact's devices, as its root certified them. */
export function identityOf(list: VerifiedDeviceList, device: DeviceId): RemoteIdentity | undefined {
  const certificate = findDevice(list.list, device)
  return certificate && { signingKey: certificate.signingKey, dhKey: certificate.dhKey }
}

/** Whether these keys are a device of this list. */
export function listsIdentity(list: VerifiedDeviceList, identity: RemoteIdentity): boolean {
  const listed = identityOf(list, deviceId(identity.signingKey))
  return listed !== undefined && equalBytes(listed.dhKey, identity.dhKey)
}

export interface SealInput {
  readonly senderDevice: DeviceId
  readonly payload: Payload
  /** Their devices; at least one. Each session moves on. */
  readonly sessions: readonly { readonly device: DeviceId, readonly session: SecureSession }[]
  readonly target: Target
  /** Our list, for contacts who are not known to have it; never for a request box (threats.md). */
  readonly list: VerifiedDeviceList | undefined
  readonly expiresAtMs: number
  readonly random: Random
}

/** The sessions' new states must be durable before the envelope leaves. @throws MESSAGE_TOO_LONG */
export function sealEnvelope(input: SealInput): SealedEnvelope {
  const { target, list, random } = input
  const { content, contentKey, digest } = sealContent(input.payload, random)
  const entries: SealedEntry[] = input.sessions.map(({ device, session }) => ({
    recipientDevice: device,
    wrap: session.encrypt({ plaintext: contentKey, ad: digest, random }),
  }))
  wipe(contentKey)
  const bytes = createEnvelope({
    writeKeys: target.writeKeys,
    readKey: target.readKey,
    expiryHour: expiryHour(input.expiresAtMs),
    ciphertext: sealMessage({
      senderDevice: input.senderDevice, entries, deviceList: list?.bytes, content,
    }, target.sealKey, random),
  })
  return { id: envelopeId(bytes), target, bytes, listNumber: list?.list.number ?? 0 }
}

/** The wrap that is meant for `device`, with the AD that ties it to the content. */
export function wrapFor(
  message: SealedMessage,
  device: DeviceId,
): Result<{ wrap: Uint8Array, ad: Uint8Array }> {
  const entry = message.entries.find(({ recipientDevice }) => recipientDevice === device)
  if (entry === undefined) return { ok: false, code: 'MESSAGE_NOT_FOR_DEVICE' }
  return { ok: true, value: { wrap: entry.wrap, ad: contentDigest(message.content) } }
}

export function unwrapContent(message: SealedMessage, contentKey: Uint8Array): Result<Payload> {
  if (contentKey.length !== 32) return { ok: false, code: 'MESSAGE_CONTENT' }
  return openContent(message.content, contentKey)
}
