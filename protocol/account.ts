/**
 * An account: a root key that certifies devices (DESIGN §3). The root may stay offline; devices
 * come and go in a signed, numbered, hash-chained list, and contacts pin the newest they saw.
 *
 * ```text
 *   DeviceCertificate
 *     opaque signingKey[32]   Ed25519; the device id is the first 16 bytes of
 *                             SHA-256("openim device id v1" ‖ signingKey)
 *     opaque dhKey[32]        X25519 identity key
 *     u32    addedHour        hours since 1970
 *     opaque name<V>          UTF-8, may be empty; contacts see it
 *     opaque proof[64]        by signingKey, over "openim device v1" ‖ rootKey ‖ signingKey ‖ dhKey
 *   DeviceList
 *     u8     version = 1
 *     opaque rootKey[32]
 *     u64    number           1, 2, 3 …
 *     opaque previous[32]     hash of the list before it, as far as its maker knew; zeros in list 1;
 *                             all bits set: there were others, and none of them is known
 *     devices<V>              1 to 16 DeviceCertificates
 *     opaque signature[64]    by rootKey, over "openim device list v1" ‖ everything above
 * ```
 *
 * Numbers only have to grow. A device that follows the newest list adds one, and the chain is seen to
 * hold. One that cannot be sure of it (made from a backup or from the recovery words) takes the
 * seconds since 1970, far above what adding one reaches: a gap, never a second list of one number.
 *
 * A list's hash is SHA-256("openim device list hash v1" ‖ content without the signature). The
 * proof is the device's own word that it belongs to this account: without it anybody could list
 * somebody else's device as theirs and have its messages ascribed to them.
 */
import { concat, equalBytes, hex, utf8 } from '../crypto/bytes.ts'
import { assert } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import { fixed, oneOf, struct, text, u32, u64, vector } from './codec/struct.ts'
import type { DeviceId } from './ids.ts'
import { limits } from './limits.ts'
import { signatureBytes, signStruct, verifyStruct } from './signed.ts'

/** The root key's Ed25519 seed comes from the account's recovery entropy. */
export { accountRootSeed as rootSeed } from '../crypto/recovery.ts'

export interface DeviceCertificate {
  readonly signingKey: Uint8Array
  readonly dhKey: Uint8Array
  readonly addedHour: number
  /** Empty when its owner does not tell. */
  readonly name: string
  readonly proof: Uint8Array
}

export interface DeviceList {
  readonly version: 1
  readonly rootKey: Uint8Array
  readonly number: number
  readonly previous: Uint8Array
  readonly devices: DeviceCertificate[]
}

/** A list whose signatures were checked (or that we made), with the bytes as they travel. */
export interface VerifiedDeviceList {
  readonly list: DeviceList
  readonly bytes: Uint8Array
  readonly hash: Uint8Array
}

const deviceIdLabel = utf8('openim device id v1')
const deviceLabel = utf8('openim device v1')
const listLabel = 'openim device list v1'
const listHashLabel = utf8('openim device list hash v1')
const noHash = new Uint8Array(32)
const unknownHash = new Uint8Array(32).fill(0xff)

const certificateCodec = struct<DeviceCertificate>({
  signingKey: fixed(32),
  dhKey: fixed(32),
  addedHour: u32,
  name: text(limits.nameBytesMax),
  proof: fixed(signatureBytes),
})

const listCodec = struct<DeviceList>({
  version: oneOf([1], 'device list version'),
  rootKey: fixed(32),
  number: u64,
  previous: fixed(32),
  devices: vector(certificateCodec, limits.devicesMax),
})

export function deviceId(signingKey: Uint8Array): DeviceId {
  return hex(crypto.sha256(concat(deviceIdLabel, signingKey)).subarray(0, 16)) as DeviceId
}

/** Made on the device itself; the root signs it into the list. */
export function certifyDevice(input: {
  rootKey: Uint8Array
  signingKeys: SigningKeyPair
  dhKey: Uint8Array
  addedHour: number
  name?: string
}): DeviceCertificate {
  const { rootKey, signingKeys, dhKey, addedHour, name = '' } = input
  const signingKey = signingKeys.publicKey
  const proof = crypto.sign(signingKeys, concat(deviceLabel, rootKey, signingKey, dhKey))
  return { signingKey, dhKey, addedHour, name, proof }
}

/**
 * The next list of the chain (the first without `previous`).
 *
 * @param input.numberMin leaves a gap below it when the chain is not there yet: for somebody who
 *   may not know the newest list
 */
