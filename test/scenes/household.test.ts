/**
 * A household as it runs at home: two whole nodes on one real Redis, which share the account, the
 * data key and the door key, and have a peer identity each. What one hosts the other takes over,
 * and a friend elsewhere writes on. Then three processes of the CLI on each database, killed like
 * their server (the long form: `npm run campaign -- household`).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { errorCode } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { nodeConfig } from '../../node/config.ts'
import { NodeKeys } from '../../node/keys-file.ts'
import { OpenIMNode } from '../../node/openim-node.ts'
import { silentLog } from '../../node/ports.ts'
import { parseStoreAddress } from '../../node/storage/store-address.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { sleep } from '../../protocol/timers.ts'
import { suite } from '../helpers/harness.ts'
import { houseBases } from '../helpers/house-ground.ts'
import { playHousehold } from '../helpers/house-play.ts'
import { hasRedis, redisAddress, startRedis } from '../helpers/redis-server.ts'

const test = suite('scenes/household', { timeoutMs: 150_000, leakGraceMs: 10_000 })
const it = hasRedis ? test : test.skip('redis-server is not installed')

async function until(what: string, probe: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + 30_000
  while (!await probe().catch(() => false)) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`not within 30 s: ${what}`)
    await sleep(systemClock, 20)
  }
}

function accountSecrets() {
  const [doorSecret, dataKey, rootEntropy] = [32, 32, 32].map((length) => systemRandom.bytes(length))
  return { doorSecret: doorSecret!, dataKey: dataKey!, rootEntropy: rootEntropy! }
}

class Scene {
  readonly #folders: string[] = []
  readonly #secrets = accountSecrets()
  readonly nodes: OpenIMNode[] = []

  /** @param options.redis its socket; without, a friend with a database of their own */
  async node(
    name: string,
    options: { redis?: string, bootstrap?: readonly string[] } = {},
  ): Promise<OpenIMNode> {
    const dataDir = await mkdtemp(join(tmpdir(), 'openim-household-'))
    this.#folders.push(dataDir)
    const { redis, bootstrap = [] } = options
    const shared = redis === undefined ? accountSecrets() : this.#secrets
    const address = redis === undefined ? undefined : parseStoreAddress(`redis://localhost?socket=${redis}`)
    const node = await OpenIMNode.open({
      dataDir,
      keys: new NodeKeys({ nodeSeed: systemRandom.bytes(32), ...shared }),
      config: nodeConfig({
        name,
        listenP2p: ['/ip4/127.0.0.1/tcp/0'],
        listenTcp: '127.0.0.1:0',
        listenUdp: '127.0.0.1:0',
        mdns: false,
        bootstrap: [...bootstrap],
      }),
      database: { directory: join(dataDir, 'store'), address },
      log: silentLog,
    })
    this.nodes.push(node)
    return node
  }

  async end(): Promise<void> {
    for (const node of this.nodes) await node.stop()
    for (const folder of this.#folders) await rm(folder, { recursive: true })
  }
}

it('two nodes on one Redis host one account, and one goes on when the other stops', async () => {
  const server = await startRedis()
  const scene = new Scene()
  try {
    const redis = redisAddress(server).host
    const first = await scene.node('house', { redis })
    const { p2p, address } = await first.start()
    const second = await scene.node('house', { redis, bootstrap: p2p })
    assert.is((await second.start()).address, address)
    const friend = await scene.node('friend', { bootstrap: p2p })
    await friend.start()

    assert.is(await Promise.resolve().then(() => second.client).catch(errorCode), 'HOUSEHOLD_ELSEWHERE')
    await until('each knows the other', async () => {
      const statuses = await Promise.all([first, second].map((node) => node.status()))
      return statuses.every(({ household }) => household?.members.length === 2)
    })
    const { household } = await second.status()
    assert.not(household?.hostsAccount)
    assert.is(household?.leases[`account/${address}`], (await first.status()).nodeId)

    const { uri } = await friend.client.invite()
    await first.client.add(uri, { name: 'friend' })
    const isActive = async (node: OpenIMNode): Promise<boolean> =>
      (await node.client.contacts()).some(({ state }) => state === 'active')
    await until('contacts', async () => await isActive(first) && await isActive(friend))
    const [house] = await friend.client.contacts()
    await friend.client.send(house!.name, 'to the first')
    const texts = async (node: OpenIMNode): Promise<string[]> =>
      (await node.client.history({ limit: 10, direction: 'in' })).map(({ text }) => text)
    await until('it arrives', async () => (await texts(first)).length === 1)

    await first.stop()
    await friend.client.send(house!.name, 'to the second')
    await until('the other hosts it', async () => (await second.status()).household?.hostsAccount === true)
    await until('it arrives there', async () => (await texts(second)).length === 2)
    assert.equal(await texts(second), ['to the first', 'to the second'])
  } finally {
    await scene.end()
    await server.remove()
  }
})

for (const base of houseBases) {
  const here = test.skipUnless(base.isHere, `${base.name} is not installed`)
  here(`six devices lose nothing when processes and ${base.name} are killed under them`, async () => {
    const report = await playHousehold({
      base, processes: 3, devices: 6, abroad: 2, seconds: 10, perSecond: 2,
      killEveryMs: 5_000, databaseKills: 1, drainMs: 30_000,
    })
    const { written, lost, doubled, disordered, fallen, kills, databaseKills } = report
    assert.ok(written > 50, `${written} texts`)
    assert.equal([lost, doubled, disordered], [0, 0, 0])
    assert.equal(fallen, [], 'none ended by itself')
    assert.equal({ kills, databaseKills }, { kills: 2, databaseKills: 1 })
  })
}

test.run()
