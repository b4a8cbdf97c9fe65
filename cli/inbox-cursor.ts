/**
 * "Each message once per cursor", also when somebody reads with `--from`.
 *
 * A named reading position is one number for everybody (`cli`) and one for each contact that was
 * read alone (`cli/` and a part of their address): a message is new when it lies above both. So
 * `inbox --from bob` does not hide what others wrote, and a later `inbox` does not show Bob's
 * messages again.
 *
 * A position moves only after the lines were taken by the reader of stdout: a crash shows a
 * message twice rather than never.
 */
import type { HistoryEntry } from '../protocol/client/api.ts'
import type { ControlClient } from './control-client.ts'

/** `oim1` and the version say nothing; 28 characters (140 bits) tell any two contacts apart. */
const addressPrefix = 5
const addressPart = 28
/** One page; the reply stays far below the line limit. */
const pageEntries = 100

export interface InboxPage {
  /** New ones, oldest first. */
  readonly entries: readonly HistoryEntry[]
  /** What to `advance` to once they are shown; may lie behind messages that were not new. */
  readonly upTo: number
  /** There is nothing behind this page. */
  readonly end: boolean
}

export class InboxCursor {
  readonly #node: ControlClient
  readonly #name: string
  /** Address of the only contact to read, if so. */
  readonly #from: string | undefined
  /** Address by petname, and own position by address, for the contacts met so far. */
  readonly #addresses = new Map<string, string>()
  readonly #positions = new Map<string, number>()
  #everybody = 0
  #at = 0

  private constructor(node: ControlClient, name: string, from: string | undefined) {
    this.#node = node
    this.#name = name
    this.#from = from
  }

  /** @param options.from address of a contact, to read them alone */
  static async open(
    node: ControlClient,
    options: { name: string, from: string | undefined },
  ): Promise<InboxCursor> {
    const cursor = new InboxCursor(node, options.name, options.from)
    cursor.#everybody = await node.call('cursor', { name: options.name })
    const own = options.from === undefined ? 0 : await cursor.#position(options.from)
    cursor.#at = Math.max(cursor.#everybody, own)
    return cursor
  }

  async page(): Promise<InboxPage> {
    const only = this.#from === undefined ? {} : { contact: this.#from }
    const query = { after: this.#at, limit: pageEntries, direction: 'in', ...only } as const
    const found = await this.#node.call('history', query)
    const upTo = found.at(-1)?.cursor ?? this.#at
    const entries: HistoryEntry[] = []
    for (const entry of found) {
      const address = await this.#address(entry.contact)
      if (entry.cursor > await this.#position(address)) entries.push(entry)
    }
    return { entries, upTo, end: found.length < pageEntries }
  }

  /** The lines up to here were taken: goes on behind them, now and next time. */
  async advance(upTo: number): Promise<void> {
    if (upTo <= this.#at) return
    this.#at = upTo
    if (this.#from === undefined) {
      await this.#node.call('setCursor', { name: this.#name, position: upTo })
    } else {
      this.#positions.set(this.#from, upTo)
      await this.#node.call('setCursor', { name: this.#nameFor(this.#from), position: upTo })
    }
  }

  async #position(address: string): Promise<number> {
    const known = this.#positions.get(address)
    if (known !== undefined) return known
    const position = await this.#node.call('cursor', { name: this.#nameFor(address) })
    this.#positions.set(address, position)
    return position
  }

  async #address(contact: string): Promise<string> {
    if (!this.#addresses.has(contact)) {
      for (const one of await this.#node.call('contacts', {})) this.#addresses.set(one.name, one.address)
    }
    // A contact that was removed since has no address any more; its name stands for it.
    const address = this.#addresses.get(contact) ?? contact
    this.#addresses.set(contact, address)
    return address
  }

  #nameFor(address: string): string {
    return `${this.#name}/${address.slice(addressPrefix, addressPrefix + addressPart)}`
  }
}
