/**
 * People with clients over a `ClientNetwork`: each has a node, a store that forgets what was not
 * synced when it crashes, and a log of everything the app was told.
 */
import { MemoryStore } from '../../node/storage/memory-store.ts'
import type { ClientEvent, Contact, HistoryEntry } from '../../protocol/client/api.ts'
import { hex } from '../../crypto/bytes.ts'
import { parseAddress } from '../../protocol/address.ts'
import { readAccount } from '../../protocol/client/account-state.ts'
import { Client } from '../../protocol/client/client.ts'
import type { ClientLog } from '../../protocol/client/context.ts'
import { makeDeviceRequest } from '../../protocol/client/linked-account.ts'
import type { Clock, KvOperation, KvStore, Timer } from '../../protocol/ports.ts'
import type { Random } from '../../crypto/random.ts'
import { ClientNetwork } from './client-network.ts'
import type { TestNode } from './client-network.ts'
import type { TestSession } from './client-session.ts'
import { seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

const syncDelayMs = 2

export class World {
  readonly clock = new VirtualClock()
  readonly network: ClientNetwork
  readonly people: Person[] = []
  readonly seed: string

  constructor(seed: string) {
    this.seed = seed
    this.network = new ClientNetwork(this.clock, seed)
    // Five nodes that only hold for others.
    for (let i = 0; i < 5; i++) this.network.node(`${seed} replica ${i}`)
  }

  get replicas(): TestNode[] {
    return [...this.network.nodes.values()].slice(0, 5)
  }

  async person(name: string): Promise<Person> {
    const person = new Person(this, name)
    this.people.push(person)
    await this.run(person.begin())
    return person
  }

  /** A further device of somebody. */
  async device(of: Person, name: string): Promise<Person> {
    const device = new Person(this, name, of.node)
    this.people.push(device)
    await this.run(device.beginLinked(of.client))
    return device
  }

  /** Two people who are contacts of each other. */
  async pair(): Promise<[Person, Person]> {
    const alice = await this.person('Alice')
    const bob = await this.person('Bob')
    await this.meet(alice, bob)
    return [alice, bob]
  }

  async meet(inviter: Person, adder: Person): Promise<void> {
    const { uri } = await this.run(inviter.client.invite())
    await this.run(adder.client.add(uri))
    await this.until(async () => {
      const known = [...await inviter.client.contacts(), ...await adder.client.contacts()]
      return known.length > 1 && known.every((contact) => contact.state === 'active')
    })
  }

  /** Lets virtual time pass until `promise` settles. */
  run<T>(promise: Promise<T>, withinMs = 120_000): Promise<T> {
    return this.clock.until(promise, { withinMs })
  }

  async until(
    condition: () => boolean | Promise<boolean>,
    options: { withinMs?: number, stepMs?: number } = {},
  ): Promise<void> {
    const { withinMs = 120_000, stepMs = 100 } = options
    for (let passedMs = 0; !await condition(); passedMs += stepMs) {
      if (passedMs > withinMs) throw new Error(`not within ${withinMs} ms of virtual time: ${condition}`)
      await this.clock.advance(stepMs)
    }
  }

  async end(): Promise<void> {
    await this.run(Promise.all(this.people.map((person) => person.client.stop())))
  }
}

/** One device of somebody; the first is their primary. */
export class Person {
  readonly name: string
  readonly node: TestNode
  readonly events: ClientEvent[] = []
  readonly warnings: string[] = []
  crashes = 0
  /** Called before each write; for crashes at exact places. */
  beforeWrite: () => void = () => {}
  /** A write waits for what this gives; for changes that take their time. */
  slowWrite: (operations: readonly KvOperation[]) => Promise<void> | undefined = () => undefined
  readonly #world: World
  readonly #random: Random
  #store: MemoryStore
  #client: Client | undefined
  #life: Life
  #isAlive = false
  #linkKey = ''

  constructor(world: World, name: string, node?: TestNode) {
    this.#world = world
    this.name = name
    this.node = node ?? world.network.node(`${world.seed} home of ${name}`)
    this.node.replicas = world.replicas.map((node) => node.nodeId)
    this.#random = seededRandom(`${world.seed} ${name}`)
    this.#store = new MemoryStore({ clock: world.clock, random: this.#random }, { syncDelayMs })
    this.#life = new Life(world.clock)
  }

  get client(): Client {
    if (this.#client === undefined) throw new Error(`${this.name} has no client yet`)
    return this.#client
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get store(): MemoryStore {
    return this.#store
  }

  async begin(): Promise<void> {
    await Client.create({ kv: this.#store.kv, clock: this.#life, random: this.#random, name: this.name })
    await this.open()
  }

  /** Links this person's store, which is empty, as a further device of somebody's account. */
  async beginLinked(primary: Client): Promise<void> {
    const { address } = await primary.info()
    const rootKey = parseAddress(address)
    if (!rootKey.ok) throw new Error(rootKey.code)
    const random = this.#random
    const { secrets, request } = makeDeviceRequest({ random, rootKey: rootKey.value, name: this.name })
    const answer = await primary.certify(request)
    const { kv } = this.#store
    await Client.createLinked({ kv, clock: this.#life, random, secrets, package: answer })
    await this.open()
  }

  /** Goes on from somebody's records at another home, as `prepare` leaves them. */
  async beginFrom(
    records: readonly { key: string, value: Uint8Array }[],
    prepare: (input: { kv: KvStore, random: Random }) => Promise<unknown> = async () => {},
  ): Promise<void> {
    const { kv } = this.#store
    await kv.write(records.map((record) => ({ type: 'put', ...record })))
    await prepare({ kv, random: this.#random })
    await this.open()
  }

  /** Its session with the node. */
  get session(): TestSession | undefined {
    return this.node.sessionOf(this.#linkKey)
  }

  /** A client over the store as it is. */
  async open(): Promise<void> {
    const log: ClientLog = {
      debug: () => {},
      warn: (fields, message) => { this.warnings.push(`${message} ${JSON.stringify(fields, errorText)}`) },
    }
    const account = await readAccount(this.#store.kv)
    this.#linkKey = account === undefined ? '' : hex(account.linkKeys.publicKey)
    const client = await Client.open({
      kv: this.#kv(), clock: this.#life, random: this.#random, log,
      connect: (listener) => this.node.connect(listener, this.#linkKey),
    })
    client.on((event) => this.events.push(event))
    this.#client = client
    await client.start()
    this.#isAlive = true
  }

  /** The process dies, with what was not synced; nothing of it runs on. */
  crash(): void {
    this.crashes++
    this.#isAlive = false
    this.#life.end()
    this.session?.abandon()
    this.#store.crash()
  }

  async recover(): Promise<void> {
    this.#store = this.#store.reopen()
    this.#life = new Life(this.#world.clock)
    await this.open()
  }

  /** Changes one record while the process is down, and goes on from there. */
  async rewrite(key: string, value: Uint8Array): Promise<void> {
    this.crash()
    this.#store = this.#store.reopen()
    await this.#store.kv.write([{ type: 'put', key, value }])
    this.#life = new Life(this.#world.clock)
    await this.open()
  }

  /** All records, as a backup would hold them. */
  async backup(): Promise<{ key: string, value: Uint8Array }[]> {
    return (await this.#store.kv.list({ prefix: '' })).map(({ key, value }) => ({ key, value }))
  }

  /** Goes on from an older state. */
  async restore(records: readonly { key: string, value: Uint8Array }[]): Promise<void> {
    this.crash()
    this.#store = this.#store.reopen()
    const now = await this.#store.kv.list({ prefix: '' })
    await this.#store.kv.write([
      ...now.map(({ key }) => ({ type: 'delete', key }) as const),
      ...records.map((record) => ({ type: 'put', ...record }) as const),
    ])
    this.#life = new Life(this.#world.clock)
    await this.open()
  }

  async incoming(): Promise<HistoryEntry[]> {
    const entries: HistoryEntry[] = []
    for (let after = 0; ;) {
      const page = await this.client.history({ after, direction: 'in' })
      entries.push(...page)
      const last = page.at(-1)
      if (last === undefined) return entries
      after = last.cursor
    }
  }

  async only(): Promise<Contact> {
    const contacts = await this.client.contacts()
    if (contacts.length !== 1) throw new Error(`${this.name} has ${contacts.length} contacts`)
    return contacts[0]!
  }

  #kv(): KvStore {
    const { kv } = this.#store
    return {
      get: (key) => kv.get(key),
      list: (range) => kv.list(range),
      write: async (operations) => {
        this.beforeWrite()
        const slow = this.slowWrite(operations)
        if (slow !== undefined) await slow
        return await kv.write(operations)
      },
      expire: (nowMs, budget) => kv.expire(nowMs, budget),
    }
  }
}

/** The clock of one process: after its death no timer fires. */
class Life implements Clock {
  readonly #clock: Clock
  #isOver = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  end(): void {
    this.#isOver = true
  }

  now(): number {
    return this.#clock.now()
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#clock.after(delayMs, () => {
      if (!this.#isOver) callback()
    })
  }
}

function errorText(_key: string, value: unknown): unknown {
  return value instanceof Error ? `${value.message} ${value.stack?.split('\n')[1]}` : value
}
