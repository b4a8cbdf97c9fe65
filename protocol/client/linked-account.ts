/**
 * The new device's end of linking: keys of its own, a request for the primary, and an account in an
 * empty store from the package that comes back.
 *
 * ```ts
 * const { secrets, request } = makeDeviceRequest({ random, rootKey, name: 'phone' })
 * // over the linking channel:  request ──► client.certify(request) ──► package
 * await Client.createLinked({ kv, clock, random, secrets, package })
 * ```
 *
 * The request needs the account's root key, which the linking channel brings first: the device's
 * own word that it belongs to this account is in it (account.ts).
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { certifyDevice, findDevice, verifyDeviceList } from '../account.ts'
import { encode } from '../codec/struct.ts'
import { signDeviceRequest } from '../device-request.ts'
import { limits } from '../limits.ts'
import { decodeLinkPackage } from '../link-package.ts'
import type { LinkPackage } from '../link-package.ts'
import type { Clock, KvStore } from '../ports.ts'
import { drawDeviceSecrets, openRecord, writeAccount } from './account-state.ts'
import type { AccountRecord, DeviceSecrets, OwnAccount } from './account-state.ts'
import { ownBox } from './contact-states.ts'
import { keys } from './keys.ts'
import { normaliseName } from './names.ts'
import { contactCodec, contactId, newContact, numberCodec } from './records.ts'

export interface NewLinkedAccount {
  /** Empty. */
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  /** Of `makeDeviceRequest`. */
  readonly secrets: DeviceSecrets
  /** Of the primary's `certify`. */
  readonly package: Uint8Array
}

/** Fresh keys and what the primary needs to know of them. Nothing is stored yet. */
export function makeDeviceRequest(input: {
  readonly random: Random
  readonly rootKey: Uint8Array
  /** What people call the device; contacts see it. */
  readonly name: string
}): { readonly secrets: DeviceSecrets, readonly request: Uint8Array } {
  const secrets = drawDeviceSecrets(input.random)
  const signingKeys = crypto.signingKeyPair(secrets.signingSeed)
  const dhKey = crypto.dhKeyPair(secrets.dhSecret).publicKey
  const { rootKey } = input
  const name = normaliseName(input.name) ?? ''
  const { proof } = certifyDevice({ rootKey, signingKeys, dhKey, addedHour: 0, name })
  const request = signDeviceRequest({
    version: 1,
    signingKey: signingKeys.publicKey,
    dhKey,
    linkKey: crypto.dhKeyPair(secrets.linkSecret).publicKey,
    shelfKey: crypto.signingKeyPair(secrets.shelfSeed).publicKey,
    shelfSecret: secrets.shelfSecret,
    name,
    proof,
  }, signingKeys)
  return { secrets, request }
}

/** @throws LINK_PACKAGE (damaged, or of another device), ACCOUNT_EXISTS */
export async function createLinkedAccount(input: NewLinkedAccount): Promise<OwnAccount> {
  const { kv, clock, secrets } = input
  const decoded = decodeLinkPackage(input.package)
  if (!decoded.ok) throw damaged(decoded.code)
  const { name, rootKey, own } = decoded.value
  const record: AccountRecord = { version: 2, name, rootKey, entropy: undefined, ...secrets }
  const account = openRecord(record)
  checkPackage(account, decoded.value)
  const { deviceList, primary, devices, generation, secrets: shared } = own
  const self = { ...newContact({
    id: contactId(rootKey), name: '', box: ownBox(own.selfBox), addedAtMs: clock.now(),
  }), deviceList }
  const ownRecord = { deviceList, primary, devices, secrets: shared, generation }
  await writeAccount(kv, { account: record, own: ownRecord }, [
    { type: 'put', key: keys.contact(self.id), value: encode(contactCodec, self) },
    // What was said before gets the numbers below; it comes later.
    { type: 'put', key: keys.meta('history'), value: encode(numberCodec, { value: limits.historySyncMax }) },
  ])
  return account
}

/** The list must be signed by the root it names and have this very device in it. */
function checkPackage(account: OwnAccount, { rootKey, own }: LinkPackage): void {
  const list = verifyDeviceList(own.deviceList, rootKey)
  if (!list.ok) throw damaged(list.code)
  const listed = findDevice(list.value.list, account.deviceId)
  const isListed = listed !== undefined && own.devices.some(({ deviceId }) => deviceId === account.deviceId)
  if (!isListed) throw damaged('DEVICE_UNKNOWN')
}

function damaged(code: string): OpenIMError {
  return new OpenIMError('LINK_PACKAGE', `the other device's answer cannot be used (${code}): link anew`)
}
