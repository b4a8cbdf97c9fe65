/**
 * Client state indication (XEP-0352): what a client whose screen is dark need not hear at once. Presence
 * is held, of each sender the latest; chat states are dropped but for the last of each sender.
 * Everything else goes at once, and what is held goes before it: the radio is awake then anyway.
 */
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

const chatStates = 'http://jabber.org/protocol/chatstates'
/** May stand beside a chat state in a message that says nothing else. */
const trimmings = new Set([chatStates, ns.hints])

export class HeldStanzas {
  /** By kind and sender, in the order that each last changed. */
  readonly #held = new Map<string, XmlElement>()

  get size(): number {
    return this.#held.size
  }

  /** True: kept for later. */
  hold(stanza: XmlElement): boolean {
    const kind = kindOf(stanza)
    if (kind === undefined || this.#held.size >= xmppLimits.heldStanzasMax) return false
    const key = `${kind} ${stanza.attrs.from ?? ''}`
    this.#held.delete(key)
    this.#held.set(key, stanza)
    return true
  }

  take(): XmlElement[] {
    const stanzas = [...this.#held.values()]
    this.#held.clear()
    return stanzas
  }
}

function kindOf(stanza: XmlElement): 'presence' | 'state' | undefined {
  const { type } = stanza.attrs
  if (stanza.name === 'presence') {
    // A request of somebody wants an answer.
    return type === undefined || type === 'unavailable' ? 'presence' : undefined
  }
  if (stanza.name !== 'message' || type === 'error') return undefined
  const children = stanza.elements()
  const isState = children.some((child) => child.ns === chatStates)
    && children.every((child) => trimmings.has(child.ns) || child.name === 'thread')
  return isState ? 'state' : undefined
}
