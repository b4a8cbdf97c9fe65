/**
 * What every `Overlay` must do, applied to each implementation by a file beside this one. A harness
 * makes small networks of it and knows how time passes there.
 */
import * as assert from 'uvu/assert'
import { seededRandom } from '../helpers/seeded-random.ts'
import type { Suite } from '../helpers/harness.ts'
import { errorCode } from '../../crypto/errors.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { services } from '../../protocol/service/codes.ts'
import { nearestNodes } from '../../protocol/xor-distance.ts'
import type { PeerRates } from '../../node/overlay/peer-buckets.ts'
import type { Overlay } from '../../node/ports.ts'

export interface NetworkOptions {
  /** `mesh`: all find each other through the first. `star`: all are linked to the first alone. */
  readonly topology?: 'mesh' | 'star'
  readonly rates?: PeerRates
  /** Registers handlers; before the node starts. */
  readonly setUp?: (overlay: Overlay, index: number) => void
}

export interface OverlayNetwork {
  /** Nodes that are up and linked as the topology says. */
  nodes(count: number, options?: NetworkOptions): Promise<Overlay[]>
  /** A new overlay with the same identity as one that stopped; not started. */
  reborn(overlay: Overlay, options?: NetworkOptions): Overlay
  /** Lets time pass until `promise` settles. */
  run<T>(promise: Promise<T>): Promise<T>
  /** Lets time pass until it is true. */
  until(condition: () => boolean): Promise<void>
  /** Milliseconds by the clock that the overlays see. */
  nowMs(): number
  close(): Promise<void>
}

const patience = { timeoutMs: 5_000 }
const key = new Uint8Array([1, 2, 3])

function bytes(length: number, seed: string): Uint8Array {
  return seededRandom(seed).bytes(length)
}

function value(result: Awaited<ReturnType<Overlay['call']>>): Uint8Array {
  if (!result.ok) throw new Error(`refused with ${result.code}: ${result.detail ?? ''}`)
  return result.value
}

function code(result: Awaited<ReturnType<Overlay['call']>>): string {
  return result.ok ? 'ok' : result.code
}

function echo(overlay: Overlay): void {
  overlay.handle(services.echo, async (_from, body) => ({ ok: true, value: body }))
}

export function overlaySuite(test: Suite, create: () => OverlayNetwork): void {
  let network: OverlayNetwork
  test.before.each(() => { network = create() })
  test.after.each(async () => { await network.close() })

  const call: Call = async (from, to, body = key) =>
    value(await network.run(from.call(to, services.echo, body, patience)))

  callTests(test, () => network, call)
  failureTests(test, () => network, call)
  peerTests(test, () => network, call)
  routingTests(test, () => network)
  gossipTests(test, () => network)
}

type Call = (from: Overlay, to: NodeId, body?: Uint8Array) => Promise<Uint8Array>

