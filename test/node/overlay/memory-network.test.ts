/** The in-memory network's faults, and that it carries 200 nodes through virtual hours in seconds. */
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { services } from '../../../protocol/service/codes.ts'
import { nearestNodes } from '../../../protocol/xor-distance.ts'
import { MemoryNetwork } from '../../../node/overlay/memory-network.ts'
import type { MemoryNetworkOptions } from '../../../node/overlay/memory-network.ts'
import { MemoryOverlay } from '../../../node/overlay/memory-overlay.ts'

const test = suite('node/overlay/memory-network')
const body = new Uint8Array([1, 2, 3])
const patience = { timeoutMs: 5_000 }

interface World {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly nodes: MemoryOverlay[]
  start(nodeId?: NodeId): Promise<MemoryOverlay>
  run<T>(promise: Promise<T>): Promise<T>
  code(from: MemoryOverlay, to: MemoryOverlay, timeoutMs?: number): Promise<string>
}

type Pair = World & { readonly nodes: [MemoryOverlay, MemoryOverlay] }

const worlds: World[] = []

test.after.each(async () => {
  for (const { nodes, clock } of worlds.splice(0)) {
    for (const node of nodes) await node.stop()
    await clock.settle()
  }
})

async function world(count: number, options: Partial<MemoryNetworkOptions> = {}): Promise<World> {
  const clock = new VirtualClock()
  const random = seededRandom('memory network')
  const network = new MemoryNetwork({ clock, random }, { latencyMs: [10, 50], ...options })
  const nodes: MemoryOverlay[] = []
  const own: World = {
    clock,
    network,
    nodes,
    run: (promise) => clock.until(promise, { withinMs: 600_000 }),
    async start(nodeId = nodeIdFromKey(random.bytes(32))) {
      const node = new MemoryOverlay({ network, nodeId }, { bootstrap: nodes[0]?.addresses() ?? [] })
      node.handle(services.echo, async (_from, request) => ({ ok: true, value: request }))
      node.handle(services.fetch, () => new Promise(() => {}))
      nodes.push(node)
      await node.start()
      return node
    },
    async code(from, to, timeoutMs = patience.timeoutMs) {
      const result = await own.run(from.call(to.nodeId, services.echo, body, { timeoutMs }))
      return result.ok ? 'ok' : result.code
    },
  }
  for (let i = 0; i < count; i++) await own.start()
  await clock.advance(3_000)
  worlds.push(own)
  return own
}

test('loses its share of calls, each of which ends at its deadline', async () => {
  const { code, nodes: [a, b], clock } = await world(2, { lossRate: 0.1 }) as Pair
  let lost = 0
  for (let i = 0; i < 400; i++) {
    const startMs = clock.monotonicMs()
    const ended = await code(a, b, 1_000)
    if (ended === 'ok') continue
    assert.is(ended, 'OVERLAY_TIMEOUT')
    assert.ok(Math.abs(clock.monotonicMs() - startMs - 1_000) < 1e-6)
    lost++
  }
  // Request or reply: 19 %.
  assert.ok(lost > 50 && lost < 105, `${lost} of 400 lost`)
})

test('brings a request twice where it is told to', async () => {
  const { nodes: [a, b], run } = await world(2, { duplicateRate: 1 }) as Pair
  let served = 0
  b.handle(services.deposit, async () => {
    served++
    return { ok: true, value: body }
  })
  assert.ok((await run(a.call(b.nodeId, services.deposit, body, patience))).ok)
  await run(a.call(b.nodeId, services.echo, body, patience))
  assert.is(served, 2)
})

test('keeps the order of messages in each direction', async () => {
  const { nodes: [a, b], run } = await world(2, { latencyMs: [1, 500] }) as Pair
  const order: number[] = []
  b.handle(services.deposit, async (_from, request) => {
    order.push(request[0]!)
    return { ok: true, value: body }
  })
  const calls = Array.from({ length: 50 }, (_, i) =>
    a.call(b.nodeId, services.deposit, new Uint8Array([i]), patience))
  await run(Promise.all(calls))
  assert.equal(order, Array.from({ length: 50 }, (_, i) => i))
})

test('gives the callee bytes of its own', async () => {
  const { nodes: [a, b], run } = await world(2) as Pair
  const request = new Uint8Array([7])
  const calling = a.call(b.nodeId, services.echo, request, patience)
  request[0] = 9
  const result = await run(calling)
  assert.equal(result.ok && [...result.value], [7])
})

