/**
 * The play of the device that never stays: Alice's phone, on the Client SDK of a program
 * (`openim/client/node`), talks with Bob on another node while, every `hopEveryMs`, it takes the
 * next transport (tcp → udp → ws → http2) from the next address, and while its home node is killed
 * and restarted. Nodes are real processes; the phone runs here.
 *
 * ```text
 *   phone ─► tcp │ udp │ ws │ http2 ─► relays (127.0.0.2 … 250) ─► Alice's node ◄─► Bob's node ◄─ Bob
 *            └ one at a time ┘                                    └ kill -9, start
 * ```
 *
 * Both write `count` texts at `perSecond`; in the end both histories are compared with what was sent.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { linkDevice, openDevice, openDeviceStore, waysTo } from '../../node/client-kit.ts'
import type { Client, WaysTo } from '../../node/client-kit.ts'
import type { HistoryEntry } from '../../protocol/client/api.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { CliNode, eventually } from './cli-node.ts'
import { freePort } from './free-port.ts'
import { MovingNetwork } from './moving-network.ts'

const transports = ['tcp', 'udp', 'ws', 'http'] as const
const hopEveryMs = 1_000
/** A text is written at the earliest when it is due; so many are on their way to the store at once. */
const writersMax = 32
const pageSize = 1_000

export interface HoppingPlan {
  /** Texts each way. */
  readonly count: number
  readonly perSecond: number
  /** Kills of the home node, spread evenly over the time of writing. */
  readonly kills: number
  /** From the last text written to the last receipt. */
  readonly drainMs: number
  readonly say?: (line: string) => void
}

export interface Told {
  readonly sent: readonly string[]
  /** In the order of the receiver's history. */
  readonly received: readonly string[]
  /** The writer's own history. */
  readonly written: readonly string[]
  /** Texts of the writer's history that are not shown as delivered. */
  readonly undelivered: number
  /** Reached while writing. */
  readonly perSecond: number
}

export interface HoppingReport {
  readonly up: Told
  readonly down: Told
  readonly hops: number
  /** Links that were opened, by transport. */
  readonly links: Readonly<Record<string, number>>
  readonly addresses: number
  /** From the first text to the last receipt. */
  readonly seconds: number
}

/** @throws when something takes longer than the plan allows */
export async function playHopping(plan: HoppingPlan): Promise<HoppingReport> {
  const [alice, bob] = await Promise.all([CliNode.init('alice'), CliNode.init('bob')])
  const network = new MovingNetwork()
  try {
    const play = new HoppingPlay(plan, { alice, bob, network })
    return await play.run()
  } finally {
    await network.stop()
    await Promise.all([alice.remove(), bob.remove()])
  }
}

class HoppingPlay {
  readonly #plan: HoppingPlan
  readonly #alice: CliNode
  readonly #bob: CliNode
  readonly #network: MovingNetwork
  readonly #doors: Record<typeof transports[number], number> = { tcp: 0, udp: 0, ws: 0, http: 0 }
  readonly #links: Record<string, number> = {}
  readonly #addresses = new Set<string>()
  #current: MessageLink | undefined
  /** Where Bob's node is, once it is. */
  #meet: readonly string[] = []
  #hops = 0

  constructor(plan: HoppingPlan, cast: { alice: CliNode, bob: CliNode, network: MovingNetwork }) {
    this.#plan = plan
    this.#alice = cast.alice
    this.#bob = cast.bob
    this.#network = cast.network
  }