function callTests(test: Suite, network: () => OverlayNetwork, call: Call): void {
  test('answers a call with the reply of the handler, which knows the caller', async () => {
    const callers: NodeId[] = []
    const [a, b] = await network().nodes(2, {
      setUp: (overlay) => overlay.handle(services.echo, async (from, body) => {
        callers.push(from)
        return { ok: true, value: body.map((byte) => byte + 1) }
      }),
    }) as [Overlay, Overlay]
    assert.equal([...await call(a, b.nodeId)], [2, 3, 4])
    assert.equal([...await call(b, a.nodeId)], [2, 3, 4])
    assert.equal(callers, [a.nodeId, b.nodeId])
  })

  test('carries code and detail of a refusal back to the caller', async () => {
    const refusal = { ok: false, code: 'LEASE_NONE', detail: 'ask 🗝 first' } as const
    const [a, b] = await network().nodes(2, {
      setUp: (overlay) => overlay.handle(services.echo, async () => refusal),
    }) as [Overlay, Overlay]
    const result = await network().run(a.call(b.nodeId, services.echo, key, patience))
    assert.equal(result, refusal)
  })

  test('refuses a service that nobody handles and one whose handler throws', async () => {
    const [a, b] = await network().nodes(2, {
      setUp: (overlay) => overlay.handle(services.echo, async () => { throw new Error('a bug of ours') }),
    }) as [Overlay, Overlay]
    assert.is(code(await network().run(a.call(b.nodeId, services.deposit, key, patience))), 'SERVICE_UNKNOWN')
    assert.is(code(await network().run(a.call(b.nodeId, services.echo, key, patience))), 'SERVICE_FAILED')
  })

  test('carries bodies of every size up to the limit both ways', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    for (const length of [0, 1, 8_191, 8_193, 32_768, 65_536, 300_001, limits.callBodyBytesMax]) {
      const body = bytes(length, `body ${length}`)
      const reply = await call(a, b.nodeId, body)
      assert.is(reply.length, length)
      assert.ok(Buffer.from(reply).equals(body), `a body of ${length} bytes came back changed`)
      assert.is(Object.getPrototypeOf(reply), Uint8Array.prototype)
    }
  })

  test('keeps a thousand calls at once apart, whatever their sizes', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    const bodies = Array.from({ length: 1_000 }, (_, i) => bytes(1 + (i * 7_919) % 20_000, `call ${i}`))
    const calls = bodies.map((body) => a.call(b.nodeId, services.echo, body, patience))
    const replies = await network().run(Promise.all(calls))
    replies.forEach((reply, i) => assert.ok(Buffer.from(value(reply)).equals(bodies[i]!), `reply ${i}`))
  })

  test('loses none of many large calls to a node that is slow to answer', async () => {
    const served: number[] = []
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => { release = resolve })
    const [a, b] = await network().nodes(2, {
      setUp: (overlay) => overlay.handle(services.echo, async (_from, body) => {
        await gate
        served.push(body[0]! * 256 + body[1]!)
        return { ok: true, value: new Uint8Array(0) }
      }),
    }) as [Overlay, Overlay]
    const calls = Array.from({ length: 200 }, (_, i) => {
      const body = new Uint8Array(60_000)
      body.set([i >> 8, i & 0xff])
      return a.call(b.nodeId, services.echo, body, { timeoutMs: 60_000 })
    })
    await network().run(Promise.race([calls[0], b.call(a.nodeId, services.deposit, key, patience)]))
    release()
    for (const result of await network().run(Promise.all(calls))) assert.is(code(result), 'ok')
    assert.equal(served.toSorted((x, y) => x - y), Array.from({ length: 200 }, (_, i) => i))
  })

  test('answers a call to itself', async () => {
    const [a] = await network().nodes(1, { setUp: echo }) as [Overlay]
    assert.equal([...await call(a, a.nodeId)], [1, 2, 3])
    assert.is(code(await network().run(a.call(a.nodeId, services.deposit, key, patience))), 'SERVICE_UNKNOWN')
  })
}

