/**
 * A household in the simulated network: several node processes over one disk, each of which may
 * crash, sleep and come back, and devices that log in at whichever they find. Every process has a
 * network identity and a database connection of its own; what they share is what they would share
 * in life: the database, the data key and the door key.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { accountRootSeed } from '../../crypto/recovery.ts'
import { formatAddress } from '../../protocol/address.ts'
import { createAccount, readAccount } from '../../protocol/client/account-state.ts'
import { Client } from '../../protocol/client/client.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { KvTable } from '../../protocol/memory-kv.ts'
import type { Clock, MessageLink, Timer } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import { DeviceSession } from '../../protocol/session/device-session.ts'
import { LoopbackConnector } from '../../node/connectors/loopback-connector.ts'
import { openHostedAccount } from '../../node/hosted-account.ts'
import { HostedSeat } from '../../node/hosted-seat.ts'
import { NodeCore } from '../../node/node-core.ts'
import { openNodeStore } from '../../node/node-store.ts'
import { MemoryOverlay } from '../../node/overlay/memory-overlay.ts'
import { PieceTable } from '../../node/storage/memory-pieces.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { MailTable } from '../../node/storage/memory-tables.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import type { World } from './world.ts'

const syncDelayMs = 3
const lentBytesMax = 64 * 1024 * 1024

/** A clock whose timers do not fire while its process sleeps; time passes all the same. */
class SleepyClock implements Clock {
  readonly #clock: Clock
  #late: (() => void)[] | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    let isCancelled = false
    const fire = (): void => {
      if (isCancelled) return
      if (this.#late === undefined) callback()
      else this.#late.push(fire)
    }
    const timer = this.#clock.after(delayMs, fire)
    return {
      cancel() {
        isCancelled = true
        timer.cancel()
      },
    }
  }

  sleep(): void {
    this.#late ??= []
  }

  wake(): void {
    const late = this.#late ?? []
    this.#late = undefined
    for (const fire of late) fire()
  }
}

interface Running {
  readonly core: NodeCore
  readonly seat: HostedSeat
  readonly loopback: LoopbackConnector
  readonly store: MemoryStore
}

/** One node process, across its crashes and restarts. */
export class HouseProcess {
  readonly name: string
  readonly nodeId: NodeId
  readonly clock: SleepyClock
  readonly #house: House
  readonly #seed: Uint8Array
  #running: Running | undefined
  #late: (() => void)[] = []
  isAsleep = false

