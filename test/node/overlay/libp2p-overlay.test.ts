/** Traps of libp2p, each replayed against the overlay: real nodes and sockets on loopback. */
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { Connection } from '@libp2p/interface'
import * as assert from 'uvu/assert'
import { libp2pTimeoutMs, suite } from '../../helpers/harness.ts'
import { utf8 } from '../../../crypto/bytes.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { systemRandom } from '../../../crypto/random.ts'
import { limits } from '../../../protocol/limits.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { services } from '../../../protocol/service/codes.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { kadProtocol, linkProtocol, renewGossip } from '../../../node/overlay/libp2p-node.ts'
import { Libp2pOverlay } from '../../../node/overlay/libp2p-overlay.ts'
import { silentLog } from '../../../node/ports.ts'
import { ChildNode } from './child-node.ts'
import { rawNode, testOptions, testOverlay, until } from './raw-node.ts'

const test = suite('node/overlay/libp2p-overlay', { timeoutMs: 60_000, leakGraceMs: libp2pTimeoutMs })
const patience = { timeoutMs: 5_000 }
const key = new Uint8Array([1, 2, 3])

const toStop: { stop(): Promise<unknown> | undefined | void }[] = []
test.after.each(async () => {
  await Promise.all(toStop.splice(0).map((each) => each.stop()))
})

async function started(overlay: Libp2pOverlay = testOverlay()): Promise<Libp2pOverlay> {
  overlay.handle(services.echo, async (_from, body) => ({ ok: true, value: body }))
  await overlay.start()
  toStop.push(overlay)
  return overlay
}

/** Runs `factor` times as fast as the world, so that half-minutes of silence pass in a second. */
function fastClock(factor: number): Clock {
  return {
    now: () => systemClock.now(),
    monotonicMs: () => systemClock.monotonicMs() * factor,
    after: (delayMs, callback) => systemClock.after(delayMs / factor, callback),
  }
}

function fastOverlay(factor: number): Libp2pOverlay {
  return new Libp2pOverlay(
    { clock: fastClock(factor), random: systemRandom, log: silentLog, keySeed: systemRandom.bytes(32) },
    { ...testOptions, dht: 'home' },
  )
}

