/**
 * The mark of a message that came sealed: `<sealed xmlns='urn:openim:shield:0'/>`. The server alone sets
 * it; what a client or another server sends under its name is taken away.
 */
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { shieldNs } from './names.ts'

const mark = el(shieldNs, 'sealed')

/** Of a client, or over s2s: nobody may say by himself that he came sealed. */
export function unmarked(stanza: XmlElement): XmlElement {
  return stanza.without(({ ns }) => ns === shieldNs)
}

/** Messages alone: in presence and requests nobody shows it. */
export function marked(stanza: XmlElement): XmlElement {
  return stanza.name === 'message' ? unmarked(stanza).plus(mark) : unmarked(stanza)
}
