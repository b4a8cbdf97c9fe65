/**
 * A look-up while a third of the network is frozen (SIGSTOP: sockets open, nobody answers), with
 * real processes and libp2p: after the first walk 99 of 100 answers come within half a second.
 */
import * as assert from 'uvu/assert'
import { crypto } from '../../crypto/index.ts'
import { systemRandom } from '../../crypto/random.ts'
import { expiryHour } from '../../protocol/envelope.ts'
import { limits } from '../../protocol/limits.ts'
import { createLocationRecord, locationKeys } from '../../protocol/location-record.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { NodeCore } from '../../node/node-core.ts'
import { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import { silentLog } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('scenes/frozen holders', { timeoutMs: 240_000 })
const processes = 10
const frozenShare = 0.3
const people = 25
const rounds = 8

let nodes: CliNode[] = []
const cores: NodeCore[] = []

test.after(async () => {
  for (const node of nodes) node.thaw()
  await Promise.all(cores.map((core) => core.stop()))
  await Promise.all(nodes.map((node) => node.remove()))
})

/** A node in this process: real overlay, no store to look after. */
async function startCore(bootstrap: readonly string[]): Promise<NodeCore> {
  const system = { clock: systemClock, random: systemRandom, log: silentLog }
  const keySeed = systemRandom.bytes(32)
  const overlay = new Libp2pOverlay({ ...system, keySeed }, {
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap,
    mdns: false,
    dht: 'server',
    maxConnections: 64,
    allowPrivate: true,
  })
  const core = await NodeCore.open({
    ...system,
    overlay,
    store: new MemoryStore(system),
    connectors: [],
    nodeKeys: crypto.signingKeyPair(keySeed),
    doorKey: crypto.dhKeyPair(systemRandom.bytes(32)),
  }, { roles: [], lentBytesMax: 0 })
  await core.start()
  cores.push(core)
  return core
}

async function knowsAll(core: NodeCore): Promise<void> {
  await eventually(async () => core.directory.size >= processes || undefined, {
    withinMs: 60_000, what: 'all nodes known',
  })
}

function newRecord(): { bytes: Uint8Array, blindedKey: Uint8Array } {
  const rootSeed = systemRandom.bytes(32)
  const seed = systemRandom.bytes(15)
  const rootKey = crypto.signingKeyPair(rootSeed).publicKey
  const { current } = locationKeys({ rootKey, seed, timeMs: systemClock.now() })
  const bytes = createLocationRecord({
    rootSeed,
    seed,
    period: current.period,
    sequence: 1,
    expiryHour: expiryHour(systemClock.now() + limits.locationTtlMs - 3_600_000),
    content: { homes: [], replicas: [], introReadKey: new Uint8Array(32), shelves: [], deviceListNumber: 1 },
    random: systemRandom,
  })
  return { bytes, blindedKey: current.blindedKey }
}

test('answers with p99 under 500 ms while 30 % of the nodes are frozen', async () => {
  nodes = await Promise.all(Array.from({ length: processes }, (_, i) => CliNode.init(`n${i}`)))
  const bootstrap: string[] = []
  for (const node of nodes) {
    const ready = await node.start(bootstrap)
    if (bootstrap.length < 3) bootstrap.push(ready.p2p[0]!)
  }
  const publisher = await startCore(bootstrap)
  await knowsAll(publisher)
  const records = Array.from({ length: people }, newRecord)
  for (const { bytes } of records) await publisher.locations.publish([bytes])
  // Who serves the DHT becomes known bit by bit; the publisher goes on until enough keep each record.
  await eventually(async () => publisher.locations.holders >= limits.locationHolders || undefined, {
    withinMs: 90_000, everyMs: 500, what: 'every record has its holders',
  })

  // Comes later, so it holds nothing itself.
  const reader = await startCore(bootstrap)
  await knowsAll(reader)
  await reader.locations.locate([records[0]!.blindedKey])
  assert.is(reader.locations.held, 0)

  const frozen = nodes.slice(bootstrap.length, bootstrap.length + Math.round(processes * frozenShare))
  for (const node of frozen) node.freeze()
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    for (const record of records) {
      const begunMs = performance.now()
      const [found] = await reader.locations.locate([record.blindedKey])
      times.push(performance.now() - begunMs)
      assert.equal(found, record.bytes)
    }
  }
  for (const node of frozen) node.thaw()
  times.sort((a, b) => a - b)
  const p50 = times[times.length >> 1]!
  const p99 = times[Math.floor(times.length * 0.99)]!
  const found = `p99 of ${times.length} look-ups is ${p99.toFixed(0)} ms, p50 ${p50.toFixed(1)} ms`
  assert.ok(p99 < 500, found)
})

test.run()
