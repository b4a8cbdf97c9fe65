/**
 * A device in two calls: `linkDevice` once, with the code that the account's first device shows, and
 * `openDevice` at every start. The Client SDK is behind both (client.ts); what a device has to know
 * of its node lies beside the account, so that an app keeps nothing itself.
 *
 * ```text
 *   record `home`:  u8 version = 1, opaque doorKey[32], text addresses<V> each
 * ```
 *
 * Which transports there are is said by `ways`: WebSocket alone in a page (the default), all of them
 * on Node (node/client-kit.ts).
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import { systemRandom } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import type { ShortCode } from '../../crypto/short-auth.ts'
import { decode, encode, fixed, oneOf, struct, text, vector } from '../codec/struct.ts'
import { limits } from '../limits.ts'
import { joinAccount } from '../linking/join.ts'
import type { Joined } from '../linking/join.ts'
import { linkKeys, parseLinkCode } from '../linking/link-code.ts'
import type { Clock, KvStore } from '../ports.ts'
import { DeviceSession } from '../session/device-session.ts'
import { pageWays } from '../session/page-dialer.ts'
import { RacingDialer } from '../session/racing-dialer.ts'
import type { Way } from '../session/racing-dialer.ts'
import type { DeviceSessionApi } from '../session/types.ts'
import { systemClock } from '../system-clock.ts'
import { readAccount } from './account-state.ts'
import type { FileOpener } from './api.ts'
import { Client } from './client.ts'
import { silentClientLog } from './context.ts'
import type { ClientLog } from './context.ts'
import { HomeWays } from './home-ways.ts'
import { keys } from './keys.ts'

/** A dialer for each address that can be dialled from here. @throws DOOR_ADDRESS */
export type WaysTo = (
  addresses: readonly string[],
  components: { readonly clock: Clock, readonly random: Random },
  keys: { readonly doorKey: Uint8Array, readonly own: DhKeyPair },
) => Way[]

/** What both calls take. */
export interface DeviceSurroundings {
  /** This device's own store: one device, one store. Wrap it in `sealedKv` to encrypt it. */
  readonly kv: KvStore
  /** How nodes are dialled. */
  readonly ways?: WaysTo
  readonly clock?: Clock
  readonly random?: Random
}

export interface LinkDeviceOptions extends DeviceSurroundings {
  /** `openim-link:…`, as the other device shows it; good for ten minutes. */
  readonly code: string
  /** Of this device, for people; contacts see it. 1 to 64 bytes. */
  readonly name: string
  /**
   * Where the node may be dialled besides what the code says: `ws://192.0.2.7:4483`. A code has room
   * for two addresses, and a page can only use those that begin with `ws`.
   */
  readonly addresses?: readonly string[]
  /**
   * Shows digits and pictures to the person, who says whether the other screen shows the same. Who
   * answers true without looking lets anybody in who saw the code first.
   */
  readonly compare: (shown: { readonly code: ShortCode, readonly name: string }) => Promise<boolean>
  readonly signal?: AbortSignal
}

export interface OpenDeviceOptions extends DeviceSurroundings {
  /** In place of the addresses that the node said, when this device was linked and since. */
  readonly addresses?: readonly string[]
  /** In place of the door key (32 bytes) that came with the link code. */
  readonly doorKey?: Uint8Array
  readonly log?: ClientLog
  /** So that transfers of files go on after a restart. */
  readonly files?: FileOpener
  /** Called at the start; what it gives is called when the client was stopped. */
  readonly hold?: () => () => void
}

interface Home {
  readonly version: 1
  readonly doorKey: Uint8Array
  readonly addresses: string[]
}

const homeCodec = struct<Home>({
  version: oneOf([1], 'home record version'),
  doorKey: fixed(32),
  addresses: vector(text(limits.nodeAddressBytesMax), limits.homeAddressesMax),
})

/** Whether `linkDevice` was through with this store. @throws STORE_* */
export async function isLinked(kv: KvStore): Promise<boolean> {
  return await kv.get(keys.account) !== undefined
}

