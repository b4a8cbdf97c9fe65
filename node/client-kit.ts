/**
 * `openim/client/node`: the Client SDK for programs on Node. All of `openim/client`, and what a page
 * has not: every transport by its address, a store on disk, files. docs/sdk.md shows how to use it.
 *
 * ```ts
 * const store = await openDeviceStore({ directory: 'bot-data' })
 * if (!await isLinked(store.kv)) await linkDevice({ kv: store.kv, code, name: 'bot', compare })
 * const client = await openDevice({ kv: store.kv })
 * ```
 */
import { systemRandom } from '../crypto/random.ts'
import type { Random } from '../crypto/random.ts'
import type { Client } from '../protocol/client/client.ts'
import { linkDevice as linkAnywhere, openDevice as openAnywhere } from '../protocol/client/device.ts'
import type { LinkDeviceOptions, OpenDeviceOptions } from '../protocol/client/device.ts'
import { sealedKv } from '../protocol/client/kv.ts'
import type { Joined } from '../protocol/linking/join.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import { systemClock } from '../protocol/system-clock.ts'
import { waysTo } from './connectors/door-address.ts'
import { diskFiles } from './disk-files.ts'
import { silentLog } from './ports.ts'
import type { Log } from './ports.ts'

export * from '../protocol/client/index.ts'
export { HTTP2Dialer } from './connectors/http2-dialer.ts'
export { TCPDialer } from './connectors/tcp-dialer.ts'
export { UDPDialer } from './connectors/udp-dialer.ts'
export { WSDialer } from './connectors/ws-dialer.ts'
export { diskFiles, openSink, openSource, sinkPlace } from './disk-files.ts'
export type { Log } from './ports.ts'
export { waysTo }

export interface DeviceStoreOptions {
  /** Made if missing, mode 0700; one device, one directory. */
  readonly directory: string
  /** 32 bytes: seals every record. Without it, who can read the directory can read the account. */
  readonly key?: Uint8Array
  readonly clock?: Clock
  readonly random?: Random
  /** Told of damage on the disk. */
  readonly log?: Log
}

export interface DeviceStore {
  readonly kv: KvStore
  /** After `client.stop()`. Idempotent. */
  close(): Promise<void>
}

/**
 * The embedded database (LevelDB) as the store of one device; it is synced before anything is said to
 * be stored.
 * @throws STORE_LOCKED (another process has it), STORE_CORRUPT, STORE_NEWER, STORE_FULL, STORE_IO
 */
export async function openDeviceStore(options: DeviceStoreOptions): Promise<DeviceStore> {
  const { directory, key, clock = systemClock, random = systemRandom, log = silentLog } = options
  const { openLevelStore } = await import('./storage/level-store.ts')
  const store = await openLevelStore({ directory, clock, log })
  const kv = key === undefined ? store.kv : sealedKv({ kv: store.kv, key, random })
  return { kv, close: () => store.close() }
}

/** As in `openim/client`, by every transport: `tcp`, `udp`, `ws`, `http`, `tls`, `wss`, `https`. */
export async function linkDevice(options: LinkDeviceOptions): Promise<Joined> {
  const release = holdProcess()
  try {
    return await linkAnywhere({ ways: waysTo, ...options })
  } finally {
    release()
  }
}

/**
 * As in `openim/client`, by every transport; transfers of files find their files by path. The process
 * lives until `client.stop()`.
 */
export function openDevice(options: OpenDeviceOptions): Promise<Client> {
  return openAnywhere({ ways: waysTo, files: diskFiles, hold: holdProcess, ...options })
}

/** Our timers keep no process alive, and while there is no way to the node there is no socket either. */
function holdProcess(): () => void {
  const { port1 } = new MessageChannel()
  // Listening is what holds.
  port1.onmessage = () => {}
  return () => port1.close()
}
