/** The rooms wired together: what holds from the first moment after a start to the last of a stop. */
import * as assert from 'uvu/assert'
import { crypto } from '../../crypto/index.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { decode, encode } from '../../protocol/codec/struct.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositReplyCodec, depositRequestCodec, depositResults } from '../../protocol/service/deposit.ts'
import { locationPutRequestCodec } from '../../protocol/service/location.ts'
import type { Connector } from '../../node/ports.ts'
import { NodeCore } from '../../node/node-core.ts'
import { MemoryNetwork } from '../../node/overlay/memory-network.ts'
import { MemoryOverlay } from '../../node/overlay/memory-overlay.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { suite } from '../helpers/harness.ts'
import { KeptLog } from '../helpers/room-network.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { TestInbox } from '../helpers/test-inbox.ts'
import { TestPerson } from '../helpers/test-location.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('node/node-core')
const readDelayMs = 50

/** A node on a slow disk, and another one to ask it. */
class Scene {
  readonly clock = new VirtualClock()
  readonly random = seededRandom('node core')
  readonly network = new MemoryNetwork(this, { latencyMs: [5, 5] })
  readonly log = new KeptLog()
  readonly nodeKeys = crypto.signingKeyPair(this.random.bytes(32))
  readonly doorKey = crypto.dhKeyPair(this.random.bytes(32))
  readonly nodeId = nodeIdFromKey(this.nodeKeys.publicKey)
  readonly asking: MemoryOverlay
  store = new MemoryStore({ clock: this.clock })
  overlay!: MemoryOverlay

  constructor() {
    const nodeId = nodeIdFromKey(crypto.signingKeyPair(this.random.bytes(32)).publicKey)
    this.asking = new MemoryOverlay({ network: this.network, nodeId }, { bootstrap: [] })
  }

  async core(connectors: readonly Connector[] = []): Promise<NodeCore> {
    const { clock, random, log, nodeKeys, doorKey, network, nodeId, store } = this
    this.overlay = new MemoryOverlay({ network, nodeId, log }, { bootstrap: [] })
    const parts = { clock, random, log, nodeKeys, doorKey, store, connectors, overlay: this.overlay }
    return await NodeCore.open(parts, { roles: ['storage'], lentBytesMax: 1_000_000 })
  }

  /** Stops it and begins again on the same disk, which reads slowly from now on. */
  async restart(core: NodeCore): Promise<NodeCore> {
    await this.run(core.stop())
    await this.run(this.store.close())
    this.store = this.store.reopen()
    const next = await this.core()
    const { kv } = this.store
    const { list } = kv
    Object.assign(kv, {
      list: async (range: Parameters<typeof list>[0]) => {
        await new Promise<void>((resolve) => { this.clock.after(readDelayMs, resolve) })
        return await list(range)
      },
    })
    return next
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.until(promise, { withinMs: 60_000 })
  }

  /** Asks again and again while the node starts. */
  async askWhile(starting: Promise<void>, service: 1 | 3, body: Uint8Array): Promise<Uint8Array[]> {
    const answers: Uint8Array[] = []
    let started = false
    const rest = starting.then(() => { started = true })
    while (!started) {
      const answer = await this.asking.call(this.nodeId, service, body, { timeoutMs: 30 })
      if (answer.ok) answers.push(answer.value)
      await new Promise<void>((resolve) => { this.clock.after(1, resolve) })
    }
    await rest
    return answers
  }
}

test('takes mail for its own people from the first moment on', async () => {
  const scene = new Scene()
  await scene.asking.start()
  const first = await scene.core()
  await scene.run(first.start())
  const inbox = new TestInbox(scene)
  await scene.run(first.messenger.inbox('oim1owner', inbox.frame()))
  const core = await scene.restart(first)
  const body = encode(depositRequestCodec, { envelopes: [inbox.envelope()] })
  const answers = await scene.run(scene.askWhile(core.start(), services.deposit, body))
  const results = answers.flatMap((value) => decode(depositReplyCodec, value).results)
  assert.ok(results.length > 0, 'it was asked before it had started')
  assert.not(results.includes(depositResults.noBox), 'nobody was told that the inbox is gone')
  await scene.run(core.stop())
  await scene.asking.stop()
})

