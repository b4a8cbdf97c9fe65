/**
 * The XMPP bridge beside Debian's Prosody and ejabberd: what a message, a login, an idle session and a
 * message that waits cost the server. Clients, servers and TLS are real, on loopback; the servers share
 * one processor and the load has another. Nothing is archived except where a row says so.
 *
 * ```text
 *   npm run -s bench -- xmpp                   about three minutes, 400 idle sessions
 *   npm run -s bench -- xmpp --idle 2000       that many
 *   npm run -s bench -- xmpp --only c2s,idle   parts of it: c2s archive offline idle login s2s
 * ```
 *
 * "Pipelined": 20 pairs keep 10 messages each on their way, so that a server may do many at a time; "one at
 * a time": 50 pairs keep one. CPU time is of the server alone, kernel included.
 */
import { XmppGround } from '../helpers/xmpp-server.ts'
import { BenchProcess } from './bench-process.ts'
import { compare, interleaved, median } from './bench.ts'
import type { Bench, BenchContext, BenchRow, Rounds } from './bench.ts'
import {
  cpuOf, loadAccounts, memoryOf, pin, prosodyOnSqlite, startOther, startOurs,
} from './xmpp-contenders.ts'
import type { Contender } from './xmpp-contenders.ts'
import type { Flow, LoadCommand, Waiting } from './xmpp-load.ts'

type Side = 'ours' | 'prosody' | 'ejabberd'
type Sides = Readonly<Partial<Record<Side, Contender>>>

interface Scene {
  readonly context: BenchContext
  readonly ground: XmppGround
  readonly load: BenchProcess<LoadCommand>
}

const script = new URL('./xmpp-load.ts', import.meta.url)
const rounds = 3
const flowMs = 1_500
const steadyMs = 4_000
const firstIdle = 100
const shapes = [
  { name: 'pipelined', count: 20, inFlight: 10 },
  { name: 'one at a time', count: 50, inFlight: 1 },
] as const

const cpu = { unit: 'µs', better: 'lower' } as const
const time = { unit: 'ms', better: 'lower' } as const
const rate = { unit: '1/s', better: 'higher' } as const

const parts: Readonly<Record<string, (scene: Scene, idle: number) => Promise<BenchRow[]>>> = {
  c2s: c2sRows, archive: archiveRows, offline: offlineRows, idle: idleRows, login: loginRows, s2s: s2sRows,
}

export const bench: Bench = {
  about: 'the XMPP server beside Prosody and ejabberd: messages, archive, idle sessions, logins, s2s',
  usage: '--idle COUNT --only PART,PART',
  async run(context) {
    const { idle, only } = optionsOf(context.args)
    const ground = await XmppGround.create()
    try {
      const rows: BenchRow[] = []
      for (const part of only) {
        // Each has clients of its own, as none of them ever counts.
        const load = await BenchProcess.start<LoadCommand>(script, 'load')
        pin(load.pid, 1)
        rows.push(...await parts[part]!({ context, ground, load }, idle))
        await load.end()
      }
      return rows
    } finally {
      await ground.remove()
    }
  },
}

function optionsOf(args: readonly string[]): { idle: number, only: readonly string[] } {
  const given = Object.fromEntries(
    Array.from({ length: Math.ceil(args.length / 2) }, (_, i) => [args[2 * i], args[2 * i + 1] ?? '']),
  ) as Record<string, string>
  const { '--idle': idleText = '400', '--only': onlyText, ...rest } = given
  const idle = Number(idleText)
  const only = onlyText?.split(',') ?? Object.keys(parts)
  const isKnown = Object.keys(rest).length === 0 && only.every((part) => part in parts)
  if (!isKnown || !Number.isSafeInteger(idle) || idle <= firstIdle) {
    throw new Error(`the options are: ${bench.usage}; more than ${firstIdle} are idle, the parts are `
      + Object.keys(parts).join(', '))
  }
  return { idle, only }
}

type Starts = Readonly<Partial<Record<Side, () => Promise<Contender | undefined>>>>

/** Of those that can be had here; what is missing is said. */
async function startSides({ say }: BenchContext, starts: Starts): Promise<Sides> {
  const sides: Partial<Record<Side, Contender>> = {}
  for (const [side, start] of Object.entries(starts) as [Side, () => Promise<Contender | undefined>][]) {
    const contender = await start()
    if (contender === undefined) say(`${side} is not installed: its figures are missing`)
    else sides[side] = contender
  }
  return sides
}

async function stopSides(sides: Sides): Promise<void> {
  await Promise.all(Object.values(sides).map((side) => side.stop()))
}

/** What `measure` finds at each side, round by round, by figure. */
async function measured<F extends string>(
  sides: Sides, measure: (side: Side, contender: Contender) => Promise<Readonly<Record<F, number>>>,
  count = rounds,
): Promise<Record<F, Rounds<Side>>> {
  const all: Record<string, Record<string, number[]>> = {}
  const work = Object.fromEntries(Object.entries(sides).map(([side, contender]) => [side, async () => {
    const found = await measure(side as Side, contender)
    for (const [figure, value] of Object.entries<number>(found)) {
      const lists = all[figure] ??= {}
      ;(lists[side] ??= []).push(value)
    }
    return 0
  }]))
  await interleaved({ rounds: count, sides: work })
  // The round that is thrown away came first.
  for (const lists of Object.values(all)) for (const list of Object.values(lists)) list.shift()
  return all as unknown as Record<F, Rounds<Side>>
}

