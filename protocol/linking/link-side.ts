/**
 * The two ends of a linking as machines without I/O: bytes of the other device and words of the
 * person go in, bytes to send and what is to be done come out.
 *
 * ```text
 *   new device (LinkJoiner)             node             old device (LinkHost)
 *     Noise XX                        ◄──────►             Noise XX
 *     hello  proof, name, commitment   ─────►
 *                                     ◄─────  answer  proof, account, doors, nonce
 *     reveal                           ─────►
 *     shows the code                                       shows the code
 *     person: the same?  request       ─────►              person: the same?
 *                                     ◄─────  package      (certifies, once both are there)
 *     stores the account, done         ─────►              linked
 * ```
 *
 * Either side ends with `end` and a code; whatever does not belong where it comes ends it, too.
 * When the package is lost on its way the account lists a device that was never seen: the person
 * removes it and links anew.
 */
import type { OpenIMError } from '../../crypto/errors.ts'
import { errorCode } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { ShortAuth } from '../../crypto/short-auth.ts'
import type { ShortCode } from '../../crypto/short-auth.ts'
import { LinkChannel } from './link-channel.ts'
import type { LinkSide } from './link-channel.ts'
import type { LinkMessage } from './link-messages.ts'

export interface LinkIdentity {
  /** 32 bytes. */
  readonly rootKey: Uint8Array
  /** The account's own name. */
  readonly name: string
  readonly doors: readonly string[]
}

export type LinkEvent =
  | { readonly type: 'send', readonly bytes: Uint8Array }
  /** Two people, or one with two screens, compare; then `confirm`. */
  | { readonly type: 'compare', readonly code: ShortCode, readonly name: string }
  /** Old device: list the new one, then `packaged`. */
  | { readonly type: 'certify', readonly request: Uint8Array }
  /** New device: the account to make a request for, then `requested`. */
  | { readonly type: 'request', readonly account: LinkIdentity }
  /** New device: store the account, then `stored`. */
  | { readonly type: 'store', readonly package: Uint8Array, readonly account: LinkIdentity }
  | { readonly type: 'linked' }
  /** Last one. `byPeer`: the other side said so. */
  | { readonly type: 'failed', readonly code: string, readonly byPeer: boolean }

interface EndHandlers {
  opened(): LinkEvent[]
  message(message: LinkMessage): LinkEvent[]
}

/** What both sides share: the channel and its end. */
class LinkEnd {
  readonly channel: LinkChannel
  readonly #handlers: EndHandlers
  #isOver = false

  constructor(options: { side: LinkSide, proofKey: Uint8Array, random: Random }, handlers: EndHandlers) {
    this.channel = new LinkChannel(options)
    this.#handlers = handlers
  }

  get over(): boolean {
    return this.#isOver
  }

