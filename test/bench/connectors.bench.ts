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
const script = new URL('./connectors-peer.ts', import.meta.url)

export const bench: Bench = {
  about: 'doors for devices: messages, latency, idle devices, against bare transports and mosquitto',
  usage: '--devices COUNT',
  async run(context) {
    const count = devicesOf(context.args)
    const rates = await messageRows(context)
    const idle: BenchRow[] = []
    const mosquitto = await Mosquitto.start()
    if (mosquitto === undefined) context.say('mosquitto is not installed: its figures are missing')
    try {
      idle.push(...await acceptRows(context, mosquitto))
      mosquitto?.leave()
      idle.push(...await idleRows(context, { mosquitto, count }))
    } finally {
      await mosquitto?.stop()
    }
    return [...rates, ...idle]
  },
}

function devicesOf(args: readonly string[]): number {
  if (args.length === 0) return idleDevices
  const count = Number(args[1])
  if (args[0] !== '--devices' || !Number.isSafeInteger(count) || count < firstDevices || args.length > 2) {
    throw new Error(`the options are: ${bench.usage}, at least ${firstDevices}`)
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
        context.say(`messages of ${bytes} bytes ${op === 'in' ? 'from device to node' : 'from node to device'} …`)
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

async function rateRows(peers: { node: Peer, device: Peer }, op: 'in' | 'out', bytes: number): Promise<BenchRow[]> {
  const { node, device } = peers
  const cpu: Record<string, number[]> = {}
  const cpuNow = async (): Promise<number> => await node.cpu() + await device.cpu()
  const measure = async (side: Side): Promise<number> => {
    const before = await cpuNow()
    const { perSecond, messages } = await device.ask<Rate>({ op, side, bytes, ms: rateMs })
    ;(cpu[side] ??= []).push((await cpuNow() - before) / messages)
    return perSecond
  }
  const all: Side[] = ['loopback', ...doors.flatMap((door): Side[] => [door, `raw ${door}`])]
  const sides = Object.fromEntries(all.map((side) => [side, () => measure(side)])) as Record<Side, () => Promise<number>>
  const perSecond = await interleaved({ rounds, sides })
  // The round that is thrown away came first.
  const perMessage = Object.fromEntries(all.map((side) => [side, cpu[side]!.slice(1)])) as Rounds<Side>
  const figure = `messages ${op}, ${bytes} B, `
  return [
    { figure: `${figure}loopback`, value: median(perSecond.loopback), unit: '1/s', better: 'higher' },
    { figure: `CPU a message ${op}, ${bytes} B, loopback`, value: median(perMessage.loopback), unit: 'µs', better: 'lower' },
    ...doors.flatMap((door): BenchRow[] => {
      const raw = { against: `raw ${door}`, name: `bare ${door}, same batches` } as const
      return [
        { figure: figure + door, unit: '1/s', better: 'higher', ...targets, ...compare(perSecond, door, raw) },
        { figure: `CPU a message ${op}, ${bytes} B, ${door}`, unit: 'µs', better: 'lower', ...compare(perMessage, door, raw) },
      ]
    }),
  ]
}

const targets = { floor: 0.05, target: 0.3 } as const

async function latencyRows(device: Peer): Promise<BenchRow[]> {
  const p99: Record<string, number[]> = {}
  const measure = async (side: Side): Promise<number> => {
    const samples = await device.ask<number[]>({ op: 'echo', side, count: echoes })
    ;(p99[side] ??= []).push(percentile(samples, 99))
    return percentile(samples, 50)
  }
  const all: Side[] = ['loopback', ...doors.flatMap((door): Side[] => [door, `raw ${door}`])]
  const sides = Object.fromEntries(all.map((side) => [side, () => measure(side)])) as Record<Side, () => Promise<number>>
  const p50 = await interleaved({ rounds, sides })
  const worst = Object.fromEntries(all.map((side) => [side, p99[side]!.slice(1)])) as Rounds<Side>
  return [
    { figure: 'round trip, p50, loopback', value: median(p50.loopback), unit: 'ms', better: 'lower' },
    ...doors.flatMap((door): BenchRow[] => {
      const raw = { against: `raw ${door}`, name: `bare ${door}` } as const
      return [
        { figure: `round trip, p50, ${door}`, unit: 'ms', better: 'lower', target: 2, ...compare(p50, door, raw) },
        { figure: `round trip, p99, ${door}`, unit: 'ms', better: 'lower', ...compare(worst, door, raw) },
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

async function acceptRows({ say }: BenchContext, mosquitto: Mosquitto | undefined): Promise<BenchRow[]> {
  say(`${acceptedDevices} devices log in at each door …`)
  const cpu: Record<string, number[]> = {}
  const at = (door: SocketDoor) => () => withDoor(door, async ({ node, device, place }) => {
    await device.ask({ op: 'crowd', place, count: firstDevices })
    const before = await node.cpu()
    const seconds = await device.ask<number>({ op: 'crowd', place, count: acceptedDevices })
    ;(cpu[door] ??= []).push((await node.cpu() - before) / acceptedDevices)
    return acceptedDevices / seconds
  })
  const atMosquitto = async (): Promise<number> => {
    const before = await mosquitto!.cpu()
    const seconds = await mosquitto!.connect(acceptedDevices)
    ;(cpu['mosquitto'] ??= []).push((await mosquitto!.cpu() - before) / acceptedDevices)
    return acceptedDevices / seconds
  }
  const ours = { tcp: at('tcp'), udp: at('udp'), ws: at('ws'), http2: at('http2') }
  const measured = await interleaved<SocketDoor | 'mosquitto'>({
    rounds: 3, sides: { ...ours, mosquitto: mosquitto === undefined ? () => Number.NaN : atMosquitto },
  })
  const other = { against: 'mosquitto', name: 'mosquitto, in clear' } as const
  return doors.flatMap((door): BenchRow[] => {
    const perSecond = mosquitto === undefined ? { value: median(measured[door]) } : compare(measured, door, other)
    return [
      { figure: `logins, ${door}`, unit: '1/s', better: 'higher', ...perSecond },
      { figure: `CPU of the node a login, ${door}`, value: median(cpu[door]!.slice(1)), unit: 'µs', better: 'lower' },
    ]
  })
}

async function idleRows(
  { say }: BenchContext,
  options: { mosquitto: Mosquitto | undefined, count: number },
): Promise<BenchRow[]> {
  const { mosquitto, count } = options
  const bound = { unit: 'KiB', better: 'lower', floor: 60 * 1_000 / kibibyte, target: 40 } as const
  const rows: BenchRow[] = []
  let theirs: { against: string, againstValue: number } | undefined
  if (mosquitto !== undefined) {
    await mosquitto.connect(firstDevices)
    const before = await mosquitto.rssBytes()
    await mosquitto.connect(count)
    const value = (await mosquitto.rssBytes() - before) / count / kibibyte
    mosquitto.leave()
    theirs = { against: 'mosquitto, in clear', againstValue: value }
  }
  for (const door of doors) {
    say(`${count} idle devices over ${door} …`)
    rows.push(...await withDoor(door, async ({ node, device, place }) => {
      await device.ask({ op: 'crowd', place, count: firstDevices })
      const before = await node.ask<number>({ op: 'rss' })
      await device.ask({ op: 'crowd', place, count })
      const value = (await node.ask<number>({ op: 'rss' }) - before) / count / kibibyte
      const memory = { figure: `memory of one of ${count} idle devices, ${door}`, value, ...bound, ...theirs }
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
      floor: count + firstDevices, target: count + firstDevices,
    },
    { figure: `CPU of the node meanwhile, ${door}`, value: share, unit: 'cores', better: 'lower', floor: 1, target: 0.25 },
  ]
}
