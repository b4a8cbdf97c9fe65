/** Two or more processes on one disk, for tests of a single room: each has its own connection. */
import { KvTable } from '../../protocol/memory-kv.ts'
import { PieceTable } from '../../node/storage/memory-pieces.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { MailTable } from '../../node/storage/memory-tables.ts'
import { aloneHousehold } from '../../node/ports.ts'
import type { HouseholdPort } from '../../node/ports.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { HouseholdHint } from '../../protocol/service/household.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** One process of several; what it tells the others is kept. */
export function oneOfMany(self: NodeId, told: HouseholdHint[] = []): HouseholdPort {
  return { ...aloneHousehold(self), isAlone: false, tell: (hint) => told.push(hint) }
}

/** @param options.syncDelayMs by process: writes of two with the same delay meet in one moment */
export function sharedStores(
  clock: VirtualClock,
  options: { count: number, syncDelayMs?: number },
): MemoryStore[] {
  const disk = { mail: new MailTable(), pieces: new PieceTable(), kv: new KvTable() }
  const { count, syncDelayMs = 2 } = options
  return Array.from({ length: count }, () => new MemoryStore({ clock }, { syncDelayMs }, disk))
}
