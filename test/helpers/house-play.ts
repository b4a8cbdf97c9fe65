/**
 * The play of the household: devices on the Client SDK write to each other and to somebody
 * elsewhere, while processes of the household are killed one after the other, and its database is.
 *
 * ```text
 *   devices (here) ─► door of one process at random ─┐
 *                     process 1   process 2   process 3 ◄─► a node of somebody else
 *                         └──── one database ────┘
 * ```
 *
 * In pairs, and the last ones each with the person elsewhere: everybody writes to one contact. In
 * the end each history holds what was written to it, once and in order.
 */
import { systemRandom } from '../../crypto/random.ts'
import { waysTo } from '../../node/connectors/door-address.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import type { ControlClient } from '../../cli/control-client.ts'
import type { HistoryEntry } from '../../protocol/client/api.ts'
import { createAccount } from '../../protocol/client/account-state.ts'
import { Client } from '../../protocol/client/client.ts'
import { DeviceSession } from '../../protocol/session/device-session.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { sleep } from '../../protocol/timers.ts'
import { CliNode, eventually } from './cli-node.ts'
import { HouseGround } from './house-ground.ts'
import type { HouseBase, Resident } from './house-ground.ts'
import { randomInteger } from './seeded-random.ts'

const system = { clock: systemClock, random: systemRandom }
/** Without a fault for so long before a text was written, and until it came: a calm one. */
const calmMs = 12_000
const downMs = 1_000
const pageSize = 1_000

export interface HousePlan {
  readonly base: HouseBase
  readonly processes: number
  readonly devices: number
  /** Of the devices: those that talk with somebody elsewhere. The others do in pairs. */
  readonly abroad: number
  readonly seconds: number
  /** Texts of each line and second. */
  readonly perSecond: number
  /** A process is killed and started again every so often. */
  readonly killEveryMs: number
  /** Kills of the database, spread over the time. */
  readonly databaseKills: number
  readonly drainMs: number
  readonly say?: (line: string) => void
}

export interface HouseReport {
  readonly written: number
  readonly lost: number
  readonly doubled: number
  /** Lines whose reader has another order. */
  readonly disordered: number
  readonly kills: number
  readonly databaseKills: number
  /** Processes that ended by themselves. */
  readonly fallen: readonly string[]
  /** From process to process inside the household, milliseconds, ascending. */
  readonly crossed: readonly number[]
  /** Of these, those that no fault was near. */
  readonly calm: readonly number[]
}

/** @throws when something takes longer than the plan allows */
export async function playHousehold(plan: HousePlan): Promise<HouseReport> {
  const devices: HouseDevice[] = []
  for (let i = 0; i < plan.devices; i++) devices.push(await HouseDevice.make(`d${i}`))
  const ground = await HouseGround.open(plan.base, { processes: plan.processes, residents: devices })
  const elsewhere = await CliNode.init('elsewhere')
  try {
    await elsewhere.start(ground.p2p)
    for (const device of devices) await device.open(ground)
    return await new HousePlay(plan, { ground, devices, elsewhere }).run()
  } finally {
    for (const device of devices) await device.stop()
    await elsewhere.remove()
    await ground.remove()
  }
}

/** One device, at a process that it picks at random whenever it dials. */
class HouseDevice implements Resident {
  readonly name: string
  readonly address: string
  readonly linkKey: Uint8Array
  readonly #store: MemoryStore
  readonly #own: Parameters<typeof waysTo>[2]['own']
  /** Number of the process where it is logged in, or was last. */
  at = -1
  client!: Client

  private constructor(
    name: string,
    parts: { store: MemoryStore, account: Awaited<ReturnType<typeof createAccount>> },
  ) {
    this.name = name
    this.address = parts.account.address
    this.#own = parts.account.linkKeys
    this.linkKey = parts.account.linkKeys.publicKey
    this.#store = parts.store
  }

  static async make(name: string): Promise<HouseDevice> {
    const store = new MemoryStore(system)
    const account = await createAccount({ ...system, kv: store.kv, name, entropy: systemRandom.bytes(32) })
    return new HouseDevice(name, { store, account })
  }

