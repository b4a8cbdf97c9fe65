/**
 * Two processes, one node each: envelopes forwarded over a link against the same bytes over a raw
 * libp2p stream with the same transport, security and batching, in turns.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { crypto } from '../../crypto/index.ts'
import { systemRandom } from '../../crypto/random.ts'
import { decode, encode } from '../../protocol/codec/struct.ts'
import { createEnvelope, expiryHour } from '../../protocol/envelope.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { depositReplyCodec, depositRequestCodec, depositResults } from '../../protocol/service/deposit.ts'
import { services } from '../../protocol/service/codes.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import type { BuiltNode } from '../../node/overlay/libp2p-node.ts'
import type { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import { compare, interleaved, median, percentile } from './bench.ts'
import type { BenchRow } from './bench.ts'
import { benchOverlay, echoProtocol, rawHeadBytes, rawNode, rawProtocol } from './overlay-nodes.ts'
import type { TakerAddresses } from './overlay-peer.ts'
import { startPeer } from './overlay-process.ts'
import type { PeerProcess } from './overlay-process.ts'

const batch = limits.depositItemsMax
/** Deposits under way at once: what an outbox with work for one node keeps up. */
const parallel = 32
const roundMs = 1_500
const rounds = 5
const latencySamples = 300
const envelopeCount = 4_096
const rawQueueBytes = 1024 * 1024

/** Envelopes of the smallest size class, for different inboxes, as mail of many people is. */
function makeEnvelopes(): Uint8Array[] {
  const writers = Array.from({ length: 64 }, () => crypto.signingKeyPair(systemRandom.bytes(32)))
  const readers = writers.map(() => crypto.signingKeyPair(systemRandom.bytes(32)).publicKey)
  const hour = expiryHour(systemClock.now()) + 24
  return Array.from({ length: envelopeCount }, (_, i) => createEnvelope({
    writeKeys: writers[i % writers.length]!,
    readKey: readers[i % readers.length]!,
    expiryHour: hour,
    ciphertext: systemRandom.bytes(limits.sizeClassesBytes[0]),
  }))
}

interface TransferParts {
  readonly taker: PeerProcess
  readonly overlay: Libp2pOverlay
  readonly raw: BuiltNode
  readonly peer: NodeId
  readonly stream: Stream
  readonly echo: Stream
}

class Transfer {
  readonly #taker: PeerProcess
  readonly #overlay: Libp2pOverlay
  readonly #raw: BuiltNode
  readonly #peer: NodeId
  readonly #stream: Stream
  readonly #echo: Stream
  readonly #envelopes = makeEnvelopes()
  readonly #rawBatch: Uint8Array
  #at = 0
  /** CPU µs a message, both processes, of each round of `forward`. */
  readonly cpu: number[] = []

  static async start(): Promise<Transfer> {
    const taker = await startPeer('taker')
    const { overlay: address, nodeId, raw: rawAddress } = await taker.ask<TakerAddresses>({ op: 'addresses' })
    const overlay = benchOverlay({ dht: 'server' })
    await overlay.start()
    await overlay.dial(address, { timeoutMs: 10_000 })
    const raw = await rawNode()
    await raw.node.start()
    const connection: Connection = await raw.node.dial(raw.parse.multiaddr(rawAddress))
    const stream = await connection.newStream(rawProtocol)
    const echo = await connection.newStream(echoProtocol)
    return new Transfer({ taker, overlay, raw, peer: nodeId as NodeId, stream, echo })
  }

