/**
 * The clients of the XMPP bench, in a process of their own. Senders are accounts `loada0` …, receivers
 * `loadb0` …; the receiver of number i hears the sender of number i.
 */
import { serveCommands } from './bench-process.ts'
import type { Answerer } from './bench-process.ts'
import { percentile } from './bench.ts'
import { LoadClient } from './xmpp-load-client.ts'
import type { LoadTarget } from './xmpp-load-client.ts'

export type LoadCommand =
  /** Logs that many pairs in, receivers first; the earlier ones stay for who measures them in turn. */
  | { readonly op: 'pairs', readonly name: string, readonly count: number, readonly from: LoadTarget,
      readonly to: LoadTarget }
  /** Each pair keeps so many messages on their way. → Flow */
  | { readonly op: 'flow', readonly name: string, readonly inFlight: number, readonly ms: number }
  /** All pairs together say so many a second. → Flow */
  | { readonly op: 'steady', readonly name: string, readonly perSecond: number, readonly ms: number }
  | { readonly op: 'leave', readonly name: string }
  /** One after another, by turns of the accounts; each leaves at once. */
  | { readonly op: 'logins', readonly at: LoadTarget, readonly accounts: number, readonly count: number }
  /** That many more who do nothing. */
  | { readonly op: 'crowd', readonly at: LoadTarget, readonly accounts: number, readonly first: number,
      readonly count: number }
  /** To receivers who are away, until the server has them; then they come. → Waiting */
  | { readonly op: 'offline', readonly at: LoadTarget, readonly pairs: number, readonly each: number }

export interface Flow {
  readonly messages: number
  readonly seconds: number
  /** Milliseconds from one client to the other. */
  readonly p50: number
  readonly p99: number
}

export interface Waiting {
  readonly storedPerSecond: number
  readonly fetchedPerSecond: number
}

interface Pair {
  readonly sender: LoadClient
  readonly receiver: LoadClient
}

const loginsAtOnce = 8
/** A server that takes longer for one message lost it. */
const patienceMs = 20_000

async function inTurn<T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  await Promise.all(Array.from({ length: Math.min(loginsAtOnce, count) }, async () => {
    for (let i = next++; i < count; i = next++) results[i] = await work(i)
  }))
  return results
}

async function logIn(at: LoadTarget, role: 'a' | 'b', count: number): Promise<LoadClient[]> {
  return await inTurn(count, (i) =>
    LoadClient.login({ ...at, local: `load${role}${i}`, resource: 'bench' }, { isAvailable: true }))
}

/** Messages by number, from one end to the other. */
class Messages {
  readonly #pairs: readonly Pair[]
  readonly #sentAt = new Map<number, { readonly pair: number, readonly atMs: number }>()
  readonly #times: number[] = []
  #next = 0
  #arrived: (pair: number) => void = () => {}
  #allHere: (() => void) | undefined

