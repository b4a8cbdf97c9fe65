/**
 * The play behind "zero lost, zero doubled": a federation in which nodes crash and rejoin, packets
 * get lost and the network falls apart and heals, while people write to each other. In the end
 * everybody's inbox must hold exactly what was written to them, in order, and no state may ever
 * have been shown that was not true.
 */
import type { ClientEvent, MessageState } from '../../protocol/client/api.ts'
import type { MessageId } from '../../protocol/ids.ts'
import { randomInteger } from '../helpers/seeded-random.ts'
import { World } from './world.ts'
import type { SimNode } from './world.ts'

const minute = 60_000

export interface FederationOptions {
  readonly seed: number | string
  readonly nodes: number
  /** Pairs of people; each person has a node of their own. */
  readonly pairs: number
  /** Messages each person writes. */
  readonly messages: number
  /** Of packets; as many arrive twice. */
  readonly lossRate: number
  /** Share of nodes that crash and rejoin, some of them homes. */
  readonly churn: number
  readonly partitions: number
  /** Virtual time in which all of this happens. */
  readonly hectic: number
}

export interface FederationResult {
  readonly sent: number
  readonly received: number
  readonly lost: number
  readonly doubled: number
  readonly disordered: number
  /** States that were shown and were not true. */
  readonly untrue: number
  readonly crashes: number
  readonly virtualMs: number
  readonly timers: number
}

/** One side of a conversation. */
interface Line {
  readonly from: SimNode
  readonly to: SimNode
  readonly contact: string
  /** Texts whose `send` settled, in order. */
  readonly accepted: string[]
  /** Texts whose `send` was cut off by a crash: may or may not arrive. */
  readonly doubtful: Set<string>
}

export async function runFederation(options: FederationOptions): Promise<FederationResult> {
  const play = new Federation(options)
  try {
    await play.setUp()
    await play.beHectic()
    await play.calmDown()
    return await play.result()
  } finally {
    await play.world.end()
  }
}

class Federation {
  readonly world: World
  readonly #options: FederationOptions
  readonly #lines: Line[] = []
  /** What each receiver durably had, to hold shown states against. */
  readonly #shown = new Map<MessageId, MessageState>()
  readonly #textById = new Map<MessageId, { text: string, line: Line }>()
  #untrue = 0
  #crashes = 0

  constructor(options: FederationOptions) {
    this.#options = options
    const { seed, lossRate } = options
    this.world = new World({ seed, network: { latencyMs: [5, 120], lossRate, duplicateRate: lossRate } })
  }

  async setUp(): Promise<void> {
    const { world } = this
    const people = this.#options.pairs * 2
    for (let i = 0; i < this.#options.nodes; i++) {
      world.add({ name: `n${i}`, account: i >= 3 && i < 3 + people })
    }
    for (const node of world.nodes) await world.run(node.start(), 2 * minute)
    await world.clock.advance(30_000)
    const persons = world.nodes.slice(3, 3 + people)
    for (const node of persons) this.#watch(node)
    for (let i = 0; i < people; i += 2) await this.#introduce(persons[i]!, persons[i + 1]!)
  }