  private constructor(parts: TransferParts) {
    this.#taker = parts.taker
    this.#overlay = parts.overlay
    this.#raw = parts.raw
    this.#peer = parts.peer
    this.#stream = parts.stream
    this.#echo = parts.echo
    const size = this.#envelopes[0]!.length
    this.#rawBatch = new Uint8Array(batch * (rawHeadBytes + size))
    for (let i = 0; i < batch; i++) {
      const at = i * (rawHeadBytes + size)
      this.#rawBatch.set([size >> 8, size & 0xff], at)
      this.#rawBatch.set(this.#envelopes[i]!, at + rawHeadBytes)
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#overlay.stop(), this.#raw.node.stop()])
    await this.#taker.end()
  }

  /** Messages a second over the raw stream. */
  async stream(): Promise<number> {
    const stream = this.#stream
    const startMs = performance.now()
    let sent = 0
    while (performance.now() - startMs < roundMs) {
      for (let i = 0; i < 4 && stream.writeBufferLength < rawQueueBytes; i++) {
        // A copy each time: an application has other bytes every time.
        stream.send(this.#rawBatch.slice())
        sent += batch
      }
      await (stream.writeBufferLength < rawQueueBytes ? turn() : drained(stream))
    }
    const counted = new Promise<number>((resolve) => {
      stream.addEventListener('message', ({ data }) => {
        const bytes = data.subarray()
        resolve(new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0))
      }, { once: true })
    })
    stream.send(new Uint8Array(rawHeadBytes))
    const count = await counted
    if (count !== sent) throw new Error(`the raw stream lost messages: ${count} of ${sent}`)
    return (count * 1_000) / (performance.now() - startMs)
  }

  /** Envelopes a second over the link: deposited, parsed, deduplicated, acknowledged. */
  async forward(options: { verify: boolean }): Promise<number> {
    await this.#taker.ask({ op: 'forget' })
    await this.#taker.ask({ op: 'verify', on: options.verify })
    const before = await this.#cpuNow()
    const startMs = performance.now()
    let count = 0
    await Promise.all(Array.from({ length: parallel }, async () => {
      while (performance.now() - startMs < roundMs) {
        const taken = await this.#deposit(batch)
        count += taken
      }
    }))
    const tookMs = performance.now() - startMs
    if (!options.verify) this.cpu.push((await this.#cpuNow() - before) / count)
    return (count * 1_000) / tookMs
  }

  async #deposit(count: number): Promise<number> {
    const from = this.#at
    this.#at = (this.#at + count) % (this.#envelopes.length - count)
    const body = encode(depositRequestCodec, { envelopes: this.#envelopes.slice(from, from + count) })
    const result = await this.#overlay.call(this.#peer, services.deposit, body, { timeoutMs: 30_000 })
    if (!result.ok) throw new Error(`a deposit was refused: ${result.code}`)
    const { results } = decode(depositReplyCodec, result.value)
    if (results.includes(depositResults.invalid)) throw new Error('an envelope was refused')
    return results.length
  }

  /** Milliseconds of one idle delivery, acknowledgement included. */
  async deliverOne(): Promise<number> {
    return await p50(async () => { await this.#deposit(1) })
  }

  /** Milliseconds of one round trip of the raw stream with the same bytes. */
  async echoOne(): Promise<number> {
    const echo = this.#echo
    const [message] = this.#envelopes as [Uint8Array]
    return await p50(() => new Promise((resolve) => {
      echo.addEventListener('message', () => resolve(), { once: true })
      echo.send(message)
    }))
  }

  /** CPU µs used by both processes so far. */
  async #cpuNow(): Promise<number> {
    const own = process.cpuUsage()
    return own.user + own.system + await this.#taker.cpu()
  }
}

async function p50(work: () => Promise<void>): Promise<number> {
  const samples: number[] = []
  for (let i = 0; i < latencySamples; i++) {
    const startMs = performance.now()
    await work()
    samples.push(performance.now() - startMs)
  }
  return percentile(samples, 50)
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function drained(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.removeEventListener('drain', done)
      stream.removeEventListener('idle', done)
      // The stream is still inside its own loop.
      queueMicrotask(resolve)
    }
    stream.addEventListener('drain', done)
    stream.addEventListener('idle', done)
  })
}

export async function transferRows(): Promise<BenchRow[]> {
  const transfer = await Transfer.start()
  try {
    const rates = await interleaved({
      rounds,
      sides: {
        stream: () => transfer.stream(),
        forward: () => transfer.forward({ verify: false }),
        verified: () => transfer.forward({ verify: true }),
      },
    })
    const latency = await interleaved({
      rounds,
      sides: { echo: () => transfer.echoOne(), deliver: () => transfer.deliverOne() },
    })
    const raw = { against: 'stream', name: 'raw stream, same batches' } as const
    return [
      {
        figure: 'envelopes forwarded', unit: '1/s', better: 'higher', floor: 0.15, target: 0.4,
        ...compare(rates, 'forward', raw),
      },
      {
        figure: 'envelopes forwarded, signatures verified', unit: '1/s', better: 'higher',
        ...compare(rates, 'verified', raw),
      },
      {
        figure: 'delivery of one, idle, p50', unit: 'ms', better: 'lower', floor: 4, target: 2,
        ...compare(latency, 'deliver', { against: 'echo', name: 'raw stream round trip' }),
      },
      {
        figure: 'CPU of one forwarded envelope, both nodes', value: median(transfer.cpu.slice(1)), unit: 'µs',
        better: 'lower', floor: 60, target: 20,
      },
    ]
  } finally {
    await transfer.stop()
  }
}

/** What one more idle peer costs the node that holds the link. */
export async function idlePeerRow(count: number): Promise<BenchRow> {
  const holder = await startPeer('holder')
  const crowd = await startPeer('crowd')
  try {
    const address = await holder.ask<string>({ op: 'addresses' })
    // The first ones pay for code and pools.
    await crowd.ask({ op: 'crowd', address, count: 5 })
    const before = await holder.ask<number>({ op: 'rss' })
    await crowd.ask({ op: 'crowd', address, count })
    const after = await holder.ask<number>({ op: 'rss' })
    return {
      figure: 'memory of one idle peer', value: (after - before) / count / 1_024, unit: 'KiB',
      better: 'lower', floor: 300, target: 200,
    }
  } finally {
    await crowd.end()
    await holder.end()
  }
}
