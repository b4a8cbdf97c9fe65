/** Ports of doors that nobody set (node/connectors/kept-ports.ts). */
import { once } from 'node:events'
import { createServer } from 'node:net'
import * as assert from 'uvu/assert'
import type { Random } from '../../../crypto/random.ts'
import { keptPlace } from '../../../node/connectors/kept-ports.ts'
import { memoryKv } from '../../../protocol/memory-kv.ts'
import { nodeOf } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('node/connectors/kept-ports')
const node = nodeOf('home')

test('stays the same at every start, and each door of each node has its own', async () => {
  const kv = memoryKv()
  const tcp = await keptPlace({ kv, random: seededRandom(1) }, { node, door: 'tcp' })
  const udp = await keptPlace({ kv, random: seededRandom(2) }, { node, door: 'udp' })
  assert.is(await keptPlace({ kv, random: seededRandom(3) }, { node, door: 'tcp' }), tcp)
  assert.is(await keptPlace({ kv, random: seededRandom(4) }, { node, door: 'udp' }), udp)
  const other = { node: nodeOf('other'), door: 'tcp' } as const
  const others = await keptPlace({ kv, random: seededRandom(5) }, other)
  assert.is(new Set([tcp, udp, others]).size, 3)
})

test('is below the ports of outgoing connections', async () => {
  for (const bytes of [[0, 0], [255, 255]] as const) {
    const random: Random = { bytes: () => new Uint8Array(bytes) }
    const port = Number((await keptPlace({ kv: memoryKv(), random }, { node, door: 'udp' })).split(':')[1])
    assert.ok(port >= 20_000 && port < 32_768, String(port))
  }
})

test('is not a port that another program has at the first start', async () => {
  const first = await keptPlace({ kv: memoryKv(), random: seededRandom('first') }, { node, door: 'tcp' })
  const other = createServer().listen(Number(first.split(':')[1]), '127.0.0.1')
  await once(other, 'listening')
  const second = await keptPlace({ kv: memoryKv(), random: seededRandom('first') }, { node, door: 'tcp' })
  await new Promise((resolve) => { other.close(resolve) })
  assert.is.not(second, first)
})

test.run()
