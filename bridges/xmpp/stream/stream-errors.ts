/** Stream errors (RFC 6120 §4.9): after one the stream is over. */
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

export const streamConditions = [
  'bad-format', 'bad-namespace-prefix', 'conflict', 'connection-timeout', 'host-gone', 'host-unknown',
  'improper-addressing', 'internal-server-error', 'invalid-from', 'invalid-namespace', 'invalid-xml',
  'not-authorized', 'not-well-formed', 'policy-violation', 'remote-connection-failed', 'reset',
  'resource-constraint', 'restricted-xml', 'see-other-host', 'system-shutdown', 'undefined-condition',
  'unsupported-encoding', 'unsupported-feature', 'unsupported-stanza-type', 'unsupported-version',
] as const
export type StreamCondition = (typeof streamConditions)[number]

export interface StreamError {
  readonly condition: StreamCondition
  /** For people: one lower-case sentence. */
  readonly text?: string
  /** An application-specific condition (RFC 6120 §4.9.4). */
  readonly extra?: XmlElement
}

export function streamErrorElement({ condition, text, extra }: StreamError): XmlElement {
  return el(ns.stream, 'error', {},
    el(ns.streamErrors, condition),
    text === undefined ? undefined : el(ns.streamErrors, 'text', { 'xml:lang': 'en' }, text),
    extra)
}

/** What the other end said of why it ended the stream; `undefined-condition` when it said nothing known. */
export function readStreamError(element: XmlElement): StreamError {
  const found = element.elements().find((child) => child.ns === ns.streamErrors && child.name !== 'text')
  const condition = streamConditions.find((one) => one === found?.name) ?? 'undefined-condition'
  const text = element.childText('text', ns.streamErrors)
  return text === undefined ? { condition } : { condition, text }
}
