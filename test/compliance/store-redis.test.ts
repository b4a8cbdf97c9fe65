/** Holds the store in Redis to the one suite of the port, on a server of its own. */
import { silentLog } from '../../node/ports.ts'
import { openRedisStore } from '../../node/storage/redis-store.ts'
import type { DatabaseProcess } from '../helpers/database-process.ts'
import { suite } from '../helpers/harness.ts'
import { hasRedis, redisAddress, redisCommand, startRedis } from '../helpers/redis-server.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import type { VirtualClock } from '../helpers/virtual-clock.ts'
import { storeSuite } from './store-suite.ts'
import type { StoreSubject } from './store-subject.ts'

const random = seededRandom('redis compliance')
let server: DatabaseProcess

async function subject(clock: VirtualClock): Promise<StoreSubject> {
  const store = await openRedisStore({ address: redisAddress(server), clock, random, log: silentLog })
  return {
    store,
    async reopen() {
      await store.close()
      return await subject(clock)
    },
    remove: () => store.close(),
  }
}

if (hasRedis) {
  storeSuite('redis', {
    async start() { server = await startRedis() },
    async stop() { await server.remove() },
    async open(clock) {
      await redisCommand(server, 'FLUSHALL')
      return await subject(clock)
    },
  })
} else {
  const test = suite('compliance/store: redis')
  test.skip('redis-server is not installed')('keeps the promises of the port', () => {})
  test.run()
}
