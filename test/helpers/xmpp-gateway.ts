/**
 * A node of ours as other servers see it: XMPPGateway behind real listeners, with a host that remembers
 * what it was given, or answers.
 */
import { createSecureContext } from 'node:tls'
import { XMPPGateway } from '../../bridges/xmpp/s2s/gateway.ts'
import { TrustedRoots } from '../../bridges/xmpp/s2s/certificate-path.ts'
import { S2sPolicy } from '../../bridges/xmpp/s2s/policy.ts'
import type { S2sPolicyOptions } from '../../bridges/xmpp/s2s/policy.ts'
import { S2sResolver } from '../../bridges/xmpp/s2s/resolver.ts'
import { StreamListener } from '../../bridges/xmpp/stream/stream-listener.ts'
import { Visits } from '../../bridges/xmpp/stream/visits.ts'
import { el } from '../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../bridges/xmpp/xml/element.ts'
import { ns } from '../../bridges/xmpp/xml/names.ts'
import { systemRandom } from '../../crypto/random.ts'
import { silentLog } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import type { KvStore } from '../../protocol/ports.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import type { Issued } from './xmpp-ca.ts'
import type { XmppGround } from './xmpp-server.ts'

export interface GatewayNodeOptions {
  readonly domain: string
  readonly certificate?: Issued
  readonly policy?: S2sPolicyOptions
  /** Of an earlier life. */
  readonly kv?: KvStore | undefined
  readonly doors?: readonly ('starttls' | 'tls')[]
  /** Called for each stanza; what it returns is awaited before it counts as handled. */
  readonly onStanza?: (stanza: XmlElement) => Promise<void> | undefined
}

export class GatewayNode {
  readonly domain: string
  readonly gateway: XMPPGateway
  readonly kv: KvStore
  readonly received: XmlElement[] = []
  readonly bounced: XmlElement[] = []
  /** What the gateway said of other servers, for the message of a failing test. */
  readonly told: string[] = []
  readonly #listeners: readonly StreamListener[]
  readonly #waiting = new Set<() => void>()

  private constructor(ground: XmppGround, options: GatewayNodeOptions) {
    const { domain, policy = {}, onStanza } = options
    this.domain = domain
    this.kv = options.kv ?? new MemoryStore({ clock: systemClock }).kv
    const issued = options.certificate ?? ground.ca.issue({ dns: [domain, `*.${domain}`] })
    const context = createSecureContext({ cert: issued.fullChain, key: issued.key })
    const secureContext = (): typeof context => context
    const common = { clock: systemClock, random: systemRandom }
    this.gateway = new XMPPGateway({
      ...common,
      kv: this.kv,
      resolver: new S2sResolver(common, { dnsServers: [ground.dns.server], timeoutMs: 1_000 }),
      policy: new S2sPolicy({ clock: systemClock, roots: new TrustedRoots([ground.ca.pem]) }, policy),
      target: {
        fromRemote: async (stanza) => {
          this.received.push(stanza)
          this.#look()
          await onStanza?.(stanza)
        },
        bounced: async (stanza) => {
          this.bounced.push(stanza)
          this.#look()
        },
      },
      isOurs: (name) => name === domain || name.endsWith(`.${domain}`),
      secureContext,
      log: {
        info: (facts, message) => {
          this.told.push(`${message} ${JSON.stringify(facts)}`)
          this.#look()
        },
      },
    })
    const visits = new Visits(systemClock, { totalMax: 1_000, perAddressMax: 1_000 })
    const components = { clock: systemClock, log: silentLog, visits }
    this.#listeners = [
      new StreamListener(components, { name: 'xmpp-server', host: '127.0.0.1', port: 0 }),
      new StreamListener(components, {
        name: 'xmpps-server', host: '127.0.0.1', port: 0,
        tls: { secureContext, alpn: 'xmpp-server', requestCert: true },
      }),
    ]
  }

  static async start(ground: XmppGround, options: GatewayNodeOptions): Promise<GatewayNode> {
    const node = new GatewayNode(ground, options)
    await node.gateway.start()
    for (const listener of node.#listeners) {
      await listener.start((stream, visit) => node.gateway.accept(stream, visit))
    }
    const [starttls, tls] = node.ports
    ground.publish(options.domain, { starttls: starttls!, tls: tls! }, options.doors)
    return node
  }

  get ports(): number[] {
    return this.#listeners.map((listener) => Number(listener.address()!.split(':').at(-1)))
  }

  async say(to: string, text: string, from = `me@${this.domain}/here`): Promise<void> {
    await this.gateway.send(el(ns.client, 'message', { from, to, id: text, type: 'chat' },
      el(ns.client, 'body', {}, text)))
  }

  get texts(): string[] {
    return this.received.filter(({ name, attrs }) => name === 'message' && attrs['type'] !== 'error')
      .map((stanza) => stanza.childText('body')).filter((text) => text !== undefined)
  }

  async until(isSo: () => boolean): Promise<void> {
    if (isSo()) return
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!isSo()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
    })
  }

  /** The text of the first bounce, past or to come. */
  async bounce(): Promise<string> {
    await this.until(() => this.bounced.length > 0)
    return this.bounced[0]!.child('error')?.childText('text', ns.stanzaErrors) ?? ''
  }

  async stop(): Promise<void> {
    await this.gateway.stop()
    for (const listener of this.#listeners) await listener.stop()
  }

  /** What a kill −9 does to its sockets. */
  async cut(): Promise<void> {
    this.gateway.cut()
    for (const listener of this.#listeners) await listener.stop()
  }

  #look(): void {
    for (const look of this.#waiting) look()
  }
}