test('cuts a partition: calls time out, links die of silence, and heal', async () => {
  const { nodes, network, clock, code } = await world(6)
  const [a, b, c] = nodes as [MemoryOverlay, MemoryOverlay, MemoryOverlay]
  const downs: NodeId[] = []
  a.onPeer((nodeId, connected) => { if (!connected) downs.push(nodeId) })
  network.partition([[a.nodeId, b.nodeId], nodes.slice(2).map((node) => node.nodeId)])
  assert.is(await code(a, c, 1_000), 'OVERLAY_TIMEOUT')
  assert.is(await code(a, b, 1_000), 'ok')
  await clock.advance(limits.linkDeadMs)
  assert.equal(new Set(downs), new Set(nodes.slice(2).map((node) => node.nodeId)))
  assert.is.not(await code(a, c, 10_000), 'ok')
  network.heal()
  assert.is(await code(a, c), 'ok')
  await clock.advance(120_000)
  assert.is(await code(c, b), 'ok')
})

test('keeps the links of a cut that heals in time', async () => {
  const { nodes, network, clock, code } = await world(2)
  const [a, b] = nodes as [MemoryOverlay, MemoryOverlay]
  let changes = 0
  a.onPeer(() => { changes++ })
  network.partition([[a.nodeId], [b.nodeId]])
  await clock.advance(limits.linkDeadMs / 2)
  network.heal()
  await clock.advance(2 * limits.linkDeadMs)
  assert.is(await code(a, b), 'ok')
  assert.is(changes, 0)
})

test('crashes a node without a goodbye, and takes it back under its old id', async () => {
  const { nodes, network, run, clock, code, start } = await world(4)
  const [a, , c] = nodes as [MemoryOverlay, MemoryOverlay, MemoryOverlay]
  const events: boolean[] = []
  a.onPeer((nodeId, connected) => { if (nodeId === c.nodeId) events.push(connected) })
  const toIt = a.call(c.nodeId, services.fetch, body, patience)
  const fromIt = c.call(a.nodeId, services.fetch, body, patience)
  await clock.advance(200)
  network.crash(c.nodeId)
  assert.equal(await run(fromIt), { ok: false, code: 'OVERLAY_STOPPED' })
  assert.equal(await run(toIt), { ok: false, code: 'OVERLAY_UNREACHABLE', detail: 'LINK_RESET' })
  assert.is(await code(a, c), 'OVERLAY_UNREACHABLE')
  assert.not.ok(network.nodes().includes(c.nodeId))
  const again = await start(c.nodeId)
  await clock.advance(1_000)
  assert.is(await code(a, again), 'ok')
  assert.equal(events, [false, true])
})

test('runs the same twice from the same seed', async () => {
  const trace = async (): Promise<string> => {
    const { nodes, clock, code } = await world(12, { lossRate: 0.05 })
    const lines: string[] = []
    for (const node of nodes) {
      node.onPeer((nodeId, up) => lines.push(`${clock.monotonicMs()} ${node.nodeId} ${nodeId} ${up}`))
    }
    for (let i = 0; i < 60; i++) {
      const ended = await code(nodes[i % 12]!, nodes[(i * 5 + 1) % 12]!, 500)
      lines.push(`${ended} ${clock.monotonicMs()}`)
    }
    await clock.advance(3_600_000)
    return `${lines.join('\n')} ${clock.fired}`
  }
  assert.is(await trace(), await trace())
})

test('finds the nearest of 200 nodes by a walk, with a fraction of them in any table', async () => {
  const { nodes, clock, run } = await world(200)
  await clock.advance(3_600_000)
  const random = seededRandom('targets')
  const ids = nodes.map((node) => node.nodeId)
  let exact = 0
  for (let i = 0; i < 20; i++) {
    const target = random.bytes(32)
    const reader = nodes[(i * 31) % nodes.length]!
    const found = await run(reader.walk(target, 8, patience))
    const expected = nearestNodes(target, ids.filter((nodeId) => nodeId !== reader.nodeId), 8)
    if (found.join() === expected.join()) exact++
  }
  assert.ok(exact >= 19, `${exact} of 20 walks were exact`)
})

test('brings gossip to all of 200 nodes, also over a lossy network', async () => {
  const { nodes, clock } = await world(200, { lossRate: 0.01 })
  const heard = new Map<string, number>()
  for (const node of nodes) {
    node.subscribe('t', (_from, message) => {
      const text = Buffer.from(message).toString()
      heard.set(text, (heard.get(text) ?? 0) + 1)
      return true
    })
  }
  for (let i = 0; i < 20; i++) nodes[i * 7]!.publish('t', Buffer.from(`message ${i}`))
  await clock.advance(2_000)
  for (let i = 0; i < 20; i++) assert.is(heard.get(`message ${i}`), 199)
})

test('costs next to nothing while 200 nodes are idle for hours', async () => {
  const { clock } = await world(200)
  const firedBefore = clock.fired
  await clock.advance(4 * 3_600_000)
  assert.ok(clock.fired - firedBefore < 250_000, `${clock.fired - firedBefore} timers`)
})

test.run()
