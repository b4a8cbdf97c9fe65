/**
 * What a new device gets from the primary when it is linked: whose device it is from now on, the
 * secrets that all devices share, and the inbox in which they talk to each other. Contacts and
 * history follow there, so the package stays small. Secrets in the clear: it travels sealed over
 * the linking channel only.
 *
 * ```text
 *   u8     version = 1
 *   text   name<V>              of the account
 *   opaque rootKey[32]          public
 *   OwnDevicesBody              message/own-devices.ts
 * ```
 */
import type { Result } from '../crypto/errors.ts'
import { encode, fixed, oneOf, struct, text, tryDecode } from './codec/struct.ts'
import { limits } from './limits.ts'
import { ownDevicesCodec } from './message/own-devices.ts'
import type { OwnDevicesBody } from './message/own-devices.ts'

export interface LinkPackage {
  readonly version: 1
  readonly name: string
  readonly rootKey: Uint8Array
  readonly own: Omit<OwnDevicesBody, 'type'>
}

const packageCodec = struct<LinkPackage>({
  version: oneOf([1], 'link package version'),
  name: text(limits.nameBytesMax),
  rootKey: fixed(32),
  own: ownDevicesCodec,
})

export function encodeLinkPackage(value: LinkPackage): Uint8Array {
  return encode(packageCodec, value)
}

/** Refuses with CODEC_*. What it says of the account is checked when it is taken. */
export function decodeLinkPackage(bytes: Uint8Array): Result<LinkPackage> {
  return tryDecode(packageCodec, bytes)
}
