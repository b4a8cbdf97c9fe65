/**
 * Personal nodes (XEP-0163) as they are kept: configuration and items, per account.
 *
 * ```text
 *   pep/ACCOUNT/node/HASH           name and configuration of a node
 *   pep/ACCOUNT/item/HASH/ORDER     id, publisher and payload of an item; ORDER grows with each publish
 * ```
 *
 * A node is changed as a whole, one change after the other, so its items are read with it and kept in
 * memory while the account is in use: OMEMO's are three or four, of a few kilobytes.
 */
import { utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { bool, decode, encode, oneOf, struct, text, u32, u64 } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { KvOperation, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import { readElement, writeElement } from '../xml/text.ts'

export const accessModels = ['presence', 'open', 'whitelist', 'roster', 'authorize'] as const
export type AccessModel = (typeof accessModels)[number]
export const sendLastModels = ['never', 'on_sub', 'on_sub_and_presence'] as const
export type SendLast = (typeof sendLastModels)[number]

export interface NodeConfig {
  readonly accessModel: AccessModel
  readonly itemsMax: number
  readonly isPersistent: boolean
  readonly sendLast: SendLast
  readonly deliversPayloads: boolean
  readonly notifiesRetract: boolean
  readonly title: string
}

export const defaultConfig: NodeConfig = {
  accessModel: 'presence',
  itemsMax: 1,
  isPersistent: true,
  sendLast: 'on_sub_and_presence',
  deliversPayloads: true,
  notifiesRetract: true,
  title: '',
}

export interface PersonalItem {
  readonly id: string
  /** Bare JID. */
  readonly publisher: string
  readonly payload: XmlElement | undefined
  readonly order: number
}

export interface PersonalNode {
  readonly name: string
  readonly config: NodeConfig
  /** Oldest first. */
  readonly items: readonly PersonalItem[]
}

interface NodeRecord {
  readonly name: string
  readonly access: number
  readonly itemsMax: number
  readonly isPersistent: boolean
  readonly sendLast: number
  readonly deliversPayloads: boolean
  readonly notifiesRetract: boolean
  readonly title: string
}
const nodeCodec = struct<NodeRecord>({
  name: text(1_024),
  access: oneOf([0, 1, 2, 3, 4], 'access model'),
  itemsMax: u32,
  isPersistent: bool,
  sendLast: oneOf([0, 1, 2], 'send-last'),
  deliversPayloads: bool,
  notifiesRetract: bool,
  title: text(1_024),
})
interface ItemRecord {
  readonly id: string
  readonly publisher: string
  readonly payload: string
  readonly order: number
}
const itemCodec = struct<ItemRecord>({
  id: text(1_024), publisher: text(3_071), payload: text(xmppLimits.pepItemBytesMax), order: u64,
})

export class PersonalNodes {
  readonly #kv: KvStore
  readonly #account: string
  readonly #nodes = new Map<string, PersonalNode>()
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(kv: KvStore, account: string) {
    this.#kv = kv
    this.#account = account
  }

  static async open(kv: KvStore, account: string): Promise<PersonalNodes> {
    const nodes = new PersonalNodes(kv, account)
    for await (const { value } of kvEntries(kv, `pep/${account}/node/`)) {
      const record = decode(nodeCodec, value)
      const items: PersonalItem[] = []
      for await (const entry of kvEntries(kv, nodes.#itemsPrefix(record.name))) {
        const { payload, ...item } = decode(itemCodec, entry.value)
        items.push({ ...item, payload: payload === '' ? undefined : readElement(payload) })
      }
      nodes.#nodes.set(record.name, { name: record.name, config: configOf(record), items })
    }
    return nodes
  }

  get(name: string): PersonalNode | undefined {
    return this.#nodes.get(name)
  }

  list(): IterableIterator<PersonalNode> {
    return this.#nodes.values()
  }

  /**
   * Makes or configures a node. @throws StanzaError `conflict` when it must be new and is not,
   * `resource-constraint`
   */
  configure(name: string, config: NodeConfig, mustBeNew = false): Promise<void> {
    return this.#next(async () => {
      const known = this.#nodes.get(name)
      if (known !== undefined && mustBeNew) throw new StanzaError('conflict', 'there is such a node already')
      if (known === undefined) this.#assertRoom()
      const items = known?.items ?? []
      const kept = items.slice(Math.max(0, items.length - config.itemsMax))
      const gone = items.slice(0, items.length - kept.length)
      await this.#kv.write([this.#nodePut(name, config), ...gone.map((item) => this.#itemDelete(name, item))])
      this.#nodes.set(name, { name, config, items: kept })
    })
  }

  /**
   * Puts an item, in place of one with its id and of the oldest above the limit; makes the node with
   * `config` when there is none. Gives the items that went.
   */
  publish(
    name: string,
    item: Omit<PersonalItem, 'order'>,
    config: NodeConfig,
  ): Promise<{ readonly node: PersonalNode, readonly gone: readonly PersonalItem[] }> {
    return this.#next(async () => {
      const known = this.#nodes.get(name)
      if (known === undefined) this.#assertRoom()
      const node = known ?? { name, config, items: [] }
      const text = item.payload === undefined ? '' : writeElement(item.payload)
      if (utf8(text).length > xmppLimits.pepItemBytesMax) {
        throw new StanzaError('not-acceptable', `an item has at most ${xmppLimits.pepItemBytesMax} bytes`)
      }
      const order = (node.items.at(-1)?.order ?? 0) + 1
      const placed: PersonalItem = { ...item, order }
      const others = node.items.filter(({ id }) => id !== item.id)
      const replaced = node.items.filter(({ id }) => id === item.id)
      const items = [...others, placed]
      const gone = items.splice(0, Math.max(0, items.length - Math.max(1, node.config.itemsMax)))
      const operations: KvOperation[] = [...replaced, ...gone].map((one) => this.#itemDelete(name, one))
      if (known === undefined) operations.push(this.#nodePut(name, config))
      if (node.config.isPersistent && node.config.itemsMax > 0) {
        operations.push(this.#itemPut(name, placed, text))
      }
      if (operations.length > 0) await this.#kv.write(operations)
      this.#nodes.set(name, { ...node, items })
      return { node: this.#nodes.get(name)!, gone }
    })
  }

  /** Which of these were there. */
  retract(name: string, ids: readonly string[]): Promise<readonly PersonalItem[]> {
    return this.#next(async () => {
      const node = this.#nodes.get(name)
      const gone = node?.items.filter(({ id }) => ids.includes(id)) ?? []
      if (node === undefined || gone.length === 0) return []
      await this.#kv.write(gone.map((item) => this.#itemDelete(name, item)))
      this.#nodes.set(name, { ...node, items: node.items.filter((item) => !gone.includes(item)) })
      return gone
    })
  }

  delete(name: string): Promise<boolean> {
    return this.#next(async () => {
      const node = this.#nodes.get(name)
      if (node === undefined) return false
      const key = `pep/${this.#account}/node/${hash(name)}`
      await this.#kv.write(
        [{ type: 'delete', key }, ...node.items.map((item) => this.#itemDelete(name, item))],
      )
      this.#nodes.delete(name)
      return true
    })
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => {})
    return turn
  }

  #assertRoom(): void {
    if (this.#nodes.size < xmppLimits.pepNodesMax) return
    throw new StanzaError('resource-constraint', `there are ${this.#nodes.size} nodes already`)
  }

  #nodePut(name: string, config: NodeConfig): KvOperation {
    const { accessModel, sendLast, ...rest } = config
    const record = {
      ...rest,
      name,
      access: accessModels.indexOf(accessModel),
      sendLast: sendLastModels.indexOf(sendLast)
    }
    return { type: 'put', key: `pep/${this.#account}/node/${hash(name)}`, value: encode(nodeCodec, record) }
  }

  #itemPut(name: string, { id, publisher, order }: PersonalItem, payload: string): KvOperation {
    return {
      type: 'put',
      key: this.#itemKey(name, order),
      value: encode(itemCodec, { id, publisher, order, payload }),
    }
  }

  #itemDelete(name: string, { order }: PersonalItem): KvOperation {
    return { type: 'delete', key: this.#itemKey(name, order) }
  }

  #itemKey(name: string, order: number): string {
    return this.#itemsPrefix(name) + String(order).padStart(12, '0')
  }

  #itemsPrefix(name: string): string {
    return `pep/${this.#account}/item/${hash(name)}/`
  }
}

function configOf({ access, sendLast, name: _, ...rest }: NodeRecord): NodeConfig {
  return { ...rest, accessModel: accessModels[access]!, sendLast: sendLastModels[sendLast]! }
}

function hash(name: string): string {
  return crypto.sha256Hex(utf8(name)).slice(0, 32)
}
