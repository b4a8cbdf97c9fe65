/**
 * The XMPP bridge as it runs in a node, on a memory store and free ports of this machine, with
 * accounts made beforehand and clients that log in by STARTTLS. Which openIM account is the owner's is
 * the test's to say.
 */
import { createSecureContext, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { systemRandom } from '../../crypto/random.ts'
import { silentLog } from '../../node/ports.ts'
import type { BridgeHost } from '../../node/bridge-host.ts'
import type { ClientApi } from '../../protocol/client/api.ts'
import { memoryKv } from '../../protocol/memory-kv.ts'
import type { KvStore } from '../../protocol/ports.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { XmppBridge } from '../../bridges/xmpp/xmpp-bridge.ts'
import type { XmppBridgeOptions } from '../../bridges/xmpp/xmpp-bridge.ts'
import { nobodyHosted } from './nobody-hosted.ts'
import { TestCA } from './xmpp-ca.ts'
import { LoggedIn } from './xmpp-client.ts'
import type { XmppGround } from './xmpp-server.ts'

export interface XmppHouseOptions {
  readonly domain?: string
  /** Of the store that outlives a house. */
  readonly kv?: KvStore
  readonly owner?: string
  /** For files of the bridge. */
  readonly directory?: string
  readonly client?: () => ClientApi | undefined
  readonly hosted?: BridgeHost['hosted']
  readonly bridge?: Partial<XmppBridgeOptions>
  /** Other servers: found by its name server, believed by its authority. */
  readonly ground?: XmppGround
}

const houseAuthority = TestCA.create('openIM house')

export class XmppHouse {
  readonly domain: string
  readonly bridge: XmppBridge
  readonly kv: KvStore
  readonly #clients: LoggedIn[] = []
  #passwords = 0

  private constructor(domain: string, bridge: XmppBridge, kv: KvStore) {
    this.domain = domain
    this.bridge = bridge
    this.kv = kv
  }

  static async open(options: XmppHouseOptions = {}): Promise<XmppHouse> {
    const { domain = 'a.test', kv = memoryKv(), owner = 'owner', client = () => undefined } = options
    const { ground, directory } = options
    const ca = ground?.ca ?? houseAuthority
    setDefaultCACertificates([...getCACertificates('bundled').slice(0, 1), ca.pem])
    const leaf = ca.issue({ dns: [domain, `*.${domain}`, 'localhost'] })
    const context = createSecureContext({ cert: leaf.fullChain, key: leaf.key })
    const node: BridgeHost = {
      clock: systemClock, random: systemRandom, log: silentLog, kv, directory: directory ?? '/nonexistent',
      owner: { name: owner, address: 'oim1owner' }, client, hosted: options.hosted ?? nobodyHosted,
    }
    const any = { host: '127.0.0.1', port: 0 }
    const bridge = await XmppBridge.open(node, {
      domain, version: '0.0.0', secureContext: () => context, listen: { clients: any, web: any },
      ...directory === undefined ? { uploads: 'off' as const } : {},
      ...ground === undefined ? {} : federation(ground),
      ...options.bridge,
    })
    await bridge.start()
    if (ground !== undefined) {
      const { 'xmpp-server': starttls, 'xmpps-server': tls } = bridge.addresses()
      ground.publish(domain, { starttls: portOf(starttls!), tls: portOf(tls!) })
    }
    return new XmppHouse(domain, bridge, kv)
  }

  get port(): number {
    return portOf(this.bridge.addresses()['xmpp']!)
  }

  /** Makes the account when there is none, and an app password for it. */
  async password(local: string): Promise<string> {
    const record = await this.bridge.host.accounts.create(local)
    return await this.bridge.connector.credentials.add(record, `device ${++this.#passwords}`)
  }

  async login(local: string, resource = 'test', { isAvailable = true } = {}): Promise<LoggedIn> {
    const jid = `${local}@${this.domain}`
    const password = await this.password(local)
    const session = await LoggedIn.open({ jid, password, port: this.port, resource, isAvailable })
    this.#clients.push(session)
    return session
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close().catch(() => {})))
    await this.bridge.stop()
  }
}

function federation({ ca, dns }: XmppGround): Pick<XmppBridgeOptions, 'listen' | 's2s'> {
  const any = { host: '127.0.0.1', port: 0 }
  return {
    listen: { clients: any, web: any, servers: any, serversTls: any },
    s2s: { policy: {}, resolver: { dnsServers: [dns.server], timeoutMs: 1_000 }, roots: [ca.pem] },
  }
}

function portOf(place: string): number {
  return Number(place.split(':').at(-1))
}
