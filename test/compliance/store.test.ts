/** Holds the in-memory and the embedded store to the one suite of the port. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../node/ports.ts'
import { openLevelStore } from '../../node/storage/level-store.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import type { VirtualClock } from '../helpers/virtual-clock.ts'
import { storeSuite } from './store-suite.ts'
import type { StoreSubject } from './store-subject.ts'

function memorySubject(store: MemoryStore): StoreSubject {
  return {
    store,
    async reopen() {
      await store.close()
      return memorySubject(store.reopen())
    },
    remove: async () => { await store.close() },
  }
}

async function levelSubject(clock: VirtualClock, directory: string): Promise<StoreSubject> {
  const store = await openLevelStore({ directory, clock, log: silentLog, ballastBytes: 1024 * 1024 })
  return {
    store,
    async reopen() {
      await store.close()
      return await levelSubject(clock, directory)
    },
    async remove() {
      await store.close()
      await rm(directory, { recursive: true })
    },
  }
}

storeSuite('memory', { open: async (clock) => memorySubject(new MemoryStore({ clock })) })
storeSuite('level', {
  open: async (clock) => await levelSubject(clock, await mkdtemp(join(tmpdir(), 'openim-store-'))),
})
