/**
 * Linking a device (linking/): the device that lets in asks the node for a place where the new one
 * may knock, and both pass sealed messages through it.
 *
 * ```text
 *   linkOpen    (35), device → node:  varint request, opaque guestKey[32]   X25519, of the link code
 *   linkOpened  (36), node → device:  varint request, u64 expiresAtMs
 *   linkMessage (37), both ways:      opaque bytes<V>      of the guest, or for it
 *   linkClosed  (38), both ways:      text code<V>         it is over; the guest has left or must
 * ```
 *
 * A connection that proves the guest key is let in as a guest: it may send linkMessage and
 * linkClosed and nothing else, to the device that opened, while that one is online. One guest for
 * one device at a time; `linkMessagesMax` messages, `linkTtlMs`; then the place is gone.
 */
import { fixed, opaque, struct, text, u64, varint } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface LinkOpenFrame {
  readonly type: 'linkOpen'
  readonly request: number
  readonly guestKey: Uint8Array
}
export const linkOpenCodec = struct<Omit<LinkOpenFrame, 'type'>>({ request: varint, guestKey: fixed(32) })

export interface LinkOpenedFrame {
  readonly type: 'linkOpened'
  readonly request: number
  readonly expiresAtMs: number
}
export const linkOpenedCodec = struct<Omit<LinkOpenedFrame, 'type'>>({ request: varint, expiresAtMs: u64 })

export interface LinkMessageFrame {
  readonly type: 'linkMessage'
  readonly bytes: Uint8Array
}
export const linkMessageCodec = struct<Omit<LinkMessageFrame, 'type'>>({
  bytes: opaque(limits.linkMessageBytesMax),
})

export interface LinkClosedFrame {
  readonly type: 'linkClosed'
  readonly code: string
}
export const linkClosedCodec = struct<Omit<LinkClosedFrame, 'type'>>({
  code: text(limits.refusalCodeBytesMax),
})
