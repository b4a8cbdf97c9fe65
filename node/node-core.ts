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
import { scopedKv } from '../protocol/client/kv.ts'
import type { BoxId, NodeId } from '../protocol/ids.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import { services } from '../protocol/service/codes.ts'
import { hintKinds } from '../protocol/service/household.ts'
import type { HouseholdHint } from '../protocol/service/household.ts'
import { Repeater } from '../protocol/timers.ts'
import { Directory } from './directory/directory.ts'
import type { OwnDescription } from './directory/directory.ts'
import { Household } from './household/household.ts'
import { LocationDB } from './locations/location-db.ts'
import { processPrefix } from './messenger/adoption.ts'
import { DirectCourier } from './messenger/direct-courier.ts'
import { Messenger } from './messenger/messenger.ts'
import { aloneHousehold } from './ports.ts'
import type { Connector, Courier, Log, Overlay, Store } from './ports.ts'
import { accountPrefix, Accounts } from './router/accounts.ts'
import { Router } from './router/router.ts'

const sinceKey = 'node/since-hour'
const hourMs = 3_600_000
const adoptEveryMs = 5_000
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
  /** As `door-address.ts` reads them, the ones to prefer first: told to devices. */
  readonly doorAddresses?: () => readonly string[]
  /** Other processes may share the database, and serve the same accounts (node/household). */
  readonly household?: boolean
}

export class NodeCore {
  readonly accounts: Accounts
  readonly directory: Directory
  readonly locations: LocationDB
  readonly messenger: Messenger
  readonly router: Router
  readonly courier: Courier
  /** Undefined: alone on its database. */
  readonly household: Household | undefined
  readonly #components: NodeComponents
  readonly #adoption: Repeater
  #stopDirectoryEvents: (() => void) | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  /** Reads when this node first ran, then wires the rooms. Nothing runs before `start`. */
  static async open(components: NodeComponents, options: NodeCoreOptions): Promise<NodeCore> {
    const kv = ownKvOf(components, options)
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
    const ownKv = ownKvOf(components, options)
    this.household = options.household === true ? this.#join(options) : undefined
    const household = this.household ?? aloneHousehold(overlay.nodeId)
    const parts = { ...components, kv: store.kv, ownKv, household }
    const own = { ...parts, kv: ownKv }
    this.accounts = new Accounts(parts)
    this.directory = new Directory(own, {
      doorKey: doorKey.publicKey,
      onionKey: onionKeyOf(nodeKeys).publicKey,
      sinceHour: options.sinceHour,
      describe: () => {
        const lends = household.does('lender')
        return this.#describe(options.roles.filter((role) => role !== 'storage' || lends))
      },
    })
    this.courier = new DirectCourier({ overlay })
    this.locations = new LocationDB({ ...own, courier: this.courier })
    this.messenger = new Messenger({ ...parts, courier: this.courier }, {
      lends: options.roles.includes('storage'),
      lentBytesMax: options.lentBytesMax,
      storageNodes: () => this.#storageNodes().filter(({ nodeId }) => !household.isMember(nodeId)),
      devicesOf: (account) => this.accounts.devicesNow(account),
    })
    const told = options.doorAddresses === undefined ? {} : { doorAddresses: options.doorAddresses }
    this.router = new Router(
      { ...parts, accounts: this.accounts, messenger: this.messenger, locations: this.locations }, told,
    )
    this.#adoption = new Repeater(components, () => this.#adopt(), {
      everyMs: adoptEveryMs, onError: this.#failed('mail of a process that is gone was not taken over'),
    })
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
      await this.household?.load()
      await this.accounts.start()
      await this.messenger.load()
      await this.locations.load()
      await overlay.start()
      await this.household?.start()
      await this.directory.start()
      this.locations.start()
      await this.messenger.start()
      if (this.household !== undefined) this.#adoption.start()
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
    // What the leases allowed ends with the rooms; others go on with it at once.
    await Promise.all([this.#adoption.stop(), this.household?.stop()])
    // The overlay goes with the rooms: it ends the calls whose answers they would wait for.
    await Promise.all([this.messenger.stop(), this.locations.stop(), this.directory.stop(), overlay.stop()])
  }

  #join(options: NodeCoreOptions): Household {
    const { store } = this.#components
    return new Household({ ...this.#components, kv: store.kv, hints: store.hints }, {
      lends: options.roles.includes('storage'),
      heard: (hint) => {
        this.#hear(hint).catch(this.#failed('a hint of the household could not be followed'))
      },
      poll: async () => {
        await this.accounts.start()
        this.router.onAccountsChanged()
        await this.messenger.refresh()
      },
      workChanged: (work) => {
        this.messenger.onWork(work).catch(this.#failed('work of the household could not be begun'))
        if (work === 'keeper') this.#adoption.soon(0)
      },
      homesChanged: () => this.messenger.onHomesChanged(),
    })
  }

  async #hear({ kind, subject }: HouseholdHint): Promise<void> {
    if (kind === hintKinds.mail) return await this.messenger.onMailElsewhere(subject as BoxId)
    if (kind === hintKinds.session) return this.router.onSessionElsewhere(subject)
    if (!subject.startsWith(accountPrefix)) return await this.messenger.onRecordChanged(subject)
    await this.accounts.refresh(subject.slice(accountPrefix.length))
    this.router.onAccountsChanged()
  }

  async #adopt(): Promise<void> {
    const { household } = this
    if (household === undefined || !household.does('keeper')) return
    const { nodeId } = this.#components.overlay
    const silent = new Set<string>(household.silent(limits.householdAdoptMs))
    const isGone = (name: string): boolean => name !== nodeId
      && (silent.has(name) || !household.isMember(name as NodeId))
    await this.messenger.adopt(ownPrefix(nodeId), isGone)
  }

  #failed(message: string): (error: unknown) => void {
    return (error) => this.#components.log.warn({ err: error }, message)
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

/** What is of this process alone; a node that is alone needs no part of its own. */
function ownKvOf({ store, overlay }: NodeComponents, { household }: NodeCoreOptions): KvStore {
  return household === true ? scopedKv(store.kv, ownPrefix(overlay.nodeId)) : store.kv
}

function ownPrefix(nodeId: NodeId): string {
  return `${processPrefix}${nodeId}/`
}

/** X25519 key for onion packets: derived, so that there is one secret less to keep. */
function onionKeyOf(nodeKeys: SigningKeyPair): DhKeyPair {
  const secret = crypto.hkdf({
    secret: nodeKeys.exportSecret(), salt: new Uint8Array(), info: utf8('openim onion key v1'), length: 32,
  })
  return crypto.dhKeyPair(secret)
}
