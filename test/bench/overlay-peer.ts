/**
 * The other process of the overlay bench: a node that takes deposits, and beside it a bare libp2p
 * node with the same transports and settings that takes raw streams. Driven over IPC.
 *
 * `node overlay-peer.ts taker` takes what is sent; `… crowd` holds many small nodes that link to
 * one and then keep still.
 */
import { systemRandom } from '../../crypto/random.ts'
import { parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import { depositReplyCodec, depositRequestCodec, depositResults } from '../../protocol/service/deposit.ts'
import type { DepositResult } from '../../protocol/service/deposit.ts'
import { services } from '../../protocol/service/codes.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { buildNode } from '../../node/overlay/libp2p-node.ts'
import type { OverlayNode } from '../../node/overlay/libp2p-node.ts'
import { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import type { ServiceHandler } from '../../node/ports.ts'
import { silentLog } from '../../node/ports.ts'

export const rawProtocol = '/openim/bench/raw/1'
export const echoProtocol = '/openim/bench/echo/1'
/** A raw frame is `u16 length, payload`; length 0 asks for the number of frames so far. */
export const rawHeadBytes = 2
/** About the size of a reply to a deposit of one. */
export const echoReplyBytes = 16

const loopback = ['/ip4/127.0.0.1/tcp/0']
const unlimited = { calls: { perSecond: 1e9, burst: 1e9 }, bytes: { perSecond: 1e12, burst: 1e12 } }

export interface TakerAddresses {
  readonly overlay: string
  readonly nodeId: string
  readonly raw: string
}

export function benchOverlay(options: { server?: boolean } = {}): Libp2pOverlay {
  return new Libp2pOverlay(
    { clock: systemClock, random: systemRandom, log: silentLog, keySeed: systemRandom.bytes(32) },
    {
      listen: options.server === false ? [] : loopback,
      bootstrap: [],
      mdns: false,
      dht: options.server === false ? 'home' : 'server',
      maxConnections: 2_000,
      allowPrivate: true,
      rates: unlimited,
    },
  )
}

/** A libp2p node with the overlay's own settings and none of its links. */
export async function rawNode(): Promise<OverlayNode> {
  const { node } = await buildNode({
    keySeed: systemRandom.bytes(32),
    listen: loopback,
    announce: [],
    mdns: false,
    dht: 'server',
    maxConnections: 100,
    allowPrivate: true,
    peerStorePath: undefined,
    onNeighbour: () => {},
  })
  return node
}

/** Takes envelopes as a node does, without the disk: parsed, optionally verified, deduplicated. */
function takeDeposits(): { handler: ServiceHandler, setVerify: (on: boolean) => void, forget: () => void } {
  const seen = new Set<EnvelopeId>()
  let verify = false
  const take = (encoded: Uint8Array): DepositResult => {
    const parsed = parseEnvelope(encoded)
    if (!parsed.ok) return depositResults.invalid
    if (verify && !verifyEnvelope(encoded, parsed.value.envelope)) return depositResults.invalid
    if (seen.has(parsed.value.id)) return depositResults.duplicate
    seen.add(parsed.value.id)
    return depositResults.stored
  }
  return {
    async handler(_from, body) {
      const request = tryDecode(depositRequestCodec, body)
      if (!request.ok) return request
      const results = request.value.envelopes.map(take)
      return { ok: true, value: encode(depositReplyCodec, { results, receipt: undefined, tombstones: [] }) }
    },
    setVerify: (on) => { verify = on },
    forget: () => seen.clear(),
  }
}

async function takeRaw(node: OverlayNode): Promise<void> {
  await node.handle(rawProtocol, (stream) => {
    let frames = 0
    let length = -1
    let left = 0
    let high = -1
    stream.addEventListener('message', ({ data }) => {
      for (const chunk of data instanceof Uint8Array ? [data] : data) {
        let at = 0
        while (at < chunk.length) {
          if (left > 0) {
            const step = Math.min(left, chunk.length - at)
            left -= step
            at += step
            if (left === 0) frames++
            continue
          }
          if (high < 0) {
            high = chunk[at++]!
            continue
          }
          length = high * 256 + chunk[at++]!
          high = -1
          left = length
          if (length > 0) continue
          const count = new Uint8Array(8)
          new DataView(count.buffer).setFloat64(0, frames)
          frames = 0
          stream.send(count)
        }
      }
    })
  })
  await node.handle(echoProtocol, (stream) => {
    stream.addEventListener('message', () => { stream.send(new Uint8Array(echoReplyBytes)) })
  })
}

export type PeerCommand =
  | { readonly op: 'addresses' | 'cpu' | 'rss' | 'forget' | 'stop' }
  | { readonly op: 'verify', readonly on: boolean }
  | { readonly op: 'crowd', readonly address: string, readonly count: number }

async function runTaker(): Promise<(command: PeerCommand) => Promise<unknown>> {
  const overlay = benchOverlay()
  const deposits = takeDeposits()
  overlay.handle(services.deposit, deposits.handler)
  overlay.handle(services.echo, async (_from, body) => ({ ok: true, value: body }))
  await overlay.start()
  const raw = await rawNode()
  await takeRaw(raw)
  await raw.start()
  return async (command) => {
    switch (command.op) {
      case 'addresses': return {
        overlay: overlay.addresses()[0]!,
        nodeId: overlay.nodeId,
        raw: raw.getMultiaddrs()[0]!.toString(),
      } satisfies TakerAddresses
      case 'verify': return deposits.setVerify(command.on)
      case 'forget': return deposits.forget()
      case 'stop': return await Promise.all([overlay.stop(), raw.stop()])
      default: return undefined
    }
  }
}

async function runCrowd(): Promise<(command: PeerCommand) => Promise<unknown>> {
  const crowd: Libp2pOverlay[] = []
  return async (command) => {
    if (command.op === 'stop') return await Promise.all(crowd.map((each) => each.stop()))
    if (command.op !== 'crowd') return undefined
    for (let i = 0; i < command.count; i++) {
      const each = benchOverlay({ server: false })
      await each.start()
      crowd.push(each)
      await each.dial(command.address, { timeoutMs: 10_000 })
    }
    return crowd.length
  }
}

if (process.argv[1] === import.meta.filename && process.send !== undefined) {
  const run = process.argv[2] === 'crowd' ? await runCrowd() : await runTaker()
  process.on('message', (message: { id: number, command: PeerCommand }) => {
    void answer(message.command).then(
      (result) => process.send!({ id: message.id, result }),
      (error: unknown) => process.send!({ id: message.id, error: String(error) }),
    ).then(() => {
      if (message.command.op === 'stop') process.disconnect()
    })
  })
  const answer = async (command: PeerCommand): Promise<unknown> => {
    if (command.op === 'cpu') return process.cpuUsage()
    if (command.op === 'rss') {
      for (let i = 0; i < 3; i++) globalThis.gc?.()
      return process.memoryUsage().rss
    }
    return await run(command)
  }
  process.send({ id: 0, result: 'ready' })
}
