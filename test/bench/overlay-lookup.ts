/**
 * Location look-ups over the overlay against a kad-dht GET, on two networks of the same size with
 * the same records. Warm: three holders from the local table, the first two answers count. Cold:
 * after a full walk. Only routing and calls: sealing and checking a record is in another bench.
 */
import { decode, encode } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { services } from '../../protocol/service/codes.ts'
import { locationGetReplyCodec, locationGetRequestCodec } from '../../protocol/service/location.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { sleep } from '../../protocol/timers.ts'
import type { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import { compare, interleaved } from './bench.ts'
import type { BenchRow } from './bench.ts'
import { benchOverlay, kadKey, kadNode } from './overlay-nodes.ts'
import type { KadNode } from './overlay-nodes.ts'
import type { LookupNetwork } from './overlay-peer.ts'
import { startPeer } from './overlay-process.ts'

const nodes = 16
const records = 24
const settleMs = 4_000
const patience = { timeoutMs: 10_000 }

export async function lookupRows(): Promise<BenchRow[]> {
  const network = await startPeer('network')
  const reader = benchOverlay({ dht: 'server' })
  let kad: KadNode | undefined
  try {
    const there = await network.ask<LookupNetwork>({ op: 'network', nodes, records })
    const { keys } = there
    await reader.start()
    await reader.dial(there.overlay, patience)
    kad = await kadNode(there.kad)
    const { dht } = kad.services
    await sleepAwake(settleMs)
    let at = 0
    const nextKey = (): Uint8Array => Buffer.from(keys[at++ % keys.length]!, 'hex')
    const measured = await interleaved({
      rounds: records,
      sides: {
        kad: () => elapsed(async () => {
          for await (const event of dht.get(kadKey(nextKey()))) void event
        }),
        warm: () => elapsed(async () => {
          const key = nextKey()
          await ask(reader, reader.nearest(key, limits.locationReaders), key)
        }),
        cold: () => elapsed(async () => {
          const key = nextKey()
          await ask(reader, await reader.walk(key, limits.locationReaders, patience), key)
        }),
      },
    })
    const get = { against: 'kad', name: 'kad-dht GET' } as const
    const row = { unit: 'ms', better: 'lower' } as const
    return [
      {
        figure: 'location look-up, warm, p50', ...row, floor: 0.2, target: 0.05,
        ...compare(measured, 'warm', get),
      },
      { figure: 'location look-up with a walk, p50', ...row, ...compare(measured, 'cold', get) },
    ]
  } finally {
    await Promise.all([reader.stop(), kad?.stop()])
    await network.end()
  }
}

/** Asks all at once and waits for the first two that have the record. */
async function ask(reader: Libp2pOverlay, holders: readonly NodeId[], key: Uint8Array): Promise<void> {
  const body = encode(locationGetRequestCodec, { blindedKeys: [key] })
  let found = 0
  await new Promise<void>((resolve, reject) => {
    let open = holders.length
    for (const holder of holders) {
      void reader.call(holder, services.locationGet, body, patience).then((result) => {
        if (result.ok && decode(locationGetReplyCodec, result.value).records.length > 0) found++
        open--
        if (found === 2) resolve()
        else if (open === 0) reject(new Error(`${found} of ${holders.length} holders had the record`))
      })
    }
  })
}

async function elapsed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}

async function sleepAwake(ms: number): Promise<void> {
  const keepAlive = setInterval(() => {}, ms)
  await sleep(systemClock, ms)
  clearInterval(keepAlive)
}