test('an old location record changes nothing, not even while it starts', async () => {
  const scene = new Scene()
  await scene.asking.start()
  const first = await scene.core()
  await scene.run(first.start())
  const person = new TestPerson(scene)
  const [old, fresh] = [person.record(1), person.record(2)]
  await scene.run(first.locations.publish([fresh]))
  const core = await scene.restart(first)
  const body = encode(locationPutRequestCodec, { record: old })
  await scene.run(scene.askWhile(core.start(), services.locationPut, body))
  assert.equal(await scene.run(core.locations.locate([person.blindedKey])), [fresh])
  const again = await scene.restart(core)
  await scene.run(again.start())
  assert.equal(await scene.run(again.locations.locate([person.blindedKey])), [fresh])
  await scene.run(again.stop())
  await scene.asking.stop()
})

test('a stop in the middle of a start leaves nothing running', async () => {
  const scene = new Scene()
  const first = await scene.core()
  await scene.run(first.start())
  const core = await scene.restart(first)
  const starting = core.start()
  await scene.clock.advance(readDelayMs * 3)
  await scene.run(Promise.all([starting.catch(() => {}), core.stop(), core.stop()]))
  await scene.clock.advance(60_000)
  assert.is(scene.clock.pending, 0)
  assert.equal(scene.network.nodes(), [])
})

test('every caller of stop waits until it is over', async () => {
  const scene = new Scene()
  let closed = false
  const core = await scene.core([{
    name: 'slow',
    start: async () => {},
    stop: async () => {
      await new Promise<void>((resolve) => { scene.clock.after(500, resolve) })
      closed = true
    },
    address: () => undefined,
    metrics: () => ({}),
  }])
  await scene.run(core.start())
  void core.stop()
  await scene.run(core.stop())
  assert.ok(closed)
  assert.equal(scene.network.nodes(), [])
})

test('a door that does not open closes everything again', async () => {
  const scene = new Scene()
  const core = await scene.core([{
    name: 'broken',
    start: async () => { throw new OpenIMError('CONNECTOR_ADDRESS_IN_USE', 'somebody listens there') },
    stop: async () => {},
    address: () => undefined,
    metrics: () => ({}),
  }])
  const code = await scene.run(core.start().then(() => 'started', (error: OpenIMError) => error.code))
  assert.is(code, 'CONNECTOR_ADDRESS_IN_USE')
  assert.equal(scene.network.nodes(), [])
  await scene.run(core.stop())
  await scene.clock.advance(60_000)
  assert.is(scene.clock.pending, 0)
})

test('a stop before a start does nothing, a stop over a broken store still ends', async () => {
  const scene = new Scene()
  const idle = await scene.core()
  await scene.run(idle.stop())
  const core = await scene.core()
  await scene.run(core.start())
  scene.store.crash()
  await scene.run(core.stop())
  assert.equal(scene.network.nodes(), [])
})

test('stops at once while its peers are frozen', async () => {
  const scene = new Scene()
  const freeze = (): Promise<never> => new Promise(() => {})
  for (const service of [services.locationPut, services.directorySync, services.lease] as const) {
    scene.asking.handle(service, freeze)
  }
  await scene.asking.start()
  const core = await scene.core()
  await scene.run(core.start())
  await scene.run(scene.asking.dial(`/memory/${scene.nodeId}`, { timeoutMs: 1_000 }))
  const publishing = core.locations.publish([new TestPerson(scene).record(1)])
  await scene.clock.advance(100)
  const startMs = scene.clock.monotonicMs()
  await scene.run(core.stop())
  await scene.run(publishing)
  assert.ok(scene.clock.monotonicMs() - startMs < 50)
  await scene.asking.stop()
})

test('echoes a little of what it is sent', async () => {
  const scene = new Scene()
  await scene.asking.start()
  const core = await scene.core()
  await scene.run(core.start())
  const asked = scene.asking.call(scene.nodeId, services.echo, new Uint8Array(5_000), { timeoutMs: 1_000 })
  const answer = await scene.run(asked)
  assert.ok(answer.ok && answer.value.length === 1_024)
  await scene.run(core.stop())
  await scene.asking.stop()
})

test.run()
