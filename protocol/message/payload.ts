/**
 * The payload: what is inside the end-to-end encryption, one message of any kind.
 *
 * ```text
 *   u8     version = 1
 *   opaque messageId[16]
 *   u64    sentAtMs          the sender's clock
 *   u64    sequence          1, 2, 3 … per conversation and sending device, for what people see
 *                            (contact requests and texts); 0 for everything else
 *   varint tag               kind of body: one file each beside this one
 *   opaque body<V>
 * ```
 *
 * A body of a kind that we do not know decodes to `unknown` with its tag, so that the person is
 * told instead of losing it silently. One of a known kind must decode fully.
 */
import { assert } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { encode, oneOf, opaque, struct, tryDecode, u64, varint } from '../codec/struct.ts'
import type { Codec } from '../codec/struct.ts'
import { messageIdCodec } from '../ids.ts'
import type { MessageId } from '../ids.ts'
import { limits } from '../limits.ts'
import { askAgainCodec } from './ask-again.ts'
import type { AskAgainBody } from './ask-again.ts'
import { askReplyCodec } from './ask-reply.ts'
import type { AskReplyBody } from './ask-reply.ts'
import { cardUpdateCodec } from './card-update.ts'
import type { CardUpdateBody } from './card-update.ts'
import { contactAcceptCodec } from './contact-accept.ts'
import type { ContactAcceptBody } from './contact-accept.ts'
import { contactRequestCodec } from './contact-request.ts'
import type { ContactRequestBody } from './contact-request.ts'
import { contactStateCodec } from './contact-state.ts'
import type { ContactStateBody } from './contact-state.ts'
import { fileCodec } from './file.ts'
import type { FileBody } from './file.ts'
import { historyPageCodec } from './history-page.ts'
import type { HistoryPageBody } from './history-page.ts'
import { inviteStateCodec } from './invite-state.ts'
import type { InviteStateBody } from './invite-state.ts'
import { ownDevicesCodec } from './own-devices.ts'
import type { OwnDevicesBody } from './own-devices.ts'
import { readMarksCodec } from './read-marks.ts'
import type { ReadMarksBody } from './read-marks.ts'
import { receiptsCodec } from './receipts.ts'
import type { ReceiptsBody } from './receipts.ts'
import { receivedCopyCodec } from './received-copy.ts'
import type { ReceivedCopyBody } from './received-copy.ts'
import { sentCopyCodec } from './sent-copy.ts'
import type { SentCopyBody } from './sent-copy.ts'
import { textCodec } from './text.ts'
import type { TextBody } from './text.ts'

/** Between people. */
type PeerBody =
  | TextBody | FileBody | ReceiptsBody | ContactRequestBody | ContactAcceptBody | CardUpdateBody
  | AskAgainBody
  | AskReplyBody

/** Between devices of one account, in its self box and nowhere else. */
export type SiblingBody =
  | SentCopyBody | ReceivedCopyBody | ContactStateBody | ReadMarksBody | OwnDevicesBody
  | InviteStateBody | HistoryPageBody

export type KnownBody = PeerBody | SiblingBody

/** Made by a newer openIM. */
export interface UnknownBody {
  readonly type: 'unknown'
  readonly tag: number
}

export type Body = KnownBody | UnknownBody

export interface Payload {
  readonly messageId: MessageId
  readonly sentAtMs: number
  readonly sequence: number
  readonly body: Body
}

type BodyCodecs = {
  readonly [T in KnownBody['type']]: {
    readonly tag: number
    readonly codec: Codec<Omit<Extract<KnownBody, { type: T }>, 'type'>>
  }
}

/** The wire tag of each body. */
export const bodyCodecs: BodyCodecs = {
  text: { tag: 1, codec: textCodec },
  receipts: { tag: 2, codec: receiptsCodec },
  contactRequest: { tag: 3, codec: contactRequestCodec },
  contactAccept: { tag: 4, codec: contactAcceptCodec },
  cardUpdate: { tag: 5, codec: cardUpdateCodec },
  file: { tag: 6, codec: fileCodec },
  askAgain: { tag: 7, codec: askAgainCodec },
  askReply: { tag: 8, codec: askReplyCodec },
  sentCopy: { tag: 16, codec: sentCopyCodec },
  receivedCopy: { tag: 17, codec: receivedCopyCodec },
  contactState: { tag: 18, codec: contactStateCodec },
  readMarks: { tag: 19, codec: readMarksCodec },
  ownDevices: { tag: 20, codec: ownDevicesCodec },
  inviteState: { tag: 21, codec: inviteStateCodec },
  historyPage: { tag: 22, codec: historyPageCodec },
}

const byTag = new Map(
  Object.entries(bodyCodecs).map(([type, { tag, codec }]) => [tag, { type, codec: codec as Codec<object> }]),
)

interface Wire {
  readonly version: 1
  readonly messageId: MessageId
  readonly sentAtMs: number
  readonly sequence: number
  readonly tag: number
  readonly body: Uint8Array
}
const wireCodec = struct<Wire>({
  version: oneOf([1], 'payload version'),
  messageId: messageIdCodec,
  sentAtMs: u64,
  sequence: u64,
  tag: varint,
  body: opaque(limits.envelopeBytesMax),
})

/** The lowest tag of what only our own devices say to each other. */
const siblingTagMin = 16

/** Accepted only in the self box, as everything else is accepted only outside it (receipts in both). */
export function isSiblingBody(body: Body): body is SiblingBody {
  return body.type !== 'unknown' && bodyCodecs[body.type].tag >= siblingTagMin
}

export function encodePayload(payload: Payload): Uint8Array {
  const { messageId, sentAtMs, sequence, body } = payload
  assert(body.type !== 'unknown', 'a body of unknown kind is never sent')
  const { tag, codec } = bodyCodecs[body.type]
  const encoded = encode(codec as Codec<KnownBody>, body)
  return encode(wireCodec, { version: 1, messageId, sentAtMs, sequence, tag, body: encoded })
}

/** All of `bytes`, or a `CODEC_*` refusal with the offset (inside the body for its own fields). */
export function decodePayload(bytes: Uint8Array): Result<Payload> {
  const wire = tryDecode(wireCodec, bytes)
  if (!wire.ok) return wire
  const { version: _, tag, body: bytesOfBody, ...head } = wire.value
  const known = byTag.get(tag)
  if (known === undefined) return { ok: true, value: { ...head, body: { type: 'unknown', tag } } }
  const fields = tryDecode(known.codec, bytesOfBody)
  if (!fields.ok) return fields
  return { ok: true, value: { ...head, body: { type: known.type, ...fields.value } as KnownBody } }
}