/**
 * Makes this a device of the account whose code it is given. Settles when the account is stored here
 * and listed there; then `openDevice`.
 * @throws LINK_*, SHORT_AUTH_*, ACCOUNT_EXISTS, DOOR_ADDRESS, STORE_*
 */
export async function linkDevice(options: LinkDeviceOptions): Promise<Joined> {
  const { kv, name, compare, signal, addresses = [] } = options
  const { ways, ...components } = surroundings(options)
  const code = parseLinkCode(options.code)
  if (!code.ok) throw new OpenIMError(code.code, code.detail ?? 'the link code cannot be used')
  if (await isLinked(kv)) {
    throw new OpenIMError('ACCOUNT_EXISTS', 'this store holds an account already: take an empty one')
  }
  const { doorKey, hints } = code.value
  const { guestKeys } = linkKeys(code.value)
  const known = [...addresses, ...hints]
  const dialer = new RacingDialer(components, ways(known, components, { doorKey, own: guestKeys }))
  const joined = await joinAccount(components, {
    code: code.value,
    dialer,
    name,
    compare,
    async store({ secrets, package: bytes }) {
      // Before the account: a device without a home would be lost, a home without one is nothing.
      await writeHome(kv, { doorKey, addresses: known })
      await Client.createLinked({ kv, ...components, secrets, package: bytes })
    },
    ...signal === undefined ? {} : { signal },
  })
  await writeHome(kv, { doorKey, addresses: [...addresses, ...joined.doors] })
  return joined
}

/**
 * The device of this store, started: it connects by itself and keeps trying; `client.stop()` ends it.
 * Nothing of the network is waited for: what is sent meanwhile leaves later.
 * @throws ACCOUNT_MISSING (not linked yet), DOOR_ADDRESS, STORE_*, CODEC_*
 */
export async function openDevice(options: OpenDeviceOptions): Promise<Client> {
  const { kv, log, files } = options
  const { ways, ...components } = surroundings(options)
  const account = await readAccount(kv)
  const home = await readHome(kv)
  const doorKey = options.doorKey ?? home?.doorKey
  if (account === undefined || doorKey === undefined) {
    throw new OpenIMError('ACCOUNT_MISSING', 'there is no device in this store: link it first')
  }
  const addresses = options.addresses ?? home?.addresses ?? []
  const own = account.linkKeys
  const homeWays = new HomeWays({ ...components, log: log ?? silentClientLog }, {
    addresses,
    ways: (known) => ways(known, components, { doorKey, own }),
    // Who names the addresses means these.
    ...options.addresses === undefined
      ? { store: (known: readonly string[]) => writeHome(kv, { doorKey, addresses: [...known] }) }
      : {},
  })
  const client = await Client.open({
    kv,
    ...components,
    connect(listener) {
      const session = new DeviceSession({ ...components, dialer: homeWays }, homeWays.listener(listener))
      return held(session, options.hold)
    },
    ...log === undefined ? {} : { log },
  }, files === undefined ? {} : { files })
  await client.start()
  return client
}

function held(session: DeviceSessionApi, hold: OpenDeviceOptions['hold']): DeviceSessionApi {
  let release: (() => void) | undefined
  return {
    get online() { return session.online },
    start() {
      release ??= hold?.()
      session.start()
    },
    async stop() {
      await session.stop()
      release?.()
      release = undefined
    },
    send: (frame) => session.send(frame),
  }
}

function surroundings(
  { ways = pageWays, clock = systemClock, random = systemRandom }: DeviceSurroundings,
): { ways: WaysTo, clock: Clock, random: Random } {
  return { ways, clock, random }
}

async function readHome(kv: KvStore): Promise<Home | undefined> {
  const entry = await kv.get(keys.home)
  return entry === undefined ? undefined : decode(homeCodec, entry.value)
}

async function writeHome(kv: KvStore, home: Omit<Home, 'version'>): Promise<void> {
  const addresses = [...new Set(home.addresses)].slice(0, limits.homeAddressesMax)
  const value = encode(homeCodec, { version: 1, ...home, addresses })
  await kv.write([{ type: 'put', key: keys.home, value }])
}
