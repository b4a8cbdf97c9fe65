/** Starts the other processes of the overlay bench (overlay-peer.ts). */
import { BenchProcess } from './bench-process.ts'
import type { PeerCommand, PeerRole } from './overlay-peer.ts'

export type PeerProcess = BenchProcess<PeerCommand>

export function startPeer(role: PeerRole): Promise<PeerProcess> {
  return BenchProcess.start<PeerCommand>(new URL('./overlay-peer.ts', import.meta.url), role)
}
