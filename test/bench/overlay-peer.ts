/**
 * The other processes of the overlay bench, driven over IPC:
 *
 * - `taker` takes deposits as a node does without its disk, and raw streams beside it;
 * - `holder` is a node that many link to, for the memory of an idle peer;
 * - `crowd` holds those many;
 * - `network` holds two networks with the same records: of overlays, and of a kad-dht.
 */
import { hex } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import { parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { depositReplyCodec, depositRequestCodec, depositResults } from '../../protocol/service/deposit.ts'
import type { DepositResult } from '../../protocol/service/deposit.ts'
import { services } from '../../protocol/service/codes.ts'
import { locationGetReplyCodec, locationGetRequestCodec } from '../../protocol/service/location.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { sleep } from '../../protocol/timers.ts'
import { nearestNodes } from '../../protocol/xor-distance.ts'
import type { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import type { ServiceHandler } from '../../node/ports.ts'
import { serveCommands } from './bench-process.ts'
import type { Answerer } from './bench-process.ts'
import {
  benchOverlay, countFrames, echoProtocol, echoReplyBytes, kadKey, kadNode, rawNode, rawProtocol,
} from './overlay-nodes.ts'
import type { KadNode } from './overlay-nodes.ts'

export type PeerRole = 'taker' | 'holder' | 'crowd' | 'network'

export type PeerCommand =
  | { readonly op: 'addresses' | 'forget' }
  | { readonly op: 'verify', readonly on: boolean }
  | { readonly op: 'crowd', readonly address: string, readonly count: number }
  | { readonly op: 'network', readonly nodes: number, readonly records: number }

export interface TakerAddresses {
  readonly overlay: string
  readonly nodeId: string
  readonly raw: string
}

export interface LookupNetwork {
  readonly overlay: string
  readonly kad: string
  /** Keys of the records, hex. */
  readonly keys: readonly string[]
}

const recordBytes = 160
const holders = 5
const settleMs = 3_000
/** libp2p's own time limits (10 s) hold on to what they watched. */
const idleMs = 14_000

/** Takes envelopes: parsed, verified when told to, deduplicated. */
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

async function runTaker(): Promise<Answerer<PeerCommand>> {
  const overlay = benchOverlay({ dht: 'server' })
  const deposits = takeDeposits()
  overlay.handle(services.deposit, deposits.handler)
  await overlay.start()
  const { node } = await rawNode()
  await node.handle(rawProtocol, (stream) => countFrames(stream))
  await node.handle(echoProtocol, (stream) => {
    stream.addEventListener('message', () => { stream.send(new Uint8Array(echoReplyBytes)) })
  })
  await node.start()
  return async (command) => {
    if (command.op === 'verify') deposits.setVerify(command.on)
    if (command.op === 'forget') deposits.forget()
    if (command.op !== 'addresses') return undefined
    const raw = node.getMultiaddrs()[0]!.toString()
    return { overlay: overlay.addresses()[0]!, nodeId: overlay.nodeId, raw } satisfies TakerAddresses
  }
}

async function runHolder(): Promise<Answerer<PeerCommand>> {
  const overlay = benchOverlay({ dht: 'server' })
  await overlay.start()
  return async () => overlay.addresses()[0]
}

async function runCrowd(): Promise<Answerer<PeerCommand>> {
  return async (command) => {
    if (command.op !== 'crowd') return
    for (let i = 0; i < command.count; i++) {
      const each = benchOverlay({ dht: 'home', listen: false })
      await each.start()
      await each.dial(command.address, { timeoutMs: 10_000 })
    }
    await sleepAwake(idleMs)
  }
}

async function runNetwork(): Promise<Answerer<PeerCommand>> {
  return async (command) => {
    if (command.op !== 'network') return undefined
    const keys = Array.from({ length: command.records }, () => systemRandom.bytes(32))
    const overlays = await startOverlays(command.nodes, keys)
    const kads = await startKads(command.nodes)
    await sleepAwake(settleMs)
    const { dht } = kads[0]!.services
    for (const key of keys) {
      for await (const event of dht.put(kadKey(key), new Uint8Array(recordBytes))) void event
    }
    return {
      overlay: overlays[0]!.addresses()[0]!,
      kad: kads[0]!.getMultiaddrs()[0]!.toString(),
      keys: keys.map((key) => hex(key)),
    } satisfies LookupNetwork
  }
}

/** Each record lies with the nodes nearest to it, as the publisher would put it. */
async function startOverlays(count: number, keys: readonly Uint8Array[]): Promise<Libp2pOverlay[]> {
  const overlays: Libp2pOverlay[] = []
  const shelves = new Map<string, Set<string>>()
  for (let i = 0; i < count; i++) {
    const overlay = benchOverlay({ dht: 'server', bootstrap: overlays[0]?.addresses() ?? [] })
    const own = new Set<string>()
    shelves.set(overlay.nodeId, own)
    overlay.handle(services.locationGet, async (_from, body) => {
      const request = tryDecode(locationGetRequestCodec, body)
      if (!request.ok) return request
      const known = request.value.blindedKeys.filter((key) => own.has(hex(key)))
      const records = known.map(() => new Uint8Array(recordBytes))
      return { ok: true, value: encode(locationGetReplyCodec, { records }) }
    })
    await overlay.start()
    overlays.push(overlay)
  }
  const ids = overlays.map((overlay) => overlay.nodeId)
  for (const key of keys) {
    for (const nodeId of nearestNodes(key, ids, holders)) shelves.get(nodeId)!.add(hex(key))
  }
  return overlays
}

async function startKads(count: number): Promise<KadNode[]> {
  const nodes: KadNode[] = []
  for (let i = 0; i < count; i++) nodes.push(await kadNode(nodes[0]?.getMultiaddrs()[0]!.toString()))
  return nodes
}

async function sleepAwake(ms: number): Promise<void> {
  const keepAlive = setInterval(() => {}, ms)
  await sleep(systemClock, ms)
  clearInterval(keepAlive)
}

if (process.argv[1] === import.meta.filename) {
  const roles = {
    taker: runTaker, holder: runHolder, crowd: runCrowd, network: runNetwork,
  } satisfies Record<PeerRole, () => Promise<Answerer<PeerCommand>>>
  await serveCommands(roles)
}
