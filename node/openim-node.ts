/**
 * The composition root: an openIM node as it runs at home, with the real database, sockets and
 * clock, and the owner's account hosted on it. Nothing else names concrete classes.
 *
 * ```ts
 * const node = await OpenIMNode.open({ dataDir, keys, config, log })
 * const ready = await node.start()
 * await node.client.send('bob', 'hello')
 * await node.stop()
 * ```
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crypto } from '../crypto/index.ts'
import { utf8, wipe } from '../crypto/bytes.ts'
import { systemRandom } from '../crypto/random.ts'
import type { Client } from '../protocol/client/client.ts'
import { scopedKv } from '../protocol/client/kv.ts'
import type { RouteName } from '../protocol/client/api.ts'
import { rootSeed } from '../protocol/account.ts'
import { formatAddress } from '../protocol/address.ts'
import type { NodeId } from '../protocol/ids.ts'
import { parseNodeId } from '../protocol/ids.ts'
import type { InviteHint } from '../protocol/invite.ts'
import type { Role } from '../protocol/node-descriptor.ts'
import type { KvStore } from '../protocol/ports.ts'
import { services } from '../protocol/service/codes.ts'
import { systemClock } from '../protocol/system-clock.ts'
import { absentAccountStatus, accountStatus, packageVersion } from './account-status.ts'
import { writeBackup } from './backup.ts'
import type { BackupSummary } from './backup.ts'
import type { BridgeHost } from './bridge-host.ts'
import { buffersMoved } from './buffer-collector.ts'
import type { NodeConfig } from './config.ts'
import type { BackupRequest } from './control/control-protocol.ts'
import { dataFiles } from './data-dir.ts'
import { LoopbackConnector } from './connectors/loopback-connector.ts'
import { keptPlace } from './connectors/kept-ports.ts'
import { doorAddresses, openDoors } from './connectors/open-doors.ts'
import type { Doors } from './connectors/open-doors.ts'
import { examineContact, examineNode } from './doctor.ts'
import { diskFiles } from './disk-files.ts'
import { openHostedAccount } from './hosted-account.ts'
import { HostedAccounts } from './hosted-accounts.ts'
import { HostedSeat } from './hosted-seat.ts'
import { publicSubnets } from './messenger/placement.ts'
import { NodeCore } from './node-core.ts'
import { openNodeStore } from './node-store.ts'
import type { NodeStore } from './node-store.ts'
import { installNetworkGuard } from './overlay/network-guard.ts'
import type { NetworkGuard } from './overlay/network-guard.ts'
import { Libp2pOverlay } from './overlay/libp2p-overlay.ts'
import type { PeerInfo, Store } from './ports.ts'
import type {
  ContactStatus, DoctorReport, DoorAddresses, NodeOptions, NodeReady, NodeStatus, PingResult,
} from './status.ts'
import { openStore } from './storage/open-store.ts'

const pingTimeoutMs = 5_000

interface NodeParts {
  readonly store: Store
  readonly nodeStore: NodeStore
  readonly overlay: Libp2pOverlay
  readonly core: NodeCore
  /** Of a node alone on its database; in a household it comes and goes with its seat. */
  readonly client: Client | undefined
  readonly seat: HostedSeat | undefined
  /** Of others than the owner. */
  readonly hosted: HostedAccounts
  readonly address: string
  readonly doors: Doors
  readonly version: string
}

export class OpenIMNode {
  readonly #options: NodeOptions
  readonly #parts: NodeParts
  readonly #startedAtMs = systemClock.now()
  #guard: NetworkGuard | undefined
  #stopping: Promise<void> | undefined

  /**
   * Opens the store and wires the rooms; nothing is listened on yet.
   * @throws STORE_*, ACCOUNT_RETIRED
   */
  static async open(options: NodeOptions): Promise<OpenIMNode> {
    const { dataDir, database, log } = options
    const place = database ?? { directory: join(dataDir, dataFiles.store), address: undefined }
    const store = await openStore({ clock: systemClock, log }, place)
    try {
      return new OpenIMNode(options, await wire(options, store))
    } catch (error) {
      await store.close()
      throw error
    }
  }