  async open({ members, doorKey }: HouseGround): Promise<void> {
    const doors = members.map(({ door }) => `tcp://${door}`)
    const ways = waysTo(doors, system, { doorKey, own: this.#own })
    this.client = await Client.open({
      ...system, kv: this.#store.kv,
      connect: (listener) => new DeviceSession({ ...system, dialer: { dial: async (signal) => {
        const picked = randomInteger(systemRandom, ways.length)
        const link = await ways[picked]!.dialer.dial(signal)
        this.at = picked
        return link
      } } }, listener),
    })
    await this.client.start()
  }

  async stop(): Promise<void> {
    await (this.client as Client | undefined)?.stop()
    await this.#store.close()
  }
}

/** One who writes to another. */
interface Line {
  readonly name: string
  readonly sent: string[]
  send(text: string): Promise<unknown>
  received(): Promise<string[]>
}

interface Arrival {
  readonly sentMs: number
  readonly gotMs: number
}

class HousePlay {
  readonly #plan: HousePlan
  readonly #ground: HouseGround
  readonly #devices: readonly HouseDevice[]
  readonly #elsewhere: CliNode
  readonly #sentAtMs = new Map<string, { readonly atMs: number, readonly at: number }>()
  readonly #arrivals: Arrival[] = []
  readonly #faults: number[] = []
  readonly #fallen: string[] = []
  #kills = 0
  #databaseKills = 0

  constructor(
    plan: HousePlan,
    cast: { ground: HouseGround, devices: readonly HouseDevice[], elsewhere: CliNode },
  ) {
    this.#plan = plan
    this.#ground = cast.ground
    this.#devices = cast.devices
    this.#elsewhere = cast.elsewhere
  }

  async run(): Promise<HouseReport> {
    const control = await this.#elsewhere.control()
    try {
      const lines = await this.#acquaint(control)
      this.#plan.say?.(`${this.#devices.length} devices know whom they write to, ${lines.length} lines`)
      const ending = systemClock.monotonicMs() + this.#plan.seconds * 1_000
      await Promise.all([...lines.map((line) => this.#write(line, ending)), this.#harm(ending)])
      await this.#settled(lines)
      return await this.#report(lines)
    } finally {
      control.close()
    }
  }

  async #acquaint(control: ControlClient): Promise<Line[]> {
    const lines: Line[] = []
    const near = this.#devices.slice(this.#plan.abroad)
    for (const [i, a] of near.entries()) {
      const b = near[i + 1]
      if (i % 2 === 1 || b === undefined) continue
      const { uri } = await a.client.invite()
      await b.client.add(uri, { name: a.name })
      lines.push(this.#between(a, b), this.#between(b, a))
    }
    for (const device of this.#devices.slice(0, this.#plan.abroad)) {
      const { uri } = await device.client.invite()
      await control.call('add', { uri, name: device.name })
      lines.push({
        name: `${device.name} outwards`, sent: [],
        send: (text) => this.#sendFrom(device, text),
        received: async () =>
          textsIn(await wholeHistory((query) => control.call('history', query)), device.name),
      }, {
        name: `${device.name} inwards`, sent: [],
        send: (text) => control.call('send', { contact: device.name, text }),
        received: async () => textsIn(await wholeHistory((query) => device.client.history(query))),
      })
    }
    await eventually(async () => {
      const known = await Promise.all(this.#devices.map(({ client }) => client.contacts()))
      const outside = await control.call('contacts', {})
      return [...known, outside].every((list, i) =>
        (list.length > 0 || i === known.length) && list.every(({ state }) => state === 'active')) || undefined
    }, { withinMs: 60_000, what: 'all know each other' })
    return lines
  }

  #between(from: HouseDevice, to: HouseDevice): Line {
    to.client.on((event) => {
      if (event.type !== 'message') return
      const sent = this.#sentAtMs.get(event.entry.text)
      if (sent === undefined || event.entry.direction === 'out' || sent.at === to.at) return
      this.#arrivals.push({ sentMs: sent.atMs, gotMs: systemClock.monotonicMs() })
    })
    return {
      name: `${from.name} to ${to.name}`, sent: [],
      send: (text) => this.#sendFrom(from, text),
      received: async () => textsIn(await wholeHistory((query) => to.client.history(query))),
    }
  }

  async #sendFrom(device: HouseDevice, text: string): Promise<void> {
    const [contact] = await device.client.contacts()
    this.#sentAtMs.set(text, { atMs: systemClock.monotonicMs(), at: device.at })
    await device.client.send(contact!.name, text)
  }

  async #write(line: Line, ending: number): Promise<void> {
    const everyMs = Math.ceil(1_000 / this.#plan.perSecond)
    await sleep(systemClock, randomInteger(systemRandom, everyMs))
    while (systemClock.monotonicMs() < ending) {
      const text = `${line.name}: ${line.sent.length}`
      line.sent.push(text)
      await line.send(text)
      await sleep(systemClock, everyMs)
    }
  }

  /** One fault after the other, so that something is left to serve. */
  async #harm(ending: number): Promise<void> {
    const { killEveryMs, databaseKills, seconds, say } = this.#plan
    const startedMs = systemClock.monotonicMs()
    const slots = Math.max(1, Math.floor(seconds * 1_000 / killEveryMs))
    for (let slot = 0; slot < slots; slot++) {
      const member = this.#ground.members[slot % this.#ground.members.length]!
      await this.#untilMs(startedMs + (slot + 0.25) * killEveryMs)
      this.#watchFallen()
      this.#faults.push(systemClock.monotonicMs())
      await member.node.kill()
      this.#kills++
      await sleep(systemClock, downMs)
      await this.#ground.start(member)
      const isDue = (this.#databaseKills + 1) * slots <= (slot + 1) * (databaseKills + 1) - 1
      if (this.#databaseKills < databaseKills && isDue) {
        await this.#untilMs(startedMs + (slot + 0.6) * killEveryMs)
        this.#faults.push(systemClock.monotonicMs())
        await this.#ground.server.kill()
        await sleep(systemClock, downMs)
        await this.#ground.server.start()
        this.#databaseKills++
        say?.(`database killed and back, ${this.#databaseKills} of ${databaseKills}`)
      }
    }
    await this.#untilMs(ending)
    this.#watchFallen()
    say?.(`${this.#kills} kills of a process`)
  }

  async #untilMs(atMs: number): Promise<void> {
    await sleep(systemClock, Math.max(0, atMs - systemClock.monotonicMs()))
  }

  #watchFallen(): void {
    for (const [i, { node }] of this.#ground.members.entries()) {
      if (!node.isRunning) this.#fallen.push(`process ${i}: ${node.stderr.slice(-400)}`)
    }
  }

  async #settled(lines: readonly Line[]): Promise<void> {
    const startedMs = systemClock.monotonicMs()
    let missing = -1
    let toldMs = startedMs
    while (missing !== 0 && systemClock.monotonicMs() - startedMs < this.#plan.drainMs) {
      missing = 0
      const waiting: string[] = []
      for (const line of lines) {
        const got = new Set(await line.received())
        const count = line.sent.filter((text) => !got.has(text)).length
        if (count > 0) waiting.push(`${line.name} ${count}`)
        missing += count
      }
      if (systemClock.monotonicMs() - toldMs > 10_000) {
        toldMs = systemClock.monotonicMs()
        this.#plan.say?.(`${missing} still to come: ${waiting.join(', ')}`)
      }
      if (missing > 0) await sleep(systemClock, 500)
    }
    const seconds = (systemClock.monotonicMs() - startedMs) / 1_000
    this.#plan.say?.(`${missing} missing ${seconds.toFixed(1)} s after the last was written`)
    // What would come twice comes now.
    await sleep(systemClock, 2_000)
  }

  async #report(lines: readonly Line[]): Promise<HouseReport> {
    let [lost, doubled, disordered] = [0, 0, 0]
    for (const { name, sent, received } of lines) {
      const got = await received()
      const once = new Set(got)
      const away = sent.filter((text) => !once.has(text))
      lost += away.length
      doubled += got.length - once.size
      const isInOrder = sent.filter((text) => once.has(text)).every((text, i) => [...once][i] === text)
      if (!isInOrder) disordered++
      if (away.length > 0) this.#plan.say?.(`${name}: ${away.length} lost, first ${away[0]}`)
    }
    const took = (arrivals: readonly Arrival[]): number[] =>
      arrivals.map(({ sentMs, gotMs }) => gotMs - sentMs).toSorted((a, b) => a - b)
    const isCalm = ({ sentMs, gotMs }: Arrival): boolean =>
      this.#faults.every((atMs) => atMs > gotMs || atMs < sentMs - calmMs)
    return {
      written: lines.reduce((sum, { sent }) => sum + sent.length, 0),
      lost, doubled, disordered,
      kills: this.#kills, databaseKills: this.#databaseKills, fallen: this.#fallen,
      crossed: took(this.#arrivals), calm: took(this.#arrivals.filter(isCalm)),
    }
  }
}

function textsIn(history: readonly HistoryEntry[], contact?: string): string[] {
  return history
    .filter((entry) => entry.direction === 'in' && (contact === undefined || entry.contact === contact))
    .map(({ text }) => text)
}

async function wholeHistory(
  page: (query: { after: number, limit: number }) => Promise<HistoryEntry[]>,
): Promise<HistoryEntry[]> {
  const all: HistoryEntry[] = []
  for (;;) {
    const entries = await page({ after: all.at(-1)?.cursor ?? 0, limit: pageSize })
    if (entries.length === 0) return all
    all.push(...entries)
  }
}
