/**
 * The composition root of a linked device: the Client SDK alone, over its own sealed store and a
 * session with its account's node, by whichever of the node's addresses answers first. No overlay
 * and no doors: to other nodes it does not exist.
 *
 * ```text
 *   control socket ─► Client ─► DeviceSession ─► HomeWays ─► tcp, udp, ws, http2 … ─► the node
 *                       └─► sealed store
 * ```
 *
 * ```ts
 * const device = await LinkedDevice.open({ dataDir, keys, home, log })
 * await device.start()
 * ```
 */
import { join } from 'node:path'
import { OpenIMError } from '../crypto/errors.ts'
import { systemRandom } from '../crypto/random.ts'
import { readAccount } from '../protocol/client/account-state.ts'
import { Client } from '../protocol/client/client.ts'
import { HomeWays } from '../protocol/client/home-ways.ts'
import { DeviceSession } from '../protocol/session/device-session.ts'
import type { DeviceSessionApi, DeviceSessionListener } from '../protocol/session/types.ts'
import { systemClock } from '../protocol/system-clock.ts'
import { accountStatus, packageVersion } from './account-status.ts'
import type { BackupSummary } from './backup.ts'
import { waysTo } from './connectors/door-address.ts'
import { dataFiles } from './data-dir.ts'
import { examineDevice } from './device-doctor.ts'
import { diskFiles } from './disk-files.ts'
import { homeAddresses, readHome, writeHome } from './home-file.ts'
import type { Home } from './home-file.ts'
import type { DeviceKeys } from './keys-file.ts'
import { openNodeStore } from './node-store.ts'
import type { NodeStore } from './node-store.ts'
import type { Log, PeerInfo } from './ports.ts'
import type { DeviceReady, DeviceStatus, DoctorReport, HomeStatus, PingResult } from './status.ts'
import { openLevelStore } from './storage/level-store.ts'
import type { LevelStore } from './storage/level-store.ts'

export interface LinkedDeviceOptions {
  /** Absolute, exists with mode 0700, and is locked by the caller (`lockDataDir`). */
  readonly dataDir: string
  readonly keys: DeviceKeys
  readonly home: Home
  readonly log: Log
}

interface DeviceParts {
  readonly store: LevelStore
  readonly nodeStore: NodeStore
  readonly client: Client
  readonly way: WayHome
  readonly version: string
}

const system = { clock: systemClock, random: systemRandom }

export class LinkedDevice {
  readonly client: Client
  readonly #options: LinkedDeviceOptions
  readonly #parts: DeviceParts
  readonly #startedAtMs = systemClock.now()
  #stopping: Promise<void> | undefined

  /**
   * Opens the store; the node is not dialled yet.
   * @throws ACCOUNT_MISSING, ACCOUNT_CORRUPT, DOOR_ADDRESS, STORE_*
   */
  static async open(options: LinkedDeviceOptions): Promise<LinkedDevice> {
    const { dataDir, keys, home, log } = options
    const directory = join(dataDir, dataFiles.store)
    const store = await openLevelStore({ directory, clock: systemClock, log })
    try {
      const nodeStore = await openNodeStore({ ...system, store, dataKey: keys.dataKey, log })
      const account = await readAccount(nodeStore.account)
      if (account === undefined) throw new OpenIMError('ACCOUNT_MISSING', `there is no account in ${dataDir}`)
      const { doorKey } = home
      const way = new WayHome(new HomeWays({ ...system, log }, {
        addresses: home.addresses,
        ways: (addresses) => waysTo(addresses, system, { doorKey, own: account.linkKeys }),
        store: (addresses) => keepAddresses(dataDir, addresses),
      }))
      const client = await Client.open({
        ...system, log, kv: nodeStore.account, connect: (listener) => way.connect(listener),
      }, { files: diskFiles })
      return new LinkedDevice(options, { store, nodeStore, client, way, version: await packageVersion() })
    } catch (error) {
      await store.close()
      throw error
    }
  }

  private constructor(options: LinkedDeviceOptions, parts: DeviceParts) {
    this.#options = options
    this.#parts = parts
    this.client = parts.client
  }

  /** Settles before the node is reached: what is here can be read without it. */
  async start(): Promise<DeviceReady> {
    await this.client.start()
    const { address, deviceId } = await this.client.info()
    return { pid: process.pid, address, deviceId, home: this.#options.home.addresses }
  }

  /** Everything durable and closed. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    await this.client.stop()
    await this.#parts.store.close()
  }

  async status(): Promise<DeviceStatus> {
    const { client, way, version } = this.#parts
    const { dataDir } = this.#options
    const running = { client, clock: systemClock, dataDir, startedAtMs: this.#startedAtMs, version }
    const { deviceId, sync } = await client.info()
    return {
      role: 'device',
      ...await accountStatus(running),
      deviceId,
      home: way.status,
      ...sync === undefined ? {} : { sync },
    }
  }

  backup(): Promise<BackupSummary> {
    const what = 'a linked device is not backed up: link a new one in its place'
    return Promise.reject(new OpenIMError('ACCOUNT_LINKED', what))
  }

  async doctor(contact?: string): Promise<DoctorReport> {
    if (contact !== undefined) throw onlyNode('looks at the way to a contact')
    const { nodeStore, client } = this.#parts
    return await examineDevice({
      ...system,
      dataDir: this.#options.dataDir,
      home: this.#options.home,
      kv: nodeStore.store.kv,
      status: () => this.status(),
      damaged: () => nodeStore.damaged(),
      devices: () => client.devices(),
    })
  }

  peers(): PeerInfo[] {
    throw onlyNode('has links to other nodes')
  }

  async ping(_target: string): Promise<PingResult> {
    throw onlyNode('can ask another node')
  }
}

function onlyNode(what: string): OpenIMError {
  return new OpenIMError('ACCOUNT_LINKED', `this is a linked device: only the node of its account ${what}`)
}

/** Beside what a person wrote into `home.json` meanwhile. */
async function keepAddresses(dataDir: string, addresses: readonly string[]): Promise<void> {
  const { doorKey, addresses: known } = await readHome(dataDir)
  await writeHome(dataDir, { doorKey, addresses: homeAddresses([...addresses, ...known]) })
}

/** The session with the node, and what is known of the way to it. */
class WayHome {
  readonly #ways: HomeWays
  #isOnline = false
  #code: string | undefined

  constructor(ways: HomeWays) {
    this.#ways = ways
  }

  get status(): HomeStatus {
    const { addresses, preferred: address } = this.#ways
    if (this.#isOnline && address !== undefined) return { addresses, address }
    return this.#code === undefined ? { addresses } : { addresses, code: this.#code }
  }

  connect(listener: DeviceSessionListener): DeviceSessionApi {
    return new DeviceSession({ ...system, dialer: this.#ways }, this.#ways.listener({
      frame: (frame) => listener.frame(frame),
      reset: () => listener.reset(),
      state: (online, code, cause) => {
        this.#isOnline = online
        this.#code = code
        listener.state(online, code, cause)
      },
    }))
  }
}