function failureTests(test: Suite, network: () => OverlayNetwork, call: Call): void {
  const silent = (overlay: Overlay): void => {
    echo(overlay)
    overlay.handle(services.fetch, () => new Promise(() => {}))
  }

  test('ends a call at its deadline, not before, and others go on', async () => {
    const [a, b] = await network().nodes(2, { setUp: silent }) as [Overlay, Overlay]
    await call(a, b.nodeId)
    const startMs = network().nowMs()
    const result = await network().run(a.call(b.nodeId, services.fetch, key, { timeoutMs: 300 }))
    const tookMs = network().nowMs() - startMs
    assert.is(code(result), 'OVERLAY_TIMEOUT')
    assert.ok(tookMs >= 299 && tookMs < 3_000, `took ${tookMs} ms`)
    await call(a, b.nodeId)
  })

  test('ends a call when its signal aborts', async () => {
    const [a, b] = await network().nodes(2, { setUp: silent }) as [Overlay, Overlay]
    const controller = new AbortController()
    const options = { timeoutMs: 60_000, signal: controller.signal }
    const under = a.call(b.nodeId, services.fetch, key, options)
    await call(a, b.nodeId)
    controller.abort()
    assert.is(code(await network().run(under)), 'OVERLAY_TIMEOUT')
    assert.is(code(await network().run(a.call(b.nodeId, services.fetch, key, options))), 'OVERLAY_TIMEOUT')
  })

  test('gives no way to a node that nobody knows', async () => {
    const [a] = await network().nodes(2, { setUp: echo }) as [Overlay]
    const nobody = nodeIdFromKey(bytes(32, 'nobody'))
    const result = await network().run(a.call(nobody, services.echo, key, patience))
    assert.ok(['OVERLAY_UNREACHABLE', 'OVERLAY_TIMEOUT'].includes(code(result)), code(result))
  })

  test('refuses a peer that calls too often, and nobody else', async () => {
    const rates = { calls: { perSecond: 0.001, burst: 5 }, bytes: { perSecond: 1e6, burst: 1e6 } }
    const [a, b, c] = await network().nodes(3, { setUp: echo, rates }) as [Overlay, Overlay, Overlay]
    const results = await network().run(Promise.all(
      Array.from({ length: 8 }, () => b.call(a.nodeId, services.echo, key, patience)),
    ))
    assert.equal(results.map(code).filter((each) => each === 'ok').length, 5)
    assert.equal(results.map(code).filter((each) => each === 'PEER_RATE_LIMITED').length, 3)
    await call(c, a.nodeId)
  })

  test('ends its calls and hears no more once it stops', async () => {
    const [a, b] = await network().nodes(2, { setUp: silent }) as [Overlay, Overlay]
    await call(a, b.nodeId)
    const downs: NodeId[] = []
    b.onPeer((nodeId, connected) => { if (!connected) downs.push(nodeId) })
    const under = a.call(b.nodeId, services.fetch, key, { timeoutMs: 60_000 })
    const stopping = Promise.all([a.stop(), a.stop()])
    assert.is(code(await network().run(under)), 'OVERLAY_STOPPED')
    await network().run(stopping)
    assert.is(code(await network().run(a.call(b.nodeId, services.echo, key, patience))), 'OVERLAY_STOPPED')
    await network().until(() => downs.length > 0)
    assert.equal(downs, [a.nodeId])
    assert.equal(b.peers(), [])
  })

  test('fails the calls to a node that goes away', async () => {
    const [a, b] = await network().nodes(2, { setUp: silent }) as [Overlay, Overlay]
    await call(b, a.nodeId)
    const under = b.call(a.nodeId, services.fetch, key, { timeoutMs: 60_000 })
    await call(b, a.nodeId)
    const stopping = a.stop()
    assert.is(code(await network().run(under)), 'OVERLAY_UNREACHABLE')
    await network().run(stopping)
  })
}

function peerTests(test: Suite, network: () => OverlayNetwork, call: Call): void {
  test('tells of a link that comes up, and lists it', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    assert.equal(a.peers().map((peer) => peer.nodeId), [b.nodeId])
    assert.equal(b.peers().map((peer) => peer.nodeId), [a.nodeId])
    assert.equal([a, b].map((each) => each.peers()[0]!.direction).toSorted(), ['inbound', 'outbound'])
    assert.ok(b.peers()[0]!.address.length > 0)
  })

  test('dials an address and says who is there', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    assert.is(await network().run(b.dial(a.addresses()[0]!, patience)), a.nodeId)
    assert.is(b.peers().length, 1)
  })

  test('refuses to dial what is no address or leads nowhere', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    const address = b.addresses()[0]!
    await network().run(b.stop())
    await network().until(() => a.peers().length === 0)
    const cases = [['nonsense', 'OVERLAY_ADDRESS'], [address, 'OVERLAY_UNREACHABLE']] as const
    for (const [target, expected] of cases) {
      const failed = await network().run(a.dial(target, patience).then(() => 'linked', errorCode))
      assert.is(failed, expected)
    }
  })

  test('unsubscribes a listener', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    let heard = 0
    const leave = a.onPeer(() => { heard++ })
    leave()
    await network().run(b.stop())
    await network().until(() => a.peers().length === 0)
    assert.is(heard, 0)
  })

  test('makes one link of two nodes that dial each other at the same moment', async () => {
    const nodes = await network().nodes(3, { topology: 'star', setUp: echo })
    const [hub, a, b] = nodes as [Overlay, Overlay, Overlay]
    a.learn(b.nodeId, b.addresses())
    b.learn(a.nodeId, a.addresses())
    await call(a, hub.nodeId)
    await call(b, hub.nodeId)
    const results = await network().run(Promise.all([
      ...Array.from({ length: 20 }, () => a.call(b.nodeId, services.echo, key, patience)),
      ...Array.from({ length: 20 }, () => b.call(a.nodeId, services.echo, key, patience)),
    ]))
    assert.equal(new Set(results.map(code)), new Set(['ok']))
    assert.equal(a.peers().filter((peer) => peer.nodeId === b.nodeId).length, 1)
    assert.equal(b.peers().filter((peer) => peer.nodeId === a.nodeId).length, 1)
    await call(a, b.nodeId)
    await call(b, a.nodeId)
  })

  test('comes back with the same identity and is called as before', async () => {
    const [a, b] = await network().nodes(2, { setUp: echo }) as [Overlay, Overlay]
    await call(a, b.nodeId)
    await network().run(b.stop())
    await network().until(() => a.peers().length === 0)
    const again = network().reborn(b)
    assert.is(again.nodeId, b.nodeId)
    again.handle(services.echo, async () => ({ ok: true, value: new Uint8Array([9]) }))
    await network().run(again.start())
    await network().run(again.dial(a.addresses()[0]!, patience))
    await network().until(() => a.peers().length === 1)
    assert.equal([...await call(a, b.nodeId)], [9])
    await network().run(again.stop())
  })
}

