/**
 * A whole network of openIM nodes in one process, in virtual time, from one seed: real rooms, real
 * cryptography, real clients, over a memory network that delays, loses and cuts, and memory stores
 * that forget what was not synced when a node crashes.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import type { FileOpener } from '../../protocol/client/api.ts'
import type { Client } from '../../protocol/client/client.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Role } from '../../protocol/node-descriptor.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import type { KvStore } from '../../protocol/ports.ts'
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { HostedAccounts } from '../../node/hosted-accounts.ts'
import { NodeCore } from '../../node/node-core.ts'
import { openNodeStore } from '../../node/node-store.ts'
import type { NodeStore } from '../../node/node-store.ts'
import type { MemoryNetworkOptions } from '../../node/overlay/memory-network.ts'
import { MemoryNetwork } from '../../node/overlay/memory-network.ts'
import { MemoryOverlay } from '../../node/overlay/memory-overlay.ts'
import { silentLog } from '../../node/ports.ts'
import type { Log } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const defaultNetwork: MemoryNetworkOptions = { latencyMs: [5, 60] }
const syncDelayMs = 3
const lentBytesMaxDefault = 64 * 1024 * 1024

export interface SimNodeOptions {
  readonly name: string
  /** Has an account of its own; others only serve. */
  readonly account: boolean
  readonly roles?: readonly Role[]
  /** Where transfers of files find their files after a restart. */
  readonly files?: FileOpener
  /** What it stores for others; 64 MiB unless said otherwise. */
  readonly lentBytesMax?: number
}

interface Running {
  readonly overlay: MemoryOverlay
  readonly core: NodeCore
  readonly client: Client | undefined
  readonly nodeStore: NodeStore
  readonly loopback: LoopbackConnector
  readonly hosted: HostedAccounts
}

/** One node of the world, across its crashes and restarts. */
export class SimNode {
  readonly name: string
  readonly nodeId: NodeId
  readonly #world: World
  readonly #options: SimNodeOptions
  readonly #seed: Uint8Array
  readonly #doorSecret: Uint8Array
  readonly #dataKey: Uint8Array
  readonly #entropy: Uint8Array
  #store: MemoryStore
  #running: Running | undefined
  #starting = false

