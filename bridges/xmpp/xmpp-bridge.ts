/**
 * The composition root of the XMPP bridge: one domain with its clients, its services, other servers,
 * and the owner's openIM contacts. Loaded only when a domain is configured.
 *
 * ```ts
 * const bridge = await XmppBridge.open(node.bridgeHost('xmpp'), { domain: 'example.org', … })
 * await bridge.start()
 * await bridge.stop()
 * ```
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { BridgeHost } from '../../node/bridge-host.ts'
import type { ClientApi } from '../../protocol/client/api.ts'
import { Archive, archivedAtMs } from './archive/archive.ts'
import { isArchivable } from './archive/archivable.ts'
import { ArchiveExpiry } from './archive/expiry.ts'
import { archiveMetadata } from './archive/mam.ts'
import { XMPPConnector } from './c2s/xmpp-connector.ts'
import type { Door } from './c2s/xmpp-connector.ts'
import { HostForClients } from './host/client-host.ts'
import { serveRoster } from './host/roster-requests.ts'
import { XmppHost } from './host/xmpp-host.ts'
import { xmppLimits } from './limits.ts'
import { LocalRooms } from './muc/local-rooms.ts'
import { RoomsComponent } from './muc/rooms-component.ts'
import { contactCommands } from './openim/contact-commands.ts'
import { OpenImSide } from './openim/openim-side.ts'
import { XMPPGateway } from './s2s/gateway.ts'
import { TrustedRoots } from './s2s/certificate-path.ts'
import { S2sPolicy } from './s2s/policy.ts'
import type { S2sPolicyOptions } from './s2s/policy.ts'
import { S2sResolver } from './s2s/resolver.ts'
import type { ResolverOptions } from './s2s/resolver.ts'
import { UploadComponent } from './upload/upload-component.ts'
import { UploadRoute } from './upload/upload-route.ts'
import { defaultUploads, UploadStore } from './upload/upload-store.ts'
import type { UploadLimits } from './upload/upload-store.ts'
import { ClientCarrier } from './shield/client-carrier.ts'
import { Finder } from './shield/finder.ts'
import { inTheOpen, MetadataShield } from './shield/metadata-shield.ts'
import type { ShieldMode } from './shield/shield-link.ts'
import { shieldNs } from './shield/names.ts'
import { StreamListener } from './stream/stream-listener.ts'
import type { SecureContexts } from './stream/stream-listener.ts'
import { Visits } from './stream/visits.ts'
import { WebDoor } from './stream/web-door.ts'
import type { RemoteDomains } from './ports.ts'
import { StanzaError } from './stanza-errors.ts'
import { el } from './xml/element.ts'
import type { XmlElement } from './xml/element.ts'
import { serveDisco } from './xeps/xep-0030-disco.ts'
import { commandInfo, commandItem, commandsNs, serveCommands } from './xeps/xep-0050-commands.ts'
import { servePrivateXml } from './xeps/xep-0049-private.ts'
import { serveVcard } from './xeps/xep-0054-vcard.ts'
import { serveVersion } from './xeps/xep-0092-version.ts'
import { serveRegistration } from './xeps/xep-0077-registration.ts'
import { Capabilities } from './xeps/xep-0115-caps.ts'
import { administration } from './xeps/xep-0133-administration.ts'
import { contactForm } from './xeps/xep-0157-contacts.ts'
import { servePep } from './xeps/xep-0163-pep.ts'
import { serveBlocking } from './xeps/xep-0191-blocking.ts'
import { servePing } from './xeps/xep-0199-ping.ts'
import { serveTime } from './xeps/xep-0202-time.ts'
import { serveCarbons } from './xeps/xep-0280-carbons.ts'
import { exportAccounts } from './xeps/xep-0227-export.ts'
import { serveArchive } from './xeps/xep-0313-mam.ts'
import { servePush } from './xeps/xep-0357-push.ts'
import { Reports } from './xeps/xep-0377-reports.ts'
import { bookmarkConversion } from './xeps/xep-0402-bookmarks.ts'
import { inviteCommand, Invites } from './xeps/xep-0401-invites.ts'

import { ns } from './xml/names.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface XmppBridgeOptions {
  readonly domain: string
  /** Doors; absent: closed. */
  readonly listen: {
    /** STARTTLS. */
    readonly clients?: HostPort
    readonly clientsTls?: HostPort
    /** WebSocket and host-meta over HTTPS. */
    readonly web?: HostPort
    /** Other servers: STARTTLS, and TLS from the first byte. */
    readonly servers?: HostPort
    readonly serversTls?: HostPort
  }
  /** Other domains; absent: none is reached, and senders are told. */
  readonly s2s?: {
    readonly policy: S2sPolicyOptions
    readonly resolver: ResolverOptions
    /** PEM of the authorities that other servers' certificates may come from. */
    readonly roots: readonly string[]
  }
  /** Other domains that run openIM, sealed instead of over s2s; needs `s2s` and a web door. */
  readonly shield?: {
    readonly mode: ShieldMode
    /** Domains that are reached sealed or not at all. */
    readonly required?: readonly string[]
    /** The openIM account that carries the stanzas, and that nobody else uses. */
    readonly account: () => Promise<ClientApi>
  }
  /** The certificate for a name; asked at each handshake, so a renewed one is used at once. */
  readonly secureContext: SecureContexts
  readonly version: string
  /** Keeps every message of an account (XEP-0313); true when left out. Else only what waits is kept. */
  readonly isArchiving?: boolean
  /** Days that archived messages are kept; absent: for ever, as openIM keeps its own history. */
  readonly archiveDays?: number
  /** Room for files (XEP-0363), where the web door is open; absent: `defaultUploads`. */
  readonly uploads?: UploadLimits | 'off'
  /** PLAIN inside of TLS, for clients without SCRAM. */
  readonly isPlainAllowed?: boolean
  /** Where abuse is told (XEP-0157): `mailto:` or `xmpp:` addresses. */
  readonly abuseAddresses?: readonly string[]
}

