/**
 * The device's side of the location database (DESIGN §5): the node carries sealed records and
 * blinded keys; only the device knows whose they are.
 *
 * ```text
 *   publish   (28), device → node:  varint request, opaque records<V>      today's and tomorrow's
 *   published (29), node → device:  varint request, u8 holders             fewest that kept one
 *   locate    (30), device → node:  varint request, opaque hint<V>, opaque blindedKeys<V>[32]
 *   located   (31), node → device:  varint request, opaque records<V>      newest valid per key
 * ```
 *
 * The node goes on publishing what it was given until the records expire or newer ones replace
 * them (same blinded key, higher sequence). A hint is a multiaddr from an invite (or empty): a
 * node that knows nobody yet dials it first.
 */
import { fixed, opaque, struct, text, u8, varint, vector } from '../codec/struct.ts'
import { locationRecordBytesMax } from '../service/location.ts'

export interface PublishFrame {
  readonly type: 'publish'
  readonly request: number
  readonly records: Uint8Array[]
}
export const publishCodec = struct<Omit<PublishFrame, 'type'>>({
  request: varint,
  records: vector(opaque(locationRecordBytesMax), 3),
})

export interface PublishedFrame {
  readonly type: 'published'
  readonly request: number
  readonly holders: number
}
export const publishedCodec = struct<Omit<PublishedFrame, 'type'>>({ request: varint, holders: u8 })

export interface LocateFrame {
  readonly type: 'locate'
  readonly request: number
  readonly hint: string
  readonly blindedKeys: Uint8Array[]
}
export const locateCodec = struct<Omit<LocateFrame, 'type'>>({
  request: varint,
  hint: text(128),
  blindedKeys: vector(fixed(32), 3),
})

export interface LocatedFrame {
  readonly type: 'located'
  readonly request: number
  readonly records: Uint8Array[]
}
export const locatedCodec = struct<Omit<LocatedFrame, 'type'>>({
  request: varint,
  records: vector(opaque(locationRecordBytesMax), 3),
})
