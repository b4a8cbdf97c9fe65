/**
 * Hints to the other members of the household: what happened here that they should look at, over
 * our own links and, where the database has a channel, over that too. Whoever hears one twice looks
 * twice. All that is said within one turn of the event loop, or while the last call to a member is
 * under way, goes in one call; when too much waits, it becomes `everything`.
 */
import { equalBytes, utf8 } from '../../crypto/bytes.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { services } from '../../protocol/service/codes.ts'
import { hintKinds, hintsRequestCodec } from '../../protocol/service/household.ts'
import type { HouseholdHint } from '../../protocol/service/household.ts'
import type { Overlay, StoreHints } from '../ports.ts'

const callTimeoutMs = 3_000
/** `StoreHints.publish` takes no longer ones (PostgreSQL: 8,000 bytes as base64). */
const publishBytesMax = 4_096

export interface HintsComponents {
  readonly overlay: Overlay
  readonly store: StoreHints | undefined
}

export interface HintsOptions {
  /** Without ourselves. */
  readonly members: () => readonly NodeId[]
  readonly isMember: (nodeId: NodeId) => Promise<boolean>
  readonly heard: (hints: readonly HouseholdHint[]) => void
}

/** What waits for one listener, each hint once. */
class Waiting {
  #hints = new Map<string, HouseholdHint>()

  add(hint: HouseholdHint): void {
    if (this.#hints.has(everything)) return
    if (this.#hints.size >= limits.householdHintsMax) this.#hints = new Map([[everything, lookAtAll]])
    else this.#hints.set(`${hint.kind}/${hint.subject}`, hint)
  }

  take(): HouseholdHint[] {
    const hints = [...this.#hints.values()]
    this.#hints.clear()
    return hints
  }
}

const everything = `${hintKinds.everything}/`
const lookAtAll: HouseholdHint = { kind: hintKinds.everything, subject: '' }

export class Hints {
  readonly #components: HintsComponents
  readonly #options: HintsOptions
  readonly #waiting = new Map<NodeId, Waiting>()
  readonly #calling = new Set<NodeId>()
  readonly #published = new Waiting()
  #flushing = false
  #stopListening: (() => void) | undefined
  #stopped = false

  constructor(components: HintsComponents, options: HintsOptions) {
    this.#components = components
    this.#options = options
    components.overlay.handle(services.householdHint, async (from, body) => {
      // Before it is read: strangers have nothing to say here.
      if (!await options.isMember(from)) return { ok: false, code: 'HOUSEHOLD_STRANGER' }
      const request = tryDecode(hintsRequestCodec, body)
      if (!request.ok) return request
      options.heard(request.value.hints)
      return { ok: true, value: new Uint8Array() }
    })
  }

  start(): void {
    this.#stopListening = this.#components.store?.listen((message) => this.#fromStore(message))
  }

  stop(): void {
    this.#stopped = true
    this.#stopListening?.()
  }

  tell(hint: HouseholdHint): void {
    for (const member of this.#options.members()) {
      const waiting = this.#waiting.get(member) ?? new Waiting()
      waiting.add(hint)
      this.#waiting.set(member, waiting)
    }
    if (this.#components.store !== undefined) this.#published.add(hint)
    if (this.#flushing) return
    this.#flushing = true
    queueMicrotask(() => {
      this.#flushing = false
      if (this.#stopped) return
      for (const member of this.#waiting.keys()) void this.#callOn(member)
      this.#publish()
    })
  }

  /** One call at a time. A member that does not answer hears the rest by its own poll. */
  async #callOn(member: NodeId): Promise<void> {
    if (this.#calling.has(member)) return
    this.#calling.add(member)
    for (let hints = this.#take(member); hints.length > 0 && !this.#stopped; hints = this.#take(member)) {
      const body = encode(hintsRequestCodec, { hints })
      const { overlay } = this.#components
      const answer = await overlay.call(member, services.householdHint, body, { timeoutMs: callTimeoutMs })
      if (!answer.ok) this.#waiting.delete(member)
    }
    this.#calling.delete(member)
  }

  #take(member: NodeId): HouseholdHint[] {
    const hints = this.#waiting.get(member)?.take() ?? []
    if (hints.length === 0) this.#waiting.delete(member)
    return hints
  }

  #publish(): void {
    const { store, overlay } = this.#components
    const hints = this.#published.take()
    if (store === undefined || hints.length === 0) return
    const from = utf8(`${overlay.nodeId}\0`)
    const whole = encode(hintsRequestCodec, { hints })
    const isLong = from.length + whole.length > publishBytesMax
    const body = isLong ? encode(hintsRequestCodec, { hints: [lookAtAll] }) : whole
    const message = new Uint8Array(from.length + body.length)
    message.set(from)
    message.set(body, from.length)
    store.publish(message)
  }

  /** Who may write to the database's channel may write to the database: it is not asked who it is. */
  #fromStore(message: Uint8Array): void {
    const end = message.indexOf(0)
    if (end < 0 || message.length > publishBytesMax || this.#stopped) return
    const isOurs = equalBytes(message.subarray(0, end), utf8(this.#components.overlay.nodeId))
    const request = isOurs ? undefined : tryDecode(hintsRequestCodec, message.subarray(end + 1))
    if (request?.ok === true) this.#options.heard(request.value.hints)
  }
}