  private constructor(options: NodeOptions, parts: NodeParts) {
    this.#options = options
    this.#parts = parts
  }

  /** The owner's hosted account. @throws HOUSEHOLD_ELSEWHERE */
  get client(): Client {
    const { client, seat } = this.#parts
    return client ?? seat!.client
  }

  /** Told of the client, and in a household of each that begins here. Set once, before `start`. */
  onClient(listener: (client: Client) => void): void {
    const { client, seat } = this.#parts
    if (client !== undefined) listener(client)
    else seat!.listen(listener)
  }

  /** Settles when every door is open and the owner's account logs in. @throws OVERLAY_LISTEN, CONNECTOR_* */
  async start(): Promise<NodeReady> {
    const { core, client, seat, address } = this.#parts
    this.#guard = installNetworkGuard(this.#options.log)
    this.#parts.doors.tls?.start()
    await core.start()
    await client?.start()
    await seat?.begun()
    return {
      pid: process.pid,
      address,
      nodeId: this.#parts.overlay.nodeId,
      p2p: this.#parts.overlay.addresses(),
      listen: this.#listen(),
    }
  }

  /** Everything durable and closed. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const { core, client, seat, hosted, doors, store } = this.#parts
    await hosted.stop()
    await client?.stop()
    await seat?.stop()
    await core.stop()
    await doors.tls?.stop()
    await store.close()
    this.#guard?.uninstall()
  }

  async status(): Promise<NodeStatus> {
    const { overlay, core, doors, version } = this.#parts
    const { client: ours, seat, address } = this.#parts
    const client = ours ?? (seat?.isHere === true ? seat.client : undefined)
    const { dataDir, config: { name } } = this.#options
    const running = { clock: systemClock, dataDir, startedAtMs: this.#startedAtMs, version }
    const account = client === undefined
      ? absentAccountStatus(running, { name, address })
      : await accountStatus({ ...running, client })
    const locationHolders = (await client?.info())?.locationHolders ?? 0
    const household = core.household?.status()
    const held = core.messenger.held()
    return {
      role: 'node',
      ...account,
      ...household === undefined ? {} : { household: { ...household, hostsAccount: client !== undefined } },
      nodeId: overlay.nodeId,
      reachable: this.#isReached() ? 'yes' : 'unknown',
      peers: { now: overlay.peers().length, max: this.#options.config.limits.peers },
      dht: { mode: overlay.dhtMode, known: core.directory.size },
      p2p: overlay.addresses(),
      listen: this.#listen(),
      doors: Object.fromEntries(doors.connectors.map((door) => [door.name, door.metrics()])),
      queue: { ...account.queue, held },
      location: { holders: Math.max(locationHolders, core.locations.holders) },
      contacts: await this.#withRoutes(account.contacts),
    }
  }

  async backup({ path, passphrase, config }: BackupRequest): Promise<BackupSummary> {
    const { dataDir } = this.#options
    const { store, nodeStore } = this.#parts
    const keysFile = new Uint8Array(await readFile(join(dataDir, dataFiles.keys)))
    try {
      const head = { createdAtMs: systemClock.now(), keysFile, config }
      return await nodeStore.still(() => writeBackup({ path, passphrase, head, store, random: systemRandom }))
    } finally {
      wipe(keysFile)
    }
  }

  peers(): PeerInfo[] {
    return this.#parts.overlay.peers()
  }

  /** What a bridge gets of this node; its records lie apart from all others, sealed like them. */
  bridgeHost(bridge: string): BridgeHost {
    const { nodeStore, hosted, address } = this.#parts
    const { config, log, dataDir } = this.#options
    const scope = `${bridge}.`
    return {
      clock: systemClock,
      random: systemRandom,
      log,
      kv: scopedKv(nodeStore.store.kv, `bridge/${bridge}/`),
      directory: join(dataDir, bridge),
      owner: { name: config.name, address },
      client: () => {
        const { client, seat } = this.#parts
        return client ?? (seat?.isHere === true ? seat.client : undefined)
      },
      hosted: {
        open: (name, options) => hosted.open(scope + name, options),
        client: (name) => hosted.client(scope + name),
        remove: (name) => hosted.remove(scope + name),
        async list() {
          return (await hosted.list()).filter(({ name }) => name.startsWith(scope))
            .map((one) => ({ ...one, name: one.name.slice(scope.length) }))
        },
      },
    }
  }

