/**
 * The slow reader, in two processes: much is offered to a node that answers nobody for a while and
 * then freezes altogether; in the end all of it must have arrived, and neither process may have
 * grown. (libp2p alone fails this three ways: `onDrain` lets a sender queue without bound, `for
 * await` a receiver, and pausing resets the stream.)
 */
import * as assert from 'uvu/assert'
import { services } from '../../../protocol/service/codes.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { sleep } from '../../../protocol/timers.ts'
import type { Libp2pOverlay } from '../../../node/overlay/libp2p-overlay.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { ChildNode } from './child-node.ts'
import { testOverlay, until } from './raw-node.ts'

const mebibyte = 1024 * 1024
const bodyBytes = 64 * 1024
const parallel = 64
export const growthBytesMax = 50 * mebibyte
const sampleEveryMs = 10
/** Long enough that buffers of every layer fill up: they take milliseconds. */
const heldMs = 1_500

/** Bytes that each process grew at most. */
export interface Growth {
  readonly senderGrowth: number
  readonly readerGrowth: number
}

export async function offerToSlowReader(options: { bytes: number }): Promise<Growth> {
  const total = Math.ceil(options.bytes / bodyBytes)
  const reader = await ChildNode.start()
  const sender = testOverlay({ dht: 'home' })
  try {
    await sender.start()
    await sender.dial(reader.address, { timeoutMs: 10_000 })
    // Compilation and pools, on both sides, before the measuring begins.
    await offer(sender, reader.nodeId, { from: 0, to: 400, onDone: () => {} })
    const { rss: readerBefore } = await reader.report()
    const rss = watchRss()

    let done = 0
    await reader.tell('hold')
    const offering = offer(sender, reader.nodeId, { from: 0, to: total, onDone: () => { done++ } })
    await sleepAwake(heldMs)
    assert.is(done, 0, 'the reader answered while it was held')
    await reader.tell('release')
    await until(() => done > total / 2, { withinMs: 120_000, what: 'half of it arrives' })
    reader.freeze()
    await sleepAwake(heldMs)
    reader.thaw()
    await offering

    const senderGrowth = rss.stop()
    const { rssPeak, distinct } = await reader.report()
    assert.is(distinct, Math.max(400, total), 'something was lost')
    return { senderGrowth, readerGrowth: rssPeak - readerBefore }
  } finally {
    await sender.stop()
    await reader.end()
  }
}

/** Sends bodies numbered `from` to `to`, `parallel` at a time, each until it was answered. */
async function offer(
  sender: Libp2pOverlay,
  to: NodeId,
  range: { from: number, to: number, onDone: () => void },
): Promise<void> {
  let next = range.from
  await Promise.all(Array.from({ length: parallel }, async () => {
    while (next < range.to) {
      const body = new Uint8Array(bodyBytes)
      new DataView(body.buffer).setUint32(0, next++)
      for (;;) {
        const result = await sender.call(to, services.deposit, body, { timeoutMs: 30_000 })
        if (result.ok) break
        assert.is(result.code, 'OVERLAY_TIMEOUT')
      }
      range.onDone()
    }
  }))
}

function watchRss(): { stop(): number } {
  globalThis.gc?.()
  const before = process.memoryUsage.rss()
  let peak = before
  const timer = setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, sampleEveryMs)
  return {
    stop() {
      clearInterval(timer)
      return peak - before
    },
  }
}

async function sleepAwake(ms: number): Promise<void> {
  const keepAlive = setInterval(() => {}, ms)
  await sleep(systemClock, ms)
  clearInterval(keepAlive)
}