  constructor(pairs: readonly Pair[]) {
    this.#pairs = pairs
    for (const { receiver } of pairs) receiver.listen((number) => this.#came(number))
  }

  send(pair: number): void {
    const { sender, receiver } = this.#pairs[pair]!
    const number = this.#next++
    this.#sentAt.set(number, { pair, atMs: performance.now() })
    sender.message(receiver.jid, number)
  }

  #came(number: number): void {
    const sent = this.#sentAt.get(number)
    if (sent === undefined) return
    this.#sentAt.delete(number)
    this.#times.push(performance.now() - sent.atMs)
    this.#arrived(sent.pair)
    if (this.#sentAt.size === 0) this.#allHere?.()
  }

  /** Counts what is sent between the begin of `work` and its end, until all of it is here. */
  async measured(work: (onArrival: (then: (pair: number) => void) => void) => Promise<void>): Promise<Flow> {
    const startMs = performance.now()
    this.#times.length = 0
    await work((then) => { this.#arrived = then })
    this.#arrived = () => {}
    await this.#settled()
    const seconds = (performance.now() - startMs) / 1_000
    const times = [...this.#times]
    return { messages: times.length, seconds, p50: percentile(times, 50), p99: percentile(times, 99) }
  }

  async #settled(): Promise<void> {
    if (this.#sentAt.size === 0) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const lost = setTimeout(() => reject(new Error(`${this.#sentAt.size} messages did not come`)), patienceMs)
    this.#allHere = resolve
    await promise
    clearTimeout(lost)
    this.#allHere = undefined
  }

  flow(inFlight: number, ms: number): Promise<Flow> {
    return this.measured(async (onArrival) => {
      onArrival((pair) => this.send(pair))
      for (let i = 0; i < inFlight; i++) for (const pair of this.#pairs.keys()) this.send(pair)
      await wait(ms)
    })
  }

  steady(perSecond: number, ms: number): Promise<Flow> {
    return this.measured(async () => {
      const startMs = performance.now()
      for (let sent = 0; sent < perSecond * ms / 1_000; sent++) {
        const dueMs = startMs + sent * 1_000 / perSecond - performance.now()
        if (dueMs > 0) await wait(dueMs)
        this.send(sent % this.#pairs.length)
      }
    })
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}

async function offline({ at, pairs, each }: LoadCommand & { op: 'offline' }): Promise<Waiting> {
  const senders = await logIn(at, 'a', pairs)
  await Promise.all(senders.map(async (sender) => {
    sender.say(`<enable xmlns='urn:xmpp:sm:3'/>`)
    await sender.hears(/<enabled/)
  }))
  const storeMs = performance.now()
  await Promise.all(senders.map(async (sender, pair) => {
    for (let i = 0; i < each; i++) sender.message(`loadb${pair}@${at.domain}`, pair * each + i)
    while (await sender.handled() < each);
  }))
  const storedMs = performance.now()
  let missing = pairs * each
  const { promise, resolve } = Promise.withResolvers<void>()
  const receivers = await inTurn(pairs, async (i) => {
    const client = await LoadClient.login(
      { ...at, local: `loadb${i}`, resource: 'bench' }, { isAvailable: false },
    )
    client.listen(() => { if (--missing === 0) resolve() })
    client.say('<presence/>')
    return client
  })
  await promise
  const fetchedMs = performance.now()
  await Promise.all([...senders, ...receivers].map((client) => client.leave()))
  const perSecond = (ms: number): number => pairs * each * 1_000 / ms
  return { storedPerSecond: perSecond(storedMs - storeMs), fetchedPerSecond: perSecond(fetchedMs - storedMs) }
}

async function startLoad(): Promise<Answerer<LoadCommand>> {
  const groups = new Map<string, { readonly pairs: readonly Pair[], readonly messages: Messages }>()
  const crowd: LoadClient[] = []
  return async (command) => {
    switch (command.op) {
      case 'pairs': {
        const { name, count, from, to } = command
        const receivers = await logIn(to, 'b', count)
        const senders = await logIn(from, 'a', count)
        const pairs = senders.map((sender, i): Pair => ({ sender, receiver: receivers[i]! }))
        groups.set(name, { pairs, messages: new Messages(pairs) })
        return undefined
      }
      case 'flow': return await groups.get(command.name)!.messages.flow(command.inFlight, command.ms)
      case 'steady': return await groups.get(command.name)!.messages.steady(command.perSecond, command.ms)
      case 'leave': {
        const { pairs } = groups.get(command.name)!
        groups.delete(command.name)
        await Promise.all(pairs.flatMap(({ sender, receiver }) => [sender.leave(), receiver.leave()]))
        return undefined
      }
      case 'logins':
        return await inTurn(command.count, async (i) => {
          const account = { ...command.at, local: `loada${i % command.accounts}`, resource: `login${i}` }
          await (await LoadClient.login(account, { isAvailable: true })).leave()
        })
      case 'crowd': {
        const { at, accounts, first, count } = command
        crowd.push(...await inTurn(count, (i) => LoadClient.login({
          ...at, local: `loada${(first + i) % accounts}`, resource: `idle${first + i}`,
        }, { isAvailable: true })))
        return crowd.length
      }
      case 'offline': return await offline(command)
    }
  }
}

await serveCommands({ load: startLoad })