  async #introduce(a: SimNode, b: SimNode): Promise<void> {
    const { world } = this
    const { uri } = await world.run(a.client.invite(), 2 * minute)
    await world.run(b.client.add(uri, { name: a.name }), 2 * minute)
    await world.eventually(async () => {
      const [forward, backward] = [await a.client.contacts(), await b.client.contacts()]
      return forward[0]?.state === 'active' && backward[0]?.state === 'active' ? true : undefined
    }, { withinMs: 10 * minute, what: `${a.name} and ${b.name} know each other` })
    this.#lines.push({ from: a, to: b, contact: b.name, accepted: [], doubtful: new Set() })
    this.#lines.push({ from: b, to: a, contact: a.name, accepted: [], doubtful: new Set() })
  }

  /** Remembers every state that is shown, across restarts of the client. */
  #watch(node: SimNode): void {
    node.client.on((event: ClientEvent) => {
      if (event.type !== 'status') return
      const { id, state, stored } = event.status
      this.#shown.set(id, state)
      if (state === 'stored' && (stored.have < stored.want || stored.want < 1)) this.#untrue++
    })
  }

  /** Messages, crashes and partitions at random moments. */
  async beHectic(): Promise<void> {
    const { world } = this
    const { random, clock } = world
    const { hectic, churn, partitions, messages } = this.#options
    const events: { atMs: number, run: () => void | Promise<void> }[] = []
    for (const line of this.#lines) {
      for (let i = 0; i < messages; i++) {
        events.push({ atMs: randomInteger(random, hectic), run: () => this.#write(line) })
      }
    }
    // The first three are how a lost node finds back; everybody else may go.
    const mortal = world.nodes.slice(3)
    for (let i = 0; i < Math.round(churn * world.nodes.length); i++) {
      const node = mortal.splice(randomInteger(random, mortal.length), 1)[0]!
      const atMs = randomInteger(random, hectic * 0.8)
      const awayMs = minute / 2 + randomInteger(random, 9 * minute)
      events.push({ atMs, run: () => this.#crash(node) })
      events.push({ atMs: atMs + awayMs, run: () => this.#rejoin(node) })
    }
    for (let i = 0; i < partitions; i++) {
      const atMs = Math.floor(((i + 0.3) / partitions) * hectic)
      const apartMs = 2 * minute + randomInteger(random, 2 * minute)
      events.push({ atMs, run: () => this.#split() })
      events.push({ atMs: atMs + apartMs, run: () => world.network.heal() })
    }
    events.sort((a, b) => a.atMs - b.atMs)
    const startMs = clock.monotonicMs()
    for (const event of events) {
      await clock.runUntil(Math.max(clock.monotonicMs(), startMs + event.atMs))
      await event.run()
    }
  }

  #split(): void {
    const { world } = this
    const left: SimNode[] = []
    const right: SimNode[] = []
    for (const node of world.nodes) (randomInteger(world.random, 2) === 0 ? left : right).push(node)
    world.network.partition([left.map((node) => node.nodeId), right.map((node) => node.nodeId)])
  }

  #crash(node: SimNode): void {
    if (!node.isRunning) return
    node.crash()
    this.#crashes++
  }

  /** Not awaited: a node that starts during a partition takes its time. */
  #rejoin(node: SimNode): void {
    if (node.isRunning) return
    node.start().then(() => { if (node.hasClient) this.#watch(node) }, () => {})
  }

  /** Writes a text when the writer's node runs; a crash on the way makes it doubtful. */
  #write(line: Line): void {
    if (!line.from.isRunning || !line.from.hasClient) return
    const text = `${line.from.name} to ${line.to.name} number ${line.accepted.length + line.doubtful.size}`
    line.doubtful.add(text)
    line.from.client.send(line.contact, text).then((status) => {
      line.doubtful.delete(text)
      line.accepted.push(text)
      this.#textById.set(status.id, { text, line })
    }, () => {})
  }

  /** Everybody is back and the network is whole: now everything must arrive. */
  async calmDown(): Promise<void> {
    const { world } = this
    world.network.heal()
    for (const node of world.nodes) this.#rejoin(node)
    await world.clock.advance(minute)
    await world.eventually(async () => {
      for (const line of this.#lines) {
        const received = await this.#received(line)
        if (line.accepted.some((text) => !received.includes(text))) return undefined
      }
      return true
    }, { withinMs: 3 * 60 * minute, everyMs: 20_000, what: 'everything arrived' }).catch(() => undefined)
    // Doubles would come late.
    await world.clock.advance(15 * minute)
  }

  async #received(line: Line): Promise<string[]> {
    const texts: string[] = []
    const contact = line.from.name
    let after = 0
    for (;;) {
      const page = await line.to.client.history({ after, limit: 1_000, contact, direction: 'in' })
      texts.push(...page.map((entry) => entry.text))
      if (page.length < 1_000) return texts
      after = page.at(-1)!.cursor
    }
  }

  async result(): Promise<FederationResult> {
    let sent = 0
    let received = 0
    let lost = 0
    let doubled = 0
    let disordered = 0
    for (const line of this.#lines) {
      const texts = await this.world.run(this.#received(line))
      const accepted = texts.filter((text) => !line.doubtful.has(text))
      sent += line.accepted.length
      received += texts.length
      lost += line.accepted.filter((text) => !texts.includes(text)).length
      doubled += texts.length - new Set(texts).size
      const order = line.accepted.filter((text) => texts.includes(text))
      if (order.some((text, i) => text !== accepted[i])) disordered++
    }
    for (const [id, state] of this.#shown) {
      const known = this.#textById.get(id)
      if (known === undefined || (state !== 'delivered' && state !== 'read')) continue
      const texts = await this.world.run(this.#received(known.line))
      if (!texts.includes(known.text)) this.#untrue++
    }
    const { clock } = this.world
    return {
      sent, received, lost, doubled, disordered, untrue: this.#untrue,
      crashes: this.#crashes, virtualMs: clock.monotonicMs(), timers: clock.fired,
    }
  }
}

