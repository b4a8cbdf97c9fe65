/**
 * What a synchronous piece of work costs in memory: how much its result keeps, and how much it
 * allocates on the way, garbage included. Heap and array buffers together.
 */
import { GCProfiler, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

export interface Allocation {
  /** Still held by the result after a collection. */
  readonly kept: number
  /** All that was allocated: an upper bound of what was ever held at once. */
  readonly allocated: number
}

/** No work at all measures as a few kilobytes. */
export function allocation(work: () => unknown): Allocation {
  collect()
  const profiler = new GCProfiler()
  profiler.start()
  const before = usedBytes()
  const result = work()
  const after = usedBytes()
  const { statistics } = profiler.stop()
  const collected = statistics.reduce((sum, { beforeGC, afterGC }) =>
    sum + used(beforeGC.heapStatistics) - used(afterGC.heapStatistics), 0)
  collect()
  const kept = usedBytes() - before
  // Keeps the result alive until here, so that it is counted.
  if (result === collect) throw new Error('the work returned the collector')
  return { kept, allocated: after - before + collected }
}

/** What the process holds: after a collection, heap and array buffers together. */
export function heldBytes(): number {
  collect()
  return usedBytes()
}

function used(statistics: { usedHeapSize: number, externalMemory: number }): number {
  return statistics.usedHeapSize + statistics.externalMemory
}

function usedBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
