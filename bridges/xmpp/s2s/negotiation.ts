/**
 * What the two halves of the negotiation between servers (inbound-negotiation.ts,
 * outbound-negotiation.ts) ask of the stream they stand on. They are told what comes in and answer with
 * actions, in order; they know no socket and no timer.
 */
import type { StreamError } from '../stream/stream-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import type { DialbackPair } from './dialback.ts'
import type { S2sFailure } from './failure.ts'

/** What a stream header said (RFC 6120 §4.7). */
export interface S2sHeader {
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly id?: string | undefined
  readonly version?: string | undefined
}

export type S2sAction =
  /** Ours. */
  | { readonly do: 'header', readonly header: S2sHeader }
  /** What comes next is a new stream. */
  | { readonly do: 'restart' }
  | { readonly do: 'send', readonly element: XmlElement }
  /** TLS on the same socket; nothing that came in before is used after it. */
  | { readonly do: 'secure' }
  /** A stream error, if there is a condition, and the end. */
  | { readonly do: 'close', readonly error?: StreamError }

export type InboundAction =
  | S2sAction
  /** From a domain that proved itself to one of ours; both addresses were checked. */
  | { readonly do: 'stanza', readonly stanza: XmlElement }
  /** Ask the authoritative server of `pair.originating`; then call `verified`. */
  | { readonly do: 'verify', readonly pair: DialbackPair, readonly key: string }
  /** This domain may send over this stream from now on. */
  | { readonly do: 'proven', readonly domain: string, readonly by: 'certificate' | 'dialback' }
  /** An element of stream management (XEP-0198). */
  | { readonly do: 'manage', readonly element: XmlElement }

export type OutboundAction =
  | S2sAction
  /** Stanzas may go. */
  | { readonly do: 'ready', readonly by: 'certificate' | 'dialback', readonly hasManagement: boolean }
  /** What the authoritative server said of a key. */
  | { readonly do: 'verdict', readonly isValid: boolean }
  | { readonly do: 'fail', readonly failure: S2sFailure }
  | { readonly do: 'manage', readonly element: XmlElement }
  /** A stanza came where only we send; XEP-0288 would allow it. */
  | { readonly do: 'ignore', readonly element: XmlElement }