export class XmppBridge {
  readonly host: XmppHost
  readonly connector: XMPPConnector
  readonly invites: Invites
  readonly reports: Reports
  /** `undefined`: this node federates with nobody. */
  readonly gateway: XMPPGateway | undefined
  #shield: MetadataShield | undefined
  readonly #s2s: { readonly resolver: S2sResolver, readonly policy: S2sPolicy } | undefined
  readonly #openIm: OpenImSide
  readonly #expiry: ArchiveExpiry | undefined
  readonly #rooms: RoomsComponent
  readonly #export: () => AsyncIterable<string>
  readonly #serverDoors: readonly StreamListener[]
  readonly #options: XmppBridgeOptions
  readonly #doors: { readonly name: string, readonly door: Door & { address(): string | undefined } }[]
  readonly #node: BridgeHost

  /** Makes the owner's address when there is none. @throws XMPP_LOCALPART, STORE_* */
  static async open(node: BridgeHost, options: XmppBridgeOptions): Promise<XmppBridge> {
    const bridge = new XmppBridge(node, options)
    await bridge.#openIm.prepare()
    return bridge
  }

  private constructor(node: BridgeHost, options: XmppBridgeOptions) {
    const { clock, random, log, kv } = node
    const { domain } = options
    this.#node = node
    this.#options = options
    const store = new Archive({ kv, clock })
    this.#expiry = this.#makeExpiry(store)
    const isArchiving = options.isArchiving ?? true
    const archive = {
      isKept: isArchivable,
      isArchiving,
      nextId: (account: string) => store.nextId(account),
      timeOf: archivedAtMs,
      find: (account: string, id: string) => store.find(account, id),
      operations: (
        account: string, entry: Parameters<Archive['operations']>[1],
      ) => store.operations(account, entry),
    }
    this.host = new XmppHost({
      clock, random, log, kv, archive,
      remote: { send: (stanza) => (this.#shield ?? this.gateway ?? nowhere).send(stanza) },
    }, { domain })
    this.#s2s = options.s2s === undefined ? undefined : {
      resolver: new S2sResolver({ clock, random }, options.s2s.resolver),
      policy: new S2sPolicy({ clock, roots: new TrustedRoots(options.s2s.roots) }, options.s2s.policy),
    }
    this.gateway = this.#makeGateway()
    this.#serverDoors = this.#makeServerDoors()
    this.reports = new Reports({ kv, clock, random })
    this.invites = new Invites({ kv, clock, random }, { domain })
    this.#export = this.#serve(store)
    this.#openIm = new OpenImSide({ host: this.host, node })
    this.host.addComponent(this.#openIm.component)
    this.#rooms = this.#makeRooms(store)
    this.host.addComponent(this.#rooms)
    this.#doors = this.#makeDoors()
    this.#addUploads()
    this.connector = new XMPPConnector({
      clock, random, kv, log,
      host: new HostForClients(this.host, {
        forms: () => this.#forms(),
        registration: serveRegistration({
          host: this.host, invites: this.invites,
          credentials: () => this.connector.credentials, owner: () => this.ownerAddress,
        }),
        bound: async ({ id }) => isArchiving ? [await archiveMetadata(store, id)] : [],
      }),
      doors: this.#doors.map(({ door }) => door),
      secureContext: options.secureContext,
    }, { domain, ...options.isPlainAllowed === undefined ? {} : { isPlainAllowed: options.isPlainAllowed } })
  }

  /** @throws CONNECTOR_* */
  async start(): Promise<void> {
    await this.host.start()
    await this.gateway?.start()
    await this.#startShield()
    await this.#openIm.start()
    for (const door of this.#serverDoors) await door.start(
      (stream, visit) => this.gateway!.accept(stream, visit),
    )
    await this.connector.start()
    this.#expiry?.start()
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    await this.#rooms.stop()
    await this.connector.stop()
    await this.#expiry?.stop()
    await this.#openIm.stop()
    await this.#shield?.stop()
    await this.gateway?.stop()
    await Promise.all(this.#serverDoors.map((door) => door.stop()))
    await this.host.stop()
  }

  /** `undefined`: there is none, or it has not begun. */
  get shield(): MetadataShield | undefined {
    return this.#shield
  }

  get domain(): string {
    return this.#options.domain
  }

  /** `me@example.org`. */
  get ownerAddress(): string {
    return this.#openIm.ownerAddress
  }

  /** openIM addresses by account id. */
  openImAddresses(): Promise<ReadonlyMap<string, string>> {
    return this.#openIm.addresses()
  }

  /** What all accounts keep, as XML in pieces (XEP-0227). */
  exported(): AsyncIterable<string> {
    return this.#export()
  }

  /** `host:port` by the name of the door. */
  addresses(): Readonly<Record<string, string>> {
    const open = [
      ...this.#doors.map(({ name, door }) => [name, door.address()] as const),
      ...this.#serverDoors.map((door) => [door.name, door.address()] as const),
    ]
    return Object.fromEntries(open.filter((one): one is [string, string] => one[1] !== undefined))
  }

  /** Gives what exports the accounts. */
  #serve(archive: Archive): () => AsyncIterable<string> {
    const { host } = this
    const capabilities = new Capabilities(host)
    const { blocking, hooks: blockingHooks } = serveBlocking(host, this.reports)
    const { pep, hooks: pepHooks } = servePep(host, capabilities)
    const commands = serveCommands(host)
    commands.add(...administration(host, {
      owner: () => this.ownerAddress, credentials: () => this.connector.credentials,
    }), inviteCommand(this.invites, () => this.ownerAddress),
    ...contactCommands((account) => this.#openIm.client(account)))
    serveRoster(host, () => this.#openIm.component)
    serveDisco(host, {
      forms: () => this.#forms(),
      accountItems: async ({ to, from }) => {
        const account = await host.context.account(to)
        const nodes = account === undefined ? [] : [...(await pep.nodes(account)).list()]
        const isOwner = from.bare === to.bare
        return nodes.filter(({ config }) => isOwner || config.accessModel === 'open')
          .map(({ name }) => el(ns.discoItems, 'item', { jid: to.bare, node: name }))
      },
      node: async (request, node) => {
        const command = (await commands.of(request)).find((one) => one.node === node)
        return command === undefined ? undefined : commandInfo(command)
      },
      nodeItems: async (request, node) => node === commandsNs
        ? (await commands.of(request)).map((one) => commandItem(one, this.domain))
        : undefined,
    })
    servePing(host)
    serveTime(host)
    serveVersion(host, { version: this.#options.version })
    serveCarbons(host)
    servePrivateXml(host, [bookmarkConversion(host, pep)])
    if (this.#options.isArchiving ?? true) serveArchive(host, archive)
    host.context.iq.addFeatures('server', 'msgoffline', 'urn:xmpp:sm:3')
    host.use(blockingHooks)
    host.use(pepHooks)
    host.use(servePush(host))
    host.use(serveVcard(host, pep))
    host.use({ loading: ({ id }) => archive.load(id), isBlocked: () => false, available() {}, seen() {} })
    return () => exportAccounts({ host, pep, blocked: (account) => blocking.list(account) })
  }

  #makeRooms(archive: Archive): RoomsComponent {
    const { clock, random, log, kv } = this.#node
    const { domain: creatorsDomain, isArchiving = true } = this.#options
    const domain = `rooms.${creatorsDomain}`
    const { route } = this.host.context
    const parts = { clock, random, log, kv, archive, route }
    const rooms = new LocalRooms(parts, { domain, creatorsDomain, isArchiving })
    return new RoomsComponent({ rooms, route }, { domain })
  }

  #makeDoors(): { name: string, door: Door & { address(): string | undefined } }[] {
    const { clock, log } = this.#node
    const { listen: { clients, clientsTls, web }, secureContext } = this.#options
    const visits = new Visits(clock, {
      totalMax: xmppLimits.strangersMax, perAddressMax: xmppLimits.strangersPerAddressMax,
    })
    const parts = { clock, log, visits }
    const tls = { secureContext, alpn: 'xmpp-client', requestCert: false }
    const doors: { name: string, door: Door & { address(): string | undefined } }[] = []
    if (clients !== undefined) {
      doors.push({ name: 'xmpp', door: new StreamListener(parts, { name: 'xmpp', ...clients }) })
    }
    if (clientsTls !== undefined) {
      doors.push({ name: 'xmpps', door: new StreamListener(parts, { name: 'xmpps', ...clientsTls, tls }) })
    }
    if (web !== undefined) {
      const publicUrl = (): string => `${this.#webOrigin('wss', door)}/xmpp-websocket`
      const door: WebDoor = new WebDoor(parts, { ...web, secureContext, publicUrl })
      doors.push({ name: 'xmpp-web', door })
    }
    return doors
  }

  #makeExpiry(archive: Archive): ArchiveExpiry | undefined {
    const { archiveDays: days } = this.#options
    if (days === undefined) return undefined
    const onError = (err: unknown): void => this.#node.log.error({ err }, 'archives were not shortened')
    return new ArchiveExpiry({ ...this.#node, archive, onError }, { days })
  }

  /** Files go through the web door; without one there is no place for them. */
  #addUploads(): void {
    const { domain, uploads = defaultUploads } = this.#options
    const door = this.#webDoor
    if (door === undefined || uploads === 'off') return
    const store = new UploadStore(
      this.#node, { directory: join(this.#node.directory, 'uploads'), limits: uploads },
    )
    door.addRoute(new UploadRoute(store, this.#node))
    this.host.addComponent(new UploadComponent(this.host, store, {
      domain: `upload.${domain}`, origin: () => this.#webOrigin('https', door),
    }))
  }

  get #webDoor(): WebDoor | undefined {
    return this.#doors.map((one) => one.door).find((one) => one instanceof WebDoor)
  }

  async #startShield(): Promise<void> {
    const { domain, shield } = this.#options
    const [door, s2s, gateway] = [this.#webDoor, this.#s2s, this.gateway]
    if (shield === undefined || door === undefined || s2s === undefined || gateway === undefined) return
    const { clock, random, log, kv } = this.#node
    const required = shield.required ?? []
    let client: ClientApi
    try {
      client = await shield.account()
    } catch (err) {
      // Nobody asked for it: the rest of the server does its work.
      if (shield.mode === 'require' || required.length > 0) throw err
      log.warn({ err }, 'there is no account to seal with; all other domains are reached over s2s')
      return
    }
    const { address } = await client.info()
    this.#shield = new MetadataShield({
      clock, random, log, kv, ...s2s, plain: gateway, target: this.host,
      carrier: new ClientCarrier({ client, clock, log }, address),
      finder: new Finder({ clock, ...s2s }),
      domains: () => this.host.domains(),
    }, { domain, mode: shield.mode, required })
    door.addRoute(this.#shield.route)
    this.host.context.iq.addFeatures('server', shieldNs)
    await this.#shield.start()
  }

  /** The web door as clients outside reach it. */
  #webOrigin(scheme: 'https' | 'wss', door: WebDoor): string {
    const { domain, listen: { web } } = this.#options
    const place = door.address() ?? `${hostname()}:${web!.port}`
    return `${scheme}://${domain}:${place.split(':').at(-1)}`
  }

  #forms(): readonly XmlElement[] {
    const addresses = this.#options.abuseAddresses ?? []
    return addresses.length === 0 ? [] : [contactForm({ 'abuse-addresses': addresses })]
  }

  #makeGateway(): XMPPGateway | undefined {
    const { clock, random, log, kv } = this.#node
    const { secureContext } = this.#options
    if (this.#s2s === undefined) return undefined
    return new XMPPGateway({
      clock, random, kv, log, secureContext, ...this.#s2s,
      target: inTheOpen(this.host),
      isOurs: (domain) => this.host.domains().includes(domain),
    })
  }

  #makeServerDoors(): StreamListener[] {
    const { clock, log } = this.#node
    const { listen: { servers, serversTls }, secureContext } = this.#options
    if (this.gateway === undefined) return []
    const visits = new Visits(clock, {
      totalMax: xmppLimits.strangersMax, perAddressMax: xmppLimits.strangersPerAddressMax,
    })
    const parts = { clock, log, visits }
    const tls = { secureContext, alpn: 'xmpp-server', requestCert: true }
    return [
      ...servers === undefined ? [] : [new StreamListener(parts, { name: 'xmpp-server', ...servers })],
      ...serversTls === undefined ? [] : [
        new StreamListener(parts, { name: 'xmpps-server', ...serversTls, tls }),
      ],
    ]
  }
}

/** Without a gateway to other domains. */
const nowhere: RemoteDomains = {
  send({ attrs: { to = '' } }) {
    throw new StanzaError('remote-server-not-found', `this node does not reach other domains (${to})`)
  },
}
