/**
 * The XMPP bridge in a process of its own, so that its CPU time and memory are its own: on the embedded
 * database in a folder that is removed, with accounts `loada0` …, `loadb0` … and one app password for
 * each.
 */
import { readFileSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createSecureContext } from 'node:tls'
import { systemRandom } from '../../crypto/random.ts'
import { xmppLimits } from '../../bridges/xmpp/limits.ts'
import { XmppBridge } from '../../bridges/xmpp/xmpp-bridge.ts'
import { silentLog } from '../../node/ports.ts'
import { openNodeStore } from '../../node/node-store.ts'
import { openStore } from '../../node/storage/open-store.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { scopedKv } from '../../protocol/client/kv.ts'
import { nobodyHosted } from '../helpers/nobody-hosted.ts'

interface Given {
  readonly domain: string
  readonly cert: string
  readonly key: string
  readonly accounts: number
  readonly password: string
  readonly isArchiving: boolean
  /** Other domains are reached. */
  readonly s2s?: { readonly dnsServer: string, readonly caPem: string }
}

const given = JSON.parse(process.argv[2]!) as Given
// What a stanza costs between servers is measured, not how many of them one may send.
if (given.s2s !== undefined) {
  const plenty = 1_000_000
  Object.assign(xmppLimits, {
    s2sDomainRate: plenty, s2sDomainBurst: plenty, s2sSenderRate: plenty, s2sSenderBurst: plenty,
  })
}
const anyPort = { host: '127.0.0.1', port: 0 }
const directory = await mkdtemp(join(tmpdir(), 'openim-bench-xmpp-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
const system = { clock: systemClock, random: systemRandom, log: silentLog }
const store = await openStore(system, { directory, address: undefined })
const nodeStore = await openNodeStore({ ...system, store, dataKey: systemRandom.bytes(32) })
const context = createSecureContext({ cert: readFileSync(given.cert), key: readFileSync(given.key) })
const bridge = await XmppBridge.open({
  ...system, kv: scopedKv(nodeStore.store.kv, 'bridge/xmpp/'), directory,
  owner: { name: 'owner', address: 'oim1' }, client: () => undefined, hosted: nobodyHosted,
}, {
  domain: given.domain, version: '0', secureContext: () => context, isArchiving: given.isArchiving,
  listen: {
    clients: anyPort, clientsTls: anyPort,
    ...given.s2s === undefined ? {} : { servers: anyPort, serversTls: anyPort },
  },
  ...given.s2s === undefined ? {} : {
    s2s: { policy: {}, resolver: { dnsServers: [given.s2s.dnsServer] }, roots: [given.s2s.caPem] },
  },
})
for (const role of ['a', 'b']) {
  for (let i = 0; i < given.accounts; i++) {
    const account = await bridge.host.accounts.create(`load${role}${i}`)
    await bridge.connector.credentials.set(account, { name: 'load', password: given.password })
  }
}
await bridge.start()
const {
  'xmpp': place, 'xmpps': placeTls, 'xmpp-server': servers, 'xmpps-server': serversTls,
} = bridge.addresses()
process.stdout.write(`${JSON.stringify({ pid: process.pid, place, placeTls, servers, serversTls })}\n`)
createInterface(process.stdin).on('close', () => process.exit()).on('line', () => {
  // Any line: what it costs, after everything that is garbage went (with --expose-gc).
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  const { user, system: kernel } = process.cpuUsage()
  process.stdout.write(`${JSON.stringify({ bytes: heapUsed + external, cpuMs: (user + kernel) / 1_000 })}\n`)
})
process.on('SIGINT', () => process.exit())