  /** @throws CONTACT_UNKNOWN */
  async doctor(contact?: string): Promise<DoctorReport> {
    const { overlay, nodeStore } = this.#parts
    const components = {
      overlay,
      kv: nodeStore.store.kv,
      dataDir: this.#options.dataDir,
      status: () => this.status(),
      damaged: () => nodeStore.damaged(),
      undurable: nodeStore.store.health?.().undurable ?? [],
    }
    await this.client.checkStanding()
    if (contact === undefined) return examineNode(components)
    const { name } = await this.client.contact(contact)
    return examineContact(components, name, {
      places: () => this.client.places(name),
      locate: () => this.client.locate(name),
    })
  }

  /** @throws CONTACT_UNKNOWN when the target is neither a contact nor a node id */
  async ping(target: string): Promise<PingResult> {
    const { overlay } = this.#parts
    const nodes = await this.#nodesOf(target)
    if (nodes.length === 0) return { target, ok: false, route: 'none', code: 'CONTACT_NOT_ACTIVE' }
    let code = 'OVERLAY_UNREACHABLE'
    for (const nodeId of nodes) {
      if (nodeId === overlay.nodeId) return { target, ok: true, nodeId, route: 'local', rttMs: 0 }
      const begunMs = systemClock.monotonicMs()
      const answer = await overlay.call(nodeId, services.echo, utf8('ping'), { timeoutMs: pingTimeoutMs })
      if (answer.ok) {
        const address = overlay.peers().find((peer) => peer.nodeId === nodeId)?.address
        const rttMs = systemClock.monotonicMs() - begunMs
        const found = { target, ok: true, nodeId, route: 'direct', rttMs } as const
        return address === undefined ? found : { ...found, address }
      }
      code = answer.code
    }
    return { target, ok: false, nodeId: nodes[0]!, route: 'none', code }
  }