test('loads nothing of libp2p before it starts', () => {
  const overlayPath = new URL('../../../node/overlay/libp2p-overlay.ts', import.meta.url).href
  const source = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ resolve(specifier, context, next) {
      const result = next(specifier, context)
      const ours = !/node_modules.(@libp2p|libp2p|@chainsafe|@multiformats|datastore-level)/.test(result.url)
      if (!ours) loaded.push(result.url)
      return result
    } })
    await import('${overlayPath}')
    process.stdout.write(JSON.stringify(loaded))
  `
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', source])
  assert.equal(JSON.parse(stdout.toString()), [])
})

test('says so when the remote resets the link stream at once because of its limit', async () => {
  const overlay = await started()
  const stranger = await rawNode()
  await stranger.node.handle(linkProtocol, () => {}, { maxInboundStreams: 0 })
  await stranger.node.start()
  toStop.push(stranger.node)
  const address = stranger.node.getMultiaddrs()[0]!.toString()
  const startMs = performance.now()
  assert.is(await overlay.dial(address, patience).then(() => 'linked', errorCode), 'OVERLAY_UNREACHABLE')
  const result = await overlay.call(stranger.node.peerId.toString() as never, services.echo, key, patience)
  assert.is(result.ok ? 'ok' : result.code, 'OVERLAY_UNREACHABLE')
  assert.ok(performance.now() - startMs < 4_000, 'waited for a link that was reset')
  assert.equal(overlay.peers(), [])
})

test('says so when the remote takes the stream and never says hello', async () => {
  const overlay = await started(fastOverlay(10))
  const stranger = await rawNode()
  await stranger.node.handle(linkProtocol, () => {})
  await stranger.node.start()
  toStop.push(stranger.node)
  const address = stranger.node.getMultiaddrs()[0]!.toString()
  const dialled = await overlay.dial(address, { timeoutMs: 60_000 }).then(() => 'linked', errorCode)
  assert.is(dialled, 'OVERLAY_UNREACHABLE')
})

test('survives a stranger that opens too many link streams and talks rubbish on them', async () => {
  const overlay = await started()
  const stranger = await rawNode()
  await stranger.node.start()
  toStop.push(stranger.node)
  const connection = await stranger.node.dial(stranger.parse.multiaddr(overlay.addresses()[0]!))
  const opening = Array.from({ length: 12 }, () => connection.newStream(linkProtocol))
  for (const each of await Promise.allSettled(opening)) {
    const stream = each.status === 'fulfilled' ? each.value : undefined
    if (stream?.status === 'open') stream.send(utf8('GET / HTTP/1.1\r\n'))
  }
  const friend = await started()
  await friend.dial(overlay.addresses()[0]!, patience)
  assert.ok((await friend.call(overlay.nodeId, services.echo, key, patience)).ok)
})

test('closes a connection on which nobody opens a link', async () => {
  const overlay = await started(fastOverlay(40))
  const stranger = await rawNode()
  await stranger.node.start()
  toStop.push(stranger.node)
  const connection = await stranger.node.dial(stranger.parse.multiaddr(overlay.addresses()[0]!))
  await until(() => connection.status !== 'open', { withinMs: 10_000, what: 'the connection is closed' })
})

test('stores nothing for others in the DHT: it only routes', async () => {
  const overlay = await started()
  const stranger = await rawNode()
  await stranger.node.start()
  toStop.push(stranger.node)
  const connection = await stranger.node.dial(stranger.parse.multiaddr(overlay.addresses()[0]!))
  // Length-prefixed kad-dht messages: field 1 is the type (0 PUT_VALUE, 2 ADD_PROVIDER, 4 FIND_NODE).
  for (const [type, answered] of [[0, false], [1, false], [2, false], [3, false], [4, true]] as const) {
    const stream = await connection.newStream(kadProtocol)
    const message = new Uint8Array([2 + 2 + 3, 0x08, type, 0x12, 3, 0x2f, 0x61, 0x62])
    const reply = new Promise<boolean>((resolve) => {
      stream.addEventListener('message', () => resolve(true))
      stream.addEventListener('close', () => resolve(false))
    })
    stream.send(message)
    assert.is(await reply, answered, `message type ${type}`)
    stream.abort(new Error('done'))
  }
})

test('makes one link of simultaneous dials, again and again', async () => {
  for (let round = 0; round < 5; round++) {
    const [a, b] = [await started(), await started()]
    const [toA, toB] = [a.addresses()[0]!, b.addresses()[0]!]
    const dials = await Promise.allSettled([a.dial(toB, patience), b.dial(toA, patience)])
    assert.equal(dials.map((each) => each.status), ['fulfilled', 'fulfilled'])
    const results = await Promise.all(Array.from({ length: 40 }, (_, i) => {
      const [from, to] = i % 2 === 0 ? [a, b] : [b, a]
      return from.call(to.nodeId, services.echo, key, patience)
    }))
    assert.ok(results.every((result) => result.ok))
    assert.equal([a.peers().length, b.peers().length], [1, 1])
    await Promise.all([a.stop(), b.stop()])
  }
})

test('keeps gossiping with more than ten nodes behind one address', async () => {
  // The hub sees sixteen peers at one address: libp2p's default score would shut all of them out.
  const heard: Set<string>[] = []
  const nodes: Libp2pOverlay[] = []
  for (let i = 0; i < 17; i++) {
    const node = testOverlay({ dht: i === 0 ? 'server' : 'home' })
    const own = heard[i] = new Set<string>()
    node.subscribe('openim/test', (_from, message) => {
      own.add(Buffer.from(message).toString())
      return true
    })
    nodes.push(await started(node))
    if (i > 0) await node.dial(nodes[0]!.addresses()[0]!, patience)
  }
  for (let round = 1; round < 5; round++) {
    let attempt = 0
    await until(() => {
      nodes[round]!.publish('openim/test', Buffer.from(`${round} ${attempt++}`))
      return heard.every((each, i) => i === round || [...each].some((text) => text.startsWith(`${round} `)))
    }, { withinMs: 20_000, what: `everybody hears node ${round}` })
  }
})

test('gossips on when the one of two connections that carried it ends', async () => {
  const [a, b] = [await rawNode(), await rawNode()]
  const heard: string[] = []
  for (const { node } of [a, b]) {
    await node.start()
    toStop.push(node)
    node.services.gossip.subscribe('openim/test')
  }
  b.node.services.gossip.addEventListener('message', ({ detail: { data } }) => {
    heard.push(Buffer.from(data).toString())
  })
  const address = b.node.getMultiaddrs()[0]!
  const hearsNews = async (name: string): Promise<void> => {
    let attempt = 0
    await until(() => {
      // The same bytes again would be dropped as a duplicate.
      void a.node.services.gossip.publish('openim/test', Buffer.from(`${name} ${attempt++}`))
      return heard.some((text) => text.startsWith(name))
    }, { withinMs: 15_000, what: `${name} is heard` })
  }
  const first = await a.node.dial(address)
  await hearsNews('over the first connection')
  const second = await a.node.dial(address, { force: true })
  assert.is.not(first.id, second.id)
  // Identify and its pushes make gossipsub look at a new connection for a while; then nothing does.
  let heartbeats = 0
  a.node.services.gossip.addEventListener('gossipsub:heartbeat', () => { heartbeats++ })
  await until(() => heartbeats === 3, { withinMs: 10_000, what: 'both ends are settled' })
  const closed = closing(first)
  first.abort(new Error('one of two ends'))
  await closed
  renewGossip(a.node, second)
  await hearsNews('over the second connection')
})

function closing(connection: Connection): Promise<void> {
  return new Promise((resolve) => connection.addEventListener('close', () => resolve(), { once: true }))
}

test('does not let a frozen peer hold up calls to others, nor its own stop', async () => {
  const child = await ChildNode.start()
  toStop.push({ stop: () => child.end() })
  const [a, b] = [await started(), await started()]
  await a.dial(child.address, patience)
  await a.dial(b.addresses()[0]!, patience)
  assert.ok((await a.call(child.nodeId, services.echo, key, patience)).ok)
  child.freeze()
  const startMs = performance.now()
  const body = new Uint8Array(100_000)
  const frozen = Array.from({ length: 64 }, () =>
    a.call(child.nodeId, services.echo, body, { timeoutMs: 700 }))
  for (let i = 0; i < 50; i++) {
    const result = await a.call(b.nodeId, services.echo, key, { timeoutMs: 500 })
    assert.ok(result.ok, `call ${i} to a peer that is well`)
  }
  const codes = (await Promise.all(frozen)).map((result) => (result.ok ? 'ok' : result.code))
  const tookMs = performance.now() - startMs
  assert.equal([...new Set(codes)], ['OVERLAY_TIMEOUT'])
  assert.ok(tookMs >= 690 && tookMs < 2_000, `took ${tookMs} ms`)
  const stopMs = performance.now()
  await a.stop()
  assert.ok(performance.now() - stopMs < 2_500, `stopping took ${performance.now() - stopMs} ms`)
})

test('drops a peer that stays silent, and links to it again when it is back', async () => {
  const child = await ChildNode.start()
  toStop.push({ stop: () => child.end() })
  const fast = await started(fastOverlay(10))
  await fast.dial(child.address, { timeoutMs: 60_000 })
  fast.learn(child.nodeId, [child.address])
  child.freeze()
  const withinMs = limits.linkDeadMs / 10 + 5_000
  await until(() => fast.peers().length === 0, { withinMs, what: 'the silent peer is dropped' })
  child.thaw()
  assert.ok((await fast.call(child.nodeId, services.echo, key, { timeoutMs: 50_000 })).ok)
})

test('says which address it cannot listen on', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const overlay = testOverlay({ listen: [`/ip4/127.0.0.1/tcp/${port}`] })
  const failed = await overlay.start().then(() => undefined, (error: unknown) => error as Error)
  assert.is(errorCode(failed), 'OVERLAY_LISTEN')
  assert.match(failed!.message, String(port))
  await overlay.stop()
  server.close()
  await once(server, 'close')
})

test('stops cleanly while it starts', async () => {
  const overlay = testOverlay()
  const starting = overlay.start()
  await overlay.stop()
  await starting
  assert.equal(overlay.addresses(), [])
})

test.run()