  receive(bytes: Uint8Array): LinkEvent[] {
    if (this.#isOver) return []
    const events: LinkEvent[] = []
    for (const event of this.channel.receive(bytes)) {
      if (this.#isOver) break
      if (event.type === 'send') events.push(event)
      else if (event.type === 'broken') events.push(...this.fail(event.code))
      else if (event.type === 'open') events.push(...this.#handlers.opened())
      else if (event.message.type === 'end') events.push(...this.#ended(event.message.code))
      else events.push(...this.#handlers.message(event.message))
    }
    return events
  }

  say(message: LinkMessage): LinkEvent {
    return { type: 'send', bytes: this.channel.seal(message) }
  }

  fail(code: string): LinkEvent[] {
    if (this.#isOver) return []
    this.#isOver = true
    const failed = { type: 'failed', code, byPeer: false } as const
    return this.channel.open ? [this.say({ type: 'end', code }), failed] : [failed]
  }

  finish(): LinkEvent {
    this.#isOver = true
    return { type: 'linked' }
  }

  #ended(code: string): LinkEvent[] {
    this.#isOver = true
    return [{ type: 'failed', code, byPeer: true }]
  }
}

/** The device that is in the account and holds its root key. */
export class LinkHost {
  readonly #end: LinkEnd
  readonly #random: Random
  readonly #identity: LinkIdentity
  #auth: ShortAuth | undefined
  #name = ''
  #request: Uint8Array | undefined
  #isCertifying = false
  #isPackaged = false

  constructor(options: { proofKey: Uint8Array, identity: LinkIdentity, random: Random }) {
    this.#end = new LinkEnd({ side: 'old', ...options }, {
      opened: () => [],
      message: (message) => this.#message(message),
    })
    this.#random = options.random
    this.#identity = options.identity
  }

  get over(): boolean {
    return this.#end.over
  }

  /** What came from the other device. */
  receive(bytes: Uint8Array): LinkEvent[] {
    return this.#end.receive(bytes)
  }

  /** The person gave up, time is over, the connection is gone. */
  cancel(code: string): LinkEvent[] {
    return this.#end.fail(code)
  }

  /** What the person here says of the codes. */
  confirm(isSame: boolean): LinkEvent[] {
    if (this.#end.over || this.#auth === undefined) return []
    if (!this.#auth.confirm(isSame).ok || !isSame) return this.#end.fail('LINK_DIFFERENT')
    return this.#certify()
  }

  /** The new device's package, or why it cannot be let in. */
  packaged(result: Uint8Array | OpenIMError): LinkEvent[] {
    if (this.#end.over || !this.#isCertifying) return []
    if (!(result instanceof Uint8Array)) return this.#end.fail(errorCode(result) ?? 'LINK_FAILED')
    this.#isPackaged = true
    return [this.#end.say({ type: 'package', bytes: result })]
  }

  #message(message: LinkMessage): LinkEvent[] {
    if (message.type === 'hello' && this.#auth === undefined) return this.#hello(message)
    if (message.type === 'reveal' && this.#auth?.state === 'waiting') return this.#reveal(message.comparison)
    if (message.type === 'request' && this.#request === undefined && this.#auth !== undefined) {
      this.#request = message.bytes
      return this.#certify()
    }
    if (message.type === 'done' && this.#isPackaged) return [this.#end.finish()]
    return this.#end.fail('LINK_MESSAGE')
  }

  #hello({ proof, name, comparison }: Extract<LinkMessage, { type: 'hello' }>): LinkEvent[] {
    if (!this.#end.channel.isProven(proof)) return this.#end.fail('LINK_PROOF')
    this.#name = name
    this.#auth = ShortAuth.respond({ binding: this.#end.channel.binding, random: this.#random })
    const step = this.#auth.receive(comparison)
    if (!step.ok) return this.#end.fail(step.code)
    const { rootKey, name: account, doors } = this.#identity
    return [this.#end.say({
      type: 'answer', proof: this.#end.channel.proof, rootKey, name: account, doors: [...doors],
      comparison: step.value.send!,
    })]
  }

  #reveal(comparison: Uint8Array): LinkEvent[] {
    const step = this.#auth!.receive(comparison)
    if (!step.ok) return this.#end.fail(step.code)
    return [{ type: 'compare', code: step.value.code!, name: this.#name }]
  }

  /** Once the person has confirmed and the request is there, whatever came first. */
  #certify(): LinkEvent[] {
    if (this.#request === undefined || this.#auth?.state !== 'confirmed' || this.#isCertifying) return []
    this.#isCertifying = true
    return [{ type: 'certify', request: this.#request }]
  }
}

/** The device that comes in. */
export class LinkJoiner {
  readonly #end: LinkEnd
  readonly #random: Random
  readonly #name: string
  #auth: ShortAuth | undefined
  #account: LinkIdentity | undefined
  #isRequested = false
  #isStoring = false

  /** @param options.name of this device, for the person who compares */
  constructor(options: { proofKey: Uint8Array, name: string, random: Random }) {
    this.#end = new LinkEnd({ side: 'new', ...options }, {
      opened: () => this.#opened(),
      message: (message) => this.#message(message),
    })
    this.#random = options.random
    this.#name = options.name
  }

  get over(): boolean {
    return this.#end.over
  }

  /** What came from the other device. */
  receive(bytes: Uint8Array): LinkEvent[] {
    return this.#end.receive(bytes)
  }

  /** The person gave up, time is over, the connection is gone. */
  cancel(code: string): LinkEvent[] {
    return this.#end.fail(code)
  }

  begin(): LinkEvent[] {
    return [{ type: 'send', bytes: this.#end.channel.begin() }]
  }

  /** What the person here says of the codes. */
  confirm(isSame: boolean): LinkEvent[] {
    if (this.#end.over || this.#auth === undefined || this.#account === undefined) return []
    if (!this.#auth.confirm(isSame).ok || !isSame) return this.#end.fail('LINK_DIFFERENT')
    return [{ type: 'request', account: this.#account }]
  }

  requested(request: Uint8Array): LinkEvent[] {
    if (this.#end.over || this.#auth?.state !== 'confirmed' || this.#isRequested) return []
    this.#isRequested = true
    return [this.#end.say({ type: 'request', bytes: request })]
  }

  /** The account is durable here, or why it cannot be. */
  stored(error?: OpenIMError): LinkEvent[] {
    if (this.#end.over || !this.#isStoring) return []
    if (error !== undefined) return this.#end.fail(errorCode(error) ?? 'LINK_FAILED')
    return [this.#end.say({ type: 'done' }), this.#end.finish()]
  }

  #opened(): LinkEvent[] {
    const { binding, proof } = this.#end.channel
    const { auth, message } = ShortAuth.initiate({ binding, random: this.#random })
    this.#auth = auth
    return [this.#end.say({ type: 'hello', proof, name: this.#name, comparison: message })]
  }

  #message(message: LinkMessage): LinkEvent[] {
    if (message.type === 'answer' && this.#account === undefined) return this.#answer(message)
    if (message.type === 'package' && this.#isRequested && !this.#isStoring) {
      this.#isStoring = true
      return [{ type: 'store', package: message.bytes, account: this.#account! }]
    }
    return this.#end.fail('LINK_MESSAGE')
  }

  #answer(message: Extract<LinkMessage, { type: 'answer' }>): LinkEvent[] {
    if (!this.#end.channel.isProven(message.proof)) return this.#end.fail('LINK_PROOF')
    const step = this.#auth!.receive(message.comparison)
    if (!step.ok) return this.#end.fail(step.code)
    const { rootKey, name, doors } = message
    this.#account = { rootKey: rootKey.slice(), name, doors }
    return [
      this.#end.say({ type: 'reveal', comparison: step.value.send! }),
      { type: 'compare', code: step.value.code!, name },
    ]
  }
}