  /** Somebody on the open internet dialled us and got through. */
  #isReached(): boolean {
    const inbound = this.#parts.overlay.peers().filter((peer) => peer.direction === 'inbound')
    return publicSubnets(inbound.map((peer) => peer.address)).length > 0
  }

  #listen(): DoorAddresses {
    const { connectors } = this.#parts.doors
    const places = connectors.map((door) => [door.name, door.address()] as const)
    return Object.fromEntries(places.filter((place): place is [string, string] => place[1] !== undefined))
  }

  async #nodesOf(target: string): Promise<readonly NodeId[]> {
    if (target.startsWith('12D3KooW')) return [parseNodeId(target)]
    return (await this.client.places(target))?.homes ?? []
  }

  async #withRoutes(contacts: readonly ContactStatus[]): Promise<ContactStatus[]> {
    const linked = new Set(this.#parts.overlay.peers().map((peer) => peer.nodeId))
    return Promise.all(contacts.map(async (contact): Promise<ContactStatus> =>
      ({ ...contact, route: await this.#routeTo(contact.name, linked) })))
  }

  async #routeTo(contact: string, linked: ReadonlySet<NodeId>): Promise<RouteName> {
    const homes = (await this.client.places(contact))?.homes ?? []
    if (homes.includes(this.#parts.overlay.nodeId)) return 'local'
    return homes.some((home) => linked.has(home)) ? 'direct' : 'none'
  }
}

/** Real implementations behind every port. */
async function wire(options: NodeOptions, store: Store): Promise<NodeParts> {
  const { keys, config, log, dataDir } = options
  const system = { clock: systemClock, random: systemRandom, log }
  const overlay = new Libp2pOverlay({ ...system, keySeed: keys.nodeSeed }, {
    listen: config.listen.p2p,
    bootstrap: config.p2p.bootstrap,
    mdns: config.p2p.mdns,
    dht: config.profile === 'home' ? 'home' : 'server',
    maxConnections: config.limits.peers,
    allowPrivate: true,
    peerStorePath: join(dataDir, 'peers'),
  })
  const doorKey = crypto.dhKeyPair(keys.doorSecret)
  const loopback = new LoopbackConnector(system)
  const nodeStore = await openNodeStore({ ...system, store, dataKey: keys.dataKey })
  const kept = { ...system, kv: nodeStore.store.kv }
  const node = overlay.nodeId
  const tcp = config.listen.tcp ?? await keptPlace(kept, { node, door: 'tcp' })
  const udp = config.listen.udp ?? await keptPlace(kept, { node, door: 'udp' })
  const doors = await openDoors({ ...system, doorKey }, { ...config, listen: { ...config.listen, tcp, udp } })
  // Whoever has a database that others may share is one of a household, if only the first of it.
  const household = options.database?.address !== undefined
  const core = await NodeCore.open({
    ...system,
    overlay,
    onMoved: buffersMoved,
    store: nodeStore.store,
    connectors: [loopback, ...doors.connectors],
    nodeKeys: crypto.signingKeyPair(keys.nodeSeed),
    doorKey,
  }, {
    roles: rolesOf(config),
    lentBytesMax: config.limits.heldForOthersBytes,
    doorAddresses: () => doorAddresses(doors),
    household,
  })
  const address = formatAddress(crypto.signingKeyPair(rootSeed(keys.rootEntropy)).publicKey)
  const openClient = (kv: KvStore, account: { name: string, entropy: Uint8Array }): Promise<Client> =>
    openHostedAccount({
      ...system,
      kv,
      loopback,
      register: (account, deviceKey) => core.accounts.register(account, deviceKey),
    }, {
      ...account,
      hint: () => hintOf(overlay.addresses()),
      files: diskFiles,
      doors: () => ({ doorKey: doorKey.publicKey, addresses: doorAddresses(doors) }),
    })
  const open = (kv: KvStore): Promise<Client> =>
    openClient(kv, { name: config.name, entropy: keys.rootEntropy })
  const seat = core.household === undefined
    ? undefined
    : new HostedSeat({
      ...system, household: core.household, open, corner: (fence) => nodeStore.accountUnder(fence),
    }, { address })
  const client = seat === undefined ? await open(nodeStore.account) : undefined
  const hosted = new HostedAccounts({
    ...system, nodeStore, household: core.household, openClient,
    deregister: async (account) => {
      await core.accounts.deregister(account)
      core.router.onAccountsChanged()
    },
  })
  const version = await packageVersion()
  return { store, nodeStore, overlay, core, client, seat, hosted, address, doors, version }
}

function rolesOf(config: NodeConfig): Role[] {
  const roles: Role[] = config.limits.heldForOthersBytes > 0 ? ['storage'] : []
  return config.profile === 'home' ? roles : [...roles, 'bootstrap']
}

/** The IPv4 address most strangers can use: a public one, else a local one, else this machine. */
function hintOf(addresses: readonly string[]): InviteHint | undefined {
  const found = addresses
    .map((address) => /^\/ip4\/(\d+)\.(\d+)\.(\d+)\.(\d+)\/tcp\/(\d+)(?:\/p2p\/|$)/.exec(address))
    .filter((match) => match !== null)
    .map((match): InviteHint => {
      const [a = 0, b = 0, c = 0, d = 0, port = 0] = match.slice(1).map(Number)
      return { ipv4: [a, b, c, d], port }
    })
  return found.sort((a, b) => distance(a) - distance(b))[0]
}

/** 0 for the open internet, 1 for a local network (RFC 1918, 3927), 2 for this machine. */
function distance({ ipv4: [a, b] }: InviteHint): number {
  if (a === 127) return 2
  const isPrivate = a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)
  const isLinkLocal = a === 169 && b === 254
  return isPrivate || isLinkLocal ? 1 : 0
}

