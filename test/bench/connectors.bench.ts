/**
 * The doors for devices: messages through real sessions against the bare transport with the same
 * batching, latency, what a message costs, and what an idle device and a new one cost, beside
 * mosquitto. Node and device are two processes; ratios are of interleaved rounds.
 *
 * ```text
 *   npm run -s bench -- connectors                     about three minutes, 1,000 idle devices a door
 *   npm run -s bench -- connectors --devices 10000     holds 10,000 a door, past one keep-alive
 * ```
 */
import { BenchProcess } from './bench-process.ts'
import { compare, interleaved, median, percentile } from './bench.ts'
import type { Bench, BenchContext, BenchRow, Rounds } from './bench.ts'
import type { CrowdPlace, SocketDoor } from './connectors-doors.ts'
import { Mosquitto } from './connectors-mosquitto.ts'
import type { BenchPorts, DoorCommand, Rate, Side } from './connectors-peer.ts'

type Peer = BenchProcess<DoorCommand>

const doors = ['tcp', 'udp', 'ws', 'http2'] as const satisfies readonly SocketDoor[]
const sizes = [100, 1_024] as const
const rounds = 5
const rateMs = 400
const echoes = 100
const idleDevices = 1_000
/** The first ones pay for code, pools and the heap's first growth. */
const firstDevices = 200
/** From here on they are held past a keep-alive (30 s), and what that costs is measured. */
const heldFrom = 10_000
const holdMs = 40_000
const acceptedDevices = 300
const kibibyte = 1_024
/** 60 and 40 kB. */
const idleKiBMax = 58.6
const idleKiB = 39
const script = new URL('./connectors-peer.ts', import.meta.url)

export const bench: Bench = {
  about: 'doors for devices: messages, latency, idle devices, against bare transports and mosquitto',
  usage: '--devices COUNT',
  async run(context) {
    const count = devicesOf(context.args)
    const rows = await messageRows(context)
    rows.push(...await acceptRows(context), ...await idleRows(context, count))
    return rows
  },
}

function devicesOf(args: readonly string[]): number {
  if (args.length === 0) return idleDevices
  const count = Number(args[1])
  const isCount = Number.isSafeInteger(count) && count >= 2 * firstDevices
  if (args[0] !== '--devices' || !isCount || args.length > 2) {
    throw new Error(`the options are: ${bench.usage}, at least ${2 * firstDevices}`)
  }
  return count
}

// ── Messages and latency ────────────────────────────────────────────────────────────────────

async function messageRows(context: BenchContext): Promise<BenchRow[]> {
  const node: Peer = await BenchProcess.start(script, 'node')
  const device: Peer = await BenchProcess.start(script, 'device')
  try {
    await device.ask({ op: 'dial', ports: await node.ask<BenchPorts>({ op: 'listen' }) })
    const rows: BenchRow[] = []
    for (const op of ['in', 'out'] as const) {
      for (const bytes of sizes) {
        const way = op === 'in' ? 'from device to node' : 'from node to device'
        context.say(`messages of ${bytes} bytes ${way} …`)
        rows.push(...await rateRows({ node, device }, op, bytes))
      }
    }
    context.say('round trips …')
    return [...rows, ...await latencyRows(device)]
  } finally {
    await device.end()
    await node.end()
  }
}

const sides: readonly Side[] = ['loopback', ...doors.flatMap((door): Side[] => [door, `raw ${door}`])]

function emptyLists<S extends string>(names: readonly S[]): Record<S, number[]> {
  return Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<S, number[]>
}

/** Measures several figures of each side at once: a rate or median, and what came along. */
async function measureSides<S extends string, F extends string>(
  names: readonly S[],
  measure: (side: S) => Promise<Readonly<Record<F | 'figure', number>>>,
): Promise<Readonly<Record<F | 'figure', Rounds<S>>>> {
  const all: Partial<Record<string, Record<S, number[]>>> = {}
  const work = Object.fromEntries(names.map((side) => [side, async () => {
    const measured = await measure(side)
    for (const [name, value] of Object.entries<number>(measured)) {
      const of = all[name] ??= emptyLists(names)
      of[side].push(value)
    }
    return measured.figure
  }])) as Record<S, () => Promise<number>>
  await interleaved({ rounds, sides: work })
  // The round that is thrown away came first.
  for (const of of Object.values(all)) for (const side of names) of![side].shift()
  return all as Record<F | 'figure', Record<S, number[]>>
}

