/**
 * The rooms of a node wired together over ports: the same node that runs at home runs two hundred
 * times over in a simulation, because nothing here names a database, a socket or a clock.
 * `openim-node.ts` gives it the real ones.
 */
import type { Random } from '../crypto/random.ts'
import type { DhKeyPair, SigningKeyPair } from '../crypto/provider.ts'
import { crypto } from '../crypto/index.ts'
import { utf8, utf8Decode } from '../crypto/bytes.ts'
import { limits } from '../protocol/limits.ts'
import type { NodeDescriptor, Role } from '../protocol/node-descriptor.ts'
import type { Clock } from '../protocol/ports.ts'
import { services } from '../protocol/service/codes.ts'
import { Directory } from './directory/directory.ts'
import type { OwnDescription } from './directory/directory.ts'
import { LocationDB } from './locations/location-db.ts'
import { DirectCourier } from './messenger/direct-courier.ts'
import { Messenger } from './messenger/messenger.ts'
import type { Connector, Courier, Log, Overlay, Store } from './ports.ts'
import { Accounts } from './router/accounts.ts'
import { Router } from './router/router.ts'

const sinceKey = 'node/since-hour'
const hourMs = 3_600_000
const mebibyte = 1024 * 1024

export interface NodeComponents {
  readonly overlay: Overlay
  readonly store: Store
  readonly connectors: readonly Connector[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly nodeKeys: SigningKeyPair
  /** X25519 key that devices know the node by. */
  readonly doorKey: DhKeyPair
  /** So many bytes of pieces of files passed through memory (buffer-collector.ts). */
  readonly onMoved?: (bytes: number) => void
}

export interface NodeCoreOptions {
  readonly roles: readonly Role[]
  readonly lentBytesMax: number
}

export class NodeCore {
  readonly accounts: Accounts
  readonly directory: Directory
  readonly locations: LocationDB
  readonly messenger: Messenger
  readonly router: Router
  readonly courier: Courier
  readonly #components: NodeComponents
  #stopDirectoryEvents: (() => void) | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  /** Reads when this node first ran, then wires the rooms. Nothing runs before `start`. */
  static async open(components: NodeComponents, options: NodeCoreOptions): Promise<NodeCore> {
    const { kv } = components.store
    const known = await kv.get(sinceKey)
    if (known !== undefined) {
      return new NodeCore(components, { ...options, sinceHour: Number(utf8Decode(known.value)) })
    }
    const sinceHour = Math.floor(components.clock.now() / hourMs)
    await kv.write([{ type: 'put', key: sinceKey, value: utf8(String(sinceHour)) }])
    return new NodeCore(components, { ...options, sinceHour })
  }

  constructor(components: NodeComponents, options: NodeCoreOptions & { sinceHour: number }) {
    this.#components = components
    const { overlay, store, nodeKeys, doorKey } = components
    const parts = { ...components, kv: store.kv }
    this.accounts = new Accounts(parts)
    this.directory = new Directory(parts, {
      doorKey: doorKey.publicKey,
      onionKey: onionKeyOf(nodeKeys).publicKey,
      sinceHour: options.sinceHour,
      describe: () => this.#describe(options.roles),
    })
    this.courier = new DirectCourier({ overlay })
    this.locations = new LocationDB({ ...parts, courier: this.courier })
    this.messenger = new Messenger({ ...components, courier: this.courier }, {
      lends: options.roles.includes('storage'),
      lentBytesMax: options.lentBytesMax,
      storageNodes: () => this.#storageNodes(),
      devicesOf: (account) => this.accounts.devicesOf(account),
    })
    this.router = new Router(
      { ...components, accounts: this.accounts, messenger: this.messenger, locations: this.locations },
      { self: overlay.nodeId },
    )
    this.messenger.listen(this.router)
    overlay.handle(services.echo, async (_from, body) => {
      return { ok: true, value: body.slice(0, limits.echoBytesMax) }
    })
  }

  /** Settles when every door is open. On failure everything that was opened is closed again. */
  start(): Promise<void> {
    this.#starting ??= this.#open()
    return this.#starting
  }

  /** Doors first, then what works behind them. The store stays open: its owner closes it. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    if (this.#starting === undefined) return
    // A start under way comes to its end first: what it opens after us nobody would close.
    const started = await this.#starting.then(() => true, () => false)
    if (started) await this.#close()
  }

  async #open(): Promise<void> {
    const { overlay, connectors } = this.#components
    try {
      // What is asked of us from the first moment on must have been read by then.
      await this.accounts.start()
      await this.messenger.load()
      await this.locations.load()
      await overlay.start()
      await this.directory.start()
      this.locations.start()
      await this.messenger.start()
      this.#stopDirectoryEvents = this.directory.onChange(() => {
        this.messenger.onDirectoryGrew()
        this.locations.onDirectoryGrew()
      })
      for (const connector of connectors) await connector.start((link) => this.router.accept(link))
    } catch (error) {
      await this.#close()
      throw error
    }
  }

  async #close(): Promise<void> {
    const { connectors, overlay } = this.#components
    this.#stopDirectoryEvents?.()
    await Promise.all(connectors.map((connector) => connector.stop()))
    await this.router.stop()
    // The overlay goes with the rooms: it ends the calls whose answers they would wait for.
    await Promise.all([this.messenger.stop(), this.locations.stop(), this.directory.stop(), overlay.stop()])
  }

  #storageNodes(): NodeDescriptor[] {
    return this.directory.withRole('storage')
  }

  #describe(roles: readonly Role[]): OwnDescription {
    const { bytes, bytesMax } = this.messenger.held()
    return {
      roles,
      addresses: this.#components.overlay.addresses(),
      storageFreeMiB: Math.floor(Math.max(0, bytesMax - bytes) / mebibyte),
    }
  }
}

/** X25519 key for onion packets: derived, so that there is one secret less to keep. */
function onionKeyOf(nodeKeys: SigningKeyPair): DhKeyPair {
  const secret = crypto.hkdf({
    secret: nodeKeys.exportSecret(), salt: new Uint8Array(), info: utf8('openim onion key v1'), length: 32,
  })
  return crypto.dhKeyPair(secret)
}