  async run(): Promise<HoppingReport> {
    for (const transport of transports) this.#doors[transport] = await freePort()
    await this.#startAlice()
    this.#meet = (await this.#bob.start(this.#alice.ready.p2p)).p2p
    const store = await openDeviceStore({ directory: join(this.#alice.dataDir, '../phone') })
    try {
      const phone = await this.#openPhone(store.kv)
      try {
        return await this.#talk(phone)
      } finally {
        await phone.stop()
      }
    } finally {
      await store.close()
      await rm(join(this.#alice.dataDir, '../phone'), { recursive: true, force: true })
    }
  }

  /** At the same doors after a restart. */
  async #startAlice(): Promise<void> {
    const at = (transport: typeof transports[number]): string => `127.0.0.1:${this.#doors[transport]}`
    await this.#alice.start(this.#meet, [
      '--tcp-listen', at('tcp'), '--udp-listen', at('udp'),
      '--ws-listen', at('ws'), '--http2-listen', at('http'),
    ])
  }

  /** Links it by its code, and makes it a contact of Bob. */
  async #openPhone(kv: Parameters<typeof openDevice>[0]['kv']): Promise<Client> {
    const control = await this.#alice.control()
    try {
      const shown = Promise.withResolvers<string>()
      await control.follow((event) => {
        if (event.type === 'link' && event.state === 'comparing') shown.resolve(event.code.digits)
      })
      const { uri } = await control.call('openLink', {})
      await linkDevice({ kv, code: uri, name: 'phone', async compare({ code }) {
        const isSame = await shown.promise === code.digits
        await control.call('confirmLink', { isSame })
        return isSame
      } })
      const relays = {
        tcp: await this.#network.stream(this.#doors.tcp),
        udp: await this.#network.datagrams(this.#doors.udp),
        ws: await this.#network.stream(this.#doors.ws),
        http: await this.#network.stream(this.#doors.http),
      }
      const phone = await openDevice({ kv, ways: this.#hoppingWays(relays) })
      const bobs = await this.#bob.control()
      try {
        const { uri: invite } = await control.call('invite', {})
        await bobs.call('add', { uri: invite, name: 'alice' })
      } finally {
        bobs.close()
      }
      await eventually(async () => {
        const known = await phone.contacts()
        return known.some(({ name, state }) => name === 'bob' && state === 'active') || undefined
      }, { withinMs: 60_000, what: 'the phone knows Bob' })
      return phone
    } finally {
      control.close()
    }
  }

  /** One way alone: the transport whose turn it is. */
  #hoppingWays(relays: Readonly<Record<typeof transports[number], number>>): WaysTo {
    return (_addresses, components, keys) => {
      const places = transports.map((transport) => `${transport}://127.0.0.1:${relays[transport]}`)
      const ways = waysTo(places, components, keys)
      return [{ name: 'hopping', dialer: {
        dial: async (signal) => {
          const link = await ways[this.#hops % ways.length]!.dialer.dial(signal)
          this.#current = link
          this.#links[link.transport] = (this.#links[link.transport] ?? 0) + 1
          this.#addresses.add(this.#network.source)
          return link
        },
      } }]
    }
  }

  /** Another transport from another address; what was in flight is lost. */
  #hop(): void {
    this.#hops++
    this.#network.move()
    this.#current?.close('LINK_LOST')
  }

  async #talk(phone: Client): Promise<HoppingReport> {
    const { count, kills, perSecond } = this.#plan
    const begunMs = performance.now()
    const hopper = setInterval(() => this.#hop(), hopEveryMs)
    // In between the address alone changes: a UDP connection lives on, the others break.
    const mover = setInterval(() => this.#network.move(), hopEveryMs * 1.7)
    const bobs = await this.#bob.control()
    try {
      const up = numbered('up', count)
      const down = numbered('down', count)
      const [upRate, downRate] = await Promise.all([
        this.#write(up, (text) => phone.send('bob', text)),
        this.#write(down, (text) => bobs.call('send', { contact: 'alice', text })),
        this.#killHome(kills, count / perSecond),
      ])
      this.#plan.say?.(`written: up ${upRate.toFixed(0)}/s, down ${downRate.toFixed(0)}/s`)
      const drained = (): Promise<unknown> => Promise.all([
        this.#settled('the phone', () => phone.info()), this.#settled('Bob', () => bobs.call('info', {})),
      ])
      await drained()
      const seconds = (performance.now() - begunMs) / 1_000
      const phoneHistory = await wholeHistory((query) => phone.history(query))
      const bobHistory = await wholeHistory((query) => bobs.call('history', query))
      return {
        up: told(up, { writer: phoneHistory, reader: bobHistory, perSecond: upRate }),
        down: told(down, { writer: bobHistory, reader: phoneHistory, perSecond: downRate }),
        hops: this.#hops, links: this.#links, addresses: this.#addresses.size, seconds,
      }
    } finally {
      clearInterval(hopper)
      clearInterval(mover)
      bobs.close()
    }
  }

  /** Everything it wrote is delivered. */
  async #settled(who: string, info: () => Promise<{ readonly outbox: number }>): Promise<void> {
    await eventually(async () => (await info()).outbox === 0 || undefined, {
      withinMs: this.#plan.drainMs, everyMs: 250, what: `all that ${who} wrote is delivered`,
    })
  }

  /** In order, each when it is due, not before. Gives the rate that was reached, per second. */
  async #write(texts: readonly string[], send: (text: string) => Promise<unknown>): Promise<number> {
    const begunMs = performance.now()
    const writing = new Set<Promise<unknown>>()
    for (const [i, text] of texts.entries()) {
      const aheadMs = i * 1_000 / this.#plan.perSecond - (performance.now() - begunMs)
      if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs))
      const sent: Promise<unknown> = send(text).finally(() => writing.delete(sent))
      writing.add(sent)
      if (writing.size >= writersMax) await Promise.race(writing)
    }
    await Promise.all(writing)
    return texts.length / ((performance.now() - begunMs) / 1_000)
  }

  async #killHome(kills: number, seconds: number): Promise<void> {
    for (let kill = 1; kill <= kills; kill++) {
      await new Promise((resolve) => setTimeout(resolve, seconds * 1_000 / (kills + 1)))
      await this.#alice.kill()
      await this.#startAlice()
      this.#plan.say?.(`home killed and back, ${kill} of ${kills}`)
    }
  }
}

function told(
  sent: readonly string[],
  { writer, reader, perSecond }:
    { writer: readonly HistoryEntry[], reader: readonly HistoryEntry[], perSecond: number },
): Told {
  const written = writer.filter(({ direction }) => direction === 'out')
  const undelivered = written.filter(({ status }) => !['delivered', 'read'].includes(status?.state ?? ''))
  return {
    sent,
    received: reader.filter(({ direction }) => direction === 'in').map(({ text }) => text),
    written: written.map(({ text }) => text),
    undelivered: undelivered.length,
    perSecond,
  }
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

function numbered(what: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${what} ${i + 1}`)
}