  constructor(world: World, options: SimNodeOptions) {
    const { random } = world
    this.name = options.name
    this.#world = world
    this.#options = options
    this.#seed = random.bytes(32)
    this.#doorSecret = random.bytes(32)
    this.#dataKey = random.bytes(32)
    this.#entropy = random.bytes(32)
    this.nodeId = nodeIdFromKey(crypto.signingKeyPair(this.#seed).publicKey)
    this.#store = new MemoryStore({ clock: world.clock, random }, { syncDelayMs })
  }

  get isRunning(): boolean {
    return this.#running !== undefined || this.#starting
  }

  get core(): NodeCore {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.core
  }

  get overlay(): MemoryOverlay {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.overlay
  }

  /** How further devices of the account come in. */
  dialer(linkKey: Uint8Array): Dialer {
    return {
      dial: (signal) => {
        const loopback = this.#running?.loopback
        if (loopback === undefined) throw new OpenIMError('LINK_UNREACHABLE', `${this.name} is not running`)
        return loopback.dialer(linkKey).dial(signal)
      },
    }
  }

  get client(): Client {
    const client = this.#running?.client
    if (client === undefined) throw new Error(`${this.name} has no client running`)
    return client
  }

  /** Accounts of others that it hosts. */
  get hosted(): HostedAccounts {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.hosted
  }

  /** Names of records that were found damaged. */
  async damaged(): Promise<string[]> {
    const found = await this.#running?.nodeStore.damaged() ?? []
    return found.map(({ name }) => name)
  }

  get hasClient(): boolean {
    return this.#running?.client !== undefined
  }

  get store(): MemoryStore {
    return this.#store
  }

  async start(): Promise<void> {
    this.#starting = true
    const { clock, network, log, random } = this.#world
    const bootstrap = this.#world.bootstrapFor(this)
    const overlay = new MemoryOverlay({ network, nodeId: this.nodeId, log }, { bootstrap })
    const loopback = new LoopbackConnector({ clock })
    const nodeStore = await openNodeStore({
      store: this.#store, dataKey: this.#dataKey, clock, log, random: seededRandom(`store of ${this.name}`),
    })
    const core = await NodeCore.open({
      overlay,
      store: nodeStore.store,
      connectors: [loopback],
      clock,
      random,
      log,
      nodeKeys: crypto.signingKeyPair(this.#seed),
      doorKey: crypto.dhKeyPair(this.#doorSecret),
    }, {
      roles: this.#options.roles ?? ['storage'],
      lentBytesMax: this.#options.lentBytesMax ?? lentBytesMaxDefault,
    })
    const { account } = nodeStore
    const own = { name: this.name, entropy: this.#entropy }
    const client = this.#options.account
      ? await this.#openClient(core, { kv: account, loopback, account: own })
      : undefined
    const hosted = new HostedAccounts({
      clock, random, log, nodeStore, household: undefined,
      openClient: (kv, given) => this.#openClient(core, { kv, loopback, account: given }),
      deregister: (address) => core.accounts.deregister(address),
    })
    this.#running = { overlay, core, client, nodeStore, loopback, hosted }
    this.#starting = false
    await core.start()
    await client?.start()
  }

  async #openClient(
    core: NodeCore,
    { kv, loopback, account }: {
      kv: KvStore, loopback: LoopbackConnector, account: { name: string, entropy: Uint8Array },
    },
  ): Promise<Client> {
    const { openHostedAccount } = await import('../../node/hosted-account.ts')
    const { clock, random, log } = this.#world
    const { files } = this.#options
    return openHostedAccount({
      kv,
      clock,
      random,
      log,
      loopback,
      register: (address, deviceKey) => core.accounts.register(address, deviceKey),
    }, {
      ...account,
      hint: () => undefined,
      ...files === undefined ? {} : { files },
    })
  }

  /** Orderly. */
  async stop(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    await running.hosted.stop()
    await running.client?.stop()
    await running.core.stop()
    await this.#store.close()
    this.#store = this.#store.reopen()
  }

  /** Power cut: what was not synced is gone, nobody is told. */
  crash(): void {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    this.#store.crash()
    this.#world.network.crash(this.nodeId)
    // What still runs of the dead process must not reach anything: its store and network are gone.
    void running.hosted.stop().catch(() => {})
    void running.client?.stop().catch(() => {})
    void running.core.stop().catch(() => {})
    this.#store = this.#store.reopen()
  }
}

export class World {
  readonly clock = new VirtualClock()
  readonly random: Random
  readonly network: MemoryNetwork
  readonly log: Log
  readonly nodes: SimNode[] = []

  constructor(options: { seed: number | string, network?: Partial<MemoryNetworkOptions>, log?: Log }) {
    this.random = seededRandom(options.seed)
    this.network = new MemoryNetwork(this, { ...defaultNetwork, ...options.network })
    this.log = options.log ?? silentLog
  }

  add(options: SimNodeOptions): SimNode {
    const node = new SimNode(this, options)
    this.nodes.push(node)
    return node
  }

  /** The first nodes are known to all others, as in a real federation. */
  bootstrapFor(node: SimNode): string[] {
    return this.nodes.slice(0, 3).filter((other) => other !== node).map((other) => `/memory/${other.nodeId}`)
  }

  /** Lets virtual time pass until the promise settles. */
  run<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    return this.clock.until(promise, { withinMs })
  }

  /** Asks every `everyMs` of virtual time. */
  async eventually<T>(
    probe: () => Promise<T | undefined> | T | undefined,
    options: { withinMs: number, what: string, everyMs?: number },
  ): Promise<T> {
    const endMs = this.clock.monotonicMs() + options.withinMs
    for (;;) {
      const value = await this.run(Promise.resolve(probe()))
      if (value !== undefined) return value
      if (this.clock.monotonicMs() > endMs) {
        throw new Error(`not within ${options.withinMs} ms of virtual time: ${options.what}`)
      }
      await this.clock.advance(options.everyMs ?? 500)
    }
  }

  /** Stops every node, so that nothing is left running. */
  async end(): Promise<void> {
    for (const node of this.nodes) if (node.isRunning) await this.run(node.stop(), 120_000)
  }
}