/** Ours, and the ratio to another where that was measured: without it no bound can be held or missed. */
function row(
  shape: Pick<BenchRow, 'figure' | 'unit' | 'better'>,
  figures: Rounds<Side>,
  versus: { readonly side: Side, readonly name: string } & Pick<BenchRow, 'floor' | 'target'>,
): BenchRow {
  const { side, name, ...bounds } = versus
  if (figures[side] === undefined) return { ...shape, value: median(figures.ours) }
  return { ...shape, ...compare(figures, 'ours', { against: side, name }), ...bounds }
}

/** One flow through a server, and the CPU time it took of each process. */
async function flowThrough<P extends string>(
  load: Scene['load'], command: LoadCommand & { op: 'flow' | 'steady' }, pids: Readonly<Record<P, number>>,
): Promise<Flow & { readonly cpu: Readonly<Record<P, number>> }> {
  const names = Object.keys(pids) as P[]
  const before = names.map((name) => cpuOf(pids[name]))
  const flow = await load.ask<Flow>(command)
  const spent = names.map((name, i) => [name, (cpuOf(pids[name]) - before[i]!) / flow.messages])
  return { ...flow, cpu: Object.fromEntries(spent) as Record<P, number> }
}

// ── Messages between clients ────────────────────────────────────────────────────────────────

async function c2sRows({ context, ground, load }: Scene): Promise<BenchRow[]> {
  context.say('messages between clients …')
  const sides = await startSides(context, {
    ours: () => startOurs({ domain: 'ours.test', isArchiving: false }),
    ejabberd: () => startOther('ejabberd', ground, { domain: 'ejabberd.test', hasArchive: false }),
    prosody: () => startOther('prosody', ground, { domain: 'prosody.test', hasArchive: false }),
  })
  const rows: BenchRow[] = []
  for (const { name, count, inFlight } of shapes) {
    for (const [side, at] of Object.entries(sides)) {
      await load.ask({ op: 'pairs', name: side, count, from: at, to: at })
    }
    const flows = await measured(sides, async (side, { pid }) => {
      const flow = await flowThrough(load, { op: 'flow', name: side, inFlight, ms: flowMs }, { pid })
      return { cpu: flow.cpu.pid, rate: flow.messages / flow.seconds }
    })
    const figure = `CPU a message, ${name}`
    const bounds = { floor: 1.5, target: 0.6 }
    rows.push(
      row({ figure, ...cpu }, flows.cpu, { side: 'ejabberd', name: 'ejabberd', ...bounds }),
      row({ figure, ...cpu }, flows.cpu, { side: 'prosody', name: 'Prosody' }),
      row({ figure: `messages, ${name}`, ...rate }, flows.rate, { side: 'ejabberd', name: 'ejabberd' }),
    )
    // The last ones stay for what follows.
    if (inFlight > 1) for (const side of Object.keys(sides)) await load.ask({ op: 'leave', name: side })
  }
  const steady = await measured(sides, async (side) => {
    const { p50, p99 } = await load.ask<Flow>({ op: 'steady', name: side, perSecond: 50, ms: steadyMs })
    return { p50, p99 }
  }, 1)
  rows.push(...(['p50', 'p99'] as const).map((percent) => row(
    { figure: `from client to client at 50/s, ${percent}`, ...time }, steady[percent],
    { side: 'ejabberd', name: 'ejabberd' },
  )))
  await stopSides(sides)
  return rows
}

async function archiveRows({ context, ground, load }: Scene): Promise<BenchRow[]> {
  context.say('messages that both ends archive …')
  const extra = await prosodyOnSqlite()
  const sides = await startSides(context, {
    ours: () => startOurs({ domain: 'ours.test' }),
    prosody: async () => extra === undefined
      ? undefined
      : await startOther('prosody', ground, { domain: 'prosody.test', extra }),
  })
  for (const [side, at] of Object.entries(sides)) {
    await load.ask({ op: 'pairs', name: side, count: 20, from: at, to: at })
  }
  const flows = await measured(sides, async (side, { pid }) => {
    const flow = await flowThrough(load, { op: 'flow', name: side, inFlight: 10, ms: flowMs }, { pid })
    return { rate: flow.messages / flow.seconds, cpu: flow.cpu.pid, p99: flow.p99 }
  })
  const steady = await measured(sides, async (side) => {
    const { p50, p99 } = await load.ask<Flow>({ op: 'steady', name: side, perSecond: 50, ms: steadyMs })
    return { p50, p99 }
  }, 1)
  await stopSides(sides)
  const other = { side: 'prosody', name: 'Prosody on SQLite' } as const
  const p99 = median(steady.p99.ours)
  return [
    row({ figure: 'messages archived, pipelined', ...rate }, flows.rate, { ...other, floor: 2, target: 5 }),
    row({ figure: 'CPU of an archived message', ...cpu }, flows.cpu, other),
    row({ figure: 'archived, pipelined, p99', ...time }, flows.p99, other),
    row({ figure: 'archived at 50/s, p50', ...time }, steady.p50, other),
    { figure: 'archived at 50/s, p99', ...time, value: p99, floor: 500, target: 30 },
  ]
}