export function createDeviceList(input: {
  rootKeys: SigningKeyPair
  previous?: VerifiedDeviceList
  devices: readonly DeviceCertificate[]
  numberMin?: number
}): VerifiedDeviceList {
  const { rootKeys, previous, devices, numberMin = 1 } = input
  const number = Math.max((previous?.list.number ?? 0) + 1, numberMin)
  const list: DeviceList = {
    version: 1,
    rootKey: rootKeys.publicKey,
    number,
    previous: previous?.hash ?? (number === 1 ? noHash : unknownHash),
    devices: [...devices],
  }
  const problem = listProblem(list)
  assert(problem === undefined, `own device list: ${problem}`)
  const bytes = signStruct(listCodec, listLabel, list, rootKeys)
  return { list, bytes, hash: listHash(bytes) }
}

/**
 * Checks a device list that claims to be of the account with `rootKey`.
 * Refuses with CODEC_*, SIGNATURE_INVALID, DEVICE_LIST_ACCOUNT or DEVICE_LIST_INVALID.
 */
export function verifyDeviceList(bytes: Uint8Array, rootKey: Uint8Array): Result<VerifiedDeviceList> {
  if (bytes.length > limits.deviceListBytesMax) {
    const detail = `a device list of ${bytes.length} bytes, the limit is ${limits.deviceListBytesMax}`
    return { ok: false, code: 'CODEC_TOO_LONG', detail }
  }
  const decoded = verifyStruct(listCodec, listLabel, bytes, () => rootKey)
  if (!decoded.ok) return decoded
  const list = decoded.value
  if (!equalBytes(list.rootKey, rootKey)) {
    return { ok: false, code: 'DEVICE_LIST_ACCOUNT', detail: 'the device list names another account' }
  }
  const problem = listProblem(list)
  if (problem !== undefined) return { ok: false, code: 'DEVICE_LIST_INVALID', detail: problem }
  return { ok: true, value: { list, bytes, hash: listHash(bytes) } }
}

/** What is wrong inside a list that its root signed; `undefined` when nothing is. */
function listProblem(list: DeviceList): string | undefined {
  if (list.number === 0) return 'lists are numbered from 1'
  if ((list.number === 1) !== equalBytes(list.previous, noHash)) return 'only list 1 has no previous list'
  if (list.devices.length === 0) return 'a list has at least one device'
  return devicesProblem(list.devices, list.rootKey)
}

/** Why these cannot stand in one list of this account; `undefined` when they can. */
export function devicesProblem(
  devices: readonly DeviceCertificate[],
  rootKey: Uint8Array,
): string | undefined {
  const keys = new Set(devices.flatMap((device) => [hex(device.signingKey), hex(device.dhKey)]))
  if (keys.size !== 2 * devices.length) return 'a key is listed twice'
  for (const device of devices) {
    if (!crypto.isVerifyKey(device.signingKey)) return 'a signing key is not usable'
    const message = concat(deviceLabel, rootKey, device.signingKey, device.dhKey)
    if (!crypto.verify({ publicKey: device.signingKey, message, signature: device.proof })) {
      return 'a device did not agree to be listed'
    }
  }
  return undefined
}

/** Names the content: signatures are malleable in principle, hashes must not be. */
function listHash(bytes: Uint8Array): Uint8Array {
  return crypto.sha256(concat(listHashLabel, bytes.subarray(0, bytes.length - signatureBytes)))
}

/**
 * How an offered list stands to the one we pinned:
 * - `same`: nothing to do;
 * - `newer`: take it; `chained` tells whether it follows the known one directly, so that the
 *   chain was checked (a gap is normal for somebody who was away, or whose account was restored);
 * - `rollback`: an older one, replayed or restored from a backup: keep ours;
 * - `fork`: two lists of one number, or a next list that does not follow ours: the root key is in
 *   two hands. An alarm for the person; keep ours.
 */
export type DeviceListOrder =
  | { readonly order: 'same' | 'rollback' | 'fork' }
  | { readonly order: 'newer', readonly chained: boolean }

export function compareDeviceLists(lists: {
  known: VerifiedDeviceList
  offered: VerifiedDeviceList
}): DeviceListOrder {
  const { known, offered } = lists
  const step = offered.list.number - known.list.number
  if (step < 0) return { order: 'rollback' }
  if (step === 0) return { order: equalBytes(known.hash, offered.hash) ? 'same' : 'fork' }
  if (step > 1) return { order: 'newer', chained: false }
  if (equalBytes(offered.list.previous, known.hash)) return { order: 'newer', chained: true }
  // Its maker knew no list at all: that the numbers touch is chance.
  return equalBytes(offered.list.previous, unknownHash)
    ? { order: 'newer', chained: false }
    : { order: 'fork' }
}

/** The certificate of one device; `undefined` when it is not (or no longer) listed. */
export function findDevice(list: DeviceList, id: DeviceId): DeviceCertificate | undefined {
  return list.devices.find((device) => deviceId(device.signingKey) === id)
}
