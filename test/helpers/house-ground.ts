/**
 * A household as it runs at home: `openim start --db …` several times on one private database
 * server, and people whose accounts it serves. Every process has a place of its own in the network;
 * they share the database, the data key and the door key, as after `openim household invite`.
 */
import { crypto } from '../../crypto/index.ts'
import { systemRandom } from '../../crypto/random.ts'
import { encodeKeysFile, loadKeys, memberKeys, saveKeys } from '../../node/keys-file.ts'
import type { NodeKeys } from '../../node/keys-file.ts'
import { openNodeStore } from '../../node/node-store.ts'
import { aloneHousehold, silentLog } from '../../node/ports.ts'
import { Accounts } from '../../node/router/accounts.ts'
import { openStore } from '../../node/storage/open-store.ts'
import type { SqlAddress } from '../../node/storage/sql/sql-driver.ts'
import { parseStoreAddress } from '../../node/storage/store-address.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { CliNode } from './cli-node.ts'
import type { DatabaseProcess } from './database-process.ts'
import { freePort } from './free-port.ts'
import { hasMariadb, mariadbAddress, startMariadb } from './mariadb-server.ts'
import { hasPostgresql, postgresqlAddress, startPostgresql } from './postgresql-server.ts'
import { hasRedis, redisAddress, startRedis } from './redis-server.ts'

/** A database server that several processes share. */
export interface HouseBase {
  readonly name: 'PostgreSQL' | 'MariaDB' | 'Redis'
  readonly isHere: boolean
  start(): Promise<DatabaseProcess>
  /** For `--db`. */
  url(server: DatabaseProcess): string
}

export const houseBases: readonly HouseBase[] = [
  {
    name: 'PostgreSQL',
    isHere: hasPostgresql,
    start: () => startPostgresql(),
    url: (server) => sqlUrl('postgresql', postgresqlAddress(server)),
  },
  {
    name: 'MariaDB',
    isHere: hasMariadb,
    start: () => startMariadb(),
    url: (server) => sqlUrl('mariadb', mariadbAddress(server)),
  },
  {
    name: 'Redis',
    isHere: hasRedis,
    start: () => startRedis(),
    url: (server) => `redis://localhost?socket=${redisAddress(server).host}`,
  },
]

function sqlUrl(scheme: string, { host, user, database }: SqlAddress): string {
  return `${scheme}://${user}@localhost/${database}?socket=${host}`
}

/** Somebody at home in the household: an account's first device. */
export interface Resident {
  readonly address: string
  readonly linkKey: Uint8Array
}

/** One process, at the same doors after a restart. */
export interface HouseMember {
  readonly node: CliNode
  readonly door: string
}

export class HouseGround {
  readonly server: DatabaseProcess
  readonly members: readonly HouseMember[]
  readonly doorKey: Uint8Array
  readonly #url: string

  private constructor(
    server: DatabaseProcess,
    parts: { url: string, members: readonly HouseMember[], doorKey: Uint8Array },
  ) {
    this.server = server
    this.#url = parts.url
    this.members = parts.members
    this.doorKey = parts.doorKey
  }

  /** All of it runs. */
  static async open(
    base: HouseBase,
    { processes, residents }: { processes: number, residents: readonly Resident[] },
  ): Promise<HouseGround> {
    const server = await base.start()
    const url = base.url(server)
    const nodes: CliNode[] = []
    try {
      const first = await CliNode.init('house')
      nodes.push(first)
      const keys = await loadKeys(first.dataDir)
      for (let i = 1; i < processes; i++) {
        const member = await CliNode.copyOf(first)
        nodes.push(member)
        await saveKeys(member.dataDir, encodeKeysFile(memberKeys(systemRandom, keys), systemRandom))
      }
      await register(url, keys, residents)
      const members: HouseMember[] = []
      for (const node of nodes) members.push({ node, door: `127.0.0.1:${await freePort()}` })
      const doorKey = crypto.dhKeyPair(keys.doorSecret).publicKey
      keys.wipe()
      const ground = new HouseGround(server, { url, members, doorKey })
      for (const member of members) await ground.start(member)
      return ground
    } catch (error) {
      for (const node of nodes) await node.remove()
      await server.remove()
      throw error
    }
  }

  /** Where others may begin. */
  get p2p(): string[] {
    return this.members.flatMap(({ node }) => node.isKnown ? node.ready.p2p : [])
  }

  async start({ node, door }: HouseMember): Promise<void> {
    const others = this.members.filter((member) => member.node !== node && member.node.isKnown)
    const bootstrap = others.flatMap((member) => member.node.ready.p2p)
    await node.start(bootstrap, ['--db', this.#url, '--tcp-listen', door])
  }

  async remove(): Promise<void> {
    for (const { node } of this.members) await node.remove()
    await this.server.remove()
  }
}

/** Lets them log in. A node of today does that for the account of its owner and for its devices. */
async function register(url: string, keys: NodeKeys, residents: readonly Resident[]): Promise<void> {
  const common = { clock: systemClock, log: silentLog }
  const store = await openStore(common, { directory: '', address: parseStoreAddress(url) })
  try {
    const sealed = await openNodeStore({ ...common, store, random: systemRandom, dataKey: keys.dataKey })
    const self = nodeIdFromKey(crypto.signingKeyPair(keys.nodeSeed).publicKey)
    const accounts = new Accounts({ kv: sealed.store.kv, household: aloneHousehold(self) })
    for (const { address, linkKey } of residents) await accounts.register(address, linkKey)
  } finally {
    await store.close()
  }
}