// ── Messages that wait ──────────────────────────────────────────────────────────────────────

async function offlineRows({ context, ground, load }: Scene): Promise<BenchRow[]> {
  context.say('messages for those who are away …')
  const sides = await startSides(context, {
    ours: () => startOurs({ domain: 'ours.test', isArchiving: false }),
    prosody: () => startOther('prosody', ground, { domain: 'prosody.test', hasArchive: false }),
  })
  const found = await measured(sides, async (_, at) => {
    const { storedPerSecond, fetchedPerSecond } = await load.ask<Waiting>(
      { op: 'offline', at, pairs: 20, each: 50 },
    )
    return { stored: storedPerSecond, fetched: fetchedPerSecond }
  })
  await stopSides(sides)
  const other = { side: 'prosody', name: 'Prosody on files', floor: 0.25, target: 1 } as const
  return [
    row({ figure: 'messages stored for the absent', ...rate }, found.stored, other),
    row({ figure: 'the same fetched, with the logins', ...rate }, found.fetched, other),
  ]
}

// ── Sessions ────────────────────────────────────────────────────────────────────────────────

async function idleRows({ context, ground, load }: Scene, idle: number): Promise<BenchRow[]> {
  context.say(`${idle} idle sessions …`)
  const sides = await startSides(context, {
    ours: () => startOurs({ domain: 'ours.test', isArchiving: false }),
    prosody: () => startOther('prosody', ground, { domain: 'prosody.test', hasArchive: false }),
  })
  const memory: Record<string, readonly number[]> = {}
  for (const [side, at] of Object.entries(sides)) {
    const crowd = async (first: number, count: number): Promise<number> => {
      await load.ask({ op: 'crowd', at, accounts: loadAccounts, first, count })
      await at.tidy()
      return memoryOf(at.pid)
    }
    const before = await crowd(0, firstIdle)
    const after = await crowd(firstIdle, idle - firstIdle)
    memory[side] = [(after - before) / (idle - firstIdle) * 1_000]
  }
  await stopSides(sides)
  const figure = 'memory of 1,000 idle TLS sessions'
  const prosody = memory['prosody']?.[0]
  const theirs = prosody === undefined ? {} : { against: 'Prosody', againstValue: prosody }
  const value = median(memory['ours']!)
  return [{ figure, value, unit: 'MB', better: 'lower', floor: 150, target: 60, ...theirs }]
}

async function loginRows({ context, ground, load }: Scene): Promise<BenchRow[]> {
  context.say('logins …')
  const sides = await startSides(context, {
    ours: () => startOurs({ domain: 'ours.test', isArchiving: false }),
    prosody: () => startOther('prosody', ground, { domain: 'prosody.test', hasArchive: false }),
  })
  const found = await measured(sides, async (_, at) => {
    const count = 2 * loadAccounts
    const before = cpuOf(at.pid)
    await load.ask({ op: 'logins', at, accounts: loadAccounts, count })
    return { cpu: (cpuOf(at.pid) - before) / count }
  })
  await stopSides(sides)
  const other = { side: 'prosody', name: 'Prosody', floor: 3, target: 1.5 } as const
  return [row({ figure: 'CPU of a login: TLS, SCRAM, a resource', ...cpu }, found.cpu, other)]
}

// ── Between servers ─────────────────────────────────────────────────────────────────────────

async function s2sRows({ context, ground, load }: Scene): Promise<BenchRow[]> {
  context.say('messages from server to server …')
  const ends = await Promise.all(['sender.test', 'receiver.test'].map((domain) =>
    startOurs({ domain, isArchiving: false, ground })))
  const [from, to] = ends as [Contender, Contender]
  await load.ask({ op: 'pairs', name: 's2s', count: 20, from, to })
  const found: Record<'sender' | 'receiver' | 'rate', number[]> = { sender: [], receiver: [], rate: [] }
  for (let round = 0; round <= rounds; round++) {
    const pids = { sender: from.pid, receiver: to.pid }
    const flow = await flowThrough(load, { op: 'flow', name: 's2s', inFlight: 10, ms: flowMs }, pids)
    if (round === 0) continue
    found.sender.push(flow.cpu.sender)
    found.receiver.push(flow.cpu.receiver)
    found.rate.push(flow.messages / flow.seconds)
  }
  await Promise.all(ends.map((end) => end.stop()))
  const bounds = { floor: 300, target: 60 }
  return [
    ...(['sender', 'receiver'] as const).map((end): BenchRow => ({
      figure: `CPU a message to another server, the ${end}'s side`, ...cpu, value: median(found[end]),
      ...bounds,
    })),
    { figure: 'messages to another server', ...rate, value: median(found.rate) },
  ]
}
