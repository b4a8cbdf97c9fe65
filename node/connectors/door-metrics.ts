/** A door's counters as `Connector.metrics` shows them. */
import type { DoorGuard } from './door-guard.ts'
import type { SocketListener } from './socket-listener.ts'

export function doorMetrics(guard: DoorGuard, listener?: SocketListener): Readonly<Record<string, number>> {
  const { bytes } = listener ?? {}
  const traffic = bytes === undefined ? {} : { bytesIn: bytes.in, bytesOut: bytes.out }
  return { ...guard.counters, ...traffic }
}