async function rateRows(
  peers: { node: Peer, device: Peer },
  op: 'in' | 'out',
  bytes: number,
): Promise<BenchRow[]> {
  const { node, device } = peers
  const { figure: figures, both, nodeAlone } = await measureSides(sides, async (side) => {
    const [nodeBefore, deviceBefore] = [await node.cpu(), await device.cpu()]
    const { perSecond, messages } = await device.ask<Rate>({ op, side, bytes, ms: rateMs })
    const nodeAlone = (await node.cpu() - nodeBefore) / messages
    return { figure: perSecond, nodeAlone, both: nodeAlone + (await device.cpu() - deviceBefore) / messages }
  })
  const what = `${op}, ${bytes} B`
  const bounds = rateBounds[bytes]!
  const rate = { unit: '1/s', better: 'higher' } as const
  const cpu = { unit: 'µs', better: 'lower' } as const
  return [
    { figure: `messages ${what}, loopback`, value: median(figures.loopback), ...rate },
    { figure: `CPU a message ${what}, loopback`, value: median(both.loopback), ...cpu },
    ...doors.flatMap((door): BenchRow[] => {
      const raw = { against: `raw ${door}`, name: `bare ${door}, same batches` } as const
      return [
        { figure: `messages ${what}, ${door}`, ...rate, ...bounds, ...compare(figures, door, raw) },
        { figure: `CPU a message ${what}, ${door}`, ...cpu, ...compare(both, door, raw) },
        { figure: `CPU of the node a message ${what}, ${door}`, ...cpu, ...compare(nodeAlone, door, raw) },
      ]
    }),
  ]
}

/**
 * A bare stream moves messages of 100 bytes as one block: what is left of it by the work for each
 * (a number, two encodings, an acknowledgement) can only be a small part.
 */
const rateBounds: Readonly<Record<number, Pick<BenchRow, 'floor' | 'target'>>> = {
  100: { floor: 0.06, target: 0.3 },
  1_024: { floor: 0.12, target: 0.3 },
}

async function latencyRows(device: Peer): Promise<BenchRow[]> {
  const { figure: figures, along } = await measureSides(sides, async (side) => {
    const samples = await device.ask<number[]>({ op: 'echo', side, count: echoes })
    return { figure: percentile(samples, 50), along: percentile(samples, 99) }
  })
  const row = { unit: 'ms', better: 'lower' } as const
  return [
    { figure: 'round trip, p50, loopback', value: median(figures.loopback), ...row },
    { figure: 'round trip, p99, loopback', value: median(along.loopback), ...row },
    ...doors.flatMap((door): BenchRow[] => {
      const raw = { against: `raw ${door}`, name: `bare ${door}` } as const
      return [
        { figure: `round trip, p50, ${door}`, ...row, floor: 8, target: 2, ...compare(figures, door, raw) },
        { figure: `round trip, p99, ${door}`, ...row, ...compare(along, door, raw) },
      ]
    }),
  ]
}

// ── Devices that come, and devices that do nothing ──────────────────────────────────────────

/** A node that nobody else has used, and who comes to it. */
async function withDoor<T>(
  door: SocketDoor,
  work: (peers: { node: Peer, device: Peer, place: CrowdPlace }) => Promise<T>,
): Promise<T> {
  const node: Peer = await BenchProcess.start(script, 'node')
  const device: Peer = await BenchProcess.start(script, 'device')
  try {
    const { doorKey, doors: ports } = await node.ask<BenchPorts>({ op: 'listen' })
    return await work({ node, device, place: { doorKey, door, port: ports[door] } })
  } finally {
    await device.end()
    await node.end()
  }
}

/** A fresh one, whose memory nobody has used before. */
async function withMosquitto<T>(
  { say }: BenchContext,
  work: (mosquitto: Mosquitto | undefined) => Promise<T>,
): Promise<T> {
  const mosquitto = await Mosquitto.start()
  if (mosquitto === undefined) say('mosquitto is not installed: its figures are missing')
  try {
    return await work(mosquitto)
  } finally {
    await mosquitto?.stop()
  }
}