function routingTests(test: Suite, network: () => OverlayNetwork): void {
  test('knows the nodes nearest to a key, and finds the same ones by a walk', async () => {
    const nodes = await network().nodes(9)
    await network().until(() => nodes.every((each) => each.nearest(key, 20).length === 8))
    for (let i = 0; i < 10; i++) {
      const target = bytes(32, `target ${i}`)
      const reader = nodes[i % nodes.length]!
      const others = nodes.filter((each) => each !== reader).map((each) => each.nodeId)
      const expected = nearestNodes(target, others, 4)
      assert.equal(reader.nearest(target, 4), expected)
      assert.equal(await network().run(reader.walk(target, 4, patience)), expected)
    }
  })

  test('walks alone without an error, and gives what it has when aborted', async () => {
    const [a, b] = await network().nodes(2) as [Overlay, Overlay]
    const controller = new AbortController()
    controller.abort()
    const found = await network().run(a.walk(key, 4, { timeoutMs: 5_000, signal: controller.signal }))
    assert.equal(found, [b.nodeId])
    await network().run(b.stop())
    await network().until(() => a.peers().length === 0)
    await network().run(a.walk(key, 4, { timeoutMs: 500 }))
  })
}

function gossipTests(test: Suite, network: () => OverlayNetwork): void {
  const topic = 'openim/test'

  test('brings a gossip message to every node once, but not back to its publisher', async () => {
    const heard: string[][] = []
    const nodes = await network().nodes(8, {
      setUp: (overlay, index) => overlay.subscribe(topic, (_from, message) => {
        (heard[index] ??= []).push(Buffer.from(message).toString())
        return true
      }),
    })
    const everybodyHeard = (text: string, except: number): boolean =>
      nodes.every((_, i) => i === except || heard[i]?.includes(text) === true)
    // A mesh takes a moment to form: say it again until it holds, then once for good.
    for (let round = 0; !everybodyHeard(`warm ${round - 1}`, 0); round++) {
      nodes[0]!.publish(topic, Buffer.from(`warm ${round}`))
      await network().until(() => everybodyHeard(`warm ${round}`, 0)).catch(() => {})
      if (round > 5) throw new Error('the mesh never formed')
    }
    nodes[3]!.publish(topic, Buffer.from('news'))
    await network().until(() => everybodyHeard('news', 3))
    for (const [i, messages] of heard.entries()) {
      assert.is(messages.filter((text) => text === 'news').length, i === 3 ? 0 : 1, `node ${i}`)
    }
  })

  test('passes on what a node finds valid and nothing else', async () => {
    const heard: string[][] = [[], [], []]
    const nodes = await network().nodes(3, {
      topology: 'star',
      setUp: (overlay, index) => overlay.subscribe(topic, (_from, message) => {
        const text = Buffer.from(message).toString()
        heard[index]!.push(text)
        return !text.startsWith('bad')
      }),
    })
    for (let round = 0; !heard[2]!.some((text) => text.startsWith('good')); round++) {
      nodes[1]!.publish(topic, Buffer.from(`good ${round}`))
      await network().until(() => heard[2]!.includes(`good ${round}`)).catch(() => {})
      if (round > 5) throw new Error('the mesh never formed')
    }
    nodes[1]!.publish(topic, Buffer.from('bad'))
    nodes[1]!.publish(topic, Buffer.from('good at last'))
    await network().until(() => heard[2]!.includes('good at last'))
    assert.ok(heard[0]!.includes('bad'))
    assert.not.ok(heard[2]!.includes('bad'))
  })
}
