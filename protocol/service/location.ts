/**
 * `locationPut` (1) and `locationGet` (2): sealed location records at the nodes nearest to their
 * key (DESIGN §5). The record itself is protocol/location-record.ts.
 *
 * ```text
 *   put request:  opaque record<V>
 *   put reply:    u8 result
 *   get request:  opaque blindedKeys<V>[32] each, at most 3 (yesterday, today, tomorrow)
 *   get reply:    opaque records<V> each
 * ```
 */
import { fixed, oneOf, opaque, struct, vector } from '../codec/struct.ts'

/** Keys, sequence, expiry, fixed-size content, signature: far below this. */
export const locationRecordBytesMax = 2_048

export interface LocationPutRequest {
  readonly record: Uint8Array
}
export const locationPutRequestCodec = struct<LocationPutRequest>({ record: opaque(locationRecordBytesMax) })

export const locationResults = {
  kept: 0,
  /** The holder has this sequence or a higher one; nothing changed. */
  stale: 1,
  invalid: 2,
  overQuota: 3,
  /** The holder does not believe itself among the nearest. */
  notNearest: 4,
} as const
export type LocationResult = (typeof locationResults)[keyof typeof locationResults]

export interface LocationPutReply {
  readonly result: LocationResult
}
export const locationPutReplyCodec = struct<LocationPutReply>({
  result: oneOf(Object.values(locationResults), 'location result'),
})

export interface LocationGetRequest {
  readonly blindedKeys: Uint8Array[]
}
export const locationGetRequestCodec = struct<LocationGetRequest>({ blindedKeys: vector(fixed(32), 3) })

export interface LocationGetReply {
  readonly records: Uint8Array[]
}
export const locationGetReplyCodec = struct<LocationGetReply>({
  records: vector(opaque(locationRecordBytesMax), 3),
})