function acceptRows(context: BenchContext): Promise<BenchRow[]> {
  context.say(`${acceptedDevices} devices log in at each door …`)
  return withMosquitto(context, loginRows)
}

async function loginRows(mosquitto: Mosquitto | undefined): Promise<BenchRow[]> {
  const cpu: Record<string, number[]> = {}
  const at = (door: SocketDoor) => () => withDoor(door, async ({ node, device, place }) => {
    await device.ask({ op: 'crowd', place, count: firstDevices })
    const before = await node.cpu()
    const seconds = await device.ask<number>({ op: 'crowd', place, count: acceptedDevices })
    ;(cpu[door] ??= []).push((await node.cpu() - before) / acceptedDevices)
    return acceptedDevices / seconds
  })
  const atMosquitto = async (): Promise<number> => acceptedDevices / await mosquitto!.connect(acceptedDevices)
  const ours = { tcp: at('tcp'), udp: at('udp'), ws: at('ws'), http2: at('http2') }
  const measured = await interleaved<SocketDoor | 'mosquitto'>({
    rounds: 3, sides: { ...ours, mosquitto: mosquitto === undefined ? () => Number.NaN : atMosquitto },
  })
  const other = { against: 'mosquitto', name: 'mosquitto, in clear' } as const
  return doors.flatMap((door): BenchRow[] => {
    const value = median(measured[door])
    const perSecond = mosquitto === undefined ? { value } : compare(measured, door, other)
    return [
      { figure: `logins, ${door}`, unit: '1/s', better: 'higher', ...perSecond },
      {
        figure: `CPU of the node a login, ${door}`, value: median(cpu[door]!.slice(1)), unit: 'µs',
        better: 'lower',
      },
    ]
  })
}

/** KiB that one idle client costs it. */
async function mosquittoIdle(mosquitto: Mosquitto | undefined, count: number): Promise<number | undefined> {
  if (mosquitto === undefined) return undefined
  await mosquitto.connect(firstDevices)
  const before = await mosquitto.rssBytes()
  await mosquitto.connect(count - firstDevices)
  return (await mosquitto.rssBytes() - before) / (count - firstDevices) / kibibyte
}

async function idleRows(context: BenchContext, count: number): Promise<BenchRow[]> {
  const { say } = context
  const bound = { unit: 'KiB', better: 'lower', floor: idleKiBMax, target: idleKiB } as const
  const theirs = await withMosquitto(context, (mosquitto) => mosquittoIdle(mosquitto, count))
  const rows: BenchRow[] = []
  if (theirs !== undefined) {
    const figure = `memory of one of ${count} idle clients, mosquitto in clear`
    rows.push({ figure, value: theirs, unit: 'KiB', better: 'lower' })
  }
  for (const door of doors) {
    say(`${count} idle devices over ${door} …`)
    rows.push(...await withDoor(door, async ({ node, device, place }) => {
      await device.ask({ op: 'crowd', place, count: firstDevices })
      const before = await node.ask<number>({ op: 'rss' })
      await device.ask({ op: 'crowd', place, count: count - firstDevices })
      const value = (await node.ask<number>({ op: 'rss' }) - before) / (count - firstDevices) / kibibyte
      const memory = { figure: `memory of one of ${count} idle devices, ${door}`, value, ...bound }
      return count < heldFrom ? [memory] : [memory, ...await heldRows({ node, door, count })]
    }))
  }
  return rows
}

/** Whether they are all still there after a keep-alive, and what it cost. */
async function heldRows(held: { node: Peer, door: SocketDoor, count: number }): Promise<BenchRow[]> {
  const { node, door, count } = held
  const before = await node.cpu()
  await new Promise((resolve) => { setTimeout(resolve, holdMs) })
  const share = (await node.cpu() - before) / (holdMs * 1_000)
  const online = await node.ask<number>({ op: 'online' })
  return [
    {
      figure: `idle devices held past a keep-alive, ${door}`, value: online, unit: '', better: 'higher',
      floor: count, target: count,
    },
    {
      figure: `CPU of the node meanwhile, ${door}`, value: share, unit: 'cores', better: 'lower',
      floor: 1, target: 0.25,
    },
  ]
}
