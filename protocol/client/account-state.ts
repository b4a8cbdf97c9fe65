/**
 * The own account as it lies in the store: made once by `createAccount`, read at every start.
 *
 * ```text
 *   recovery entropy ──► root key ──► device list 1 { this device }
 *   random, one each: rendezvous seed · device signing and DH keys · link key (Noise towards the
 *   node) · shelf key and secret · request boxes' read key · token of the front box
 * ```
 *
 * The link key is not the DH identity key of the end-to-end sessions: one key, one use. The front
 * box is a request box that no invite leads to; it is always open, so the account always knows
 * which replicas stand in for its home (its location record says so).
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { OwnIdentity } from '../../crypto/handshake/types.ts'
import { crypto } from '../../crypto/index.ts'
import type { DhKeyPair, SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { certifyDevice, createDeviceList, deviceId, rootSeed, verifyDeviceList } from '../account.ts'
import type { VerifiedDeviceList } from '../account.ts'
import { formatAddress } from '../address.ts'
import { decode, encode, fixed, oneOf, opaque, struct, text } from '../codec/struct.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Clock, KvStore } from '../ports.ts'
import { keys } from './keys.ts'
import { normaliseName } from './names.ts'

/** All of it, with key pairs ready to use. Secrets: never logged, never handed to the app. */
export interface OwnAccount {
  readonly name: string
  readonly address: string
  readonly rootKey: Uint8Array
  /** Ed25519 seed of the root key. */
  readonly rootSeed: Uint8Array
  /** The 32 bytes behind the recovery phrase. */
  readonly entropy: Uint8Array
  /** 15 bytes; in every invite. */
  readonly rendezvousSeed: Uint8Array
  readonly deviceId: DeviceId
  readonly identity: OwnIdentity
  /** Static key of the channel to the node; its public part is what the node authorises. */
  readonly linkKeys: DhKeyPair
  readonly shelfKeys: SigningKeyPair
  readonly shelfSecret: Uint8Array
  readonly introReadKeys: SigningKeyPair
  /** 15 bytes; opens the front box like an invite's token opens its box. */
  readonly frontToken: Uint8Array
  readonly deviceList: VerifiedDeviceList
}

interface AccountRecord {
  readonly version: 1
  readonly name: string
  readonly entropy: Uint8Array
  readonly rendezvousSeed: Uint8Array
  readonly signingSeed: Uint8Array
  readonly dhSecret: Uint8Array
  readonly linkSecret: Uint8Array
  readonly shelfSeed: Uint8Array
  readonly shelfSecret: Uint8Array
  readonly introReadSeed: Uint8Array
  readonly frontToken: Uint8Array
  readonly deviceList: Uint8Array
}

const hourMs = 3_600_000
const tokenBytes = 15

const accountCodec = struct<AccountRecord>({
  version: oneOf([1], 'account record version'),
  name: text(limits.nameBytesMax),
  entropy: fixed(32),
  rendezvousSeed: fixed(tokenBytes),
  signingSeed: fixed(32),
  dhSecret: fixed(32),
  linkSecret: fixed(32),
  shelfSeed: fixed(32),
  shelfSecret: fixed(32),
  introReadSeed: fixed(32),
  frontToken: fixed(tokenBytes),
  deviceList: opaque(limits.deviceListBytesMax),
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
  const signingSeed = random.bytes(32)
  const dhSecret = random.bytes(32)
  const device = certifyDevice({
    rootKey: rootKeys.publicKey,
    signingKeys: crypto.signingKeyPair(signingSeed),
    dhKey: crypto.dhKeyPair(dhSecret).publicKey,
    addedHour: Math.floor(clock.now() / hourMs),
  })
  const record: AccountRecord = {
    version: 1,
    name,
    entropy,
    rendezvousSeed: random.bytes(tokenBytes),
    signingSeed,
    dhSecret,
    linkSecret: random.bytes(32),
    shelfSeed: random.bytes(32),
    shelfSecret: random.bytes(32),
    introReadSeed: random.bytes(32),
    frontToken: random.bytes(tokenBytes),
    deviceList: createDeviceList({ rootKeys, devices: [device] }).bytes,
  }
  const written = await kv.write([
    { type: 'check', key: keys.account, version: 0 },
    { type: 'put', key: keys.account, value: encode(accountCodec, record) },
  ])
  if (!written) {
    throw new OpenIMError(
      'ACCOUNT_EXISTS',
      'there is an account in this store already; it is left as it is',
    )
  }
  return openRecord(record)
}

/** `undefined` in a store without an account. @throws CODEC_*, ACCOUNT_CORRUPT */
export async function readAccount(kv: KvStore): Promise<OwnAccount | undefined> {
  const entry = await kv.get(keys.account)
  return entry === undefined ? undefined : openRecord(decode(accountCodec, entry.value))
}

function openRecord(record: AccountRecord): OwnAccount {
  const seed = rootSeed(record.entropy)
  const rootKey = crypto.signingKeyPair(seed).publicKey
  const signingKeys = crypto.signingKeyPair(record.signingSeed)
  const deviceList = verifyDeviceList(record.deviceList, rootKey)
  if (!deviceList.ok) {
    throw new OpenIMError(
      'ACCOUNT_CORRUPT',
      `the own device list does not verify (${deviceList.code}): restore a backup`,
    )
  }
  return {
    name: record.name,
    address: formatAddress(rootKey),
    rootKey,
    rootSeed: seed,
    entropy: record.entropy,
    rendezvousSeed: record.rendezvousSeed,
    deviceId: deviceId(signingKeys.publicKey),
    identity: { signingKeys, dhKeys: crypto.dhKeyPair(record.dhSecret) },
    linkKeys: crypto.dhKeyPair(record.linkSecret),
    shelfKeys: crypto.signingKeyPair(record.shelfSeed),
    shelfSecret: record.shelfSecret,
    introReadKeys: crypto.signingKeyPair(record.introReadSeed),
    frontToken: record.frontToken,
    deviceList: deviceList.value,
  }
}
