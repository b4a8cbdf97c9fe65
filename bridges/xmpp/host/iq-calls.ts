/**
 * Requests that the server sends itself (to learn a client's features, to see whether it is there),
 * and their answers: each is waited for once, for a bounded time, from whom it was asked.
 */
import { hex } from '../../../crypto/bytes.ts'
import type { Timer } from '../../../protocol/ports.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { HostContext } from './host-context.ts'

interface Call {
  readonly to: string
  readonly timer: Timer
  readonly settle: (answer: XmlElement | undefined) => void
}

export class IqCalls {
  readonly #context: HostContext
  readonly #calls = new Map<string, Call>()

  constructor(context: HostContext) {
    this.#context = context
  }

  /** The answer, a result or an error; `undefined`: none in time, or too many wait already. */
  ask(
    { type, to, from }: { readonly type: 'get' | 'set', readonly to: Jid, readonly from: Jid },
    payload: XmlElement,
  ): Promise<XmlElement | undefined> {
    if (this.#calls.size >= xmppLimits.serverCallsMax) return Promise.resolve(undefined)
    const { clock, random, route } = this.#context
    const id = hex(random.bytes(12))
    return new Promise((resolve) => {
      const settle = (answer: XmlElement | undefined): void => {
        this.#calls.delete(id)
        timer.cancel()
        resolve(answer)
      }
      const timer = clock.after(xmppLimits.serverCallMs, () => settle(undefined))
      this.#calls.set(id, { to: to.toString(), timer, settle })
      const attrs = { type, id, from: from.toString(), to: to.toString() }
      void route(el(ns.client, 'iq', attrs, payload))
    })
  }

  /** One that nobody asked for, or from somebody else, is dropped. */
  answered(stanza: XmlElement): void {
    const call = this.#calls.get(stanza.attrs.id ?? '')
    const from = Jid.parse(stanza.attrs.from ?? '')?.toString()
    if (call !== undefined && call.to === from) call.settle(stanza)
  }
}