  constructor(house: House, name: string) {
    this.name = name
    this.#house = house
    this.#seed = house.world.random.bytes(32)
    this.nodeId = nodeIdFromKey(crypto.signingKeyPair(this.#seed).publicKey)
    this.clock = new SleepyClock(house.world.clock)
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  get core(): NodeCore {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.core
  }

  get loopback(): LoopbackConnector {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.loopback
  }

  /** Of the household's hosted account. */
  get seat(): HostedSeat {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.seat
  }

  get store(): MemoryStore {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.store
  }

  async start(): Promise<void> {
    const { world, dataKey, doorSecret, disk } = this.#house
    const { clock, nodeId } = this
    const { network, random, log } = world
    const bootstrap = world.nodes.slice(0, 3).map((node) => `/memory/${node.nodeId}`)
    const overlay = new MemoryOverlay({ network, nodeId, log }, { bootstrap })
    this.#loseHints(overlay)
    const store = new MemoryStore({ clock, random }, { syncDelayMs }, disk)
    const nodeStore = await openNodeStore({ store, dataKey, clock, log, random: seededRandom(this.name) })
    const loopback = new LoopbackConnector({ clock })
    const core = await NodeCore.open({
      overlay,
      store: nodeStore.store,
      connectors: [loopback],
      clock,
      random,
      log,
      nodeKeys: crypto.signingKeyPair(this.#seed),
      doorKey: crypto.dhKeyPair(doorSecret),
    }, { roles: ['storage'], lentBytesMax, household: true })
    const { entropy, address } = this.#house
    const seat = new HostedSeat({
      clock,
      household: core.household!,
      corner: (fence) => nodeStore.accountUnder(fence),
      log,
      open: (kv) => openHostedAccount({
        kv, clock, random, log, loopback, register: (account, key) => core.accounts.register(account, key),
      }, { name: 'house', entropy, hint: () => undefined }),
    }, { address })
    this.#running = { core, seat, loopback, store }
    await core.start()
  }

  #loseHints(overlay: MemoryOverlay): void {
    const call = overlay.call.bind(overlay)
    overlay.call = async (to, service, body, options) => {
      if (service === services.householdHint && this.#house.losesHint()) {
        return { ok: true, value: new Uint8Array() }
      }
      return await call(to, service, body, options)
    }
  }

  async stop(): Promise<void> {
    const running = this.#running
    if (running === undefined) return
    this.wake()
    this.#running = undefined
    await running.seat.stop()
    await running.core.stop()
    await running.store.close()
  }

  /** kill -9, and the connection to the database with it. */
  crash(): void {
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    this.isAsleep = false
    this.#late = []
    running.store.crash()
    this.#house.world.network.crash(this.nodeId)
    void running.seat.stop().catch(() => {})
    void running.core.stop().catch(() => {})
    this.clock.wake()
  }

  /** As SIGSTOP: what it had asked of the database is done when it wakes. */
  sleep(): void {
    if (!this.isRunning || this.isAsleep) return
    this.isAsleep = true
    this.clock.sleep()
    this.#house.isolate()
  }

  wake(): void {
    if (!this.isAsleep) return
    this.isAsleep = false
    this.#house.isolate()
    for (const deliver of this.#late.splice(0)) deliver()
    this.clock.wake()
  }

  /** What reaches it on a line while it sleeps waits in its sockets. */
  whenAwake(deliver: () => void): void {
    if (this.isAsleep) this.#late.push(deliver)
    else deliver()
  }
}

export class House {
  readonly world: World
  readonly processes: HouseProcess[]
  readonly dataKey: Uint8Array
  readonly doorSecret: Uint8Array
  readonly entropy: Uint8Array
  /** Of the hosted account. */
  readonly address: string
  readonly disk = { mail: new MailTable(), pieces: new PieceTable(), kv: new KvTable() }
  readonly #hintLossRate: number

  constructor(world: World, options: { processes: number, hintLossRate?: number }) {
    this.world = world
    this.dataKey = world.random.bytes(32)
    this.doorSecret = world.random.bytes(32)
    this.entropy = world.random.bytes(32)
    this.address = formatAddress(crypto.signingKeyPair(accountRootSeed(this.entropy)).publicKey)
    this.#hintLossRate = options.hintLossRate ?? 0
    this.processes = Array.from({ length: options.processes }, (_, i) => new HouseProcess(this, `p${i}`))
  }

  /** Processes that answer. */
  get awake(): HouseProcess[] {
    return this.processes.filter((process) => process.isRunning && !process.isAsleep)
  }

  losesHint(): boolean {
    return randomInteger(this.world.random, 1_000) < this.#hintLossRate * 1_000
  }

  isolate(): void {
    const { network } = this.world
    const asleep = this.processes.filter((process) => process.isAsleep).map(({ nodeId }) => nodeId)
    if (asleep.length === 0) network.heal()
    else network.partition([asleep, network.nodes().filter((nodeId) => !asleep.includes(nodeId))])
  }

  async end(): Promise<void> {
    for (const process of this.processes) await this.world.run(process.stop(), 120_000)
    await this.world.end()
  }
}

/** A process that sleeps neither hears nor answers, or its devices would never go elsewhere. */
function lineTo(process: HouseProcess, link: MessageLink): MessageLink {
  return {
    transport: link.transport,
    get bufferedBytes() { return link.bufferedBytes },
    send: (message) => process.whenAwake(() => link.send(message)),
    pause: () => link.pause(),
    resume: () => link.resume(),
    close: (code) => link.close(code),
    listen: (listener) => link.listen({
      message: (message) => process.whenAwake(() => listener.message(message)),
      drain: () => listener.drain(),
      closed: (code) => listener.closed(code),
    }),
  }
}

/** A phone with a client of its own, at home at the household. */
export class HouseDevice {
  readonly name: string
  readonly #house: House
  readonly #store: MemoryStore
  /** Where it is logged in, or was last. */
  at: HouseProcess | undefined
  client!: Client

  constructor(house: House, name: string) {
    this.name = name
    this.#house = house
    this.#store = new MemoryStore({ clock: house.world.clock, random: house.world.random })
  }

  async on(): Promise<void> {
    const { clock, random } = this.#house.world
    const { kv } = this.#store
    const account = await readAccount(kv)
      ?? await createAccount({ kv, clock, random, name: this.name, entropy: random.bytes(32) })
    const linkKey = account.linkKeys.publicKey
    await this.#house.awake[0]!.core.accounts.register(account.address, linkKey)
    this.client = await Client.open({
      kv, clock, random,
      connect: (listener) => new DeviceSession({
        clock,
        random,
        dialer: {
          dial: async (signal) => {
            const { awake } = this.#house
            this.at = awake[randomInteger(random, awake.length || 1)]
            if (this.at === undefined) throw new OpenIMError('LINK_UNREACHABLE', 'nobody is at home')
            return lineTo(this.at, await this.at.loopback.dialer(linkKey).dial(signal))
          },
        },
      }, listener),
    })
    await this.client.start()
  }

  /** What arrived from its contact, in the order of its history. */
  async received(): Promise<string[]> {
    const history = await this.client.history({ limit: 1_000 })
    return history.filter(({ direction }) => direction === 'in').map(({ text }) => text)
  }
}
