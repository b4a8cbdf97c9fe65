/**
 * The keys of this device and its account as they lie in the store: made once by `createAccount`
 * (or by linking, linked-account.ts), read at every start, never changed.
 *
 * ```text
 *   recovery entropy ──► root key          on the primary device only
 *   random, one each: device signing and DH keys · link key (Noise towards the node) ·
 *   shelf key and secret
 * ```
 *
 * The link key is not the DH identity key of the end-to-end sessions: one key, one use. What all
 * devices of the account share, and what changes in its life, is in own-devices.ts.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { OwnIdentity } from '../../crypto/handshake/types.ts'
import { crypto } from '../../crypto/index.ts'
import type { DhKeyPair, SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { certifyDevice, createDeviceList, deviceId, rootSeed } from '../account.ts'
import { formatAddress } from '../address.ts'
import { decode, encode, fixed, oneOf, optional, struct, text } from '../codec/struct.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Clock, KvOperation, KvStore } from '../ports.ts'
import { keys } from './keys.ts'
import { normaliseName } from './names.ts'
import { freshSecrets, ownCodec } from './own-devices.ts'
import type { OwnRecord } from './own-devices.ts'

/** All of it, with key pairs ready to use. Secrets: never logged, never handed to the app. */
export interface OwnAccount {
  readonly name: string
  readonly address: string
  readonly rootKey: Uint8Array
  /** Ed25519 seed of the root key; on the primary device only. */
  readonly rootSeed: Uint8Array | undefined
  /** The 32 bytes behind the recovery phrase; on the primary device only. */
  readonly entropy: Uint8Array | undefined
  readonly deviceId: DeviceId
  readonly identity: OwnIdentity
  /** Static key of the channel to the node; its public part is what the node authorises. */
  readonly linkKeys: DhKeyPair
  readonly shelfKeys: SigningKeyPair
  readonly shelfSecret: Uint8Array
}

/** Secrets of one device, drawn once on that device. */
export interface DeviceSecrets {
  readonly signingSeed: Uint8Array
  readonly dhSecret: Uint8Array
  readonly linkSecret: Uint8Array
  readonly shelfSeed: Uint8Array
  readonly shelfSecret: Uint8Array
}

export interface AccountRecord extends DeviceSecrets {
  readonly version: 2
  readonly name: string
  readonly rootKey: Uint8Array
  readonly entropy: Uint8Array | undefined
}

const hourMs = 3_600_000

export const accountCodec = struct<AccountRecord>({
  version: oneOf([2], 'account record version'),
  name: text(limits.nameBytesMax),
  rootKey: fixed(32),
  entropy: optional(fixed(32)),
  signingSeed: fixed(32),
  dhSecret: fixed(32),
  linkSecret: fixed(32),
  shelfSeed: fixed(32),
  shelfSecret: fixed(32),
})

export interface NewAccount {
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  /** What contacts see; may be empty. */
  readonly name: string
  /** 32 bytes of a recovery phrase; drawn when absent. */
  readonly entropy?: Uint8Array
}

export function drawDeviceSecrets(random: Random): DeviceSecrets {
  return {
    signingSeed: random.bytes(32),
    dhSecret: random.bytes(32),
    linkSecret: random.bytes(32),
    shelfSeed: random.bytes(32),
    shelfSecret: random.bytes(32),
  }
}

/** Writes a fresh account. @throws ACCOUNT_EXISTS when the store holds one, ACCOUNT_NAME */
export async function createAccount(input: NewAccount): Promise<OwnAccount> {
  const { kv, clock, random } = input
  const name = normaliseName(input.name) ?? ''
  if (name === '' && input.name !== '') {
    throw new OpenIMError(
      'ACCOUNT_NAME',
      `a name needs visible characters, at most ${limits.nameBytesMax} bytes of them`,
    )
  }
  const entropy = input.entropy ?? random.bytes(32)
  const rootKeys = crypto.signingKeyPair(rootSeed(entropy))
  const secrets = drawDeviceSecrets(random)
  const record: AccountRecord = { version: 2, name, rootKey: rootKeys.publicKey, entropy, ...secrets }
  const account = openRecord(record)
  const device = certifyDevice({
    rootKey: rootKeys.publicKey,
    signingKeys: account.identity.signingKeys,
    dhKey: account.identity.dhKeys.publicKey,
    addedHour: Math.floor(clock.now() / hourMs),
  })
  const own: OwnRecord = {
    deviceList: createDeviceList({ rootKeys, devices: [device] }).bytes,
    primary: account.deviceId,
    devices: [{
      deviceId: account.deviceId,
      linkKey: account.linkKeys.publicKey,
      shelfKey: account.shelfKeys.publicKey,
      shelfSecret: account.shelfSecret,
    }],
    secrets: freshSecrets(random, { entropy, generation: 0 }),
    generation: 0,
  }
  await writeAccount(kv, { account: record, own })
  return account
}

/** Both records at once, into a store without an account. @throws ACCOUNT_EXISTS */
export async function writeAccount(
  kv: KvStore,
  records: { account: AccountRecord, own: OwnRecord },
  more: readonly KvOperation[] = [],
): Promise<void> {
  const written = await kv.write([
    { type: 'check', key: keys.account, version: 0 },
    { type: 'put', key: keys.account, value: encode(accountCodec, records.account) },
    { type: 'put', key: keys.own, value: encode(ownCodec, records.own) },
    ...more,
  ])
  if (!written) {
    throw new OpenIMError(
      'ACCOUNT_EXISTS',
      'there is an account in this store already; it is left as it is',
    )
  }
}

/** `undefined` in a store without an account. @throws CODEC_*, ACCOUNT_CORRUPT */
export async function readAccount(kv: KvStore): Promise<OwnAccount | undefined> {
  const entry = await kv.get(keys.account)
  return entry === undefined ? undefined : openRecord(decode(accountCodec, entry.value))
}

/** @throws ACCOUNT_CORRUPT when the root key is not that of the recovery entropy */
export function openRecord(record: AccountRecord): OwnAccount {
  const { name, rootKey, entropy } = record
  const seed = entropy === undefined ? undefined : rootSeed(entropy)
  if (seed !== undefined && formatAddress(crypto.signingKeyPair(seed).publicKey) !== formatAddress(rootKey)) {
    throw new OpenIMError('ACCOUNT_CORRUPT', 'the account\'s keys do not fit together: restore a backup')
  }
  const signingKeys = crypto.signingKeyPair(record.signingSeed)
  return {
    name,
    address: formatAddress(rootKey),
    rootKey,
    rootSeed: seed,
    entropy,
    deviceId: deviceId(signingKeys.publicKey),
    identity: { signingKeys, dhKeys: crypto.dhKeyPair(record.dhSecret) },
    linkKeys: crypto.dhKeyPair(record.linkSecret),
    shelfKeys: crypto.signingKeyPair(record.shelfSeed),
    shelfSecret: record.shelfSecret,
  }
}
